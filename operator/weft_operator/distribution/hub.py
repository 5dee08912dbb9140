"""The hub: the deltas of the compiler on one side, the sessions of the nodes on the other. No socket.

Theory: `apply` takes over one round and marks, for each connected node that reads a changed shelf, the keys that changed.
Everything else is pulled: a connection that can send asks its session for the next update, and what it sends is looked up on
the board at that moment. So `apply` never waits for anybody, and nothing is queued but keys.

A node is never told of an absence that is none: before the first round nobody is served, a node that the board does not know
yet is sent away to come again, and the session of a node that leaves the cluster ends instead of emptying it.

All methods are called on one event loop. The first round must hold the whole cluster.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import structlog

from weft_contract.resources.document import SCHEMA
from weft_contract.stream import Ack, Hello, Key, Pods
from weft_operator.compile.view import ObjectKey
from weft_operator.controllers.outlook import Look
from weft_operator.distribution.gatekeeper import Caller, RefusedError
from weft_operator.distribution.metrics import HubMetrics
from weft_operator.distribution.outlook import Part, Results
from weft_operator.distribution.session import Batch, ProtocolError, Refusal, Session, State
from weft_operator.distribution.settings import DEFAULT_SETTINGS, HubSettings
from weft_operator.distribution.standing import (
    Answer,
    Elsewhere,
    NodeStanding,
    Question,
    fingerprint,
    shelves_fingerprint,
)
from weft_operator.live import Delta, Item, Shelf
from weft_operator.live.board import Board

Changed = Callable[[Iterable[ObjectKey]], None]
"""Told of objects of which something is different now: the verdict, or how many nodes have them."""
Later = Callable[[float, Callable[[], None]], object]
SPREAD_S: Final = 1.0
"""As often as progress is written (`controllers.plan.PROGRESS_S`)."""


def call_later(seconds: float, call: Callable[[], None]) -> object:
    """Call something in the running event loop."""
    return asyncio.get_running_loop().call_later(seconds, call)


_log: Final = structlog.get_logger("weft_operator.distribution")


@dataclass(slots=True, kw_only=True)
class Line:
    """One connected node, as the hub sees it."""

    caller: Caller
    build: str
    since_unix_s: float
    wake: Callable[[], None]
    """Called when there may be something to send."""
    end: Callable[[str, float], None]
    """Ends the connection in order: reason, seconds until the node may come again."""
    session: Session
    name: str
    """Of the session: another one after each reconnect."""
    pods: Pods = field(default_factory=Pods)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """A connected node, for people."""

    node: str
    build: str
    connected_unix_s: float
    behind: int
    """Resources that are not acknowledged."""
    refused: Mapping[Key, Refusal]
    pods: Pods


class Hub:
    """What every node should hold, and how far each connected one is.

    Args:
        settings: limits.
        metrics: counts.
        changed: told of objects whose `look` is different now.
        later: calls something after some seconds.
        clock: monotonic seconds.
        wall: seconds since 1970.
    """

    def __init__(
        self,
        *,
        settings: HubSettings = DEFAULT_SETTINGS,
        metrics: HubMetrics | None = None,
        changed: Changed = lambda keys: None,
        later: Later = call_later,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.metrics = metrics if metrics is not None else HubMetrics()
        self.board: Final = Board()
        self.results: Final = Results(self.board)
        self.elsewhere: Final = Elsewhere(self.board)
        self.changed = changed
        self._clock, self._wall = clock, wall
        self._lines: dict[str, Line] = {}
        self._sessions = count()
        self._later = later
        self._held_back: set[ObjectKey] = set()
        self._ready = False

    @property
    def ready(self) -> bool:
        """Whether the first round was taken over."""
        return self._ready

    @property
    def nodes(self) -> list[NodeStatus]:
        """Connected nodes, by name."""
        return [self._status(name, line) for name, line in sorted(self._lines.items())]

    def _status(self, node: str, line: Line) -> NodeStatus:
        session = line.session
        behind = session.pending + (len(list(session.flight.keys)) if session.flight else 0)
        return NodeStatus(
            node=node,
            build=line.build,
            connected_unix_s=line.since_unix_s,
            behind=behind,
            refused=dict(session.refused),
            pods=line.pods,
        )

    # -- the compiler's side ------------------------------------------------------------------------------------------

    def apply(self, delta: Delta, since: float | None = None) -> None:
        """Take over one round.

        Args:
            delta: what is different; of the first round: everything.
            since: when the oldest change of the round happened, monotonic seconds; None: now.
        """
        at = since if since is not None else self._clock()
        moved, moved_shelves = self._moved_keys(delta), self._moved_shelves(delta)
        self.board.apply(delta)
        for node, shelves in delta.nodes.items():
            self._follow_node(node, shelves, moved.get(node, set()), at)
        marked = set(moved)
        for shelf, items in delta.shelves.items():
            for node in self.board.readers(shelf) & self._lines.keys():
                self._lines[node].session.mark(items, at)
                marked.add(node)
        self._ready = True
        for node in marked & self._lines.keys():
            self._lines[node].wake()
        for items in delta.shelves.values():
            self.elsewhere.changed(items)
        self._announce(self.results.apply(delta, moved_shelves))

    def _moved_shelves(self, delta: Delta) -> set[Shelf]:
        """Return the shelves that other nodes read from now on; asked before the board follows."""
        changes = (set(self.board.shelves_of_node(node)) ^ set(shelves or ()) for node, shelves in delta.nodes.items())
        return set().union(*changes)

    def _moved_keys(self, delta: Delta) -> dict[str, set[Key]]:
        """Return what lay on the shelves that connected nodes do not read any more; asked before the board follows."""
        moved: dict[str, set[Key]] = {}
        for node in delta.nodes.keys() & self._lines.keys():
            gone = set(self.board.shelves_of_node(node)) - set(delta.nodes[node] or ())
            moved[node] = {key for shelf in gone for key in self.board.shelf(shelf)}
            moved[node] |= self._new_keys(node, delta.nodes[node] or ())
        return moved

    def _new_keys(self, node: str, shelves: tuple[Shelf, ...]) -> set[Key]:
        """Return what lies on the shelves that a node reads from now on, as far as this round does not say it anyway."""
        new = set(shelves) - set(self.board.shelves_of_node(node))
        return {key for shelf in new for key in self.board.shelf(shelf)}

    def _follow_node(self, node: str, shelves: tuple[Shelf, ...] | None, moved: set[Key], at: float) -> None:
        line = self._lines.get(node)
        if line is None:
            return
        if shelves is None:
            line.end("this node is not part of the cluster any more", self.settings.retry_after_s)
        else:
            line.session.mark(moved, at)

    # -- the nodes' side ----------------------------------------------------------------------------------------------

    def check_known(self, node: str) -> None:
        """Let a node in.

        Raises:
            RefusedError: nothing is known yet, of anybody or of this node.
        """
        if not self._ready:
            detail = "this replica is still reading the cluster's objects; come again"
            raise RefusedError(503, "Not ready", detail, retry_after_s=1.0)
        if not self.board.shelves_of_node(node):
            detail = (
                f"there is no Node {node!r:.80} that this replica knows of; it may be about to hear of it, come again. "
                "If this lasts, compare the node's name with `kubectl get nodes`"
            )
            raise RefusedError(503, "Unknown node", detail, retry_after_s=self.settings.retry_after_s)

    def join(self, caller: Caller, hello: Hello, wake: Callable[[], None], end: Callable[[str, float], None]) -> Line:
        """Begin a session; an older one of the same node ends.

        Raises:
            ProtocolError: the Hello is of another node, or of a schema that is not written here.
            RefusedError: see `check_known`; the node may have gone meanwhile.
        """
        if hello.node != caller.node:
            raise ProtocolError(f"Hello of node {hello.node!r:.80}, but the token is of node {caller.node}")
        if hello.schema != SCHEMA:
            raise ProtocolError(
                f"agent {hello.build!r:.40} reads schema {hello.schema!r:.80}, this operator writes {SCHEMA}: "
                "bring both to the same version"
            )
        self.check_known(caller.node)
        old = self._lines.pop(caller.node, None)
        if old is not None:
            old.end("another session of this node has begun", self.settings.retry_after_s)
        session = Session(hello.have, self.board.items(caller.node))
        now = self._wall()
        name = f"{now:.3f}.{next(self._sessions)}"
        line = Line(caller=caller, build=hello.build, since_unix_s=now, wake=wake, end=end, session=session, name=name)
        self._lines[caller.node] = line
        self.metrics.streams.set(len(self._lines))
        _log.info("node connected", node=caller.node, build=hello.build, have=len(hello.have), differs=session.pending)
        self._announce(self.results.on_node(caller.node))
        return line

    def leave(self, line: Line, reason: str) -> None:
        """End a session."""
        node = line.caller.node
        self.metrics.ended.labels(reason).inc()
        if self._lines.get(node) is line:
            del self._lines[node]
            self.metrics.streams.set(len(self._lines))
            _log.info("node disconnected", node=node, reason=reason)
            self._announce(self.results.on_node(node))

    def take(self, line: Line) -> Batch | None:
        """Return the next update of a session; None: there is none now."""
        batch = line.session.take(lambda key: self.board.find(line.caller.node, key))
        for item in line.session.oversized:
            self.metrics.oversized.inc()
            _log.error("resource too large", resource=item.key, bytes=len(item.body), node=line.caller.node)
            self._announce(self.results.made_of({item.key}))
        line.session.oversized.clear()
        return batch

    def acked(self, line: Line, ack: Ack) -> None:
        """Take over an Ack.

        Raises:
            ProtocolError: see `Session.acked`.
        """
        node = line.caller.node
        settled = line.session.acked(ack, lambda key: self.board.find(node, key))
        if settled.since is not None:
            self.metrics.lag.observe(self._clock() - settled.since)
        for key in settled.refused:
            self.metrics.refusals.inc()
            _log.warning("resource refused", node=node, resource=key, reason=line.session.refused[key].reason)
        self._announce(self.results.made_of(settled.keys))

    def _announce(self, objects: Set[ObjectKey]) -> None:
        """Tell of objects that look different; of those that are part of very many resources once a second is enough."""
        spread = {key for key in objects if self.results.is_spread(key)}
        if objects - spread:
            self.changed(objects - spread)
        if spread:
            waits = bool(self._held_back)
            self._held_back |= spread
            if not waits:
                self._later(SPREAD_S, self._tell_spread)

    def _tell_spread(self) -> None:
        held_back, self._held_back = self._held_back, set()
        self.changed(held_back)

    def look(self, kind: str, key: str) -> Look | None:
        """Say how things stand with an object, for its conditions; None: the compiler said nothing of it (yet)."""
        return self.results.look((kind, key), self)

    def report(self, line: Line, pods: Pods) -> None:
        """Take over what a node says of its pods."""
        line.pods = pods

    def standing(self, node: str, part: Part) -> tuple[State, str]:
        """Return the worst of some resources on a node, and why it was refused; LAGGING where it is not connected."""
        line = self._lines.get(node)
        if line is None:
            return self.elsewhere.state(node, part.keys())
        session = line.session
        why = next((refusal.reason for key, refusal in session.refused.items() if part.belongs(key)), None)
        if why is not None:
            return State.REFUSED, why
        lags = any(part.belongs(key) for key in session.unsettled)
        return (State.LAGGING, "") if lags else (State.IN_FORCE, "")

    def state(self, node: str, item: Item) -> tuple[State, str]:
        """Say how things stand with one resource on a node."""
        return self.standing(node, Part(item.key.__eq__, lambda: (item.key,)))

    # -- other replicas -----------------------------------------------------------------------------------------------

    def answer(self, question: Question, replica: str) -> Answer:
        """Answer another replica about our nodes.

        Args:
            question: what it asks.
            replica: our name.
        """
        other = tuple(key for key, wanted in question.keys.items() if fingerprint(self.board, key) != wanted)
        same = question.keys.keys() - set(other)
        return Answer(
            replica=replica,
            nodes={node: self._said_of(node, line, same) for node, line in self._lines.items()},
            other=other,
        )

    def _said_of(self, node: str, line: Line, keys: Set[Key]) -> NodeStanding:
        """Say which of some resources a node does not have in force; those that it need not have do not matter."""
        session = line.session
        return NodeStanding(
            session=line.name,
            shelves=shelves_fingerprint(self.board, node),
            lagging=tuple(key for key in session.unsettled if key in keys),
            refused={key: refusal.reason for key, refusal in session.refused.items() if key in keys},
        )

    def heard(self, question: Question, answer: Answer, now: float) -> None:
        """Take over what another replica said of its nodes; `now` is monotonic seconds."""
        keys, nodes = self.elsewhere.take(question, answer, now)
        self._announce(self.results.made_of(keys).union(*map(self.results.on_node, nodes)))

    def forget_silent(self, now: float) -> None:
        """Forget the nodes of replicas that do not answer any more."""
        gone = self.elsewhere.forget_silent(now)
        self._announce(set().union(*map(self.results.on_node, gone)))

    def serves(self, node: str) -> bool:
        """Whether a node is connected here."""
        return node in self._lines

    def end_all(self, reason: str, retry_after_s: float) -> None:
        """End all sessions in order."""
        for line in list(self._lines.values()):
            line.end(reason, retry_after_s)
