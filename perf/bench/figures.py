"""From samples to figures: medians, ratios, spread, what was full, and the bars. Pure.

Theory: runs of the contestants are interleaved, so a round compares what happened within seconds. The ratio is that of the two
medians over all rounds, so that it can be checked against the two figures beside it; the spread is the least and greatest
ratio of a single round. A run that is void counts nowhere, and its partner of that round not for the spread.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from statistics import median
from typing import Final

from perf.bench.samples import Bar, MemoryRow, MemorySample, Resident, Row, Sample
from perf.bench.scenarios import SCENARIOS, Unit

OURS: Final = "weft"
FULL: Final = 0.95
"""A core busy for this share of a run was what limited it."""
_UNITS: Final[dict[str, Unit]] = {scenario.name: scenario.unit for scenario in SCENARIOS}


def rows(samples: Iterable[Sample]) -> tuple[Row, ...]:
    """Return one row for each scenario, number of connections and peer, in the order in which they were measured."""
    found: list[Row] = []
    order: list[tuple[str, int]] = []
    groups: dict[tuple[str, int], list[Sample]] = {}
    for sample in samples:
        key = (sample.scenario, sample.connections)
        if key not in groups:
            order.append(key)
        groups.setdefault(key, []).append(sample)
    for key in order:
        ours = [sample for sample in groups[key] if sample.contestant == OURS]
        peers = dict.fromkeys(sample.contestant for sample in groups[key] if sample.contestant != OURS)
        for peer in peers:
            found.append(_row(ours, [sample for sample in groups[key] if sample.contestant == peer]))
    return tuple(found)


def _row(ours: Sequence[Sample], theirs: Sequence[Sample]) -> Row:
    good, peer_good = [s for s in ours if not s.void], [s for s in theirs if not s.void]
    first = theirs[0]
    cpu, peer_cpu = _median(s.cpu_us for s in good), _median(s.cpu_us for s in peer_good)
    by_round = {sample.round: sample.cpu_us for sample in peer_good}
    ratios = [sample.cpu_us / by_round[sample.round] for sample in good if by_round.get(sample.round)]
    return Row(
        scenario=first.scenario,
        connections=first.connections,
        peer=first.contestant,
        unit=_UNITS.get(first.scenario, "request"),
        cpu_us_per_request=cpu,
        peer_cpu_us_per_request=peer_cpu,
        ratio=cpu / peer_cpu if cpu is not None and peer_cpu else None,
        spread=(min(ratios), max(ratios)) if ratios else None,
        rate=_median(s.rate for s in good),
        peer_rate=_median(s.rate for s in peer_good),
        saturated=_saturated(good),
        peer_saturated=_saturated(peer_good),
        others_share=_median(s.others_share for s in (*good, *peer_good)) or 0.0,
        rounds=len(ratios),
        void=len(ours) + len(theirs) - len(good) - len(peer_good),
    )


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return median(found) if found else None


def _saturated(samples: Sequence[Sample]) -> str:
    if not samples:
        return "unknown"
    proxy = median(sample.proxy_core_busy for sample in samples) >= FULL
    load = median(sample.load_core_busy for sample in samples) >= FULL
    if proxy and load:
        return "both"
    return "proxy" if proxy else "load" if load else "neither"


def memory_rows(samples: Iterable[MemorySample]) -> tuple[MemoryRow, ...]:
    """Return one row for each kind of idle connection and peer."""
    found = []
    for _, group in groupby(sorted(samples, key=lambda sample: sample.what), key=lambda sample: sample.what):
        members = list(group)
        ours = next((sample for sample in members if sample.contestant == OURS), None)
        found += [_memory_row(ours, sample) for sample in members if sample.contestant != OURS]
    return tuple(found)


def _memory_row(ours: MemorySample | None, theirs: MemorySample) -> MemoryRow:
    kib = ours.kib_each if ours is not None and not ours.void else None
    peer_kib = theirs.kib_each if not theirs.void else None
    return MemoryRow(
        what=theirs.what,
        connections=theirs.connections,
        peer=theirs.contestant,
        kib=kib,
        peer_kib=peer_kib,
        ratio=kib / peer_kib if kib is not None and peer_kib else None,
    )


# -- bars -----------------------------------------------------------------------------------------------------------

RATIO_BARS: Final = (
    ("HTTP/1.1 with policy, to Envoy with RBAC", "http_hop", 32, "envoy-rbac", 0.75),
    ("two agents, HTTP, to Envoy HTTP/2 over mTLS", "mesh_http", 32, "envoy-h2", 0.80),
    ("two agents, opaque TCP, to Envoy CONNECT", "mesh_tcp", 32, "envoy-connect", 1.20),
    ("TCP ping-pong through one agent, to Envoy", "tcp_pingpong", 32, "envoy-tcp", 0.80),
    ("plaintext bulk, to Envoy", "tcp_bulk", 1, "envoy-tcp", 1.0),
    ("mTLS bulk, to Envoy CONNECT", "mesh_bulk", 1, "envoy-connect", 1.4),
    ("new connection over a live tunnel, to Envoy CONNECT", "new_connection", 32, "envoy-connect", 1.0),
)
_IDLE_BARS: Final = (
    ("idle connection, plaintext HTTP", "plain_http", 2.0),
    ("idle connection, plaintext TCP", "plain_tcp", 2.0),
    ("idle TLS connection between agents", "tunnel", 30.0),
)
_RESIDENT_BARS: Final = (("worker, idle", "weft-worker", 45.0), ("control, idle", "weft-control", 70.0))


def bars(found: Iterable[Row], memory: Iterable[MemoryRow], resident: Iterable[Resident]) -> tuple[Bar, ...]:
    """Return every bar with what was measured."""
    ratios = {(row.scenario, row.connections, row.peer): row.ratio for row in found}
    idle = {row.what: row.kib for row in memory}
    processes = {item.process: item.mib for item in resident}
    return (
        *(
            _bar(name, limit, "of the peer's CPU", ratios.get((scenario, connections, peer)))
            for name, scenario, connections, peer, limit in RATIO_BARS
        ),
        *(_bar(name, limit, "KiB", idle.get(what)) for name, what, limit in _IDLE_BARS),
        *(_bar(name, limit, "MiB", processes.get(process)) for name, process, limit in _RESIDENT_BARS),
    )


def _bar(name: str, limit: float, unit: str, measured: float | None) -> Bar:
    passed = None if measured is None else measured <= limit
    return Bar(name=name, limit=limit, unit=unit, measured=measured, passed=passed)
