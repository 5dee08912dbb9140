"""Updates from parts: however one is cut, the same change; whatever breaks the rules ends the session."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_agent.operator_client import assembly
from weft_agent.operator_client.assembly import Assembly, Change
from weft_agent.operator_client.errors import ProtocolError
from weft_contract.stream import Update

KEYS = st.sampled_from([f"Service/shop/{name}" for name in "abcdefgh"])
ITEMS = st.tuples(st.text("0123456789abcdef", min_size=4, max_size=4), st.binary(max_size=8))


@st.composite
def changes(draw: st.DrawFn) -> Change:
    upserts = draw(st.dictionaries(KEYS, ITEMS))
    removes = draw(st.frozensets(KEYS)) - upserts.keys()
    return Change((draw(st.integers(1, 100)),), upserts, removes)


def parts_of(change: Change, cuts: list[int]) -> list[Update]:
    """Cut a change into parts, in the way the numbers say."""
    (nonce,) = change.nonces
    single = [Update(nonce=nonce, upserts=((key, *item),), more=True) for key, item in change.upserts.items()]
    single += [Update(nonce=nonce, removes=(key,), more=True) for key in sorted(change.removes)]
    parts: list[Update] = []
    for index, part in enumerate(single):
        if parts and cuts[index % len(cuts)]:
            last = parts.pop()
            part = Update(
                nonce=nonce, upserts=last.upserts + part.upserts, removes=last.removes + part.removes, more=True
            )
        parts.append(part)
    parts.append(Update(nonce=nonce))
    return parts


@given(changes(), st.lists(st.integers(0, 1), min_size=1))
def test_any_cut_gives_the_same_change(change: Change, cuts: list[int]) -> None:
    assembly = Assembly()
    *first, last = [assembly.take(part) for part in parts_of(change, cuts)]
    assert first == [None] * len(first)
    assert last == change


def apply(state: dict[str, tuple[str, bytes]], change: Change) -> dict[str, tuple[str, bytes]]:
    kept = {key: item for key, item in state.items() if key not in change.removes}
    return kept | dict(change.upserts)


@given(st.dictionaries(KEYS, ITEMS), st.lists(changes(), min_size=1, max_size=5))
def test_merged_changes_do_what_they_do_one_by_one(state: dict[str, tuple[str, bytes]], several: list[Change]) -> None:
    merged = several[0]
    one_by_one = apply(state, several[0])
    for change in several[1:]:
        merged = merged.then(change)
        one_by_one = apply(one_by_one, change)
    assert apply(state, merged) == one_by_one
    assert merged.nonces == tuple(nonce for change in several for nonce in change.nonces)
    assert not merged.removes & merged.upserts.keys()


@pytest.mark.parametrize(
    "parts",
    [
        [Update(nonce=1), Update(nonce=1)],
        [Update(nonce=2), Update(nonce=1)],
        [Update(nonce=1, more=True), Update(nonce=2)],
        [Update(nonce=1, upserts=(("K", "h", b""), ("K", "h", b"")))],
        [Update(nonce=1, upserts=(("K", "h", b""),), removes=("K",))],
        [Update(nonce=1, upserts=(("K", "h", b""),), more=True), Update(nonce=1, removes=("K",))],
    ],
)
def test_what_breaks_the_rules_is_refused(parts: list[Update]) -> None:
    *first, last = parts
    assembly = Assembly()
    for part in first:
        assembly.take(part)
    with pytest.raises(ProtocolError):
        assembly.take(last)


def test_an_update_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "MAX_UPDATE_BYTES", 100)
    parts = Assembly()
    parts.take(Update(nonce=1, upserts=(("K1", "h", bytes(90)),), more=True))
    with pytest.raises(ProtocolError, match="larger than"):
        parts.take(Update(nonce=1, upserts=(("K2", "h", bytes(90)),), more=True))
