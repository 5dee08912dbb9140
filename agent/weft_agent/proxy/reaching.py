"""Reaching an endpoint for an opaque connection: in the kernel of this node, through a tunnel, or plain to the outside.

Theory: on the same node there is no wire and no TLS, and the destination's inbound policy holds all the same, asked here
with the identity that the caller's namespace proves. To a meshed endpoint elsewhere a CONNECT stream is opened, and it
counts as reached when its destination's agent said 200; bytes may be sent before. Everything else is plain TCP from the
caller's namespace.
"""

from collections.abc import Callable
from typing import NamedTuple

from weft_agent.proxy.backports import Peer
from weft_agent.proxy.connect_head import read_answer, request_head
from weft_agent.proxy.context import Context
from weft_agent.proxy.dialing import Dial, dial_application, dial_network
from weft_agent.proxy.pod import Pod
from weft_agent.proxy.tunnel_client import TunnelPool, Wanted
from weft_agent.reactor import Buffer, End, TcpEnd
from weft_contract.resources import Endpoint
from weft_core.decision import Denied, Permit
from weft_core.errors import RootWithdrawnError, TunnelDrainedError, TunnelLostError, WeftError
from weft_core.facts import ConnectionFacts, Header
from weft_core.policy.egress import leave
from weft_core.tunnel import TunnelStream


class Reached(NamedTuple):
    """An upstream that stands."""

    end: End
    permit: Permit
    pod: Pod | None = None
    """The destination's pod, if it is on this node."""
    peer: Peer | None = None
    """Its source port, to be released."""
    facts: ConnectionFacts | None = None
    """What its policy was asked with."""


Failure = Denied | WeftError


class Reach:
    """One attempt to reach an endpoint for an opaque connection.

    Args:
        context: the data plane.
        tunnels: the worker's tunnels.
        pod: who calls.
        endpoint: who is called.
        reached: told when the upstream stands; nobody listens to it yet but this, so take its `receiver` at once.
        failed: told why not.
        opened: told of a stream that takes bytes already, though its destination has not said yes.
    """

    __slots__ = (
        "_context",
        "_dial",
        "_early",
        "_endpoint",
        "_failed",
        "_pod",
        "_reached",
        "_stream",
        "_tunnels",
        "_wanted",
    )

    def __init__(
        self,
        context: Context,
        tunnels: TunnelPool,
        pod: Pod,
        endpoint: Endpoint,
        reached: Callable[[Reached], None],
        failed: Callable[[Failure], None],
        opened: Callable[[TunnelStream], None],
    ) -> None:
        self._context = context
        self._tunnels = tunnels
        self._pod = pod
        self._endpoint = endpoint
        self._reached = reached
        self._failed = failed
        self._early = opened
        self._dial: Dial | None = None
        self._wanted: Wanted | None = None
        self._stream: TunnelStream | None = None

    def begin(self) -> None:
        """Start; every callback may come before this returns."""
        target = self._context.local(self._endpoint.address)
        if target is not None:
            self._reach_local(target)
        elif self._endpoint.identity:
            self._reach_tunnel()
        else:
            self._reach_plain()

    def cancel(self) -> None:
        """Forget the attempt; no callback follows."""
        if self._dial is not None:
            self._dial.cancel()
        if self._wanted is not None:
            self._wanted.cancel()
        if self._stream is not None:
            self._stream.abort()
            self._stream = None

    def _reach_local(self, target: Pod) -> None:
        facts = local_facts(self._pod, self._endpoint)
        context, table = self._context, target.table
        if table is None:
            self._failed(Denied("not_captured_workload", message=f"pod {target.key} is not configured here"))
            return
        policy = table.policy.admit(facts)
        decision = policy if isinstance(policy, Denied) else policy.tcp()
        if not isinstance(decision, Denied):
            context.noted(decision, target)
            verdict = context.charge(decision)
        else:
            verdict = decision
        if isinstance(verdict, Denied):
            context.refused("inbound", verdict, target)
            self._failed(verdict)
            return
        permit = verdict

        def dialled(end: TcpEnd, peer: Peer | None) -> None:
            self._dial = None
            end.start(self)
            self._reached(Reached(end, permit, target, peer, facts))

        self._dial = dial_application(
            permit, context.reactor, context.limits, target, (self._endpoint.address, self._endpoint.port),
            facts.source_address, dialled, self._failed,
        )  # fmt: skip
        self._dial.begin()

    def _reach_tunnel(self) -> None:
        address = (self._endpoint.address, self._endpoint.port)
        head = request_head(*address, "opaque", told_source(self._pod))
        self._wanted = Wanted(head, self, self._opened, self._failed)
        self._tunnels.stream(self._pod, self._endpoint.identity, address, self._wanted)

    def _reach_plain(self) -> None:
        def dialled(end: TcpEnd, peer: Peer | None) -> None:
            self._dial = None
            end.start(self)
            self._reached(Reached(end, leave()))

        address = (self._endpoint.address, self._endpoint.port)
        self._dial = dial_network(
            self._context.reactor, self._context.limits, self._pod, address, dialled, self._failed
        )
        self._dial.begin()

    def _opened(self, stream: TunnelStream) -> None:
        self._wanted = None
        self._stream = stream
        self._early(stream)

    # -- receiver of the upstream until it is reached -----------------------------------------------------------------

    def headers(self, headers: list[Header], end_stream: bool) -> None:
        """Read the destination's answer."""
        stream, self._stream = self._stream, None
        if stream is None:
            return
        error = read_answer(headers)
        if error is not None:
            stream.close()
            self._failed(error)
            return
        self._reached(Reached(stream, leave()))
        if end_stream:
            stream.receiver.eof()

    def feed(self, data: Buffer) -> None:
        """Nothing arrives before `reached` has put somebody else here."""

    def eof(self) -> None:
        """Handle a stream that ended without an answer."""
        self.lost(None)

    def drained(self) -> None:
        """Nobody was told to wait."""

    def lost(self, error: WeftError | None) -> None:
        """Handle a stream that is gone before its destination answered."""
        stream, self._stream = self._stream, None
        if stream is None:
            return
        if isinstance(error, RootWithdrawnError) and not stream.bytes_out:
            error = TunnelDrainedError(f"nothing was sent yet: {error}")
        self._failed(error or TunnelLostError("the destination's agent ended the stream without an answer"))


def local_facts(pod: Pod, endpoint: Endpoint) -> ConnectionFacts:
    """Return the facts of a connection from one pod of this node to another."""
    own = pod.address(6 if ":" in endpoint.address else 4) or pod.address(4) or pod.address(6) or ""
    return ConnectionFacts(
        source=pod.identity, source_address=own, destination_address=endpoint.address, destination_port=endpoint.port,
        encrypted=True,
    )  # fmt: skip


def told_source(pod: Pod) -> str:
    """Return what is told to a destination's agent of the calling workload, for its telemetry."""
    return f"{pod.party.workload};{pod.party.app};{pod.party.version}"
