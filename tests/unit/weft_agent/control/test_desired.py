"""Differences: a worker that is told them knows exactly what it should, from whatever it knew before."""

import os

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from weft_agent.channel import memfd
from weft_agent.channel.messages import UpdateContent
from weft_agent.control.desired import Entries, difference

keys = st.sampled_from([f"Service/shop/{name}" for name in "abcdef"])
states = st.dictionaries(keys, st.integers(0, 3)).map(
    lambda found: {key: (f"hash{value}", b"%d" % value) for key, value in found.items()}
)


def content(fd: int | None) -> UpdateContent:
    if fd is None:
        return [], []
    data: list[list[object]] = msgspec.msgpack.decode(memfd.content(fd))
    os.close(fd)
    return msgspec.convert(data, type=tuple[list[tuple[str, str, bytes]], list[str]])


def tell(known: Entries, told: Entries | None, wanted: Entries) -> Entries:
    update, fd, keys = difference(told, wanted, 7)
    changed, removes = content(fd)
    assert keys == {*removes, *(key for key, _, _ in changed)}
    assert update.generation == 7
    assert update.whole == (told is None)
    result = {} if update.whole else dict(known)
    for key in removes:
        del result[key]
    for key, digest, data in changed:
        result[key] = (digest, data)
    return result


@given(states, states)
def test_a_difference_leads_from_any_state_to_any_other(before: Entries, after: Entries) -> None:
    assert tell(before, before, after) == after
    assert tell(before, None, after) == after


@given(states)
def test_nothing_new_needs_no_memory(state: Entries) -> None:
    equal = {key: (digest, bytes(data)) for key, (digest, data) in state.items()}
    assert difference(state, state, 1)[1:] == difference(equal, state, 1)[1:] == (None, frozenset())
