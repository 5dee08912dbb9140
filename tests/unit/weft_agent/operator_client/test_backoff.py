"""Pauses between attempts: growing, bounded, never the same for all, and never shorter than a server asks for."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from weft_agent.operator_client.backoff import Backoff


@given(st.integers(), st.floats(0.01, 10), st.floats(10, 100), st.integers(1, 60))
def test_every_wait_is_within_its_bounds(seed: int, first_s: float, longest_s: float, failures: int) -> None:
    backoff = Backoff(Random(seed), first_s, longest_s)
    for number in range(failures):
        middle_s = first_s * 2**number
        assert min(longest_s, middle_s / 2) <= backoff.next_s() <= min(longest_s, middle_s * 1.5)


@given(st.integers(), st.floats(0.001, 1000))
def test_what_the_server_asks_for_is_given_and_a_little_more(seed: int, asked_s: float) -> None:
    wait_s = Backoff(Random(seed), 0.5, 30.0).next_s(asked_s)
    assert asked_s <= wait_s <= max(0.75, asked_s * 1.25)


def test_success_begins_anew() -> None:
    backoff = Backoff(Random(1), 1.0, 60.0)
    for _ in range(100):
        backoff.next_s()
    backoff.reset()
    assert backoff.next_s() <= 1.5


def test_nodes_that_fail_together_do_not_come_together() -> None:
    waits = {round(Backoff(Random(seed), 1.0, 60.0).next_s(), 3) for seed in range(100)}
    assert len(waits) > 80
