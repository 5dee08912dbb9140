"""The queue of bytes: order, sizes, and that small pieces do not become many objects."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft_core.tunnel.bytes_queue import SMALL_BYTES, BytesQueue

sizes = st.one_of(st.integers(0, 20), st.integers(SMALL_BYTES - 2, SMALL_BYTES + 2), st.just(20_000))


@settings(deadline=None)
@given(st.lists(st.one_of(sizes.map(lambda size: ("append", size)), st.tuples(st.just("take"), st.integers(0, 30_000)),
                          st.just(("pop", 0)), st.just(("clear", 0))), max_size=40))  # fmt: skip
def test_it_is_a_queue(steps: list[tuple[str, int]]) -> None:
    queue, model, count = BytesQueue(), b"", 0
    for step, size in steps:
        if step == "append":
            data = bytes((count + at) % 251 for at in range(size))
            count += size
            queue.append(data)
            model += data
        elif step == "take":
            size = min(size, len(model))
            assert b"".join(queue.take(size)) == model[:size]
            model = model[size:]
        elif step == "pop" and model:
            piece = bytes(queue.pop())
            assert piece
            assert model.startswith(piece)
            model = model[len(piece) :]
        elif step == "clear":
            queue.clear()
            model = b""
        assert queue.size == len(model)
    assert b"".join(queue.take(queue.size)) == model


@pytest.mark.parametrize("kind", [bytearray, memoryview])
@pytest.mark.parametrize("size", [10, SMALL_BYTES])
def test_what_may_change_is_copied(kind: Callable[[bytearray], bytearray | memoryview], size: int) -> None:
    source = bytearray(b"a" * size)
    queue = BytesQueue()
    queue.append(kind(source))
    source[:] = b"b" * size
    assert b"".join(queue.take(size)) == b"a" * size


def test_bulk_is_not_copied() -> None:
    data = bytes(100_000)
    queue = BytesQueue()
    queue.append(data)
    assert queue.take(100_000)[0] is data


def test_single_bytes_are_kept_together() -> None:
    queue = BytesQueue()
    for _ in range(100_000):
        queue.append(b"x")
    assert len(queue.take(100_000)) < 10


def test_a_piece_that_was_split_is_not_extended() -> None:
    queue = BytesQueue()
    queue.append(b"abcdef")
    first = queue.take(2)
    queue.append(b"ghi")
    assert b"".join(first) == b"ab"
    assert b"".join(queue.take(7)) == b"cdefghi"
