"""The fuzzers' corpus replayed, and hypothesis on the same promises."""

from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft_testing.fuzzing import FuzzTarget, load, try_one
from weft_testing.tunnel_targets import BYTES, HEAD, OWNER, TARGETS, fuzz_block, fuzz_one
from weft_testing.tunnel_wire import RawPeer

CORPUS = Path(__file__).parent / "corpus"


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_replay(target: FuzzTarget) -> None:
    corpus = load(CORPUS / f"{target.name}.txt")
    assert corpus
    rng = Random(1)
    for data in (*target.seeds, *corpus):
        failure = try_one(target, data, rng)
        assert failure is None, failure


kinds = st.one_of(
    st.sampled_from([0, 0, 0, 1, 2, 3, 4, 6, 7, 8, 9, BYTES, 0xC1]),
    st.integers(HEAD, HEAD + 2),
    st.integers(OWNER, OWNER + 12),
    st.integers(0, 255),
)
steps = st.tuples(kinds, st.integers(0, 255), st.binary(max_size=60)).map(
    lambda step: bytes((step[0], step[1], len(step[2]))) + (step[2] if step[0] < HEAD or step[0] == BYTES else b"")
)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 7), st.lists(steps, max_size=25))
def test_programs_keep_every_promise(first: int, program: list[bytes]) -> None:
    fuzz_one(bytes((first,)) + b"".join(program))


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_garbage_keeps_every_promise(data: bytes) -> None:
    fuzz_one(data)
    fuzz_block(data)


@settings(deadline=None)
@given(st.binary(max_size=500), st.booleans(), st.booleans())
def test_garbage_from_the_first_byte_on_is_a_breach_or_nothing(data: bytes, client: bool, greet: bool) -> None:
    fixture = RawPeer(client=client, greet=greet)
    fixture.feed(data)
    fixture.frames()
    assert len(fixture.handler.errors) <= 1
    assert bool(fixture.handler.errors) == fixture.connection.closed
