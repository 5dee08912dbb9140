"""The judgement over faults: what a death excuses, and what nothing does."""

from typing import Any

import pytest

from weft_testing.faults.cost import Death, cost, none_failed, only_its_own
from weft_testing.load_verdict import Failure, Kind, Outcome, Stream, Tally, Verdict

DEATH = Death(killed_s=10.0, gone_s=10.01, held=frozenset({4000}))
BEHIND_A_TUNNEL = Death(killed_s=10.0, gone_s=10.01)


def failure(outcome: Outcome = "closed", **fields: Any) -> Failure:
    given: dict[str, Any] = {"at_s": 10.02, "began_s": 9.99, "fresh": False, "port": 4000, "detail": ""} | fields
    return Failure(outcome=outcome, **given)


def verdict(*failures: Failure, kind: Kind = "http", name: str = "s") -> Verdict:
    tally = Tally(Stream(name=name, kind=kind, host="", port=0), 9.0, 1, lambda: None)
    tally.sent = 5 + len(failures)
    for number in range(5):
        tally.succeeded(9.1 + number, 9.2 + number)
    for item in failures:
        tally.failed(item)
    return tally.verdict(15.0)


@pytest.mark.parametrize(
    "excused",
    [
        verdict(failure()),
        verdict(failure("truncated")),
        verdict(failure("status")),
        verdict(failure("reset", fresh=True, port=0)),
        verdict(failure(began_s=10.01)),
        verdict(failure(began_s=10.03, at_s=10.04), kind="tcp"),
    ],
)
def test_what_was_in_flight_is_excused(excused: Verdict) -> None:
    assert only_its_own([excused], [DEATH]) == []
    assert len(none_failed([excused])) == 2


@pytest.mark.parametrize(
    "stranger",
    [
        verdict(failure(port=4001)),
        verdict(failure(port=4001), kind="tcp"),
        verdict(failure(began_s=10.02)),
        verdict(failure(began_s=9.0, at_s=9.5)),
        verdict(failure(began_s=10.03, at_s=10.04, fresh=True), kind="tcp"),
        verdict(failure("refused", fresh=True)),
        verdict(failure("timeout")),
        verdict(failure("wrong")),
    ],
)
def test_what_was_not_is_told(stranger: Verdict) -> None:
    (text,) = only_its_own([stranger], [DEATH])
    assert "not the victim's own" in text


def test_behind_a_tunnel_times_alone_tell() -> None:
    assert only_its_own([verdict(failure(port=4001))], [BEHIND_A_TUNNEL]) == []
    assert only_its_own([verdict(failure(port=4001, began_s=10.02))], [BEHIND_A_TUNNEL])


def test_any_of_several_deaths_excuses() -> None:
    later = Death(killed_s=20.0, gone_s=20.01, held=frozenset({5000}))
    found = verdict(failure(), failure(port=5000, began_s=19.99, at_s=20.02))
    assert only_its_own([found], [DEATH, later]) == []
    assert only_its_own([found], [DEATH])


def test_many_failures_are_counted_and_few_shown() -> None:
    found = only_its_own([verdict(*[failure(port=1)] * 9)], [DEATH])
    assert len(found) == 6
    assert found[-1] == "… and 4 more"


def test_an_account_adds_streams_up() -> None:
    made = cost("f", "b", [verdict(failure(at_s=14.0)), verdict(name="t")], ["bad"], replaced_ms=12.345)
    assert (made.sent, made.failed, made.outcomes) == (11, 1, {"ok": 10, "closed": 1})
    assert (made.longest_gap_stream, made.longest_gap_ms) == ("s", 1800.0), "failed to its end: 15.0 - 13.2 s"
    assert made.figures == {"replaced_ms": 12.3}
    assert not made.passed
    assert len(made.streams) == 2
