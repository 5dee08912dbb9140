"""Probes: counted as a kubelet counts them, and tried again soon while a container is fresh."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_lab.model import Probe
from weft_lab.plan.probes import ProbeKind, ProbeState


def state(kind: ProbeKind = "readiness", start: float = 100.0, **fields: int) -> ProbeState:
    return ProbeState(kind, Probe(**fields), start)  # type: ignore[arg-type]  # integers of the probe's own fields


def answer(found: ProbeState, ok: bool, now: float) -> bool | None:
    """Let a probe be answered, and return the verdict."""
    found.begin()
    found.answered(ok, now)
    return found.healthy


def test_the_first_is_due_after_the_initial_delay() -> None:
    assert state(initial_delay_seconds=3).due_at == 103.0


def test_nothing_is_decided_before_a_threshold() -> None:
    found = state(success_threshold=2, failure_threshold=2, period_seconds=1)
    answers = [True, False, True, True, False, False]
    verdicts = [answer(found, ok, 100.0 + number) for number, ok in enumerate(answers)]
    assert verdicts == [None, None, None, True, True, False]


def test_dates_keep_the_period_and_do_not_drift() -> None:
    found = state(period_seconds=5)
    answer(found, True, 100.4)
    assert found.due_at == 105.0
    answer(found, True, 105.2)
    assert found.due_at == 110.0


def test_a_late_answer_makes_the_next_due_at_once_but_not_twice() -> None:
    found = state(period_seconds=1)
    answer(found, True, 107.0)
    assert found.due_at == 107.0


@pytest.mark.parametrize("kind", ["startup", "readiness"])
def test_a_fresh_container_is_asked_again_soon_and_forgiven(kind: ProbeKind) -> None:
    found = state(kind, period_seconds=10, failure_threshold=1)
    now, waits = 100.0, []
    while now < 110.0:
        answer(found, False, now)
        waits.append(round(found.due_at - now, 3))
        assert found.healthy is None
        now = found.due_at
    assert waits[:4] == [0.1, 0.2, 0.4, 0.8]
    answer(found, False, now)
    assert found.healthy is False


def test_liveness_is_never_forgiven() -> None:
    found = state("liveness", failure_threshold=1)
    answer(found, False, 100.0)
    assert found.healthy is False


def test_a_container_that_answered_once_is_not_fresh_any_more() -> None:
    found = state(period_seconds=10, failure_threshold=1)
    answer(found, True, 100.0)
    answer(found, False, 100.5)
    assert found.healthy is False


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 4), st.integers(1, 4))
def test_the_verdict_is_that_of_the_last_full_run_of_equal_answers(answers: list[bool], up: int, down: int) -> None:
    found = state("liveness", success_threshold=up, failure_threshold=down)
    expected: bool | None = None
    for number, ok in enumerate(answers):
        answer(found, ok, 100.0 + number)
        need = up if ok else down
        if answers[max(0, number + 1 - need) : number + 1] == [ok] * need:
            expected = ok
        assert found.healthy is expected
