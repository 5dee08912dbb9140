"""Settings below /proc/sys/net of the calling thread's namespace.

Theory. /proc/sys/net shows the namespace of the thread that opens a file, so no path has to name one. In a container
/proc/sys is read-only as a rule while the host's /proc, mounted elsewhere, is not: a second root may be given.

Source: fs/proc/proc_sysctl.c; Documentation/networking/ip-sysctl.rst.
"""

from collections.abc import Sequence
from pathlib import Path


def read(path: str, roots: Sequence[Path]) -> int | None:
    """Return a setting, or None where the kernel has no such (a family that is not built in).

    Args:
        path: below `sys`, as `net/ipv4/fwmark_reflect`.
        roots: places where a proc filesystem is mounted, the preferred one first.
    """
    for root in roots:
        try:
            return int((root / "sys" / path).read_text())
        except FileNotFoundError:
            continue
    return None


def write(path: str, value: int, roots: Sequence[Path]) -> OSError | None:
    """Set a setting through the first root that lets us; return why none did, else None."""
    refusal: OSError = FileNotFoundError(f"no proc filesystem has sys/{path}")
    for root in roots:
        try:
            (root / "sys" / path).write_text(str(value))
        except OSError as exc:
            refusal = exc
        else:
            return None
    return refusal
