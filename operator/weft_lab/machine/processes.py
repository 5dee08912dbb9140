"""Processes of a lab: found by the namespaces they are in and by a mark in their environment, and ended for certain."""

import os
import select
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from weft_lab.machine.namespaces import namespace_path
from weft_lab.names import LAB_VARIABLE

_ROUNDS: Final = 50
"""A process that starts others while it is hunted is met again in the next round."""


def lab_processes(lab: str, namespaces: Iterable[str]) -> list[int]:
    """Return the processes of a lab, without the caller and its ancestors.

    Args:
        lab: its name, which its own helpers carry in their environment.
        namespaces: names of its network namespaces; whatever lives in one is the lab's.
    """
    inodes = set(_inodes(namespaces))
    mark = f"{LAB_VARIABLE}={lab}".encode()
    spared = set(_ancestors())
    return [pid for pid in _all() if pid not in spared and (_network(pid) in inodes or mark in _environment(pid))]


def kill_all(lab: str, namespaces: Iterable[str], timeout_s: float) -> list[int]:
    """Kill all processes of a lab and wait until they are gone.

    Returns:
        Those that did not go within the time.
    """
    deadline = time.monotonic() + timeout_s
    names = tuple(namespaces)
    for _ in range(_ROUNDS):
        left = lab_processes(lab, names)
        if not left or time.monotonic() > deadline:
            return left
        for pid in left:
            end(pid, signal.SIGKILL, max(0.0, deadline - time.monotonic()))
    return lab_processes(lab, names)


def end(pid: int, number: signal.Signals, timeout_s: float) -> bool:
    """Send a signal and wait until the process has ended.

    Returns:
        Whether it has.
    """
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        signal.pidfd_send_signal(descriptor, number)
        return bool(select.select([descriptor], [], [], timeout_s)[0])
    except ProcessLookupError:
        return True
    finally:
        os.close(descriptor)


def _all() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdecimal())


def _inodes(namespaces: Iterable[str]) -> Iterator[int]:
    for name in namespaces:
        try:
            yield namespace_path(name).stat().st_ino
        except OSError:
            pass  # gone already


def _network(pid: int) -> int:
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino
    except OSError:
        return 0  # it ended, or is a zombie


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _ancestors() -> Iterator[int]:
    pid = os.getpid()
    while pid > 1:
        yield pid
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
        except OSError:
            return
