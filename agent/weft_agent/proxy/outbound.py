"""What leaves a pod: the original destination read, the protocol found out, and HTTP or the relay begun.

Theory of operation. An opaque connection needs an upstream before it needs bytes, so it is reached at once: if the server
speaks first nobody has waited. The caller's first bytes go ahead into a tunnel's stream before its destination has said yes,
and a copy is kept until then: an endpoint that cannot be reached is replaced by another without the caller noticing, and one
whose tunnel only drained is tried again by another tunnel. On a port that has shown HTTP, reaching ahead waits for a moment of
silence first, since it would be for nothing.
"""

import socket
from typing import Final

from weft_agent.proxy.context import Context
from weft_agent.proxy.detecting import Detecting
from weft_agent.proxy.gate import GATES
from weft_agent.proxy.http1 import Session
from weft_agent.proxy.meter import Party
from weft_agent.proxy.opaque import OpaqueFlow, View, Way, view_of
from weft_agent.proxy.outbound_http import OutboundHttp
from weft_agent.proxy.pod import Pod
from weft_agent.proxy.reaching import Failure, Reach, Reached
from weft_agent.proxy.tunnel_client import TunnelPool
from weft_agent.reactor import Buffer, TcpEnd, Timer
from weft_contract.limits import KIB
from weft_contract.ports import CAPTURE_PORTS, HEALTH_PORT
from weft_contract.resources import Endpoint
from weft_core.balance import pick, state_of
from weft_core.decision import Denied
from weft_core.detect import Detected
from weft_core.errors import CaptureLoopError, ConnectionLimitError, ConnectTimeoutError, NoEndpointsError, WeftError
from weft_core.routing import Refused
from weft_core.snapshot import Destination, ToService, classify
from weft_core.tunnel import TunnelStream

ATTEMPTS: Final = 3
"""Endpoints tried for one connection before its caller is told."""
EARLY_BYTES: Final = 64 * KIB
"""The caller's bytes that are kept until the destination has answered."""


class OutboundDoor:
    """Takes what a pod's outbound listeners accept."""

    __slots__ = ("_context", "_pod", "_tunnels")

    def __init__(self, context: Context, pod: Pod, tunnels: TunnelPool) -> None:
        self._context = context
        self._pod = pod
        self._tunnels = tunnels

    def accepted(self, sock: socket.socket, peer: tuple[str, int]) -> None:
        """Handle one connection; called by the listener."""
        context, pod = self._context, self._pod
        end = TcpEnd(context.reactor, sock, context.limits, downstream=True)
        address, port = sock.getsockname()[:2]
        if port == HEALTH_PORT and (address, port) in GATES:
            pod.gate.accepted(end)
            return
        try:
            if port in CAPTURE_PORTS:
                raise CaptureLoopError(f"pod {pod.key} dialled the capture port {port}")
            if not context.has_room(pod):
                raise ConnectionLimitError(f"pod {pod.key} holds as many connections as it may")
            destination = classify(context.snapshot, address, port)
        except WeftError as exc:
            context.failed("outbound", exc, pod)
            end.abort()
            return
        pod.connections += 1
        Leaving(context, pod, self._tunnels, end, (address, port), destination, peer[0])


class Leaving:
    """One connection on its way out, until it is a session or a relay."""

    __slots__ = (
        "_address", "_attempts", "_context", "_destination", "_detecting", "_early", "_end", "_endpoint", "_eof",
        "_failure", "_opaque", "_others", "_pod", "_reach", "_reached", "_sent_ahead", "_slow", "_source", "_stream",
        "_timer", "_tried", "_tunnels",
    )  # fmt: skip

    def __init__(
        self,
        context: Context,
        pod: Pod,
        tunnels: TunnelPool,
        end: TcpEnd,
        address: tuple[str, int],
        destination: Destination,
        source: str,
    ) -> None:
        self._context = context
        self._pod = pod
        self._tunnels = tunnels
        self._end = end
        self._address = address
        self._destination = destination
        self._source = source
        self._detecting: Detecting | None = None
        self._reach: Reach | None = None
        self._reached: Reached | None = None
        self._endpoint: Endpoint | None = None
        self._failure: Failure | None = None
        self._attempts = 0
        self._tried: list[Endpoint] = []
        self._early = bytearray()
        self._sent_ahead = 0
        self._stream: TunnelStream | None = None
        self._eof = False
        self._opaque = False
        self._timer: Timer | None = None
        self._slow: Timer | None = None
        self._others = False
        protocol = destination.protocol
        if protocol == "http":
            self._serve_http(b"", start=True)
        elif protocol == "auto":
            self._detect()
        else:
            self._opaque = True
            end.start(_Early(self))
            self._try()

    # -- finding out --------------------------------------------------------------------------------------------------

    def _detect(self) -> None:
        context = self._context
        self._detecting = Detecting(context.reactor, self._end, context.limits, self._decided, self._caller_lost)
        self._end.start(self._detecting)
        if context.learned.get(self._address) == "http1":
            self._timer = context.reactor.after(context.limits.detect_timeout_s, self._try)
        else:
            self._try()

    def _decided(self, detected: Detected | None, first: bytes) -> None:
        """Handle the caller's first bytes."""
        self._detecting = None
        if detected is not None and detected.kind == "http1":
            self._context.learn(self._address, "http1")
            self._drop_reach()
            self._serve_http(first, start=False)
            return
        self._opaque = True
        self._end.receiver = _Early(self)
        self.early(first)
        if self._reached is not None:
            self._join(self._reached, b"")
        elif self._reach is None:
            self._stop_timer()
            self._fail_or_try()

    def _serve_http(self, first: bytes, *, start: bool) -> None:
        self._stop_timer()
        planner = OutboundHttp(self._context, self._pod, self._tunnels, self._address, self._destination, self._source)
        session = Session(self._context.reactor, self._end, self._context.limits, planner)
        planner.attach(session)
        if start:
            self._end.start(session)
        if first:
            session.feed(first)

    # -- the caller while nothing is joined ---------------------------------------------------------------------------

    def early(self, data: Buffer) -> None:
        """Keep the caller's bytes, and send them ahead where that is possible."""
        self._early += data
        if self._stream is not None:
            self._stream.write(data)
            self._sent_ahead += len(data)
        if len(self._early) > EARLY_BYTES:
            self._end.pause()

    def early_eof(self) -> None:
        """Note that the caller finished sending."""
        self._eof = True

    def _caller_lost(self, error: WeftError | None) -> None:
        """Handle a caller that went before its protocol was known."""
        if error is None:
            self._end.close()
        self.abandon()

    def abandon(self) -> None:
        """Forget everything: the caller is gone."""
        self._stop_timer()
        self._drop_reach()
        self._pod.connections -= 1

    # -- reaching -----------------------------------------------------------------------------------------------------

    def _try(self) -> None:
        """Reach the next endpoint."""
        self._timer = None
        endpoint = self._choose()
        if endpoint is None:
            return
        self._endpoint = endpoint
        self._attempts += 1
        self._stream = None
        self._sent_ahead = 0
        self._reach = Reach(
            self._context, self._tunnels, self._pod, endpoint, self._have_reached, self._not_reached, self._stream_open
        )
        if self._others:
            self._slow = self._context.reactor.after(self._context.limits.connect_timeout_s, self._too_slow)
        self._reach.begin()

    def _too_slow(self) -> None:
        """Try another endpoint; the only or last one is given more time."""
        self._slow = None
        if self._reach is not None and self._endpoint is not None:
            self._reach.cancel()
            where = f"{self._endpoint.address} port {self._endpoint.port}"
            limit_s = self._context.limits.connect_timeout_s
            self._not_reached(ConnectTimeoutError(f"no answer from {where} in {limit_s:g} s"))

    def _stream_open(self, stream: TunnelStream) -> None:
        """Send ahead what the caller said so far, once it is known to be opaque."""
        if self._opaque:
            self._stream = stream
            if self._early:
                stream.write(bytes(self._early))
                self._sent_ahead = len(self._early)

    def _choose(self) -> Endpoint | None:
        context, destination = self._context, self._destination
        if not isinstance(destination, ToService):
            if self._tried or self._attempts >= ATTEMPTS:
                self._give_up(self._failure)
                return None
            return destination.endpoint
        outcome = context.snapshot.tcp_router(
            destination.entry.key, destination.entry.port.port, self._pod.namespace
        ).route(context.rng.getrandbits(32))
        if isinstance(outcome, Refused):
            self._give_up(self._failure or outcome.error)
            return None
        backend = context.snapshot.backend(outcome)
        if isinstance(backend, Refused):
            self._give_up(self._failure or backend.error)
            return None
        chosen = None
        if self._attempts < ATTEMPTS:
            endpoints = context.of_family(backend.endpoints, self._address[0])
            self._others = len(endpoints) > len(self._tried) + 1
            chosen = pick(
                endpoints, backend.algorithm, context.states, context.rng.getrandbits(32), self._tried,
                now=context.reactor.now,
            )  # fmt: skip
        if chosen is None:
            self._give_up(
                self._failure or NoEndpointsError(f"no endpoint of {outcome.service}:{outcome.port} is left to try")
            )
        return chosen

    def _have_reached(self, reached: Reached) -> None:
        self._reach = None
        self._stop_slow()
        if self._endpoint is not None:
            state_of(self._context.states, self._endpoint).succeeded()
        if self._opaque:
            self._join(reached, b"")
        else:
            self._reached = reached
            reached.end.receiver = _Ahead(self)

    def _not_reached(self, failure: Failure) -> None:
        self._reach = self._stream = None
        self._stop_slow()
        self._failure = failure
        endpoint = self._endpoint
        if isinstance(failure, WeftError) and failure.endpoint_at_fault and endpoint is not None:
            self._tried.append(endpoint)
            state_of(self._context.states, endpoint).failed(self._context.reactor.now)
        self._fail_or_try()

    def _fail_or_try(self) -> None:
        failure = self._failure
        if failure is None or (isinstance(failure, WeftError) and failure.retryable):
            if failure is not None:
                self._context.add("weft_retries_total", {"reason": failure.reason})
            self._try()
        else:
            self._give_up(failure)

    def _give_up(self, failure: Failure | None) -> None:
        if not self._opaque:  # the caller may still turn out to speak HTTP, which gets an answer
            self._timer = self._context.reactor.after(self._context.limits.detect_timeout_s, self._give_up_on_silence)
            return
        context, pod = self._context, self._pod
        if isinstance(failure, Denied):
            context.refused("outbound", failure, pod)
        elif failure is not None:
            context.failed("outbound", failure, pod)
        self._end.abort()
        pod.connections -= 1

    def _give_up_on_silence(self) -> None:
        """Let a silent caller know what it would know without a mesh: there is nobody."""
        self._timer = None
        if self._detecting is not None and self._detecting.silent:
            self._detecting.abandon()
            self._detecting = None
            self._opaque = True
            self._give_up(self._failure)

    def server_spoke(self, data: Buffer) -> None:
        """Handle a server that speaks before its client."""
        reached, detecting = self._reached, self._detecting
        if reached is None or detecting is None:
            return
        self._context.learn(self._address, "opaque")
        detecting.abandon()
        self._detecting = None
        self._opaque = True
        self._join(reached, data)

    def ahead_over(self, error: WeftError | None) -> None:
        """Handle an upstream that ended while its client was silent: so it would look without a mesh."""
        if self._reached is None or self._detecting is None:
            return
        self._reached = None
        self._detecting.abandon()
        if error is None:
            self._end.close()
        else:
            self._end.abort()
        self._pod.connections -= 1

    def _stop_slow(self) -> None:
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None

    def _drop_reach(self) -> None:
        self._stop_slow()
        if self._reach is not None:
            self._reach.cancel()
            self._reach = None
        reached, self._reached = self._reached, None
        if reached is not None:
            reached.end.close()
            if reached.pod is not None:
                reached.pod.back_ports.release(reached.peer)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- joining ------------------------------------------------------------------------------------------------------

    def _join(self, reached: Reached, back: Buffer) -> None:
        context, pod, destination = self._context, self._pod, self._destination
        endpoint, target = self._endpoint, reached.pod
        self._reached = None
        party = target.party if target is not None else _party_of(endpoint)
        mtls = bool(endpoint is not None and endpoint.identity)
        meter = context.tcp_meter("source", pod.party, party, destination.service, mtls=mtls)
        views: tuple[View, ...] = view_of("outbound", pod, meter, pod.party, party)
        if target is not None:
            target.connections += 1
            meter = context.tcp_meter("destination", pod.party, party, destination.service, mtls=mtls)
            views += view_of("inbound", target, meter, pod.party, party)
        state = state_of(context.states, endpoint) if endpoint is not None else None
        if state is not None:
            state.started()
        flow = OpaqueFlow(
            reached.permit, context=context, views=views, facts=reached.facts if target is not None else None,
            way=Way(self._source, self._address, endpoint), ports=(reached.peer, None), state=state, downstream=self._end,
            upstream=reached.end,
        )  # fmt: skip
        flow.relay.give_back(back)
        flow.relay.note_given(self._sent_ahead)
        flow.relay.give(bytes(self._early[self._sent_ahead :]))
        self._stream = None
        self._end.resume()
        if self._eof:
            flow.relay.downstream_finished()


class _Early:
    """Receiver of the caller's end while its upstream is being reached."""

    __slots__ = ("_leaving",)

    def __init__(self, leaving: Leaving) -> None:
        self._leaving = leaving

    def feed(self, data: Buffer) -> None:
        self._leaving.early(data)

    def eof(self) -> None:
        self._leaving.early_eof()

    def drained(self) -> None: ...

    def lost(self, error: WeftError | None) -> None:
        self._leaving.abandon()


class _Ahead:
    """Receiver of an upstream that was reached while its client is silent."""

    __slots__ = ("_leaving",)

    def __init__(self, leaving: Leaving) -> None:
        self._leaving = leaving

    def feed(self, data: Buffer) -> None:
        self._leaving.server_spoke(data)

    def eof(self) -> None:
        self._leaving.ahead_over(None)

    def drained(self) -> None: ...

    def lost(self, error: WeftError | None) -> None:
        self._leaving.ahead_over(error)


def _party_of(endpoint: Endpoint | None) -> Party:
    if endpoint is None:
        return Party()
    namespace, _, name = endpoint.workload.partition("/")
    return Party(name, namespace, endpoint.identity, name, "")
