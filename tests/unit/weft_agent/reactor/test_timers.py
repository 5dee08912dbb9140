"""Timers: never early, at most a tick late, cancelled means cancelled."""

from hypothesis import given
from hypothesis import strategies as st

from weft_agent.reactor.timers import BUCKETS, OUTSIDE, SWEEP_MIN, TICK_S, Timers


class Holder:
    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.wheel_at = OUTSIDE
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
    while holder.wheel_at != OUTSIDE:
        now += step
        run(timers, now)
        assert now >= holder.deadline if holder.expired else now < holder.deadline + 2 * TICK_S
    run(timers, now + 1000)
    assert holder.expired == 1
    assert holder.wheel_at == OUTSIDE


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
    assert (holder.expired, holder.wheel_at) == (0, OUTSIDE)
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


@given(
    first=st.floats(0.01, 400),
    moves=st.lists(st.tuples(st.floats(0.0, 50), st.floats(0.01, 400)), max_size=12),
    step=st.floats(0.05, 2.0),
)
def test_a_deadline_that_moves_either_way_is_met_within_a_tick(
    first: float, moves: list[tuple[float, float]], step: float
) -> None:
    start = now = 5000.0
    timers, holder = Timers(start), Holder(start + first)
    timers.watch(holder)
    for wait, patience in moves:
        for _ in range(int(wait / step)):
            now += step
            run(timers, now)
            assert holder.expired or now < holder.deadline + 2 * TICK_S
        if holder.expired:
            break
        holder.deadline = now + patience
        if holder.deadline < holder.wheel_at:
            timers.watch(holder)
    while not holder.expired:
        now += step
        run(timers, now)
        assert now < holder.deadline + step + 2 * TICK_S
        assert holder.expired == (holder.wheel_at == OUTSIDE)
    assert now >= holder.deadline
    run(timers, now + 1000)
    assert holder.count() == 1
    assert timers.next_due() is None


def test_a_shorter_deadline_within_the_same_tick_needs_no_other_bucket() -> None:
    timers, holder = Timers(0.0), Holder(10.2)
    timers.watch(holder)
    assert holder.wheel_at == 10.0
    holder.deadline = 10.05
    timers.watch(holder)
    assert holder.wheel_at == 10.0
    run(timers, 10.0)
    assert holder.count() == 0
    run(timers, 10.25)
    assert holder.count() == 1


def test_a_holder_taken_out_is_not_kept_and_may_come_back() -> None:
    timers, holder = Timers(0.0), Holder(5.0)
    timers.watch(holder)
    timers.unwatch(holder)
    timers.unwatch(holder)
    assert timers.next_due() is None
    run(timers, 6.0)
    assert holder.count() == 0
    holder.deadline = 7.0
    timers.watch(holder)
    run(timers, 7.25)
    assert holder.count() == 1


def test_cancelled_timers_do_not_pile_up() -> None:
    timers = Timers(0.0)
    kept = [timers.at(100.0 + index, lambda: None) for index in range(10)]
    for _ in range(100 * SWEEP_MIN):
        timers.at(50.0, lambda: None).cancel()
    assert len(timers._heap) <= 2 * SWEEP_MIN
    assert sum(entry[2].callback is not None for entry in timers._heap) == len(kept)


def test_a_failed_callback_is_passed_on_to_its_owner() -> None:
    class Owner:
        crashed = 0

        def fail(self) -> None:
            raise ValueError

        def crash(self) -> None:
            self.crashed += 1

    timers, owner = Timers(0.0), Owner()
    timer = timers.at(1.0, owner.fail)
    (call,) = timers.advance(1.0)
    try:
        call()
    except ValueError:
        timer.crash()
    assert owner.crashed == 1
    other = timers.at(2.0, lambda: None)
    run(timers, 2.0)
    other.crash()
