"""An opaque connection once both ends stand: relayed, counted while it lives, asked again when policy changes.

Theory: a node holds many of these and most of them rest, so what connections have in common (who calls whom, the meter) is
made once per pod, and what can be told from the facts is told when it is asked for.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from weft_agent.proxy.backports import Peer
from weft_agent.proxy.context import Context, Direction
from weft_agent.proxy.meter import Party, TcpMeter
from weft_agent.proxy.pod import Pod
from weft_agent.proxy.relay import Relay
from weft_agent.reactor import End
from weft_contract.resources import Endpoint
from weft_core.balance import EndpointState
from weft_core.decision import Denied, Permit
from weft_core.errors import PolicyRevokedError, WeftError
from weft_core.facts import ConnectionFacts

VIEWS_MAX: Final = 1024
"""Remembered per pod: one for each workload that it talks to."""


@dataclass(frozen=True, slots=True)
class View:
    """One pod of this node that connections belong to: same-node connections have two views."""

    direction: Direction
    pod: Pod
    meter: TcpMeter
    source: Party
    destination: Party


class Way(NamedTuple):
    """The way of a connection that left a pod, for its log."""

    source: str
    destination: tuple[str, int]
    endpoint: Endpoint | None


def view_of(direction: Direction, pod: Pod, meter: TcpMeter, source: Party, destination: Party) -> tuple[View]:
    """Return the view of a pod on what a meter counts; the same one for all connections."""
    found = pod.views.get(meter)
    if found is None:
        if len(pod.views) >= VIEWS_MAX:
            pod.views.clear()
        found = pod.views[meter] = (View(direction, pod, meter, source, destination),)
    return found


class OpaqueFlow:
    """A relay with a name.

    Args:
        permit: what let it pass.
        context: the data plane.
        views: the pods of this node that it belongs to; each one's count of connections falls when it ends.
        facts: what the last view's policy was asked with; None on the caller's side, where nothing is authorised.
        rechecked: whether that policy is asked again when it changes.
        way: of a connection that left a pod; None: the facts say it.
        ports: taken in the last view's pod, released when it ends.
        state: of the endpoint, told when it ends.
        downstream: the caller's end.
        upstream: the destination's end.
    """

    __slots__ = (
        "_context", "_counted_received", "_counted_sent", "_facts", "_noted", "_peer", "_permit", "_rechecked", "_relay",
        "_started", "_state", "_views", "_way",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913 - a flow is what these facts make it; they are told once, by name
        self,
        permit: Permit,
        *,
        context: Context,
        views: tuple[View, ...],
        facts: ConnectionFacts | None,
        rechecked: bool = True,
        downstream: End,
        upstream: End,
        way: Way | None = None,
        ports: tuple[Peer | None, Peer | None] = (None, None),
        state: EndpointState | None = None,
    ) -> None:
        self._permit = permit
        self._context = context
        self._views = views
        self._facts = facts
        self._rechecked = rechecked
        self._way = way
        self._peer, self._noted = ports
        self._state = state
        self._started = context.reactor.now
        self._counted_received = self._counted_sent = 0
        self._relay = Relay(context.reactor, downstream, upstream, context.limits, self)
        for view in views:
            view.meter.opened()
            context.connection_opened(view.direction, "tcp")
        context.flows.add(self)

    @property
    def relay(self) -> Relay:
        """The relay, to be given bytes that were read before it existed."""
        return self._relay

    def account(self) -> None:
        """Tell the counters what moved."""
        received, sent = self._relay.bytes_received, self._relay.bytes_sent
        for view in self._views:
            view.meter.moved(received - self._counted_received, sent - self._counted_sent)
        self._counted_received, self._counted_sent = received, sent

    def recheck(self) -> None:
        """Cut the connection if the present policy would not let it begin."""
        denied = self._standing()
        if denied is not None:
            self._context.refused(self._views[-1].direction, denied, self._views[-1].pod)
            self._relay.cut(PolicyRevokedError(denied.message))

    def drain(self) -> None:
        """Let it live: only its own ends know when an opaque connection is done."""

    def leave(self, pod: Pod) -> None:
        """Let it live, as in `drain`."""

    def cut(self, error: WeftError) -> None:
        """End it visibly."""
        self._relay.cut(error)

    def _standing(self) -> Denied | None:
        facts, table = self._facts, self._views[-1].pod.table
        if facts is None or table is None or not self._rechecked:
            return None  # nothing is authorised here, or the pod is leaving: its connections end by themselves
        policy = table.policy.admit(facts)
        decision = policy if isinstance(policy, Denied) else policy.tcp()
        return decision if isinstance(decision, Denied) else None

    def relay_over(self, relay: Relay, error: WeftError | None) -> None:
        """Count, log and release."""
        context = self._context
        context.flows.discard(self)
        self.account()
        flags = error.flag or "-" if error is not None else "-"
        for view in self._views:
            view.meter.closed(flags)
            context.connection_closed(view.direction, "tcp")
            if context.logs(failed=error is not None):
                self._log(view, relay, flags, error)
        self._release()

    def _release(self) -> None:
        for view in self._views:
            view.pod.connections -= 1
        ports = self._views[-1].pod.back_ports
        ports.release(self._peer)
        ports.release(self._noted)
        if self._state is not None:
            self._state.finished()

    def _log(self, view: View, relay: Relay, flags: str, error: WeftError | None) -> None:
        source, destination = view.source, view.destination
        seconds = self._context.reactor.now - self._started
        where = self._where()
        self._context.access_log.record((
            time.time() - seconds, view.direction, source.principal, f"{source.namespace}/{source.workload}",
            where[0], destination.principal, f"{destination.namespace}/{destination.workload}",
            where[1], b"", b"", b"", 0, flags, error.reason if error is not None else "",
            self._permit.policy, self._permit.rule, relay.bytes_received, relay.bytes_sent, seconds, "tcp", b"", "",
            where[2],
        ))  # fmt: skip

    def _where(self) -> Sequence[str]:
        """Return source address, original destination and upstream."""
        way, facts = self._way, self._facts
        if way is not None:
            upstream = f"{way.endpoint.address}:{way.endpoint.port}" if way.endpoint is not None else ""
            return way.source, f"{way.destination[0]}:{way.destination[1]}", upstream
        if facts is None:
            return "", "", ""
        destination = f"{facts.destination_address}:{facts.destination_port}"
        return facts.source_address, destination, destination
