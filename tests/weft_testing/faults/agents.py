"""The agent's processes on a node, found from the outside: who they are, how much they hold, what the kernel says of them."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from weft_lab.machine.processes import end
from weft_lab.names import NETNS_ROOT
from weft_testing.agent_process import process_status

Role = Literal["keeper", "control", "worker"]
ROLES: Final[tuple[Role, ...]] = ("keeper", "control", "worker")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Process:
    """One process of an agent."""

    pid: int
    role: Role

    @property
    def alive(self) -> bool:
        """Whether it is still there and no zombie."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] not in "ZX"
        except OSError:
            return False

    @property
    def resident_bytes(self) -> int:
        """Memory that it holds."""
        try:
            return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * _PAGE_BYTES
        except OSError:
            return 0

    @property
    def descriptors(self) -> int:
        """Open descriptors."""
        try:
            return len(os.listdir(f"/proc/{self.pid}/fd"))
        except OSError:
            return 0

    @property
    def sockets(self) -> frozenset[int]:
        """Inodes of the sockets that it has."""
        found: set[int] = set()
        folder = f"/proc/{self.pid}/fd"
        try:
            names = os.listdir(folder)
        except OSError:
            return frozenset()
        for name in names:
            try:
                target = os.readlink(f"{folder}/{name}")
            except OSError:  # closed since
                continue
            if target.startswith("socket:["):
                found.add(int(target[8:-1]))
        return frozenset(found)

    @property
    def cpu_s(self) -> float:
        """CPU seconds used, all threads."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def status(self) -> dict[str, str]:
        """What the kernel says of it, by field of /proc/PID/status; empty if it is gone."""
        try:
            return dict(process_status(self.pid))
        except OSError:
            return {}

    def signal(self, number: signal.Signals) -> None:
        """Signal it."""
        os.kill(self.pid, number)

    def kill(self, timeout_s: float = 5.0) -> None:
        """Kill it and wait until it is gone."""
        assert end(self.pid, signal.SIGKILL, timeout_s), f"{self} did not die"


def processes(namespace: str) -> list[Process]:
    """Return the agent's processes in a node's network namespace, keeper first.

    Args:
        namespace: name of the network namespace.
    """
    inode = (NETNS_ROOT / namespace).stat().st_ino
    found: list[Process] = []
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        try:
            word = Path(f"/proc/{name}/comm").read_text().strip()
            if not word.startswith("weft-") or os.stat(f"/proc/{name}/ns/net").st_ino != inode:
                continue
        except OSError:
            continue
        role = word.removeprefix("weft-")
        found += [Process(int(name), known) for known in ROLES if role == known]
    return sorted(found, key=lambda process: (ROLES.index(process.role), process.pid))
