"""Where a worker's time or memory goes: a scenario run once on a copy of the agent whose workers take notes.

The figures of such a run are not results: taking notes costs a few percent, and nobody takes turns.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from perf.bench import cpu
from perf.bench.entrants import Entrant, our_hop, our_pair
from perf.bench.load import run
from perf.bench.memory import KINDS, Idle, Kind
from perf.bench.programs import HERE, OUT, MissingProgramError, programs
from perf.bench.proof import prove
from perf.bench.scenarios import (
    FRESH_PORTS_FROM,
    HANDSHAKES_PER_RUN,
    IDLE_MEMORY,
    NAMES,
    SCENARIOS,
    Scenario,
    fresh_ports,
    levels,
)
from perf.bench.stage import Stage, StageError, choose_cores, pause, until

import weft_agent
from weft_lab.python_path import python_path

_LENGTH_BYTES: Final = 8
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_SHOWN: Final = 28
_NOTES_TIMEOUT_S: Final = 60.0
_WARM_UP_S: Final = 1


def main(words: Sequence[str]) -> int:
    """Profile one scenario and print what was found."""
    options = _parser().parse_args(words)
    if os.geteuid() != 0:
        sys.stderr.write("perf: this needs root, because it makes network namespaces; run it with sudo\n")
        return 2
    try:
        with (
            _noting_agent(memory=options.scenario == IDLE_MEMORY) as (environment, folder),
            Stage(programs(), choose_cores(), fresh_ports(2), environment) as stage,
        ):
            if options.scenario == IDLE_MEMORY:
                _profile_memory(stage, folder)
            else:
                scenario = next(item for item in SCENARIOS if item.name == options.scenario)
                _profile_time(stage, folder, scenario, options.connections, options.seconds)
    except (MissingProgramError, StageError) as exc:
        sys.stderr.write(f"perf: {exc}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="perf/profile_worker.py", description="Say where a worker's time or memory goes."
    )
    parser.add_argument("scenario", choices=NAMES, metavar="SCENARIO", help=", ".join(NAMES))
    parser.add_argument("--connections", type=int, metavar="N", help="default 32, bulk 1")
    parser.add_argument("--seconds", type=int, default=4, metavar="S", help="default 4")
    return parser


@contextmanager
def _noting_agent(*, memory: bool) -> Iterator[tuple[dict[str, str], Path]]:
    """Make a copy of the agent whose worker takes notes.

    Yields:
        The environment in which processes find it, and the folder of the notes.
    """
    with tempfile.TemporaryDirectory(prefix="weft-profile-") as name:
        root = Path(name)
        root.chmod(0o755)
        packages = Path(weft_agent.__file__).parents[1]
        for package in ("weft_agent", "weft_contract", "weft_core"):
            shutil.copytree(packages / package, root / "agent" / package, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(HERE / "bench" / "sampled_worker.py", root / "agent" / "weft_agent" / "worker" / "__main__.py")
        folder = root / "samples"
        folder.mkdir()
        if memory:
            (folder / "memory").touch()
        yield {"PYTHONPATH": os.pathsep.join([str(root / "agent"), python_path()])}, folder


# -- time -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Times:
    """CPU time of a process: exact, and its two parts in ticks."""

    all_s: float
    user_s: float
    system_s: float

    def since(self, other: "Times | None") -> "Times":
        """Return what has come since."""
        if other is None:
            return self
        return Times(self.all_s - other.all_s, self.user_s - other.user_s, self.system_s - other.system_s)

    def line(self, operations: float) -> str:
        """Return it by operation, in microseconds."""
        all_us, user_us, system_us = (value / operations * 1e6 for value in (self.all_s, self.user_s, self.system_s))
        return f"{all_us:10,.1f}  (user {user_us:,.1f}, system {system_us:,.1f})"


def _profile_time(stage: Stage, folder: Path, scenario: Scenario, connections: int | None, seconds: int) -> None:
    entrant = our_hop(stage) if scenario.path == "hop" else our_pair(stage, scenario.load)
    many = connections or levels(scenario, quick=True)[0]
    wire_bytes = prove(stage, scenario, entrant)
    run(stage, scenario, entrant, many, _WARM_UP_S, wire_bytes=wire_bytes, first_port=FRESH_PORTS_FROM)
    before, then = _stacks(entrant, folder), _times(entrant)
    first_port = FRESH_PORTS_FROM + HANDSHAKES_PER_RUN
    done = run(stage, scenario, entrant, many, seconds, wire_bytes=wire_bytes, first_port=first_port)
    if done.errors:
        raise StageError("; ".join(done.errors))
    now = _times(entrant)
    print(
        f"{scenario.name}, {many} connections: {done.operations / done.seconds:,.1f} per s; CPU us per {scenario.unit}:"
    )
    for pid, time in now.items():
        print(f"  {cpu.name_of(pid):14} {pid:8}  {time.since(then.get(pid)).line(done.operations)}")
    for pid, stacks in _stacks(entrant, folder).items():
        new = stacks - before.get(pid, Counter())
        if new:
            print(f"\nworker {pid}: {shares(new)}")
            print(f"folded stacks, for a flame graph: {_folded(scenario.name, pid, new)}")


def _folded(name: str, pid: int, stacks: Mapping[str, int]) -> Path:
    path = OUT / "profiles" / f"{name}-{pid}.folded"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{stack.partition('#')[0]} {count}\n" for stack, count in stacks.items()))
    return path


def _workers(entrant: Entrant) -> list[int]:
    return [pid for pid in entrant.processes() if cpu.name_of(pid) == "weft-worker"]


def _times(entrant: Entrant) -> dict[int, Times]:
    found = {}
    for pid in entrant.processes():
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        user_s, system_s = (int(fields[field]) / _TICKS_PER_S for field in (11, 12))
        found[pid] = Times(cpu.process_cpu_ns(pid) / 1e9, user_s, system_s)
    return found


def _stacks(entrant: Entrant, folder: Path) -> dict[int, Counter[str]]:
    return {pid: Counter(dict(_counted(_lines(folder / str(pid))))) for pid in _workers(entrant)}


def _counted(lines: Iterable[str]) -> Iterator[tuple[str, int]]:
    for line in lines:
        stack, _, count = line.rpartition(" ")
        yield stack, int(count)


def _lines(path: Path) -> list[str]:
    """Return the lines that a worker wrote last."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    length = int.from_bytes(data[:_LENGTH_BYTES], "little")
    return data[_LENGTH_BYTES : _LENGTH_BYTES + length].decode(errors="replace").splitlines()


def shares(stacks: Mapping[str, int]) -> str:
    """Return a table of functions: the share of all samples in the function itself, and in it or below."""
    own: Counter[str] = Counter()
    lines: dict[str, Counter[str]] = {}
    below: Counter[str] = Counter()
    for stack, count in stacks.items():
        frames, _, line = stack.partition("#")
        names = [short(frame) for frame in frames.split(";")]
        own[names[-1]] += count
        lines.setdefault(names[-1], Counter())[line] += count
        below.update(dict.fromkeys(names, count))
    total = sum(own.values())
    table = ["   own  incl.  function (hottest lines)"]
    for name, count in own.most_common(_SHOWN):
        hottest = ", ".join(f"{line}: {part / total:.1%}" for line, part in lines[name].most_common(3))
        table.append(f"{count / total:6.1%} {below[name] / total:6.1%}  {name} ({hottest})")
    table.append("inclusive:")
    table += [f"{'':6} {count / total:6.1%}  {name}" for name, count in below.most_common(_SHOWN)]
    return "\n".join([f"{total} samples", *table])


def short(frame: str) -> str:
    """Return `room/module.py:function` of a frame."""
    file, _, function = frame.rpartition(":")
    return f"{'/'.join(file.split('/')[-2:])}:{function}"


# -- memory ---------------------------------------------------------------------------------------------------------


def _profile_memory(stage: Stage, folder: Path) -> None:
    for kind in KINDS:
        entrant = our_hop(stage) if kind.path == "hop" else our_pair(stage, kind.way)
        with Idle(stage, kind, entrant, _first_use(kind), 1):
            pause(0.3)
        before = {pid: _allocations(folder, pid) for pid in _workers(entrant)}
        ports = (kind.port, kind.port + kind.ports - 1)
        with Idle(stage, kind, entrant, ports, kind.connections):
            pause(0.3)
            for pid in _workers(entrant):
                _print_growth(kind, pid, before[pid], _allocations(folder, pid))


def _first_use(kind: Kind) -> tuple[int, int]:
    port = kind.port if kind.ports == 1 else kind.port + kind.ports
    return port, port


def _allocations(folder: Path, pid: int) -> dict[str, tuple[int, int]]:
    """Ask a worker for its allocations: bytes and number by traceback."""
    path = folder / str(pid)
    with path.open("r+b") as file:
        file.write(bytes(_LENGTH_BYTES))
    os.kill(pid, signal.SIGUSR1)
    lines = until(lambda: _lines(path), f"worker {pid} has said what it allocated", _NOTES_TIMEOUT_S)
    found = {}
    for line in lines:
        place, size, count = line.rsplit(" ", 2)
        found[place] = int(size), int(count)
    return found


def _print_growth(
    kind: Kind, pid: int, before: Mapping[str, tuple[int, int]], after: Mapping[str, tuple[int, int]]
) -> None:
    grown = Counter({place: size - before.get(place, (0, 0))[0] for place, (size, _) in after.items()})
    total = sum(size for size in grown.values() if size > 0)
    if total < kind.connections:
        return
    each = kind.connections
    print(f"\n{kind.what}: worker {pid}, {total / each:,.0f} bytes of Python objects per connection ({each})")
    for place, size in grown.most_common(_SHOWN):
        count = after[place][1] - before.get(place, (0, 0))[1]
        trail = " < ".join(short(item) for item in reversed(place.split(";")[-4:]))
        print(f"{size / each:8.1f} B {count / each:6.2f} objects  {trail}")
