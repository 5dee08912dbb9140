"""A node's root is that of its namespace of mounts, also on a machine that is a chroot.

In a chroot the namespace's own root lies above what its processes see as /. Whoever enters a container or a node by its
namespace of mounts (`runc exec`, `nsenter --mount`) would begin up there, among the files of another machine. So the node's
init moves its / to the top first, as switch_root does, in the namespace that is its own already.

Source: setns(2) (root and current directory become the namespace's root), mount(2) on MS_MOVE.
"""

import ctypes
import os
from pathlib import Path
from typing import Final

_CLONE_NEWNS: Final = 0x20000
_MS_MOVE: Final = 0x2000
_MS_REC_PRIVATE: Final = 0x4000 | 1 << 18
_libc: Final = ctypes.CDLL(None, use_errno=True)


def own_the_root() -> None:
    """Make what this process sees as / the root of its namespace of mounts; nothing to do where it is already.

    Raises:
        OSError: not permitted.
    """
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    try:
        _check(_libc.setns(namespace, _CLONE_NEWNS), "the namespace of mounts could not be entered")
        os.fchdir(root)
        if not _is_the_root(root):
            _move_here_to_the_top()
    finally:
        os.close(namespace)
        os.close(root)


def _is_the_root(folder: int) -> bool:
    """Whether an open folder is what / is now; by mount, for a chroot may well be the machine's own files once more."""
    top = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        return _mount_of(top) == _mount_of(folder)
    finally:
        os.close(top)


def _mount_of(folder: int) -> str:
    lines = Path(f"/proc/self/fdinfo/{folder}").read_text().splitlines()
    return next(line for line in lines if line.startswith("mnt_id:"))


def _move_here_to_the_top() -> None:
    _check(_libc.mount(None, b"/", None, _MS_REC_PRIVATE, None), "mounts could not be made private")
    _check(_libc.mount(b".", b"/", None, _MS_MOVE, None), "the root could not be moved to the top")
    os.chroot(".")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
