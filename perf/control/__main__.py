"""`make perf-control`, or `.venv/bin/python -m perf.control --help` in the root of the checkout."""

import sys

from perf.control.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
