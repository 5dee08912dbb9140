"""System calls that Python 3.11 lacks: mount, pivot_root, setns, unshare, prctl. Standard library only."""

import ctypes
import os
import signal
from typing import Final

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_REMOUNT: Final = 32
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_SLAVE: Final = 1 << 19
MNT_DETACH: Final = 2

_PR_SET_PDEATHSIG: Final = 1
_PR_CAPBSET_READ: Final = 23
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PIVOT_ROOT: Final = {"x86_64": 155, "aarch64": 41}
_MAX_CAPABILITY: Final = 64

_libc: Final = ctypes.CDLL(None, use_errno=True)


def mount(source: str | None, target: str, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """Mount a file system, or change a mount.

    Raises:
        OSError: with both paths in its message.
    """
    done = _libc.mount(_bytes(source), _bytes(target), _bytes(kind), ctypes.c_ulong(flags), _bytes(data))
    _check(done, f"mount {kind or ''} {source or ''} on {target}")


def bind(source: str, target: str, *, read_only: bool = False, recursive: bool = False) -> None:
    """Make a path appear at another, read-only if so asked.

    Raises:
        OSError: one of the paths is missing or not of the other's kind.
    """
    mount(source, target, None, MS_BIND | (MS_REC if recursive else 0))
    if read_only:
        mount(None, target, None, MS_BIND | MS_REMOUNT | MS_RDONLY)


def detach(target: str) -> None:
    """Unmount, at the latest when the last user is gone (MNT_DETACH).

    Raises:
        OSError: it is not a mount point.
    """
    _check(_libc.umount2(_bytes(target), MNT_DETACH), f"unmount {target}")


def pivot_root(new_root: str, put_old: str) -> None:
    """Swap the root mount; the C library has no wrapper for it.

    Raises:
        OSError: see the manual page for its many conditions.
    """
    number = _PIVOT_ROOT[os.uname().machine]
    _check(_libc.syscall(ctypes.c_long(number), _bytes(new_root), _bytes(put_old)), f"pivot_root to {new_root}")


def unshare(flags: int) -> None:
    """Leave namespaces for new ones.

    Raises:
        OSError: not allowed.
    """
    _check(_libc.unshare(flags), "unshare")


def setns(descriptor: int, kind: int) -> None:
    """Enter a namespace.

    Raises:
        OSError: not allowed, or not a namespace of that kind.
    """
    _check(_libc.setns(descriptor, kind), "setns")


def sethostname(name: str) -> None:
    """Set the host name of the UTS namespace.

    Raises:
        OSError: it is longer than 64 bytes, or this process may not.
    """
    raw = name.encode()
    _check(_libc.sethostname(raw, len(raw)), f"set host name {name!r}")


def die_with_parent() -> None:
    """Be killed when the parent ends; holds until the user id changes, so it is called after that."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl PDEATHSIG")


def no_new_privileges() -> None:
    """Set-user-id programs give nothing from now on."""
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl NO_NEW_PRIVS")


def keep_capabilities(wanted: frozenset[int]) -> None:
    """Drop all capabilities but these from the bounding set, so that the next program cannot have them."""
    for number in range(_MAX_CAPABILITY):
        if number not in wanted and _libc.prctl(_PR_CAPBSET_READ, number, 0, 0, 0) == 1:
            _check(_libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0), f"prctl CAPBSET_DROP {number}")


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else os.fsencode(text)


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
