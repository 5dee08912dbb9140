"""What arrives at a pod: told apart (tunnel, plaintext, probe), admitted or refused, and handed to HTTP or the relay.

Theory of operation. A connection at the inbound listener is a tunnel exactly when its first bytes are a ClientHello that
offers `weft/1`; everything else is plaintext to the mesh, the application's own TLS included. The mTLS mode is asked before
any rule, the policy's word on opaque connections before anything is dialled ahead, and a refusal is a reset with its reason
counted (an HTTP answer where HTTP was understood). A stream of a tunnel is the same with an identity: both end in
`Entrance`, which knows no transport.
"""

from collections.abc import Callable

from weft_agent.proxy.backports import Peer
from weft_agent.proxy.context import Context
from weft_agent.proxy.detecting import Detecting
from weft_agent.proxy.dialing import Dial, dial_application
from weft_agent.proxy.http1 import Session
from weft_agent.proxy.inbound_http import InboundHttp, admission_of
from weft_agent.proxy.meter import Party
from weft_agent.proxy.opaque import OpaqueFlow, view_of
from weft_agent.proxy.pod import Pod
from weft_agent.proxy.screen import Screen
from weft_agent.reactor import Buffer, End, TcpEnd
from weft_core.decision import Allowed, Denied, Permit
from weft_core.detect import Detected, is_tunnel
from weft_core.errors import WeftError
from weft_core.facts import ConnectionFacts
from weft_core.policy import ConnectionPolicy

HTTP_DECLARED = frozenset({"http"})
OPAQUE_DECLARED = frozenset({"tcp", "tls", "http2", "grpc"})
"""HTTP/2 is passed as it is; an HTTP rule on such a port refuses, because it cannot be evaluated."""


class Entrance:
    """One connection (or tunnel stream) on its way into a pod, from admission to session or relay.

    Args:
        context: the data plane.
        pod: the pod that is called; its connection count was raised by the caller.
        end: the caller's end.
        facts: the connection.
        caller: who calls, for telemetry.
        noted: the captured peer's port, released at the end.
        accepted: told when an application took the connection (a stream answers 200 then); None for plain sockets.
        refused: told of a refusal or fault; it ends the caller's end in its own way.
    """

    __slots__ = (
        "_accepted",
        "_caller",
        "_context",
        "_dial",
        "_end",
        "_facts",
        "_first",
        "_noted",
        "_permit",
        "_pod",
        "_rechecked",
        "_refused",
        "_waiting_eof",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913 - the connection's facts, told once, by name
        self,
        *,
        context: Context,
        pod: Pod,
        end: End,
        facts: ConnectionFacts,
        caller: Party,
        noted: Peer | None,
        accepted: Callable[[], None] | None,
        refused: Callable[[Denied | WeftError], None],
    ) -> None:
        self._context = context
        self._pod = pod
        self._end = end
        self._facts = facts
        self._caller = caller
        self._noted = noted
        self._accepted = accepted
        self._refused = refused
        self._dial: Dial | None = None
        self._permit: Permit | None = None
        self._first = b""
        self._waiting_eof = False
        self._rechecked = True

    def http(self, first: bytes, ahead: tuple[TcpEnd, Peer | None] | None = None) -> None:
        """Serve HTTP/1.1; refusals become answers."""
        admission = admission_of(self._context, self._pod, self._facts, self._caller)
        planner = InboundHttp(self._context, admission, self._noted)
        if ahead is not None:
            planner.adopt(*ahead)
        if self._accepted is not None:
            self._accepted()
        session = Session(self._context.reactor, self._end, self._context.limits, planner)
        planner.attach(session)
        if first:
            session.feed(first)

    def opaque(self, policy: ConnectionPolicy, first: bytes, ahead: tuple[TcpEnd, Peer | None] | None = None) -> None:
        """Authorise an opaque connection, then join it with the application, dialled ahead or now."""
        decision = policy.tcp()
        verdict = self._charge(decision) if isinstance(decision, Allowed) else decision
        if isinstance(verdict, Denied):
            if ahead is not None:
                ahead[0].close()
                self._pod.back_ports.release(ahead[1])
            self.refuse(verdict)
            return
        if ahead is not None:
            self.join(verdict, *ahead, first)
            return
        self._permit = verdict
        self._first = first
        self._end.receiver = _Held(self)
        self._end.pause()
        self._dial_application(verdict)

    def single_call(self, policy: ConnectionPolicy, first: bytes) -> None:
        """Let one call of HTTP/2 through, judged by its head: a kubelet's gRPC probe."""
        decision = policy.single_call(None)
        if isinstance(decision, Denied):
            self.refuse(decision)
            return
        self._rechecked = False  # it lasts for one call, which is judged on its own
        self._permit = decision.permit
        screen = Screen(self._end, policy, self._context, self._pod)
        self._end.pause()
        self._end = screen
        screen.receiver = _Held(self)
        self._dial_application(decision.permit)
        screen.feed(first)

    def _dial_application(self, permit: Permit) -> None:
        facts, context = self._facts, self._context
        self._dial = dial_application(
            permit, context.reactor, context.limits, self._pod, (facts.destination_address, facts.destination_port),
            facts.source_address, self._dialled, self._undialled,
        )  # fmt: skip
        self._dial.begin()

    def join(self, permit: Permit, end: TcpEnd, peer: Peer | None, first: bytes, back: Buffer = b"") -> None:
        """Relay between the caller and an application connection that stands."""
        context, facts, pod = self._context, self._facts, self._pod
        if self._accepted is not None:
            self._accepted()
        table = pod.table
        services = table.services(facts.destination_port) if table is not None else ()
        service = services[0] if services else ""
        mtls = facts.source is not None
        meter = context.tcp_meter("destination", self._caller, pod.party, service, mtls=mtls)
        flow = OpaqueFlow(
            permit, context=context, views=view_of("inbound", pod, meter, self._caller, pod.party), facts=facts,
            rechecked=self._rechecked, ports=(peer, self._noted), downstream=self._end, upstream=end,
        )  # fmt: skip
        flow.relay.give_back(back)
        flow.relay.give(first)
        if self._waiting_eof:
            flow.relay.downstream_finished()
        self._end.resume()

    def refuse(self, why: Denied | WeftError) -> None:
        """Count and carry out a refusal."""
        if isinstance(why, Denied):
            self._context.refused("inbound", why, self._pod)
        else:
            self._context.failed("inbound", why, self._pod)
        self._release()
        self._refused(why)

    def gone(self) -> None:
        """Note that the caller left before anything was joined."""
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None
        self._release()

    def hold_eof(self) -> None:
        """Note that the caller finished sending while the application was dialled."""
        self._waiting_eof = True

    def hold(self, data: Buffer) -> None:
        """Keep bytes that arrive while the application is dialled (a paused end may deliver what it had read)."""
        self._first += bytes(data)

    def _release(self) -> None:
        self._pod.back_ports.release(self._noted)
        self._pod.connections -= 1

    def _charge(self, allowed: Allowed) -> Permit | Denied:
        self._context.noted(allowed, self._pod)
        return self._context.charge(allowed)

    def _dialled(self, end: TcpEnd, peer: Peer | None) -> None:
        self._dial = None
        if self._permit is not None:
            end.start(_Held(self))
            self.join(self._permit, end, peer, self._first)

    def _undialled(self, error: WeftError) -> None:
        self._dial = None
        self.refuse(error)


class _Held:
    """Receiver of a caller's end while the application is being dialled."""

    __slots__ = ("_entrance",)

    def __init__(self, entrance: Entrance) -> None:
        self._entrance = entrance

    def feed(self, data: Buffer) -> None:
        self._entrance.hold(data)

    def eof(self) -> None:
        self._entrance.hold_eof()

    def drained(self) -> None: ...

    def lost(self, error: WeftError | None) -> None:
        self._entrance.gone()


class Plaintext:
    """A connection that is not (yet known to be) a tunnel: listens to its first bytes, dials ahead where that is allowed.

    Args:
        context: the data plane.
        pod: the pod that is called.
        end: the caller's end, started by this.
        facts: source None, not encrypted.
        noted: the captured peer's port.
        tunnel: takes the connection over when it turns out to be a tunnel: the end and its first bytes.
    """

    __slots__ = (
        "_ahead",
        "_ahead_peer",
        "_context",
        "_detecting",
        "_dial",
        "_end",
        "_entrance",
        "_facts",
        "_greeting",
        "_noted",
        "_pod",
        "_policy",
        "_tunnel",
    )

    def __init__(
        self,
        context: Context,
        pod: Pod,
        end: TcpEnd,
        facts: ConnectionFacts,
        noted: Peer | None,
        tunnel: Callable[[TcpEnd, bytes], None],
    ) -> None:
        self._context = context
        self._pod = pod
        self._end = end
        self._facts = facts
        self._noted = noted
        self._tunnel = tunnel
        self._dial: Dial | None = None
        self._ahead: TcpEnd | None = None
        self._ahead_peer: Peer | None = None
        self._greeting = b""
        self._entrance = Entrance(
            context=context, pod=pod, end=end, facts=facts, caller=Party(), noted=noted, accepted=None,
            refused=lambda why: end.abort(),
        )  # fmt: skip
        self._policy = self._admit()
        self._detecting = Detecting(context.reactor, end, context.limits, self._decided, self._lost)
        if isinstance(self._policy, Denied):  # it can only be a tunnel, which speaks at once
            self._detecting.be_patient(context.limits.head_timeout_s)
        end.start(self._detecting)
        self._dial_ahead()

    def _admit(self) -> ConnectionPolicy | Denied:
        table = self._pod.table
        if table is None:
            return Denied("not_captured_workload", message=f"pod {self._pod.key} is not configured here")
        return table.policy.admit(self._facts)

    def _protocol(self) -> str:
        table = self._pod.table
        return table.protocol(self._facts.destination_port) if table is not None else "auto"

    def _dial_ahead(self) -> None:
        """Connect the application while the first byte is awaited, if an opaque connection would be let through."""
        policy, port = self._policy, self._facts.destination_port
        if isinstance(policy, Denied) or self._protocol() in HTTP_DECLARED or self._pod.learned.get(port) == "http1":
            return
        decision = policy.silent()
        if isinstance(decision, Denied) or decision.limits or decision.any_of:
            return  # tokens are taken when there is something to spend them on
        self._dial = dial_application(
            decision.permit, self._context.reactor, self._context.limits, self._pod,
            (self._facts.destination_address, self._facts.destination_port), self._facts.source_address,
            self._dialled, self._undialled,
        )  # fmt: skip
        self._dial.begin()

    def _dialled(self, end: TcpEnd, peer: Peer | None) -> None:
        self._dial = None
        self._ahead = end
        self._ahead_peer = peer
        end.start(_ServerFirst(self))

    def _undialled(self, error: WeftError) -> None:
        self._dial = None  # whoever needs the application dials again and reports what happens then
        self._context.reactor.after(self._context.limits.detect_timeout_s, lambda: self._end_silent(error))

    def _end_silent(self, error: WeftError) -> None:
        """Let a silent caller know what it would know without a mesh: nobody listens there."""
        if self._detecting.waiting and self._detecting.silent:
            self._detecting.abandon()
            self._entrance.refuse(error)

    def server_first(self, data: Buffer) -> None:
        """Handle an application that speaks before its client: hold the greeting, for the caller may be an agent.

        An agent sends its ClientHello as soon as it is connected, but an application on this machine may be quicker. What
        it said would then go over the wire in the clear, and be taken for a broken handshake.
        """
        self._greeting = bytes(data)
        if self._ahead is not None:
            self._ahead.pause()
        self._context.reactor.after(self._context.limits.detect_timeout_s, self._greet)

    def _greet(self) -> None:
        """Pass the greeting on to a caller that has stayed silent."""
        if self._detecting.waiting and self._detecting.silent:
            self._detecting.abandon()
            self._join_greeted(b"")

    def _join_greeted(self, first: bytes) -> None:
        """Relay between an application that spoke first and its plaintext caller."""
        self._pod.learned[self._facts.destination_port] = "opaque"
        ahead = self._take_ahead()
        policy = self._policy
        if ahead is None or isinstance(policy, Denied):
            return
        ahead[0].resume()
        decision = policy.silent()
        if isinstance(decision, Denied):
            self._entrance.refuse(decision)
            return
        self._entrance.join(decision.permit, *ahead, first, self._greeting)

    def ahead_lost(self) -> None:
        """Forget an application connection that ended before it was needed."""
        if self._ahead is not None:
            self._pod.back_ports.release(self._ahead_peer)
            self._ahead = None
            if self._detecting.silent:  # the server hung up on a silent client: so it would without a mesh
                self._detecting.abandon()
                self._end.close()
                self._entrance.gone()

    def _decided(self, detected: Detected | None, first: bytes) -> None:
        if detected is not None and is_tunnel(detected):
            self._drop_ahead()
            self._tunnel(self._end, first)
            return
        policy = self._policy
        if isinstance(policy, Denied):
            self._drop_ahead()
            self._entrance.refuse(policy)
            return
        if self._greeting and self._ahead is not None:
            self._join_greeted(first)
            return
        if detected is not None and detected.kind == "http2" and self._may_be_single_call(policy):
            self._drop_ahead()
            self._entrance.single_call(policy, first)
        elif self._speaks_http(detected):
            self._pod.learned[self._facts.destination_port] = "http1"
            self._entrance.http(first, self._take_ahead())
        else:
            self._entrance.opaque(policy, first, self._take_ahead())

    def _may_be_single_call(self, policy: ConnectionPolicy) -> bool:
        """Tell whether HTTP/2 that would be refused as it is may be a gRPC probe."""
        return isinstance(policy.tcp(), Denied) and isinstance(policy.single_call(None), Allowed)

    def _speaks_http(self, detected: Detected | None) -> bool:
        protocol = self._protocol()
        if protocol in HTTP_DECLARED:
            return detected is None or detected.kind not in ("http2", "tls")
        return protocol not in OPAQUE_DECLARED and detected is not None and detected.kind == "http1"

    def _take_ahead(self) -> tuple[TcpEnd, Peer | None] | None:
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None
        end, self._ahead = self._ahead, None
        return (end, self._ahead_peer) if end is not None else None

    def _drop_ahead(self) -> None:
        ahead = self._take_ahead()
        if ahead is not None:
            ahead[0].close()
            self._pod.back_ports.release(ahead[1])

    def _lost(self, error: WeftError | None) -> None:
        """Handle a caller that went before its protocol was known (a TCP probe does)."""
        self._drop_ahead()
        if error is None:
            self._end.close()
        self._entrance.gone()


class _ServerFirst:
    """Receiver of an application's end while its client is silent."""

    __slots__ = ("_plaintext",)

    def __init__(self, plaintext: Plaintext) -> None:
        self._plaintext = plaintext

    def feed(self, data: Buffer) -> None:
        self._plaintext.server_first(data)

    def eof(self) -> None:
        self._plaintext.ahead_lost()

    def drained(self) -> None: ...

    def lost(self, error: WeftError | None) -> None:
        self._plaintext.ahead_lost()
