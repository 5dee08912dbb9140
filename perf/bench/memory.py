"""Memory: of processes that have nothing to do, and what idle connections add to it.

Theory: what a connection costs is the growth of resident memory of all processes of a proxy by many of them, each of which
has carried one exchange before it fell silent. A process that used memory before has some to spare, so ours is measured on
agents that have done nothing yet, kind after kind, and the connections of one kind stay open while the next are made. Envoys are
fresh for each kind. Memory of the kernel (socket buffers) is not in it.
"""

import json
import select
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from perf.bench import cpu, scene
from perf.bench.entrants import Entrant, Envoys, our_hop, our_pair
from perf.bench.samples import MemorySample, Resident, What
from perf.bench.scenarios import (
    ECHO_PORTS,
    FRESH_PORTS_FROM,
    IDLE_CONNECTIONS,
    IDLE_TUNNELS,
    SMALL_PORT,
    Load,
    Path,
    Peer,
)
from perf.bench.stage import Stage, StageError, pause

_OPEN_TIMEOUT_S: Final = 60.0
_SETTLE_S: Final = 0.3
_END_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of idle connection."""

    what: What
    path: Path
    exchange: str
    port: int
    ports: int
    connections: int
    peer: Peer
    way: Load


KINDS: Final = (
    Kind("plain_http", "hop", "http", SMALL_PORT, 1, IDLE_CONNECTIONS, "envoy-min", "http"),
    Kind("plain_tcp", "hop", "echo", ECHO_PORTS[0], 1, IDLE_CONNECTIONS, "envoy-tcp", "pingpong"),
    Kind("tunnel_stream", "mesh", "echo", ECHO_PORTS[0], 1, IDLE_CONNECTIONS, "envoy-connect", "pingpong"),
    Kind("tunnel", "mesh", "echo", FRESH_PORTS_FROM, IDLE_TUNNELS, IDLE_TUNNELS, "envoy-mtls", "handshake"),
)
"""`tunnel`: each connection in a tunnel, or TLS connection, of its own. `tunnel_stream`: all in one."""


def resident(stage: Stage) -> list[Resident]:
    """Return the memory of our idle processes; of several alike, the largest."""
    largest: dict[str, int] = {}
    for node in stage.agents:
        for pid in stage.agent_processes(node):
            name = cpu.name_of(pid)
            largest[name] = max(largest.get(name, 0), cpu.resident_kib(pid))
    return [Resident(process=name, mib=kib / 1024) for name, kib in sorted(largest.items())]


def idle_memory(stage: Stage, envoys: Envoys) -> Iterator[MemorySample | Resident]:
    """Measure every kind, ours first; the agents must be fresh."""
    yield from resident(stage)
    with ExitStack() as held:
        for kind in KINDS:
            ours = our_hop(stage) if kind.path == "hop" else our_pair(stage, kind.way)
            yield held.enter_context(_grown(stage, kind, ours))
    for kind in KINDS:
        port = ECHO_PORTS[0] if kind.exchange == "echo" else kind.port
        with envoys.running_one(kind.peer, scene.PEER_SETS[0], port) as theirs:
            idle = sum(cpu.resident_kib(pid) for pid in theirs.groups[0]())
            with _grown(stage, kind, theirs) as sample:
                yield sample
        if kind is KINDS[0]:
            yield Resident(process="envoy", mib=idle / 1024)


@contextmanager
def _grown(stage: Stage, kind: Kind, entrant: Entrant) -> Iterator[MemorySample]:
    """Hold idle connections while the block lasts, and say what they added."""
    first_use = kind.port if kind.ports == 1 else kind.port + kind.ports
    with Idle(stage, kind, entrant, (first_use, first_use), 1):  # what a kind brings with it once is no cost of each
        pause(_SETTLE_S)
    before = _memory(entrant)
    with Idle(stage, kind, entrant, (kind.port, kind.port + kind.ports - 1), kind.connections) as idle:
        pause(_SETTLE_S)
        growth = tuple(now - then for now, then in zip(_memory(entrant), before, strict=True))
        left = idle.still_open()
        yield MemorySample(
            what=kind.what,
            contestant=entrant.name,
            connections=kind.connections,
            growth_kib=growth,
            void="" if left == kind.connections else f"{left} of {kind.connections} connections were left",
        )


def _memory(entrant: Entrant) -> list[int]:
    return [sum(cpu.resident_kib(pid) for pid in group()) for group in entrant.groups]


class Idle:
    """Idle connections, open while the block lasts.

    Raises:
        StageError: they cannot be opened.
    """

    def __init__(self, stage: Stage, kind: Kind, entrant: Entrant, ports: tuple[int, int], connections: int) -> None:
        words = (entrant.host, f"{ports[0]}-{ports[1]}", str(connections), kind.exchange)
        self._command = stage.command_in(entrant.client, stage.cores.load, stage.programs.idle, *words)
        self._what = f"{connections} idle connections ({kind.what}) through {entrant.name}"
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
        )
        try:
            self._line()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    def still_open(self) -> int:
        """Return how many connections have not been closed by the other side."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write("?\n")
        self._process.stdin.flush()
        return self._line()

    def _line(self) -> int:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], _OPEN_TIMEOUT_S)[0]:
            raise StageError(f"{self._what}: not open within {_OPEN_TIMEOUT_S:g} s")
        line = process.stdout.readline()
        if not line:
            errors = process.stderr.read() if process.stderr is not None else ""
            raise StageError(f"{self._what}: {errors.strip()}")
        found: int = json.loads(line)["open"]
        return found

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        try:
            process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_END_TIMEOUT_S)
