"""Writes the tables of README and docs/performance.md from perf/results: `.venv/bin/python perf/table.py [--check]`."""

import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
# This folder would hide the standard library's `profile`; its parent is where `perf.bench` is found.
sys.path[:] = [str(_HERE.parent), *(entry for entry in sys.path if Path(entry or ".").resolve() != _HERE)]

from perf.bench.tables import main  # noqa: E402 - after the path is set

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
