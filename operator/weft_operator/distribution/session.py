"""What one node still has to be told, what is on its way to it, and what it said of it. Pure: no socket, no clock.

Theory: a session keeps only what is *not* in force. Whatever a node should hold and that is neither pending nor in flight nor
refused is in force there, so that a settled session costs nothing however much its node holds.

    changed ──► pending ──take──► in flight ──ack──► in force
                   ▲                  │        └───► refused (until it changes)
                   └── changed again ─┘

`pending` holds keys, never contents: what is sent is looked up when it is sent, so a node that takes its time misses the
versions between and costs no memory. One update is in flight at a time: an update is one moment of the whole mesh, and a slow
node gets fewer and larger ones by itself. A key that changes while its older version is in flight is pending again, and is
not in force before the newer one is.

A resource too large for a frame cannot be sent. It counts as refused by us, and the node keeps what it has.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from weft_contract.stream import MAX_FRAME_BYTES, Ack, Hash, Key, Update
from weft_operator.live import Item

FRAME_OVERHEAD_BYTES: Final = 256
"""Tag, nonce, flags and array heads of a message."""
ENTRY_OVERHEAD_BYTES: Final = 16
"""Heads of one entry: an array of two short strings and one byte string."""
MAX_REASON_CHARACTERS: Final = 500
"""What is kept of a refusal's reason; a condition shows less."""

Find: TypeAlias = Callable[[Key], Item | None]
"""What the node should hold under a key at this moment."""


class ProtocolError(Exception):
    """The agent broke the contract; the session ends with this message."""


class State(Enum):
    """How things stand with one resource on one node."""

    IN_FORCE = "in force"
    LAGGING = "lagging"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A resource of which a node keeps its last good version."""

    hash: Hash
    """Of the version refused."""
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """One update: what changed for a node at one moment."""

    nonce: int
    upserts: tuple[Item, ...]
    removes: tuple[Key, ...]
    since: float | None
    """When the oldest change in it happened, monotonic seconds; None: it brings a node up to date that was away."""

    @property
    def keys(self) -> Iterator[Key]:
        """Everything it is about."""
        yield from (item.key for item in self.upserts)
        yield from self.removes


@dataclass(frozen=True, slots=True)
class Settled:
    """What an Ack settled."""

    keys: frozenset[Key]
    """Everything that was in flight, and what was refused."""
    refused: frozenset[Key]
    since: float | None
    """See `Batch.since`."""


class Session:
    """One node's stream, from its Hello on.

    Args:
        have: what the node says it holds.
        desired: everything it should hold; repetitions do no harm.
    """

    def __init__(self, have: Mapping[Key, Hash], desired: Iterable[Item]) -> None:
        wanted = {item.key: item.hash for item in desired}
        self._pending: dict[Key, float | None] = {
            key: None for key, wanted_hash in wanted.items() if have.get(key) != wanted_hash
        }
        self._pending.update(dict.fromkeys(have.keys() - wanted.keys()))
        self._flight: Batch | None = None
        self._in_flight: frozenset[Key] = frozenset()
        self._nonce = 0
        self.refused: dict[Key, Refusal] = {}
        """By key, while the refused version is the one that the node should hold."""
        self.oversized: list[Item] = []
        """Found by `take` to be too large to be sent; whoever reports them empties the list."""

    @property
    def flight(self) -> Batch | None:
        """The update that is not acknowledged yet."""
        return self._flight

    @property
    def pending(self) -> int:
        """Resources that wait to be sent."""
        return len(self._pending)

    @property
    def unsettled(self) -> Iterator[Key]:
        """What waits or is in flight; some of it twice, where a newer version waits."""
        yield from self._pending
        yield from self._in_flight

    @property
    def settled(self) -> bool:
        """Whether the node has answered for everything it should hold."""
        return not self._pending and self._flight is None

    def mark(self, keys: Iterable[Key], since: float) -> None:
        """Note that what the node should hold under these keys changed.

        Args:
            keys: of resources that changed, came or went.
            since: when, monotonic seconds.
        """
        for key in keys:
            self._pending.setdefault(key, since)

    def take(self, find: Find) -> Batch | None:
        """Return the next update; None: there is nothing to say, or the last one is not acknowledged."""
        if self._flight is not None or not self._pending:
            return None
        upserts: list[Item] = []
        removes: list[Key] = []
        for key in self._pending:
            item = find(key)
            if item is None:
                self.refused.pop(key, None)
                removes.append(key)
            elif entry_bytes(item) > MAX_FRAME_BYTES - FRAME_OVERHEAD_BYTES:
                self.refused[key] = Refusal(item.hash, too_large(item))
                self.oversized.append(item)
            else:
                upserts.append(item)
        since = min((at for at in self._pending.values() if at is not None), default=None)
        self._pending.clear()
        if not upserts and not removes:
            return None
        self._nonce += 1
        self._flight = Batch(self._nonce, tuple(upserts), tuple(removes), since)
        self._in_flight = frozenset(self._flight.keys)
        return self._flight

    def acked(self, ack: Ack, find: Find) -> Settled:
        """Take over what a node says of the update in flight.

        A refusal of something else that the node holds is taken over too: one resource may spoil another.

        Raises:
            ProtocolError: that is not the update in flight, or it refuses what was not sent.
        """
        batch = self._flight
        if batch is None or ack.nonce != batch.nonce:
            expected = f"update {batch.nonce} is" if batch is not None else "no update is"
            raise ProtocolError(f"Ack of update {ack.nonce}, but {expected} in flight")
        refused = dict(self._refusals(ack, find))
        for key in self._in_flight:
            self.refused.pop(key, None)
        self.refused.update(refused)
        settled = Settled(self._in_flight | refused.keys(), frozenset(refused), batch.since)
        self._flight, self._in_flight = None, frozenset()
        return settled

    def _refusals(self, ack: Ack, find: Find) -> Iterator[tuple[Key, Refusal]]:
        for key, refused_hash, reason in ack.refused:
            if key in self._pending:
                continue  # a newer version is on its way, about which nothing is said yet
            item = find(key)
            if item is not None and item.hash == refused_hash:
                yield key, Refusal(refused_hash, reason[:MAX_REASON_CHARACTERS])
            elif key in self._in_flight:
                raise ProtocolError(f"Ack of update {ack.nonce} refuses {key!r:.200} of a hash that was not sent")

    def state(self, key: Key) -> State:
        """Say how things stand with a resource that the node should hold."""
        if key in self._pending or key in self._in_flight:
            return State.LAGGING
        return State.REFUSED if key in self.refused else State.IN_FORCE


def entry_bytes(item: Item) -> int:
    """Return what an item takes in a frame, at most."""
    return len(item.key.encode()) + len(item.hash) + len(item.body) + ENTRY_OVERHEAD_BYTES


def too_large(item: Item) -> str:
    """Say that an item cannot be sent, and what to do."""
    size_kib = len(item.body) // 1024
    return (
        f"{item.key} takes {size_kib} KiB, more than the {MAX_FRAME_BYTES // 1024} KiB of one message: "
        "it is not sent, the nodes keep what they have; split the object it is made of"
    )


def parts(batch: Batch) -> Iterator[Update]:
    """Cut an update into messages that fit a frame each.

    Contents are shared by all sessions; only the messages around them are made for each.
    """
    room = MAX_FRAME_BYTES - FRAME_OVERHEAD_BYTES
    upserts: list[tuple[Key, Hash, bytes]] = []
    removes: list[Key] = []
    left = room
    for entry, size in _entries(batch):
        if size > left:
            yield Update(nonce=batch.nonce, upserts=tuple(upserts), removes=tuple(removes), more=True)
            upserts, removes, left = [], [], room
        left -= size
        if isinstance(entry, Item):
            upserts.append((entry.key, entry.hash, entry.body))
        else:
            removes.append(entry)
    yield Update(nonce=batch.nonce, upserts=tuple(upserts), removes=tuple(removes))


def _entries(batch: Batch) -> Iterator[tuple[Item | Key, int]]:
    for item in batch.upserts:
        yield item, entry_bytes(item)
    for key in batch.removes:
        yield key, len(key.encode()) + ENTRY_OVERHEAD_BYTES
