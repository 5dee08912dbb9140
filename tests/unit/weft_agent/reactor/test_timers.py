"""Timers: never early, at most a tick late, cancelled means cancelled."""

from hypothesis import given
from hypothesis import strategies as st

from weft_agent.reactor.timers import BUCKETS, TICK_S, Timers


class Holder:
    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.in_wheel = False
        self.expired = 0

    def expire(self) -> None:
        self.expired += 1

    def count(self) -> int:
        return self.expired


def run(timers: Timers, now: float) -> None:
    for call in timers.advance(now):
        call()


@given(delay=st.floats(0.01, 1000), step=st.floats(0.05, 40))
def test_a_holder_expires_once_never_early_and_at_most_a_tick_late(delay: float, step: float) -> None:
    start = 5000.0
    timers, holder = Timers(start), Holder(start + delay)
    timers.watch(holder)
    now = start
    while holder.in_wheel:
        now += step
        run(timers, now)
        assert now >= holder.deadline if holder.expired else now < holder.deadline + 2 * TICK_S
    run(timers, now + 1000)
    assert holder.expired == 1
    assert not holder.in_wheel


def test_a_deadline_that_moved_on_is_honoured() -> None:
    timers, holder = Timers(0.0), Holder(1.0)
    timers.watch(holder)
    for tenth in range(1, 100):
        holder.deadline = tenth / 10 + 1.0
        run(timers, tenth / 10)
    assert holder.count() == 0
    run(timers, 11.5)
    assert holder.count() == 1


def test_deadline_zero_leaves_the_wheel_in_silence() -> None:
    timers, holder = Timers(0.0), Holder(1.0)
    timers.watch(holder)
    holder.deadline = 0.0
    run(timers, 5.0)
    assert (holder.expired, holder.in_wheel) == (0, False)
    assert timers.next_due() is None


def test_a_jump_of_the_clock_fires_everything_once() -> None:
    timers = Timers(0.0)
    holders = [Holder(seconds) for seconds in (0.5, 20.0, 100.0, BUCKETS * TICK_S * 3)]
    for holder in holders:
        timers.watch(holder)
    run(timers, 1e6)
    assert [holder.expired for holder in holders] == [1, 1, 1, 1]


def test_sharp_timers_fire_in_order_and_not_when_cancelled() -> None:
    timers, fired = Timers(0.0), list[str]()
    timers.at(0.2, lambda: fired.append("b"))
    cancelled = timers.at(0.15, lambda: fired.append("never"))
    timers.at(0.1, lambda: fired.append("a"))
    assert timers.next_due() == 0.1
    cancelled.cancel()
    run(timers, 0.05)
    assert fired == []
    run(timers, 0.3)
    assert fired == ["a", "b"]
    assert timers.next_due() is None


def test_a_timer_cancelled_by_another_of_the_same_batch_stays_silent() -> None:
    timers, fired = Timers(0.0), list[str]()
    timers.at(0.1, lambda: second.cancel())
    second = timers.at(0.2, lambda: fired.append("second"))
    run(timers, 1.0)
    assert fired == []
