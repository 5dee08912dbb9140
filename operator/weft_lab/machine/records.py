"""What is on record about labs: who is up, with which addresses, under which process. Below /run/weft/lab.

Theory: a lab's directory is a memory file system of its own, because containers need their writable layer outside of the
machine's root and keys must never meet a disk. One lock, on the directory of all labs, makes `up` and `down` exclusive;
it is on a directory, so that it leaves no file.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import msgspec

from weft_lab.addressing import free_index
from weft_lab.container.join_pod import has_ended, started_ticks
from weft_lab.machine.namespaces import run
from weft_lab.names import STATE_ROOT, check_lab_name, state_directory

_LAB_FILE: Final = "lab.json"
_DAEMON_FILE: Final = "daemon.json"


@dataclass(frozen=True, slots=True)
class LabRecord:
    """A lab as it was asked for."""

    name: str
    index: int
    nodes: tuple[str, ...]
    agent: bool
    created: str


@dataclass(frozen=True, slots=True)
class DaemonRecord:
    """The process that runs a lab."""

    pid: int
    started_ticks: int

    def alive(self) -> bool:
        """Whether that very process still runs."""
        try:
            return started_ticks(self.pid) == self.started_ticks and not has_ended(self.pid)
        except OSError:
            return False


@contextmanager
def machine_lock() -> Iterator[None]:
    """Hold the right to bring labs up and down on this machine."""
    while True:
        STATE_ROOT.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(STATE_ROOT, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _same(descriptor):
                yield
                return
        finally:
            os.close(descriptor)


def _same(descriptor: int) -> bool:
    """Tell whether the locked directory is still the one at the path; the last `down` removes it."""
    try:
        return os.stat(STATE_ROOT).st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def known_labs() -> list[str]:
    """Return the names of all labs with a directory, whole or half-made."""
    with suppress(FileNotFoundError):
        return sorted(entry.name for entry in STATE_ROOT.iterdir() if entry.is_dir())
    return []


def claim(name: str, nodes: tuple[str, ...], *, agent: bool, created: str) -> LabRecord:
    """Make a lab's directory and record; the caller holds the machine lock and has seen that there is none.

    Raises:
        AddressesExhaustedError: as many labs are up as there are networks for.
        MachineError: the directory's file system cannot be mounted.
    """
    taken = {record.index for other in known_labs() if (record := read_lab(other)) is not None}
    record = LabRecord(check_lab_name(name), free_index(taken), nodes, agent, created)
    directory = state_directory(name)
    directory.mkdir(mode=0o755, exist_ok=True)
    run(["mount", "-t", "tmpfs", "-o", "mode=0755,nodev,nosuid", f"weft-lab-{name}", str(directory)])
    write_atomically(directory / _LAB_FILE, json.dumps(asdict(record)).encode())
    return record


def read_lab(name: str) -> LabRecord | None:
    """Return a lab's record, or None if there is none that can be read."""
    try:
        return msgspec.json.decode((state_directory(name) / _LAB_FILE).read_bytes(), type=LabRecord)
    except (OSError, msgspec.DecodeError):
        return None


def write_daemon(name: str, pid: int) -> None:
    """Record the process that runs a lab."""
    record = DaemonRecord(pid, started_ticks(pid))
    write_atomically(state_directory(name) / _DAEMON_FILE, json.dumps(asdict(record)).encode())


def read_daemon(name: str) -> DaemonRecord | None:
    """Return the record of the process that runs a lab, or None."""
    try:
        return msgspec.json.decode((state_directory(name) / _DAEMON_FILE).read_bytes(), type=DaemonRecord)
    except (OSError, msgspec.DecodeError):
        return None


def socket_path(name: str) -> Path:
    """Return the path of a lab's API socket."""
    return state_directory(name) / "api.sock"


def write_atomically(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Put a whole file in place: readers see the old or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    temporary.replace(path)


def unmount_below(directory: Path) -> None:
    """Unmount everything at and below a directory, the last mounted first.

    Raises:
        MachineError: a mount does not go.
    """
    text = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    points = [line.split()[4] for line in text.splitlines()]
    for point in reversed(points):
        if point == str(directory) or point.startswith(f"{directory}/"):
            run(["umount", "-l", point], tolerate=("not mounted",))
