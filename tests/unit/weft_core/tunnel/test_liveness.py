"""When to ask, when to give up: a conversation with a clock."""

from hypothesis import given, settings
from hypothesis import strategies as st

from weft_core.tunnel.liveness import Liveness, Verdict

ALIVE, ASK, DEAD = Verdict.ALIVE, Verdict.ASK, Verdict.DEAD


def test_silence_is_asked_about_and_then_ends() -> None:
    liveness = Liveness(10, 5)
    assert (liveness.tick(100), liveness.deadline) == (ALIVE, 110)
    assert (liveness.tick(105), liveness.deadline) == (ALIVE, 110)
    assert (liveness.tick(110), liveness.deadline) == (ASK, 115)
    assert (liveness.tick(112), liveness.deadline) == (ALIVE, 115)
    assert liveness.tick(115) is DEAD


def test_any_byte_is_a_sign_of_life() -> None:
    liveness = Liveness(10, 5)
    liveness.tick(0)
    assert liveness.tick(10) is ASK
    liveness.heard = True
    assert (liveness.tick(14), liveness.deadline) == (ALIVE, 20)
    assert liveness.tick(20) is ASK


def test_a_byte_may_be_as_old_as_the_last_tick() -> None:
    liveness = Liveness(10, 10)
    liveness.tick(0)
    liveness.heard = True  # perhaps at 0.1
    assert liveness.tick(10) is ASK
    assert liveness.tick(20) is DEAD


def test_our_own_stop_proves_nothing() -> None:
    liveness = Liveness(10, 5)
    liveness.tick(0)
    assert liveness.tick(10) is ASK
    assert (liveness.tick(600), liveness.deadline) == (ALIVE, 605), "the answer may be waiting in the socket"
    assert liveness.tick(605) is DEAD


def test_our_own_stop_before_the_question() -> None:
    liveness = Liveness(10, 5)
    liveness.tick(0)
    assert (liveness.tick(500), liveness.deadline) == (ASK, 505)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.01, 3.0), st.booleans()), max_size=60),
    st.floats(0, 1),
)
def test_f23_a_dead_peer_is_noticed_within_interval_and_timeout(steps: list[tuple[float, bool]], last: float) -> None:
    liveness = Liveness(10, 10)
    now = 0.0
    liveness.tick(now)
    for step, heard in steps:
        now += step
        liveness.heard = heard
        if liveness.tick(now) is DEAD:
            return
    heard_at = now + last / 10
    liveness.heard = True
    verdict = ALIVE
    while verdict is not DEAD:
        now = max(liveness.deadline, heard_at)
        verdict = liveness.tick(now)
        assert now - heard_at <= 20 + 1e-6


@settings(deadline=None)
@given(st.lists(st.floats(0.01, 9.9), min_size=1, max_size=60))
def test_a_peer_that_speaks_is_never_given_up(steps: list[float]) -> None:
    liveness = Liveness(10, 10)
    now = 0.0
    liveness.tick(now)
    for step in steps:
        now += step
        liveness.heard = True
        assert liveness.tick(now) is not DEAD
