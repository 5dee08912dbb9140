"""The processes of pods, found in the node's proc filesystem by the cgroup that the kubelet puts every pod into.

Theory: the kubelet names a pod's cgroup after its uid, as `pod<uid>` (cgroupfs driver) or `kubepods-burstable-pod<uid>.slice`
with underscores (systemd driver); version 1 has a line for each controller, version 2 one. A container may make cgroups below
its own with any name it likes, another pod's too, so only the *outermost* pod in a path counts. Where the node itself is a
container of some pod, as in nested clusters, that outer pod is in every path; the part of a path that this process shares is
therefore left out first. Read from a container, paths may begin with `/..`; that changes nothing.

Process ids are reused. So a pod's process is held by a descriptor of its directory in proc, which answers for that process
and no later one: its cgroup is read again through the descriptor through which its namespace is opened.

Source: kubelet `pkg/kubelet/cm` (`GetPodCgroupNameSuffix`, `ParseSystemdToCgroupName`); cgroups(7), proc(5).
"""

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

FRESH_S: Final = 0.1
"""A look at all processes costs some 20 µs each; pods that start together share one."""
MAX_CGROUP_BYTES: Final = 64 * 1024

_POD: Final = re.compile(r"(?:kubepods(?:-[a-z]+)?-)?pod([0-9A-Za-z]+(?:[-_][0-9A-Za-z]+)*)(?:\.slice)?")
_START_FIELD: Final = 19
"""Of what follows the name in /proc/<pid>/stat: the 22nd field of all."""


def pod_of_cgroup(text: str, shared: str = "") -> str:
    """Return the uid of the pod that a process belongs to; empty where it belongs to none, or its lines disagree.

    Args:
        text: its /proc/<pid>/cgroup.
        shared: the same file of the process that asks.
    """
    own = dict(_paths(shared))
    found = {_outermost(path, own.get(controller, [])) for controller, path in _paths(text)} - {""}
    return found.pop() if len(found) == 1 else ""


def _paths(text: str) -> Iterator[tuple[str, list[str]]]:
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controller, _, path = rest.partition(":")
        yield controller, [part for part in path.split("/") if part]


def _outermost(path: list[str], own: list[str]) -> str:
    common = 0
    while common < min(len(path), len(own)) and path[common] == own[common]:
        common += 1
    for part in path[common:]:
        match = _POD.fullmatch(part)
        if match:
            return match[1].replace("_", "-")
    return ""


class Processes:
    """The processes of one proc filesystem, by pod. Blocking; called from threads.

    Args:
        proc: where it is mounted.
        clock: monotonic seconds.
    """

    def __init__(self, proc: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._proc = proc
        self._clock = clock
        self._lock = threading.Lock()
        self._seen_s = float("-inf")
        self._by_pod: dict[str, list[int]] = {}
        self._shared = ""

    def of_pod(self, uid: str) -> list[int]:
        """Return the process ids of a pod, the oldest first.

        Raises:
            OSError: the proc filesystem cannot be listed.
        """
        with self._lock:
            if not self._seen_s <= self._clock() < self._seen_s + FRESH_S:
                self._look()
            pids = self._by_pod.get(uid, [])
        return sorted(pids, key=lambda pid: (self._started(pid), pid))

    @contextmanager
    def hold(self, pid: int, uid: str) -> Iterator[Path]:
        """Hold a process of a pod; within, the path given is its directory in proc and never another process's.

        Raises:
            ProcessLookupError: it is gone, or is not the pod's.
        """
        try:
            directory = os.open(self._proc / str(pid), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as exc:
            raise ProcessLookupError(f"process {pid} is gone") from exc
        try:
            path = Path(f"/proc/self/fd/{directory}")
            if pod_of_cgroup(_read(path / "cgroup"), self._shared) != uid:
                raise ProcessLookupError(f"process {pid} is not of pod {uid}")
            yield path
        finally:
            os.close(directory)

    def _look(self) -> None:
        self._shared = _read(self._proc / "self" / "cgroup")
        found: dict[str, list[int]] = {}
        for name in os.listdir(self._proc):
            if name.isascii() and name.isdigit():
                uid = pod_of_cgroup(_read(self._proc / name / "cgroup"), self._shared)
                if uid:
                    found.setdefault(uid, []).append(int(name))
        self._by_pod = found
        self._seen_s = self._clock()

    def _started(self, pid: int) -> int:
        """Return when a process started, in clock ticks since boot; one that is gone counts as the youngest."""
        fields = _read(self._proc / str(pid) / "stat").rpartition(")")[2].split()
        return int(fields[_START_FIELD]) if len(fields) > _START_FIELD else 1 << 63


def _read(path: Path) -> str:
    """Return a file of proc; empty where the process is gone."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_CGROUP_BYTES).decode("utf-8", "backslashreplace")
    except OSError:
        return ""
