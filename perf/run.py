"""The benchmark against Envoy: `make perf`, or `.venv/bin/python perf/run.py --help`; see docs/performance.md."""

import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
# This folder would hide the standard library's `profile`; its parent is where `perf.bench` is found.
sys.path[:] = [str(_HERE.parent), *(entry for entry in sys.path if Path(entry or ".").resolve() != _HERE)]

from perf.bench.command import main  # noqa: E402 - after the path is set

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
