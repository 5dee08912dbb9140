"""What a node is told: only what differs, always the newest, until it is in force; in parts that fit a frame."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_contract.stream import MAX_FRAME_BYTES, Ack, Update, encoder, from_operator_decoder
from weft_operator.distribution.session import Batch, ProtocolError, Session, State, parts
from weft_operator.live import Item


def item(key: str, version: int, size: int = 8) -> Item:
    return Item(key, f"{key}@{version}", f"{version}".encode().ljust(size, b"."))


def items(desired: Mapping[str, int]) -> dict[str, Item]:
    return {key: item(key, version) for key, version in desired.items()}


def keys(batch: Batch | None) -> list[str]:
    return sorted(batch.keys) if batch is not None else []


def test_only_differences_are_sent() -> None:
    desired = items({"same": 1, "other": 2, "new": 1})
    session = Session({"same": "same@1", "other": "other@1", "gone": "gone@1"}, desired.values())
    batch = session.take(desired.get)
    assert batch is not None
    assert sorted(entry.key for entry in batch.upserts) == ["new", "other"]
    assert batch.removes == ("gone",)
    assert batch.since is None, "nothing of it happened now"
    assert session.state("same") is State.IN_FORCE
    assert session.state("new") is State.LAGGING
    settled = session.acked(Ack(nonce=batch.nonce), desired.get)
    assert settled.keys == {"new", "other", "gone"}
    assert session.state("new") is State.IN_FORCE
    assert session.settled


def test_a_node_that_has_everything_is_told_nothing() -> None:
    desired = items({"a": 1})
    session = Session({"a": "a@1"}, desired.values())
    assert session.settled
    assert session.take(desired.get) is None


def test_one_update_at_a_time_and_then_the_newest() -> None:
    desired = items({"a": 1})
    session = Session({}, desired.values())
    first = session.take(desired.get)
    assert first is not None
    for version in (2, 3):
        desired["a"] = item("a", version)
        session.mark(["a"], since=float(version))
        assert session.take(desired.get) is None, "the first is not acknowledged"
    session.acked(Ack(nonce=first.nonce), desired.get)
    assert session.state("a") is State.LAGGING, "version 1 is in force, version 3 is wanted"
    second = session.take(desired.get)
    assert second is not None
    assert [entry.hash for entry in second.upserts] == ["a@3"]
    assert second.nonce > first.nonce
    assert second.since == 2.0, "the lag counts from the oldest change"


def test_a_refusal_lasts_until_the_resource_changes() -> None:
    desired = items({"a": 1, "b": 1})
    session = Session({}, desired.values())
    batch = session.take(desired.get)
    assert batch is not None
    settled = session.acked(Ack(nonce=batch.nonce, refused=(("a", "a@1", "no such type"),)), desired.get)
    assert settled.refused == {"a"}
    assert (session.state("a"), session.state("b")) == (State.REFUSED, State.IN_FORCE)
    assert session.refused["a"].reason == "no such type"
    assert session.settled, "it is not sent again as it is"
    desired["a"] = item("a", 2)
    session.mark(["a"], 1.0)
    assert session.state("a") is State.LAGGING
    batch = session.take(desired.get)
    assert batch is not None
    session.acked(Ack(nonce=batch.nonce), desired.get)
    assert session.state("a") is State.IN_FORCE
    assert not session.refused


def test_a_refusal_of_a_version_that_was_replaced_meanwhile_says_nothing() -> None:
    desired = items({"a": 1})
    session = Session({}, desired.values())
    batch = session.take(desired.get)
    assert batch is not None
    desired["a"] = item("a", 2)
    session.mark(["a"], 1.0)
    session.acked(Ack(nonce=batch.nonce, refused=(("a", "a@1", "no"),)), desired.get)
    assert session.state("a") is State.LAGGING
    assert not session.refused


def test_one_resource_may_spoil_another_and_strangers_are_not_remembered() -> None:
    desired = items({"a": 1, "b": 1})
    session = Session({"a": "a@1"}, desired.values())
    batch = session.take(desired.get)
    assert keys(batch) == ["b"]
    assert batch is not None
    refused = (("a", "a@1", "b takes its port"), ("never heard of", "x", "?"))
    settled = session.acked(Ack(nonce=batch.nonce, refused=refused), desired.get)
    assert session.state("a") is State.REFUSED
    assert settled.keys == {"a", "b"}
    assert set(session.refused) == {"a"}


@pytest.mark.parametrize("nonce", [0, 2])
def test_an_ack_of_another_update_breaks_the_contract(nonce: int) -> None:
    desired = items({"a": 1})
    session = Session({}, desired.values())
    assert session.take(desired.get) is not None
    with pytest.raises(ProtocolError, match=f"Ack of update {nonce}, but update 1 is in flight"):
        session.acked(Ack(nonce=nonce), desired.get)


def test_an_ack_without_an_update_breaks_the_contract() -> None:
    with pytest.raises(ProtocolError, match="no update is in flight"):
        Session({}, []).acked(Ack(nonce=1), items({}).get)


def test_a_refusal_of_what_was_not_sent_breaks_the_contract() -> None:
    desired = items({"a": 1})
    session = Session({}, desired.values())
    assert session.take(desired.get) is not None
    with pytest.raises(ProtocolError, match="of a hash that was not sent"):
        session.acked(Ack(nonce=1, refused=(("a", "a@7", "no"),)), desired.get)


def test_what_exceeds_a_frame_is_refused_by_us_and_the_rest_goes_on() -> None:
    desired = items({"a": 1}) | {"Peers/big": item("Peers/big", 1, MAX_FRAME_BYTES)}
    session = Session({}, desired.values())
    batch = session.take(desired.get)
    assert keys(batch) == ["a"]
    assert [entry.key for entry in session.oversized] == ["Peers/big"]
    assert session.state("Peers/big") is State.REFUSED
    assert "1024 KiB, more than the 1024 KiB of one message" in session.refused["Peers/big"].reason
    desired["Peers/big"] = item("Peers/big", 2)
    session.mark(["Peers/big"], 1.0)
    assert batch is not None
    session.acked(Ack(nonce=batch.nonce), desired.get)
    assert keys(session.take(desired.get)) == ["Peers/big"]


@pytest.mark.parametrize("count", [0, 1, 3, 40])
def test_parts_fit_a_frame_and_say_which_is_the_last(count: int) -> None:
    entries = tuple(item(f"Endpoints/shop/web:{number}", 1, 100_000) for number in range(count))
    gone = tuple(f"Service/shop/{number}" + "x" * 200 for number in range(20_000))
    found = list(parts(Batch(7, entries, gone, None)))
    frames = [encoder.encode(part) for part in found]
    assert max(map(len, frames)) <= MAX_FRAME_BYTES
    assert [from_operator_decoder.decode(frame) for frame in frames] == found
    assert [part.more for part in found] == [True] * (len(found) - 1) + [False]
    assert {part.nonce for part in found} == {7}
    assert [key for part in found for key, _, _ in part.upserts] == [entry.key for entry in entries]
    assert [key for part in found for key in part.removes] == list(gone)


def test_an_entry_of_the_largest_size_fits() -> None:
    room = MAX_FRAME_BYTES - 256 - 16 - 2 * len("k@1") + len("@1")
    entry = item("k", 1, room)
    session = Session({}, [entry])
    batch = session.take({"k": entry}.get)
    assert batch is not None
    (part,) = parts(batch)
    assert len(encoder.encode(part)) <= MAX_FRAME_BYTES


KEYS = st.sampled_from(["a", "b", "c", "d"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("change"), KEYS, st.integers(1, 3)),
        st.tuples(st.just("remove"), KEYS, st.just(0)),
        st.tuples(st.just("send"), KEYS, st.just(0)),
        st.tuples(st.just("ack"), KEYS, st.integers(0, 1)),
        st.tuples(st.just("reconnect"), KEYS, st.just(0)),
    ),
    max_size=40,
)


class Node:
    """An agent: applies updates, keeps its last good version of what it refuses."""

    def __init__(self) -> None:
        self.held: dict[str, str] = {}
        self.waiting: list[Update] = []

    def apply(self, refuse: str | None) -> Ack:
        refused: list[tuple[str, str, str]] = []
        for part in self.waiting:
            for key, version, _ in part.upserts:
                if key == refuse:
                    refused.append((key, version, "no"))
                else:
                    self.held[key] = version
            for key in part.removes:
                self.held.pop(key, None)
        nonce = self.waiting[-1].nonce
        self.waiting = []
        return Ack(nonce=nonce, refused=tuple(refused))


@given(STEPS)
def test_whatever_happens_the_session_knows_what_is_in_force(steps: list[tuple[str, str, int]]) -> None:
    desired: dict[str, Item] = {}
    node = Node()
    session = Session({}, [])

    def check() -> None:
        for key, wanted in desired.items():
            state = session.state(key)
            if state is State.IN_FORCE:
                assert node.held.get(key) == wanted.hash
            elif state is State.REFUSED:
                assert session.refused[key].hash == wanted.hash
        assert session.pending <= 4 + len(node.held), "keys, not history"

    for step, key, number in steps:
        if step == "change":
            desired[key] = item(key, number)
            session.mark([key], 0.0)
        elif step == "remove" and desired.pop(key, None) is not None:
            session.mark([key], 0.0)
        elif step == "send":
            batch = session.take(desired.get)
            node.waiting = list(parts(batch)) if batch is not None else node.waiting
        elif step == "ack" and node.waiting:
            session.acked(node.apply(key if number else None), desired.get)
        elif step == "reconnect":
            node.waiting = []
            session = Session(dict(node.held), desired.values())
        check()
    # left alone, and with nothing refused any more, everything comes into force
    if node.waiting:
        session.acked(node.apply(None), desired.get)
    session = Session(dict(node.held), desired.values())
    batch = session.take(desired.get)
    if batch is not None:
        node.waiting = list(parts(batch))
        session.acked(node.apply(None), desired.get)
    assert session.settled
    assert node.held == {key: wanted.hash for key, wanted in desired.items()}
