"""An empty file system for a worker: its own mount namespace whose root holds two directories and nothing of the host.

Theory: the new root is a small read-only tmpfs. `/fd` is a bind of the process's own `/proc/<pid>/fd`, because OpenSSL loads
private keys by file name only and a memfd has no other name. `/control` is a bind of the directory with the socket at which
a restarted control adopts its orphans; it is a directory and not the socket itself, because the next control makes a new one.
Nothing above either directory can be reached: `..` of a mount's root leads into the empty root.

The seccomp profile that container runtimes give by default has no pivot_root, whatever capabilities a container has. There
the new root is moved over the old one and entered by chroot, as runc does on a RAM disk. The old root then lies below where no
path leads: to leave a chroot takes a descriptor outside, a mount or CAP_SYS_CHROOT, and a worker has none of them afterwards.

Source: pivot_root(2), on `pivot_root(".", ".")`; mount_namespaces(7); runc libcontainer/rootfs_linux.go, `msMoveRoot`.
"""

import ctypes
import os
import platform
from typing import Final

FD_DIRECTORY: Final = "/fd"
CONTROL_DIRECTORY: Final = "/control"

_CLONE_NEWNS: Final = 0x00020000
_MS_RDONLY: Final = 1
_MS_NOSUID: Final = 2
_MS_NODEV: Final = 4
_MS_NOEXEC: Final = 8
_MS_REMOUNT: Final = 32
_MS_BIND: Final = 4096
_MS_MOVE: Final = 8192
_MS_REC: Final = 16384
_MS_PRIVATE: Final = 1 << 18
_MNT_DETACH: Final = 2
_HARD: Final = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
_PIVOT_ROOT_NUMBERS: Final = {"x86_64": 155, "aarch64": 41}

_libc: Final = ctypes.CDLL(None, use_errno=True)


class StuckRootError(Exception):
    """The old root lies under the new one and cannot be dropped: this process must end."""


def enter_empty_root(mount_point: str, control_directory: str) -> None:
    """Leave the host's file system for good; needs a process with one thread and CAP_SYS_ADMIN.

    Where pivot_root is forbidden it needs CAP_SYS_CHROOT, too.

    Args:
        mount_point: an existing directory that the tmpfs covers, in this namespace alone.
        control_directory: what becomes `/control`.

    Raises:
        OSError: a step was refused; the root is still the host's.
        StuckRootError: the root was changed and the old one could not be dropped.
    """
    own_fds = f"/proc/{os.getpid()}/fd"
    _check(_libc.unshare(_CLONE_NEWNS), "unshare(CLONE_NEWNS)")
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    _mount("weft", mount_point, "tmpfs", _HARD, "size=64k,nr_inodes=8,mode=0755")
    for source, name in ((own_fds, FD_DIRECTORY), (control_directory, CONTROL_DIRECTORY)):
        target = mount_point + name
        os.mkdir(target, 0o755)
        _mount(source, target, None, _MS_BIND)
        _mount("none", target, None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _HARD)
    _mount("none", mount_point, None, _MS_REMOUNT | _MS_RDONLY | _HARD)
    os.chdir(mount_point)
    if _libc.syscall(ctypes.c_long(_PIVOT_ROOT_NUMBERS[platform.machine()]), b".", b".") != 0:
        _move_root()
        return
    try:
        _check(_libc.umount2(b".", _MNT_DETACH), "umount2(old root)")
    except OSError as exc:
        raise StuckRootError(str(exc)) from exc
    os.chdir("/")


def _move_root() -> None:
    """Lay the working directory's mount over the root and make it this process's root.

    Raises:
        OSError: it could not be moved; the root is still the host's.
        StuckRootError: it was moved and could not be entered.
    """
    _mount(".", "/", None, _MS_MOVE)
    try:
        os.chroot(".")
        os.chdir("/")
    except OSError as exc:
        raise StuckRootError(f"chroot: {exc.strerror}") from exc


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    result = _libc.mount(
        source.encode(),
        target.encode(),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        data.encode() if data else None,
    )
    _check(result, f"mount({target})")


def _check(result: int, step: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{step}: {os.strerror(number)}")
