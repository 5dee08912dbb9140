"""Measuring one scenario: everybody ready, proved and warm, then rounds in which the contestants take turns."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from perf.bench import cpu
from perf.bench.entrants import Entrant, Envoys, forwarded_port, our_hop, our_pair
from perf.bench.load import Run, run
from perf.bench.proof import prove
from perf.bench.samples import Sample
from perf.bench.scenarios import FRESH_PORTS_FROM, HANDSHAKES_PER_RUN, Scenario, levels
from perf.bench.stage import Stage, StageError, pause

GRACE_S = 0.05
"""After a generator has ended, before the counters are read: connections that it closed are closed in the proxies too."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How much is measured."""

    rounds: int
    seconds: int
    quick: bool


def measure(
    stage: Stage, envoys: Envoys, scenario: Scenario, settings: Settings, tell: Callable[[str], None]
) -> Iterator[Sample]:
    """Measure one scenario at all its numbers of connections.

    Args:
        stage: the lab.
        envoys: starts the peers.
        scenario: what.
        settings: how much.
        tell: takes a line about progress.

    Raises:
        StageError: a contestant cannot do what the scenario is about.
    """
    with envoys.running(scenario.peers, forwarded_port(scenario.load, scenario.port)) as peers:
        ours = our_hop(stage) if scenario.path == "hop" else our_pair(stage, scenario.load)
        contest = _Contest(stage, scenario, settings.seconds, (ours, *peers))
        contest.warm_up()
        for connections in levels(scenario, quick=settings.quick):
            for number in range(1, settings.rounds + 1):
                for sample in contest.round(connections, number):
                    tell(_line(sample))
                    yield sample


class _Contest:
    """The entrants of a scenario, taking turns."""

    def __init__(self, stage: Stage, scenario: Scenario, seconds: int, entrants: tuple[Entrant, ...]) -> None:
        self._stage = stage
        self._scenario = scenario
        self._seconds = seconds
        self._entrants = entrants
        self._wire_bytes = {entrant.name: prove(stage, scenario, entrant) for entrant in entrants}
        self._fresh_port = FRESH_PORTS_FROM

    def warm_up(self) -> None:
        """Let everybody do the work once, so that pools, caches and tunnels are there.

        Raises:
            StageError: somebody cannot do it.
        """
        for entrant in self._entrants:
            done = self._run(entrant, min(32, max(self._scenario.levels)), 1)
            if done.errors:
                raise StageError(f"{entrant.name} cannot do {self._scenario.name}: {'; '.join(done.errors)}")
        self._fresh_port += HANDSHAKES_PER_RUN

    def round(self, connections: int, number: int) -> Iterator[Sample]:
        """Measure everybody once."""
        for entrant in self._entrants:
            yield self._sample(entrant, connections, number)
        self._fresh_port += HANDSHAKES_PER_RUN

    def _sample(self, entrant: Entrant, connections: int, number: int) -> Sample:
        cores = self._stage.cores
        both = (cores.proxies, cores.load)
        before = cpu.read(entrant.processes(), both)
        done = self._run(entrant, connections, self._seconds)
        pause(GRACE_S)
        after = cpu.read([*before.processes_ns, *entrant.processes()], both)
        happened = cpu.used(before, after)
        void = [*done.errors]
        if happened.ended:
            void.append(f"processes of {entrant.name} ended: {happened.ended}")
        proxy_busy = happened.busy[cores.proxies]
        return Sample(
            scenario=self._scenario.name,
            connections=connections,
            contestant=entrant.name,
            round=number,
            operations=done.operations,
            seconds=done.seconds,
            cpu_s=happened.cpu_s,
            proxy_core_busy=proxy_busy,
            load_core_busy=happened.busy[cores.load],
            others_share=max(0.0, proxy_busy - happened.cpu_s / happened.wall_s),
            p50_us=done.p50_us,
            p99_us=done.p99_us,
            void="; ".join(void),
        )

    def _run(self, entrant: Entrant, connections: int, seconds: int) -> Run:
        return run(
            self._stage,
            self._scenario,
            entrant,
            connections,
            seconds,
            wire_bytes=self._wire_bytes[entrant.name],
            first_port=self._fresh_port,
        )


def _line(sample: Sample) -> str:
    where = f"{sample.scenario} {sample.connections:>3} round {sample.round} {sample.contestant:14}"
    if sample.void:
        return f"{where} VOID: {sample.void}"
    return (
        f"{where} {sample.cpu_us:12,.1f} us/op {sample.rate:12,.1f} op/s  cores {sample.proxy_core_busy:4.0%} "
        f"{sample.load_core_busy:4.0%}, others {sample.others_share:4.0%}"
    )
