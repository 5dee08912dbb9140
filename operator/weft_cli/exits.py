"""Exit statuses of `weft`: 0 in order, 1 something was found or failed, 2 wrong usage, 3 nobody to talk to."""

from typing import Final

OK: Final = 0
FINDINGS: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 3
INTERRUPTED: Final = 130
"""128 + SIGINT, as a shell has it."""
