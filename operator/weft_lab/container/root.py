"""A container's file system: this machine's files with a writable layer of its own. Standard library only.

Theory: images are not pulled, a container runs with this machine's files. An overlay puts a private layer above them, so
that containers do not meet each other in /tmp and leave nothing behind. An overlay shows one file system, so each further
mount of the machine gets an overlay of its own, or appears read-only where that cannot be done. /proc, /sys, /dev and /run
are the container's own. Order matters: pivot first, then mount by path, so that a symlink in a target (`/var/run`)
leads to the container's file and not to the machine's.

Source: overlayfs.rst (upper and work directory on another file system than lower), pivot_root(2), the OCI runtime
specification's default file systems.
"""

import os
import stat
from collections.abc import Iterator
from typing import Final

from weft_lab.container.kernel import (
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    MS_SLAVE,
    bind,
    detach,
    mount,
    pivot_root,
)
from weft_lab.container.order import PodOrder

_OLD: Final = "/.weft-lab-machine"
_OWN: Final = ("/proc", "/sys", "/dev", "/run")
"""Directories in which the machine's mounts are not shown: the container has its own."""
_OWN_FILES: Final = ("/etc/hosts", "/etc/resolv.conf", "/etc/hostname")
_DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty")
_DEVICE_LINKS: Final = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
)


def build_root(order: PodOrder) -> None:
    """Replace the calling process's root by the container's; it is alone in new mount and pid namespaces.

    Raises:
        OSError: a mount failed; the message says which.
    """
    mount(None, "/", None, MS_REC | MS_SLAVE)
    others = list(machine_mounts())
    upper = _layer(order.directory, "root")
    _write_files(upper, order)
    os.makedirs(upper + _OLD, exist_ok=True)
    merged = os.path.join(order.directory, "root", "merged")
    _overlay("/", os.path.join(order.directory, "root"), merged)
    pivot_root(merged, merged + _OLD)
    os.chdir("/")
    for number, path in enumerate(others):
        _show(path, os.path.join(_OLD + order.directory, str(number)))
    _own_file_systems(privileged=order.program.privileged)
    bind(_OLD + order.hosts, "/etc/hosts")
    for item in order.binds:
        _bind(_OLD + item.source, item.target, item.read_only)
    detach(_OLD)
    os.rmdir(_OLD)
    if order.read_only_root:
        mount(None, "/", None, MS_BIND | MS_REMOUNT | MS_RDONLY)


def machine_mounts() -> Iterator[str]:
    """Yield this machine's mount points that a container sees through layers of their own, in mount order."""
    seen: set[str] = set()
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            path = _unescape(line.split()[4])
            own = any(path == item or path.startswith(item + "/") for item in (*_OWN, *_OWN_FILES))
            if path != "/" and not own and path not in seen:
                seen.add(path)
                yield path


def _unescape(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text


def _layer(directory: str, name: str) -> str:
    base = os.path.join(directory, name)
    for part in ("upper", "work", "merged"):
        os.makedirs(os.path.join(base, part), exist_ok=True)
    return os.path.join(base, "upper")


def _overlay(lower: str, base: str, target: str) -> None:
    escaped = lower.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")
    mount("overlay", target, "overlay", 0, f"lowerdir={escaped},upperdir={base}/upper,workdir={base}/work")


def _write_files(upper: str, order: PodOrder) -> None:
    """Put plain files where the machine may have symlinks (systemd-resolved) or mounts (containers)."""
    etc = os.path.join(upper, "etc")
    os.makedirs(etc, mode=0o755, exist_ok=True)
    contents = {"hosts": "", "resolv.conf": order.resolv_conf, "hostname": f"{order.hostname}\n"}
    for name, content in contents.items():
        with open(os.path.join(etc, name), "w", encoding="utf-8") as file:
            file.write(content)
        os.chmod(os.path.join(etc, name), 0o644)


def _show(path: str, base: str) -> None:
    """Make one further mount of the machine visible in the container."""
    source = _OLD + path
    try:
        mode = os.stat(source).st_mode
        os.stat(path)
    except OSError:
        return  # hidden below another mount, or gone
    if stat.S_ISDIR(mode):
        _layer(base, "")
        try:
            _overlay(source, base, path)
            return
        except OSError:
            pass  # a file system that overlayfs does not take (another overlay of full depth, some FUSE): shown read-only
    bind(source, path, read_only=True)


def _own_file_systems(*, privileged: bool) -> None:
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | (0 if privileged else MS_RDONLY))
    mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    mount("tmpfs", "/dev", "tmpfs", MS_NOSUID, "mode=755,size=64k")
    for name in _DEVICES:
        with open(f"/dev/{name}", "wb"):
            pass
        bind(f"{_OLD}/dev/{name}", f"/dev/{name}")
    for name, target in _DEVICE_LINKS:
        os.symlink(target, f"/dev/{name}")
    os.mkdir("/dev/pts")
    bind(f"{_OLD}/dev/pts", "/dev/pts")
    os.mkdir("/dev/shm")
    mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777,size=64m")
    if not privileged:
        bind("/proc/sys", "/proc/sys", read_only=True)


def _bind(source: str, target: str, read_only: bool) -> None:
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    elif not os.path.exists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "wb"):
            pass
    bind(source, target, read_only=read_only, recursive=True)
