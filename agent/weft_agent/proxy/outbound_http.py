"""HTTP leaving a pod: each request routed, balanced over the endpoints and sent on a pooled connection of that endpoint.

Theory: the planner serves one caller's connection, the pools belong to the calling pod, so no other identity ever uses them
(threat T12). A request goes where its route says, then to the less busy of two endpoints. On this node the destination's
inbound policy is asked before anything is sent; elsewhere its agent asks, and its HTTP answer is passed on like any other. An
endpoint that could not be reached (nothing was processed there) is replaced by another, at most twice.

A route's `request` timeout is the session's, over all attempts; its `backendRequest` timeout is kept here, begins anew with each
attempt (connecting included) and ends with the last byte of the answer. Both are over when a connection switches protocols.
"""

import time

from weft_agent.proxy.backports import Peer
from weft_agent.proxy.connect_head import request_head
from weft_agent.proxy.context import Context
from weft_agent.proxy.dialing import Dial, dial_application, dial_network
from weft_agent.proxy.http1 import Session, Upstream
from weft_agent.proxy.inbound_http import Admission
from weft_agent.proxy.meter import HttpMeter, Party
from weft_agent.proxy.pod import Pod
from weft_agent.proxy.reaching import local_facts, told_source
from weft_agent.proxy.tunnel_client import TunnelPool, Wanted
from weft_agent.reactor import TcpEnd, Timer
from weft_contract.resources import Endpoint
from weft_core.balance import EndpointState, pick, state_of
from weft_core.canonical import canonical_host, canonical_target
from weft_core.decision import Denied
from weft_core.errors import ConnectTimeoutError, NoEndpointsError, ResponseTimeoutError, WeftError
from weft_core.facts import RequestFacts
from weft_core.http1 import RequestHead, ResponseHead
from weft_core.policy.egress import leave
from weft_core.routing import Forward, HttpRouter, RedirectTo, Refused, apply_request, apply_response, redirect_response
from weft_core.snapshot import Destination, ToService, classify
from weft_core.tunnel import TunnelStream

ATTEMPTS = 3


class OutboundHttp:
    """Planner of one caller's connection.

    Args:
        context: the data plane.
        pod: who calls.
        tunnels: the worker's tunnels.
        address: original destination.
        destination: what it means in the present snapshot.
        source: the caller's address, for the log.
    """

    __slots__ = (
        "_address", "_admission", "_algorithm", "_attempt", "_context", "_destination", "_dial", "_endpoint", "_forward",
        "_generation", "_meters", "_others", "_pod", "_router", "_session", "_source", "_state", "_timer", "_tried",
        "_tunnels", "_wanted",
    )  # fmt: skip

    def __init__(
        self,
        context: Context,
        pod: Pod,
        tunnels: TunnelPool,
        address: tuple[str, int],
        destination: Destination,
        source: str,
    ) -> None:
        self._context = context
        self._pod = pod
        self._tunnels = tunnels
        self._address = address
        self._destination = destination
        self._source = source
        self._session: Session | None = None
        self._router: HttpRouter | None = None
        self._generation = -1
        self._meters: dict[tuple[str, str], HttpMeter] = {}
        self._forward: Forward | RedirectTo | None = None
        self._endpoint: Endpoint | None = None
        self._state: EndpointState | None = None
        self._tried: list[Endpoint] | None = None
        self._admission: Admission | None = None
        self._dial: Dial | None = None
        self._wanted: Wanted | None = None
        self._timer: Timer | None = None
        self._attempt: Timer | None = None
        self._algorithm = "RANDOM"
        self._others = False
        context.flows.add(self)
        context.connection_opened("outbound", "http")

    def attach(self, session: Session) -> None:
        """Take the session this planner serves."""
        self._session = session
        if self._context.draining or self._pod.leaving:  # what it came from was not asked to drain
            session.drain()

    # -- planner ------------------------------------------------------------------------------------------------------

    def start(self, session: Session, head: RequestHead) -> None:
        """Route, choose an endpoint, forward."""
        try:
            target = canonical_target(head.target, head.method)
            host = canonical_host(head.host)
            if self._generation != self._context.generation:
                self._renew()
        except WeftError as exc:
            session.fail(exc)
            return
        session.path, session.host = target.path, host
        session.permit = leave()
        session.target = None if target.forward == head.target else target.forward
        self._forward = self._endpoint = self._tried = self._admission = None
        router = self._router
        if router is None:
            self._send(
                session, head, (self._destination.endpoint,) if not isinstance(self._destination, ToService) else ()
            )
            return
        rng = self._context.rng.getrandbits(32)
        outcome = router.cached(head.method, target.path, rng)
        if outcome is None:
            headers = head.headers() if router.needs_headers else ()
            request = RequestFacts(method=head.method, host=host, path=target.path, query=target.query, headers=headers)
            outcome = router.route(request, rng)
        if isinstance(outcome, Forward):
            self._forward = outcome
            session.route = outcome.route
            if outcome.request_timeout_s is not None:
                session.arm(outcome.request_timeout_s)
            backend = self._context.snapshot.backend(outcome)
            if isinstance(backend, Refused):
                session.fail(backend.error)
            else:
                self._algorithm = backend.algorithm
                self._send(session, head, self._context.of_family(backend.endpoints, self._address[0]))
        elif isinstance(outcome, Refused):
            session.route = outcome.route
            session.fail(outcome.error)
        else:
            self._redirect(session, outcome, target.forward, host)

    def again(self, session: Session, head: RequestHead, error: WeftError) -> bool:
        """Send the request to another endpoint; that of a stale connection or a drained tunnel may be tried once more."""
        if session.tries >= ATTEMPTS:
            return False
        endpoint = self._endpoint
        self._done_with_endpoint()
        tried = self._tried = self._tried or []
        if endpoint is not None and error.retryable and error.endpoint_at_fault:
            tried.append(endpoint)
            state_of(self._context.states, endpoint).failed(self._context.reactor.now)
        candidates = self._candidates()
        if not any(candidate not in tried for candidate in candidates):
            return False
        self._context.add("weft_retries_total", {"reason": error.reason})
        self._send(session, head, candidates)
        return True

    def release(self, session: Session, upstream: Upstream, *, reusable: bool) -> None:
        """Put a connection back for the pod's next request to that endpoint."""
        self._done_with_endpoint()
        if reusable and upstream.lasts and not (self._context.draining or self._pod.gone or self._pod.leaving):
            self._pod.park(upstream, self._context.limits.pool_idle_timeout_s)
        else:
            upstream.drop()

    def response_block(self, session: Session, head: ResponseHead) -> bytes | None:
        """Apply the route's changes of response fields."""
        forward = self._forward
        if forward is None or not forward.response_edits:
            return None
        return apply_response(forward, head.block)

    def finished(self, session: Session, error: WeftError | None) -> None:
        """Count and log, for both pods where both are here."""
        self._forget_attempt()
        context, pod = self._context, self._pod
        flags = "-"
        if error is not None:
            flags = error.flag or "-"
            context.failed("outbound", error, pod)
        elif session.denied is not None:
            flags = "RL" if session.denied.http_status == 429 else "UAEX"
        seconds = context.reactor.now - session.started
        self._meter().count(
            session.status, flags, seconds=seconds, received=session.received_bytes, sent=session.sent_bytes
        )
        admission = self._admission
        if admission is not None:
            admission.meter.count(
                session.status, flags, seconds=seconds, received=session.received_bytes, sent=session.sent_bytes
            )
        failed = error is not None or session.denied is not None or session.status >= 500
        if context.logs(failed=failed):
            self._log(session, flags, error, seconds)
        self._done_with_endpoint()

    def closed(self, session: Session) -> None:
        """Release what belonged to the caller's connection."""
        self._context.flows.discard(self)
        self._context.connection_closed("outbound", "http")
        self._done_with_endpoint()
        self._forget_attempt()
        self._pod.connections -= 1

    # -- flow ---------------------------------------------------------------------------------------------------------

    def account(self) -> None:
        """Requests are counted as they end."""

    def recheck(self) -> None:
        """Every request looks at the present snapshot by itself."""

    def drain(self) -> None:
        """Close behind the exchange in progress."""
        if self._session is not None:
            self._session.drain()

    def leave(self, pod: Pod) -> None:
        """Drain if the pod is leaving."""
        if self._pod is pod:
            self.drain()

    def cut(self, error: WeftError) -> None:
        """End now."""
        if self._session is not None:
            self._session.cut(error)

    # -- routing ------------------------------------------------------------------------------------------------------

    def _renew(self) -> None:
        """Look up the destination in the present snapshot.

        Raises:
            NoRouteError: the Service lost this port.
        """
        context = self._context
        self._generation = context.generation
        self._meters.clear()
        self._destination = destination = classify(context.snapshot, *self._address)
        self._router = None
        if isinstance(destination, ToService):
            entry = destination.entry
            self._router = context.snapshot.router(entry.key, entry.port.port, self._pod.namespace)

    def _candidates(self) -> tuple[Endpoint, ...]:
        if not isinstance(self._destination, ToService):
            return (self._destination.endpoint,)
        if not isinstance(self._forward, Forward):
            return ()
        backend = self._context.snapshot.backend(self._forward)
        return self._context.of_family(backend.endpoints, self._address[0]) if not isinstance(backend, Refused) else ()

    def _redirect(self, session: Session, outcome: RedirectTo, target: bytes, host: bytes) -> None:
        self._forward = outcome
        session.route = outcome.route
        answer = redirect_response(outcome, target=target, host=host, port=self._address[1])
        session.reply(answer.status, apply_response(outcome, b"location: %b\r\n" % answer.location))

    # -- sending ------------------------------------------------------------------------------------------------------

    def _send(self, session: Session, head: RequestHead, endpoints: tuple[Endpoint, ...]) -> None:
        """Choose an endpoint and forward on a connection to it."""
        context = self._context
        if len(endpoints) == 1 and not self._tried:
            endpoint: Endpoint | None = endpoints[0]
        else:
            endpoint = pick(
                endpoints, self._algorithm, context.states, context.rng.getrandbits(32), self._tried or (),
                now=context.reactor.now,
            )  # fmt: skip
        if endpoint is None:
            forward = self._forward
            backend = f"{forward.service}:{forward.port}" if isinstance(forward, Forward) else self._address[0]
            session.fail(NoEndpointsError(f"no endpoint of {backend} is left to try"))
            return
        self._endpoint = endpoint
        self._others = len(endpoints) > 1
        state = self._state = state_of(context.states, endpoint)
        state.started()
        forward = self._forward
        if isinstance(forward, Forward) and forward.backend_timeout_s is not None:
            self._attempt = context.reactor.after(forward.backend_timeout_s, self._took_too_long)
        target_pod = context.local(endpoint.address)
        if target_pod is not None and not self._admitted(session, head, target_pod, endpoint):
            return
        upstream = self._pod.unpark(endpoint.address, endpoint.port)
        if upstream is not None:
            self._forward_on(session, upstream)
        else:
            self._connect(endpoint, target_pod)

    def _admitted(self, session: Session, head: RequestHead, target: Pod, endpoint: Endpoint) -> bool:
        """Ask the inbound policy of a pod on this node."""
        admission = self._pod.admissions.get((target.uid, endpoint.address, endpoint.port))
        if admission is None:
            facts = local_facts(self._pod, endpoint)
            admission = self._pod.admissions[target.uid, endpoint.address, endpoint.port] = Admission(
                self._context, target, facts, self._pod.party
            )
        self._admission = admission
        _, _, query = head.target.partition(b"?")
        verdict = admission.decide(head, session.host, session.path, query)
        if isinstance(verdict, Denied):
            self._context.refused("inbound", verdict, target)
            session.refuse(verdict, explain=self._context.explains_to(self._pod.identity))
            return False
        session.permit = verdict
        return True

    def _forward_on(self, session: Session, upstream: Upstream) -> None:
        forward = self._forward
        head = session.head
        block: bytes | None = None
        if isinstance(forward, Forward) and forward.edits is not None and head is not None:
            before = session.target if session.target is not None else head.target
            session.target, block, _ = apply_request(forward, before, head.block, head.host)
        session.forward(upstream, block=block)

    def _connect(self, endpoint: Endpoint, target: Pod | None) -> None:
        context, address = self._context, (endpoint.address, endpoint.port)
        session = self._session
        if self._others and session is not None and session.tries + 1 < ATTEMPTS:
            self._timer = context.reactor.after(context.limits.connect_timeout_s, self._too_slow)
        if target is not None and self._admission is not None and session is not None and session.permit is not None:
            self._dial = dial_application(
                session.permit, context.reactor, context.limits, target, address, self._admission.facts.source_address,
                lambda end, peer: self._dialled(end, target, peer), self._failed,
            )  # fmt: skip
            self._dial.begin()
        elif endpoint.identity:
            upstream = Upstream(None, context.limits, f"{address[0]}:{address[1]}")
            self._wanted = Wanted(
                request_head(*address, "http1", told_source(self._pod)), upstream,
                lambda stream: self._opened(stream, upstream), self._failed,
            )  # fmt: skip
            self._tunnels.stream(self._pod, endpoint.identity, address, self._wanted)
        else:
            self._dial = dial_network(
                context.reactor, context.limits, self._pod, address,
                lambda end, peer: self._dialled(end, None, peer), self._failed,
            )  # fmt: skip
            self._dial.begin()

    def _dialled(self, end: TcpEnd, target: Pod | None, peer: Peer | None) -> None:
        self._dial = None
        endpoint = self._endpoint
        address = f"{endpoint.address}:{endpoint.port}" if endpoint is not None else ""
        upstream = Upstream(end, self._context.limits, address)
        if target is not None:
            upstream.on_gone = lambda upstream: target.back_ports.release(peer)
        end.start(upstream)
        self._connected(upstream)

    def _opened(self, stream: TunnelStream, upstream: Upstream) -> None:
        self._wanted = None
        upstream.attach(stream)
        self._connected(upstream)

    def _too_slow(self) -> None:
        """Try another endpoint; the only or last one is given more time."""
        self._timer = None
        self._forget_attempt()
        endpoint = self._endpoint
        where = f"{endpoint.address} port {endpoint.port}" if endpoint is not None else "the endpoint"
        self._failed(ConnectTimeoutError(f"no answer from {where} in {self._context.limits.connect_timeout_s:g} s"))

    def _took_too_long(self) -> None:
        """End an exchange whose backend was given its time; what it may have processed is never sent again."""
        self._attempt = None
        session = self._session
        if session is None or session.switched:
            return
        self._forget_attempt()
        session.fail(ResponseTimeoutError("the route's backendRequest timeout passed"))

    def _forget_attempt(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None
        if self._wanted is not None:
            self._wanted.cancel()
            self._wanted = None

    def _connected(self, upstream: Upstream) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._state is not None:
            self._state.succeeded()
        if self._endpoint is not None:
            upstream.key = (self._endpoint.address, self._endpoint.port)
        if self._session is not None:
            self._forward_on(self._session, upstream)

    def _failed(self, error: WeftError) -> None:
        self._forget_attempt()
        session = self._session
        if session is None or session.head is None:
            return
        session.tries += 1
        if error.retryable and self.again(session, session.head, error):
            return
        session.fail(error)

    def _done_with_endpoint(self) -> None:
        if self._attempt is not None:
            self._attempt.cancel()
            self._attempt = None
        if self._state is not None:
            self._state.finished()
            self._state = None

    # -- telemetry ----------------------------------------------------------------------------------------------------

    def _meter(self) -> HttpMeter:
        endpoint = self._endpoint
        workload, identity = (endpoint.workload, endpoint.identity) if endpoint is not None else ("", "")
        meter = self._meters.get((workload, identity))
        if meter is None:
            namespace, _, name = workload.partition("/")
            party = Party(name, namespace, identity, name, "")
            service = self._destination.service
            meter = self._context.http_meter("source", self._pod.party, party, service, mtls=bool(identity))
            self._meters[workload, identity] = meter
        return meter

    def _log(self, session: Session, flags: str, error: WeftError | None, seconds: float) -> None:
        pod, endpoint, denied = self._pod.party, self._endpoint, session.denied
        self._context.access_log.record((
            time.time() - seconds, "outbound", pod.principal, f"{pod.namespace}/{pod.workload}", self._source,
            endpoint.identity if endpoint is not None else "", endpoint.workload if endpoint is not None else "",
            f"{self._address[0]}:{self._address[1]}", session.method, session.host, session.path, session.status, flags,
            denied.reason if denied is not None else error.reason if error is not None else "",
            denied.policy if denied is not None else "", denied.rule if denied is not None else "",
            session.received_bytes, session.sent_bytes, seconds, "http/1.1", b"", session.route,
            session.upstream_address,
        ))  # fmt: skip
