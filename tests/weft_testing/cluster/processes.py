"""Processes of a cluster: started, recorded, watched and ended for certain, also by someone who did not start them.

Theory. A process is known by its id and its start time, which together no other process ever has; both are written down
as soon as it runs. Between the start and the writing a killed owner would lose it, so each process also carries the
cluster's name in its environment, and those in one of the cluster's network namespaces are its own as well. Starting is
`posix_spawn`, not `Popen`: these processes outlive the object that started them, and get no signal mask of ours.

Whatever waits here waits for the end of a process (a pidfd), or polls something that has no event, such as a readiness
address, and stops at once when the process that should become ready ends.
"""

import json
import os
import select
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from weft_testing.cluster.addresses import PROCESS_VARIABLE
from weft_testing.cluster.network import NETNS_ROOT

_POLL_S: Final = 0.02
_ROUNDS: Final = 20
"""A process that starts others while it is hunted is met again in the next round."""
_KILL_TIMEOUT_S: Final = 10.0
_PROC: Final = Path("/proc")


class ProcessError(Exception):
    """A process ended or did not become ready; the message has the end of its log."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process, for good: its id alone may later be another's."""

    pid: int
    started_ticks: int

    @staticmethod
    def of(pid: int) -> "Process":
        """Describe a running process.

        Raises:
            ProcessLookupError: there is none.
        """
        return Process(pid, _started_ticks(pid))

    def alive(self) -> bool:
        """Tell whether that very process still runs; one that ended and waits for its parent does not."""
        try:
            return _started_ticks(self.pid) == self.started_ticks and _state(self.pid) not in "ZX"
        except ProcessLookupError:
            return False

    def send(self, number: signal.Signals) -> None:
        """Send a signal to that very process; nothing happens if it has ended."""
        with suppress(ProcessLookupError):
            descriptor = os.pidfd_open(self.pid)
            try:
                if self.alive():
                    signal.pidfd_send_signal(descriptor, number)
            finally:
                os.close(descriptor)

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end, and take its exit status if it is a child of ours.

        Returns:
            Whether it has ended.
        """
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            # Not alive(): a killed process is a zombie while its other threads still hold its ports.
            if _started_ticks(self.pid) == self.started_ticks and not select.select([descriptor], [], [], timeout_s)[0]:
                return False
        except ProcessLookupError:
            return True
        finally:
            os.close(descriptor)
        with suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)
        return True

    def end(self, number: signal.Signals, timeout_s: float) -> bool:
        """Send a signal and wait for the end.

        Returns:
            Whether it has ended.
        """
        self.send(number)
        return self.wait(timeout_s)


def spawn(
    cluster: str,
    command: Sequence[str],
    log: Path,
    *,
    variables: Mapping[str, str] | None = None,
    keep: int | None = None,
) -> Process:
    """Start a program as a session of its own, its output appended to a file.

    Args:
        cluster: whose process it is.
        command: the program by its path or name, and its arguments.
        log: where its output goes.
        variables: environment beside our own.
        keep: a descriptor of ours that it gets as number 3.

    Raises:
        OSError: there is no such program.
    """
    actions: list[tuple[object, ...]] = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    if keep is not None:
        actions.append((os.POSIX_SPAWN_DUP2, keep, 3))
    pid = os.posix_spawnp(
        command[0],
        list(command),
        {**os.environ, **(variables or {}), PROCESS_VARIABLE: cluster},
        file_actions=actions,
        setsid=True,
        setsigmask=[],
        setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP],
    )
    return Process.of(pid)


class Ledger:
    """What is on record about the processes of one cluster: one small file each, named after the process's part."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def write(self, part: str, process: Process) -> None:
        """Record the process that plays a part."""
        self._directory.mkdir(exist_ok=True)
        write_atomically(self._directory / f"{part}.json", json.dumps(asdict(process)).encode())

    def read(self, part: str) -> Process | None:
        """Return the process that plays a part, or None if there is none on record."""
        return _read_process(self._directory / f"{part}.json")

    def forget(self, part: str) -> None:
        """Strike a part from the record."""
        (self._directory / f"{part}.json").unlink(missing_ok=True)

    def all(self) -> dict[str, Process]:
        """Return all processes on record."""
        found = {path.stem: _read_process(path) for path in sorted(self._directory.glob("*.json"))}
        return {part: process for part, process in found.items() if process is not None}


def wait_until(
    ready: Callable[[], bool], what: str, timeout_s: float, *, process: Process | None = None, log: Path | None = None
) -> float:
    """Ask again and again until something is ready.

    Args:
        ready: asks once, quickly; an OSError is a no.
        what: for the message, as in "etcd is healthy".
        timeout_s: when to give up.
        process: without which it can never be ready.
        log: its output, for the message.

    Returns:
        How long it took, in seconds.

    Raises:
        ProcessError: the time is over, or the process has ended.
    """
    begun = time.monotonic()
    while time.monotonic() - begun < timeout_s:
        with suppress(OSError):
            if ready():
                return time.monotonic() - begun
        if process is not None:
            if process.wait(_POLL_S):
                raise ProcessError(f"the process ended before {what}{_tail(log)}")
        else:
            select.select([], [], [], _POLL_S)
    raise ProcessError(f"{timeout_s:g} s were not enough until {what}{_tail(log)}")


def own_processes(cluster: str, namespaces: Iterable[str]) -> list[Process]:
    """Return the running processes of a cluster, by their environment and their network, without us and our ancestors."""
    inodes = set(_inodes(namespaces))
    mark = f"{PROCESS_VARIABLE}={cluster}".encode()
    spared = set(_ancestors())
    found = []
    for pid in (int(entry) for entry in os.listdir(_PROC) if entry.isdecimal()):
        if pid not in spared and (_network(pid) in inodes or mark in _environment(pid)):
            with suppress(ProcessLookupError):
                found.append(Process.of(pid))
    return [process for process in found if process.alive()]


def kill_all(cluster: str, namespaces: Iterable[str], recorded: Iterable[Process]) -> list[Process]:
    """Kill every process of a cluster and wait until they are gone.

    Returns:
        Those that did not go within ten seconds.
    """
    names, known = tuple(namespaces), list(recorded)
    deadline = time.monotonic() + _KILL_TIMEOUT_S
    for _ in range(_ROUNDS):
        left = [*(process for process in known if process.alive()), *own_processes(cluster, names)]
        if not left or time.monotonic() > deadline:
            return left
        for process in left:
            process.send(signal.SIGKILL)
        for process in left:
            process.wait(max(0.0, deadline - time.monotonic()))
    return own_processes(cluster, names)


def children(pid: int) -> list[int]:
    """Return the processes that a process started and that still are its children."""
    found = []
    for entry in os.listdir(_PROC):
        if entry.isdecimal():
            with suppress(ProcessLookupError):
                if int(_stat(int(entry))[1]) == pid:
                    found.append(int(entry))
    return found


def write_atomically(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Put a whole file in place: readers see the old or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    temporary.replace(path)


def log_tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log, or a note that there is none."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return "(no log)"


def _tail(log: Path | None) -> str:
    return f"; {log} ends:\n{log_tail(log)}" if log is not None else ""


def _read_process(path: Path) -> Process | None:
    try:
        return Process(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/<pid>/stat after the command's name, so state is 0, parent 1 and start time 19."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError) as exc:
        raise ProcessLookupError(f"no process {pid}") from exc


def _started_ticks(pid: int) -> int:
    return int(_stat(pid)[19])


def _state(pid: int) -> str:
    return _stat(pid)[0]


def _inodes(namespaces: Iterable[str]) -> Iterator[int]:
    for name in namespaces:
        with suppress(OSError):
            yield (NETNS_ROOT / name).stat().st_ino


def _network(pid: int) -> int:
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino
    except OSError:
        return 0  # it ended, is a zombie, or is not ours to look at


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
            pid = int(_stat(pid)[1])
        except ProcessLookupError:
            return
