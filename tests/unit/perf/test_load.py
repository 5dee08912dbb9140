"""What a load generator says is judged: a run with one wrong operation does not count."""

from typing import Any

from perf.bench.load import reading
from perf.bench.scenarios import GIB, SCENARIOS, Scenario

WIRE_BYTES = 120


def scenario(name: str) -> Scenario:
    return next(item for item in SCENARIOS if item.name == name)


def wrk(**changed: int) -> dict[str, Any]:
    said = dict.fromkeys(("connect", "read", "write", "status", "timeout"), 0)
    return {**said, "operations": 1000, "bytes": 1000 * WIRE_BYTES, "seconds": 1.0, "p50_us": 7, **changed}


def test_a_good_run_counts() -> None:
    run = reading(scenario("http_hop"), wrk(), 32, WIRE_BYTES)
    assert (run.operations, run.errors, run.p50_us, run.p99_us) == (1000, (), 7, None)


def test_errors_and_short_answers_are_told() -> None:
    assert reading(scenario("http_hop"), wrk(status=3), 32, WIRE_BYTES).errors == ("3 status errors",)
    assert "bytes for 1000 answers" in reading(scenario("http_hop"), wrk(bytes=60_000), 32, WIRE_BYTES).errors[0]
    assert reading(scenario("http_hop"), wrk(operations=0, bytes=0), 32, WIRE_BYTES).errors == ("nothing was done",)


def test_bulk_is_counted_in_gib_and_handshakes_must_be_all() -> None:
    said = {"errors": 0, "first_error": "", "seconds": 2.0, "bytes": 3 * GIB, "operations": 7}
    assert reading(scenario("tcp_bulk"), said, 1, 0).operations == 3
    assert reading(scenario("handshake"), said, 32, 0).errors == ("7 of 200 connections",)
    wrong = said | {"errors": 2, "first_error": "connection reset"}
    assert reading(scenario("tcp_pingpong"), wrong, 32, 0).errors == ("2 errors, first: connection reset",)
