"""What the nodes of other replicas have in force: question, answer, and what the leader remembers of the answers. Pure.

Theory: nodes connect to any replica, and the leader writes how far objects have come. So it asks the others about the resources
that matter, and only about those: for each a fingerprint of what it is and where it lies. A replica that sees the same
fingerprint answers with the nodes that do *not* have it in force; any other is behind, or ahead, and then nothing of it is
known. An answer holds for a node as long as its session is the one that was answered for and it reads the same shelves.

So what is remembered costs one fingerprint for each resource and replica, however many nodes there are, and nothing of it can be
wrong for longer than it takes to ask again.
"""

from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import msgspec

from weft_contract.codec import digest
from weft_contract.stream import Key
from weft_operator.distribution.session import State
from weft_operator.live.board import Board

Fingerprint: TypeAlias = str
FORGET_S: Final = 10.0
"""A replica that did not answer for so long is gone, and its nodes with it."""
ASK_ALL_S: Final = 30.0
"""A node may refuse later what it had accepted, where one resource spoils another."""


class Question(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From the leader to another replica."""

    keys: dict[Key, Fingerprint]


class NodeStanding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One connected node."""

    session: str
    """Another one after each reconnect."""
    shelves: str
    """Fingerprint of the shelves it reads."""
    lagging: tuple[Key, ...] = ()
    """Of those that were asked about."""
    refused: dict[Key, str] = {}
    """The same, with reasons."""


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From a replica to the leader."""

    replica: str
    """Who answers: the leader may have asked itself."""
    nodes: dict[str, NodeStanding]
    other: tuple[Key, ...] = ()
    """Of those that were asked about: what is something else here, or lies elsewhere."""


def fingerprint(board: Board, key: Key) -> Fingerprint:
    """Return what a resource is and where it lies; empty: nowhere."""
    places = sorted(board.places(key))
    if not places:
        return ""
    return f"{board.shelf(places[0])[key].hash}:{digest(' '.join(places).encode())}"


def shelves_fingerprint(board: Board, node: str) -> Fingerprint:
    """Return which shelves a node reads."""
    return digest(" ".join(board.shelves_of_node(node)).encode())


@dataclass(slots=True)
class _Replica:
    """What one of the others said."""

    at: float
    nodes: dict[str, NodeStanding] = field(default_factory=dict)
    confirmed: dict[Key, Fingerprint] = field(default_factory=dict)
    """What was answered for; the exceptions are in `lagging` and `refused`."""
    lagging: dict[str, frozenset[Key]] = field(default_factory=dict)
    refused: dict[str, dict[Key, str]] = field(default_factory=dict)
    fresh: set[str] = field(default_factory=set)
    """Nodes that came, or came again, since everything was asked about."""
    all_asked_at: float = float("-inf")

    def state(self, node: str, key: Key) -> tuple[State, str]:
        """Say what was answered about a resource that was confirmed."""
        if node in self.fresh or key in self.lagging.get(node, _NO_KEYS):
            return State.LAGGING, ""
        why = self.refused.get(node, _NO_REASONS).get(key)
        return (State.IN_FORCE, "") if why is None else (State.REFUSED, why)

    @property
    def open_keys(self) -> set[Key]:
        """What was not in force somewhere."""
        found = {key for lagging in self.lagging.values() for key in lagging}
        return found | {key for refused in self.refused.values() for key in refused}


class Elsewhere:
    """What the leader knows of the nodes of other replicas.

    Args:
        board: what every node should hold.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._replicas: dict[str, _Replica] = {}
        self._wanted: set[Key] = set()
        """Resources that somebody asked about."""
        self._fingerprints: dict[Key, Fingerprint] = {}
        """Of those, until the board changes."""

    def changed(self, keys: Iterable[Key]) -> None:
        """Note that the board holds something else under these keys, or elsewhere."""
        for key in keys:
            self._fingerprints.pop(key, None)

    def _fingerprint(self, key: Key) -> Fingerprint:
        found = self._fingerprints.get(key)
        if found is None:
            found = self._fingerprints[key] = fingerprint(self._board, key)
        return found

    @property
    def nodes(self) -> frozenset[str]:
        """Nodes that are connected to other replicas."""
        return frozenset(node for replica in self._replicas.values() for node in replica.nodes)

    def state(self, node: str, keys: Iterable[Key]) -> tuple[State, str]:
        """Say how things stand with resources on a node that is not ours: the worst, and why it was refused."""
        wanted = list(keys)
        self._wanted.update(wanted)
        shelves = shelves_fingerprint(self._board, node)
        found = State.LAGGING, ""
        for replica in self._replicas.values():
            standing = replica.nodes.get(node)
            if standing is not None and standing.shelves == shelves:
                found = self._worst(replica, node, wanted)
            if found[0] is State.IN_FORCE:  # what it has acknowledged anywhere it has
                break
        return found

    def _worst(self, replica: _Replica, node: str, keys: Iterable[Key]) -> tuple[State, str]:
        found = State.IN_FORCE, ""
        for key in keys:
            if replica.confirmed.get(key) != self._fingerprint(key):
                return State.LAGGING, ""
            state = replica.state(node, key)
            if state[0] is not State.IN_FORCE:
                found = state
        return found

    def question(self, replica: str, now: float) -> Question:
        """Return what to ask a replica: what is not known of it, what was not in force, and from time to time everything."""
        keys: dict[Key, Fingerprint] = {}
        known = self._replicas.get(replica, _Replica(now))
        everything = bool(known.fresh) or now - known.all_asked_at > ASK_ALL_S
        open_keys = known.open_keys
        for key in list(self._wanted):
            wanted = self._fingerprint(key)
            if not wanted:
                self._wanted.discard(key)
                self._fingerprints.pop(key, None)
            elif everything or key in open_keys or known.confirmed.get(key) != wanted:
                keys[key] = wanted
        return Question(keys=keys)

    def take(self, question: Question, answer: Answer, now: float) -> tuple[Set[Key], Set[str]]:
        """Take over an answer.

        Returns:
            Resources of which something may be different; nodes of which everything may, because they came or went.
        """
        known = self._replicas.setdefault(answer.replica, _Replica(now))
        asked, other = question.keys, frozenset(answer.other)
        complete = known.confirmed.keys() <= asked.keys()
        came = {node for node, each in answer.nodes.items() if not _same_session(known.nodes.get(node), each)}
        went = {node for node in known.nodes if node not in answer.nodes}
        news = came | went | (known.fresh if complete else set())
        known.fresh = set() if complete else (known.fresh | came) & answer.nodes.keys()
        known.at, known.nodes = now, answer.nodes
        if complete:
            known.all_asked_at = now
        for key, wanted in asked.items():
            known.confirmed.pop(key, None)
            if key not in other:
                known.confirmed[key] = wanted
        known.lagging = {
            node: (known.lagging.get(node, _NO_KEYS) - asked.keys()) | frozenset(each.lagging)
            for node, each in answer.nodes.items()
        }
        known.refused = {
            node: {key: why for key, why in known.refused.get(node, {}).items() if key not in asked} | each.refused
            for node, each in answer.nodes.items()
        }
        return asked.keys(), news

    def forget_silent(self, now: float) -> Set[str]:
        """Forget replicas that do not answer any more; return their nodes."""
        silent = [name for name, replica in self._replicas.items() if now - replica.at > FORGET_S]
        return {node for name in silent for node in self._replicas.pop(name).nodes}


_NO_KEYS: Final[frozenset[Key]] = frozenset()
_NO_REASONS: Final[dict[Key, str]] = {}


def _same_session(old: NodeStanding | None, new: NodeStanding) -> bool:
    return old is not None and old.session == new.session
