"""Giving up every privilege: capabilities, identity, descriptors, core dumps; each step final.

Theory: order matters. The bounding set can only be cut while CAP_SETPCAP is held, groups and ids only be changed while
CAP_SETUID and CAP_SETGID are, and `setresuid` away from 0 empties the effective and permitted sets by itself. Changing the
user makes the process dumpable again, so that is switched off last.

Source: capabilities(7) "Effect of user ID changes on capabilities", prctl(2).
"""

import ctypes
import os
import resource
import struct
from collections.abc import Iterable
from typing import Final

NOBODY: Final = 65534

_PR_SET_DUMPABLE: Final = 4
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_LINUX_CAPABILITY_VERSION_3: Final = 0x20080522

_libc: Final = ctypes.CDLL(None, use_errno=True)


def close_all_but(keep: Iterable[int]) -> None:
    """Close every descriptor that is not in `keep`."""
    start = 0
    for fd in (*sorted(set(keep)), resource.getrlimit(resource.RLIMIT_NOFILE)[0]):
        if start < fd:  # an empty range would become (0, -1), which closes everything
            os.closerange(start, fd)
        start = fd + 1


def drop_privileges() -> None:
    """Become nobody without a capability, for good.

    Raises:
        OSError: a step was refused (a missing CAP_SETPCAP, CAP_SETUID or CAP_SETGID); the process must not serve then.
    """
    for capability in range(_last_capability() + 1):
        _prctl(_PR_CAPBSET_DROP, capability)
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    _clear_capabilities()
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(_PR_SET_DUMPABLE, 0)


def _last_capability() -> int:
    """Return the highest capability this kernel knows; asked of the kernel itself, because /proc may be gone."""
    capability = 0
    while _libc.prctl(23, ctypes.c_ulong(capability + 1), 0, 0, 0) >= 0:  # PR_CAPBSET_READ
        capability += 1
    return capability


def _clear_capabilities() -> None:
    header = struct.pack("=Ii", _LINUX_CAPABILITY_VERSION_3, 0)
    if _libc.capset(header, bytes(24)) != 0:
        _refused("capset")


def _prctl(option: int, argument: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(argument), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
        _refused(f"prctl({option}, {argument})")


def _refused(step: str) -> None:
    number = ctypes.get_errno()
    raise OSError(number, f"{step}: {os.strerror(number)}")
