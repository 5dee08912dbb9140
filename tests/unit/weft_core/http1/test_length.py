"""The counter of bodies of known length."""

from hypothesis import given
from hypothesis import strategies as st

from weft_core.http1 import LengthBody


def test_counts_down_and_leaves_the_rest() -> None:
    body = LengthBody(5)
    assert (body.take(3), body.remaining, body.finished) == (3, 2, False)
    assert (body.take(10), body.remaining, body.finished) == (2, 0, True)
    assert body.take(10) == 0


def test_nothing_to_come_is_finished() -> None:
    assert LengthBody(0).finished


@given(st.integers(0, 1000), st.lists(st.integers(0, 300)))
def test_never_takes_more_than_there_is(length: int, available: list[int]) -> None:
    body = LengthBody(length)
    taken = [body.take(count) for count in available]
    assert sum(taken) == length - body.remaining == min(length, sum(available))
