"""What processes and cores did: CPU time to the nanosecond, trees of processes, resident memory, how busy a core was.

Theory: the figure of merit is CPU time of all processes of a proxy, not requests per second, because a loaded machine slows
everything down but charges nobody for what others use. The scheduler counts each thread's run time in nanoseconds;
`/proc/PID/task/TID/schedstat` shows it, and the process's CPU clock (clock_getcpuclockid(3)) is the sum over all threads,
those that have ended included. A worker's handshake threads come and go, so the clock is what is read here; a test compares
the two. `/proc/stat` counts in ticks of 10 ms, which is enough to say which core was full.

Source: sched-stats.rst, time(7), include/linux/posix-timers_types.h (`MAKE_PROCESS_CPUCLOCK`, `CPUCLOCK_SCHED`), proc(5).
"""

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_CPUCLOCK_SCHED: Final = 2
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_IDLE_FIELDS: Final = (3, 4)
"""`idle` and `iowait` of a line of /proc/stat."""
_SEEN_FIELDS: Final = 8
"""Up to `steal`; `guest` is part of `user`."""


def cpu_clock(pid: int) -> int:
    """Return the number of a process's CPU clock."""
    return (~pid << 3) | _CPUCLOCK_SCHED


def process_cpu_ns(pid: int) -> int:
    """Return the CPU time that a process has used, all its threads, living and ended.

    Raises:
        ProcessLookupError: it is gone.
    """
    try:
        return time.clock_gettime_ns(cpu_clock(pid))
    except OSError as exc:
        raise ProcessLookupError(f"process {pid} is gone") from exc


def living_threads_cpu_ns(pid: int) -> int:
    """Return the sum of `/proc/PID/task/*/schedstat`: the CPU time of the threads that live now."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            total += int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0])
        except OSError:
            continue  # it ended in the meantime
    return total


def descendants(root: int) -> list[int]:
    """Return a process and everything below it, in order of their ids."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            children.setdefault(_parent(int(name)), []).append(int(name))
    found, open_ends = [], [root]
    while open_ends:
        pid = open_ends.pop()
        found.append(pid)
        open_ends += children.get(pid, [])
    return sorted(found)


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except OSError:
        return -1


def name_of(pid: int) -> str:
    """Return the name that a process gave itself; empty: it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def resident_kib(pid: int) -> int:
    """Return the resident memory of a process (`VmRSS`).

    Raises:
        ProcessLookupError: it is gone.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError as exc:
        raise ProcessLookupError(f"process {pid} is gone") from exc
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters at one moment; two of them make a difference."""

    at_s: float
    processes_ns: dict[int, int]
    busy_ticks: dict[int, int]
    total_ticks: dict[int, int]


@dataclass(frozen=True, slots=True)
class Used:
    """What happened between two readings."""

    wall_s: float
    cpu_s: float
    """Of all processes together."""
    busy: dict[int, float]
    """Share of the time that a core was not idle, by core."""
    ended: tuple[int, ...]
    """Processes that are gone; their time is lost, so the figure is void."""


def read(pids: Iterable[int], cores: Iterable[int]) -> Reading:
    """Read all counters."""
    processes = {}
    for pid in pids:
        try:
            processes[pid] = process_cpu_ns(pid)
        except ProcessLookupError:
            continue
    lines = dict(_core_lines())
    busy, total = {}, {}
    for core in cores:
        ticks = lines.get(core, [])
        total[core] = sum(ticks)
        busy[core] = total[core] - sum(ticks[field] for field in _IDLE_FIELDS if field < len(ticks))
    return Reading(time.monotonic(), processes, busy, total)


def _core_lines() -> Iterator[tuple[int, list[int]]]:
    for line in Path("/proc/stat").read_text().splitlines():
        name, _, values = line.partition(" ")
        if name.startswith("cpu") and name != "cpu":
            yield int(name.removeprefix("cpu")), [int(value) for value in values.split()[:_SEEN_FIELDS]]


def used(before: Reading, after: Reading) -> Used:
    """Return what happened between two readings; a process that began in between counts from zero."""
    ended = tuple(sorted(before.processes_ns.keys() - after.processes_ns.keys()))
    cpu_ns = sum(now - before.processes_ns.get(pid, 0) for pid, now in after.processes_ns.items())
    busy = {}
    for core, ticks in after.total_ticks.items():
        passed = ticks - before.total_ticks.get(core, 0)
        busy[core] = (after.busy_ticks[core] - before.busy_ticks.get(core, 0)) / passed if passed else 0.0
    return Used(after.at_s - before.at_s, cpu_ns / 1e9, busy, ended)
