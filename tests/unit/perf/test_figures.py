"""Medians, ratios and bars of a benchmark's samples."""

from perf.bench.figures import bars, memory_rows, rows
from perf.bench.samples import MemorySample, Resident, Sample


def sample(contestant: str, number: int, cpu_us: float, *, scenario: str = "http_hop", void: str = "") -> Sample:
    return Sample(
        scenario=scenario,
        connections=32,
        contestant=contestant,
        round=number,
        operations=1000.0,
        seconds=1.0,
        cpu_s=cpu_us / 1000,
        proxy_core_busy=0.99,
        load_core_busy=0.5,
        others_share=0.02,
        void=void,
    )


def test_a_row_is_the_ratio_of_medians_and_the_spread_of_rounds() -> None:
    found = rows(
        [
            *(sample("weft", number, us) for number, us in enumerate((30.0, 20.0, 40.0), 1)),
            *(sample("envoy-rbac", number, us) for number, us in enumerate((50.0, 50.0, 60.0), 1)),
        ]
    )
    assert len(found) == 1
    row = found[0]
    assert (row.scenario, row.connections, row.peer, row.unit) == ("http_hop", 32, "envoy-rbac", "request")
    assert round(row.cpu_us_per_request or 0, 6) == 30.0
    assert round(row.peer_cpu_us_per_request or 0, 6) == 50.0
    assert round(row.ratio or 0, 6) == 0.6
    assert row.spread is not None
    assert [round(value, 3) for value in row.spread] == [0.4, 0.667]
    assert (row.saturated, row.rounds, row.void) == ("proxy", 3, 0)


def test_a_void_run_counts_nowhere_and_says_so() -> None:
    found = rows([sample("weft", 1, 30.0), sample("weft", 2, 1.0, void="errors"), sample("envoy-rbac", 1, 60.0)])
    assert (round(found[0].ratio or 0, 6), found[0].void, found[0].rounds) == (0.5, 1, 1)
    assert rows([sample("weft", 1, 30.0, void="errors"), sample("envoy-rbac", 1, 60.0)])[0].ratio is None


def test_memory_is_that_of_the_proxy_that_grew_most() -> None:
    found = memory_rows(
        MemorySample(what="tunnel", contestant=name, connections=100, growth_kib=growth)
        for name, growth in (("weft", (2000, 2900)), ("envoy-mtls", (5800, 100)))
    )
    assert [(row.kib, row.peer_kib, row.ratio) for row in found] == [(29.0, 58.0, 0.5)]


def test_bars_are_met_missed_or_not_measured() -> None:
    measured = rows([sample("weft", 1, 76.0), sample("envoy-rbac", 1, 100.0)])
    verdicts = {bar.name: bar.passed for bar in bars(measured, [], [Resident(process="weft-worker", mib=45.0)])}
    assert verdicts["HTTP/1.1 with policy, to Envoy with RBAC"] is False
    assert verdicts["worker, idle"] is True
    assert verdicts["plaintext bulk, to Envoy"] is None
