"""The schedule of keys: one at a time, nothing lost, nothing twice, failures wait longer."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from weft_operator.controllers.schedule import FIRST_BACKOFF_S, MAX_BACKOFF_S, Schedule


def schedule(chance: float = 0.0) -> Schedule[str]:
    return Schedule(lambda: chance)


def test_keys_come_when_they_are_due_and_in_that_order() -> None:
    found = schedule()
    found.add("b", 2.0)
    found.add("a", 1.0)
    assert found.take(0.5) is None
    assert found.next_at() == 1.0
    assert [found.take(3.0), found.take(3.0), found.take(3.0)] == ["a", "b", None]


def test_the_earliest_wish_counts_and_two_wishes_are_one() -> None:
    found = schedule()
    found.add("a", 5.0)
    found.add("a", 1.0)
    found.add("a", 9.0)
    assert len(found) == 1
    assert found.take(1.0) == "a"
    found.done("a")
    assert found.take(100.0) is None


def test_a_wish_during_the_work_is_kept_until_it_is_done() -> None:
    found = schedule()
    found.add("a", 0.0)
    assert found.take(0.0) == "a"
    found.add("a", 0.0)
    found.add("b", 1.0)
    assert found.next_at() == 1.0, "nobody is woken for a key that is taken"
    assert found.take(1.0) == "b"
    assert found.take(1.0) is None
    found.done("a")
    assert found.take(1.0) == "a"


def test_done_may_ask_for_another_look() -> None:
    found = schedule()
    found.add("a", 0.0)
    found.take(0.0)
    found.done("a", again_at=7.0)
    assert found.next_at() == 7.0


def test_failures_wait_longer_and_longer_and_success_forgets_them() -> None:
    found = schedule()
    waits = []
    found.add("a", 0.0)
    for _ in range(12):
        assert found.take(1e9) == "a"
        waits.append(found.failed("a", 0.0))
    assert waits[:3] == [FIRST_BACKOFF_S, 2 * FIRST_BACKOFF_S, 4 * FIRST_BACKOFF_S]
    assert waits[-1] == MAX_BACKOFF_S
    found.take(1e9)
    found.done("a", again_at=0.0)
    found.take(0.0)
    assert found.failed("a", 0.0) == FIRST_BACKOFF_S


def test_chance_spreads_repetitions_by_half() -> None:
    found = schedule(chance=0.99)
    found.add("a", 0.0)
    found.take(0.0)
    assert FIRST_BACKOFF_S / 2 < found.failed("a", 0.0) < FIRST_BACKOFF_S


class Model(RuleBasedStateMachine):
    """The schedule against a dictionary of due times and a set of taken keys."""

    def __init__(self) -> None:
        super().__init__()
        self.schedule = schedule()
        self.now = 0.0
        self.due: dict[str, float] = {}
        self.taken: set[str] = set()

    @rule(key=st.sampled_from("abc"), wait=st.sampled_from([0.0, 1.0, 2.0]))
    def add(self, key: str, wait: float) -> None:
        self.schedule.add(key, self.now + wait)
        self.due[key] = min(self.due.get(key, float("inf")), self.now + wait)

    @rule(step=st.sampled_from([0.5, 1.0]))
    def pass_time(self, step: float) -> None:
        self.now += step

    @rule()
    def take(self) -> None:
        ready = {key: at for key, at in self.due.items() if at <= self.now and key not in self.taken}
        key = self.schedule.take(self.now)
        if not ready:
            assert key is None
            return
        assert key is not None
        assert ready[key] == min(ready.values())
        del self.due[key]
        self.taken.add(key)

    @precondition(lambda self: bool(self.taken))
    @rule(again=st.sampled_from([None, 0.0, 2.0]), fails=st.booleans())
    def finish(self, again: float | None, fails: bool) -> None:
        key = min(self.taken)
        self.taken.discard(key)
        if fails:
            wait_s = self.schedule.failed(key, self.now)
            self.due[key] = min(self.due.get(key, float("inf")), self.now + wait_s)
        else:
            self.schedule.done(key, None if again is None else self.now + again)
            if again is not None:
                self.due[key] = min(self.due.get(key, float("inf")), self.now + again)

    @invariant()
    def agrees(self) -> None:
        assert len(self.schedule) == len(self.due)
        free = [at for key, at in self.due.items() if key not in self.taken]
        assert self.schedule.next_at() == min(free, default=None)


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
