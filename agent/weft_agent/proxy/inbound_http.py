"""HTTP arriving at a pod: each request authorised, then sent to the pod's own application as the client that it came from.

Theory: one upstream connection per caller's connection, kept as long as both sides like (the application sees what it would
see without a mesh). An application that closes its idle connection does not close the caller's: the next request dials
again. Policy is asked per request from the present snapshot; the connection's standing is renewed when the snapshot changed.
"""

import time
from functools import lru_cache
from typing import Final

from weft_agent.proxy.backports import Peer
from weft_agent.proxy.context import Context
from weft_agent.proxy.dialing import Dial, dial_application
from weft_agent.proxy.http1 import Session, Upstream
from weft_agent.proxy.meter import HttpMeter, Party
from weft_agent.proxy.pod import Pod
from weft_agent.reactor import TcpEnd
from weft_core.canonical import canonical_host, canonical_target
from weft_core.decision import Allowed, Denied, Permit
from weft_core.errors import PolicyRevokedError, RemoteProtocolError, WeftError
from weft_core.facts import ConnectionFacts, RequestFacts
from weft_core.http1 import RequestHead, ResponseHead
from weft_core.policy import ConnectionPolicy

CALLERS_MAX: Final = 1024
"""Admissions remembered per pod: callers by address, identity and port."""


class Admission:
    """What lets one caller's requests pass at one pod; renewed with each generation of the configuration.

    Args:
        context: the data plane.
        pod: the pod that is called.
        facts: the connection.
        caller: who calls, for telemetry.
    """

    __slots__ = ("_context", "_generation", "_policy", "caller", "facts", "meter", "pod", "service")

    def __init__(self, context: Context, pod: Pod, facts: ConnectionFacts, caller: Party) -> None:
        self._context = context
        self.pod = pod
        self.facts = facts
        self.caller = caller
        self.service = ""
        self._generation = -1
        self._policy: ConnectionPolicy | Denied = Denied("not_captured_workload")
        self.meter: HttpMeter
        self.renew()

    def renew(self) -> ConnectionPolicy | Denied:
        """Return what the present configuration says of this connection."""
        context = self._context
        if self._generation != context.generation:
            self._generation = context.generation
            table = self.pod.table
            if table is None:
                self._policy = Denied("not_captured_workload", message=f"pod {self.pod.key} is not configured here")
            else:
                self._policy = table.policy.admit(self.facts)
                services = table.services(self.facts.destination_port)
                self.service = services[0] if services else ""
            self.meter = context.http_meter(
                "destination", self.caller, self.pod.party, self.service, mtls=self.facts.source is not None
            )
        return self._policy

    def decide(self, head: RequestHead, host: bytes, path: bytes, query: bytes) -> Permit | Denied:
        """Decide about one request and take the tokens it needs."""
        policy = self._policy if self._generation == self._context.generation else self.renew()
        if isinstance(policy, Denied):
            return policy
        decision = policy.cached(head.method, host, path)
        if decision is None:
            headers = head.headers() if policy.needs_headers else ()
            request = RequestFacts(method=head.method, host=host, path=path, query=query, headers=headers)
            decision = policy.request(request)
        if isinstance(decision, Denied):
            return decision
        return self.charge(decision)

    def charge(self, allowed: Allowed) -> Permit | Denied:
        """Take the tokens of an allowed request, and count what dry runs say."""
        if allowed.dry_run_denial or allowed.audits:
            self._context.noted(allowed, self.pod)
        if allowed.limits or allowed.any_of:
            return self._context.charge(allowed)
        return allowed.permit


def admission_of(context: Context, pod: Pod, facts: ConnectionFacts, caller: Party) -> Admission:
    """Return how a caller's connections are admitted at a pod; the same object for all that differ in nothing."""
    found = pod.callers.get((facts, caller))
    if found is None:
        if len(pod.callers) >= CALLERS_MAX:
            pod.callers.clear()
        found = pod.callers[facts, caller] = Admission(context, pod, facts, caller)
    return found


class InboundHttp:
    """Planner of one caller's connection at one pod.

    Args:
        context: the data plane.
        admission: who may.
        noted: the captured peer's port, to be released with the connection.
    """

    __slots__ = ("_admission", "_context", "_dial", "_idle", "_noted", "_session")

    def __init__(
        self,
        context: Context,
        admission: Admission,
        noted: Peer | None,
    ) -> None:
        self._context = context
        self._admission = admission
        self._noted = noted
        self._idle: Upstream | None = None
        self._dial: Dial | None = None
        self._session: Session | None = None
        context.flows.add(self)
        context.connection_opened("inbound", "http")

    def attach(self, session: Session) -> None:
        """Take the session this planner serves."""
        self._session = session
        if self._context.draining or self._admission.pod.leaving:  # what it came from was not asked to drain
            session.drain()

    def adopt(self, end: TcpEnd, peer: Peer | None) -> None:
        """Take an application connection that was dialled ahead (and started, to hear whether the server speaks first)."""
        self._idle = self._upstream(end, peer)

    # -- planner ------------------------------------------------------------------------------------------------------

    def start(self, session: Session, head: RequestHead) -> None:
        """Authorise, then forward."""
        try:
            target = canonical_target(head.target, head.method)
            host = canonical_host(head.host)
        except RemoteProtocolError as exc:
            session.fail(exc)
            return
        session.path, session.host = target.path, host
        verdict = self._admission.decide(head, host, target.path, target.query)
        if isinstance(verdict, Denied):
            self._context.refused("inbound", verdict, self._admission.pod)
            session.refuse(verdict, explain=self._context.explains_to(self._admission.facts.source))
            return
        session.permit = verdict
        session.target = None if target.forward == head.target else target.forward
        idle = self._idle
        if idle is not None:
            self._idle = None
            session.forward(idle)
        else:
            self._connect(verdict)

    def again(self, session: Session, head: RequestHead, error: WeftError) -> bool:
        """Dial once more: the connection we had was stale, or its port was taken."""
        if session.tries > 1 or session.permit is None:
            return False
        self._context.add("weft_retries_total", {"reason": error.reason})
        self._connect(session.permit)
        return True

    def release(self, session: Session, upstream: Upstream, *, reusable: bool) -> None:
        """Keep the application's connection for this caller's next request."""
        if reusable and not self._context.draining:
            self._idle = upstream
        else:
            upstream.drop()

    def response_block(self, session: Session, head: ResponseHead) -> bytes | None:
        """Nothing is changed on the way back."""
        return None

    def finished(self, session: Session, error: WeftError | None) -> None:
        """Count and log."""
        if self._dial is not None:  # answered before the application was there
            self._dial.cancel()
            self._dial = None
        admission, context = self._admission, self._context
        flags = "-"
        if error is not None:
            flags = error.flag or "-"
            context.failed("inbound", error, admission.pod)
        elif session.denied is not None:
            flags = "RL" if session.denied.http_status == 429 else "UAEX"
        seconds = context.reactor.now - session.started
        admission.meter.count(
            session.status, flags, seconds=seconds, received=session.received_bytes, sent=session.sent_bytes
        )
        failed = error is not None or session.denied is not None or session.status >= 500
        if context.logs(failed=failed):
            self._log(session, flags, error, seconds)

    def closed(self, session: Session) -> None:
        """Release everything that belonged to the caller's connection."""
        self._context.flows.discard(self)
        self._context.connection_closed("inbound", "http")
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None
        if self._idle is not None:
            self._idle.drop()
            self._idle = None
        pod = self._admission.pod
        pod.back_ports.release(self._noted)
        pod.connections -= 1

    # -- flow ---------------------------------------------------------------------------------------------------------

    def account(self) -> None:
        """Requests are counted as they end."""

    def recheck(self) -> None:
        """End the connection if nothing on it could be let through any more."""
        denied = self._admission.renew()
        if isinstance(denied, Denied) and self._session is not None:
            self._context.refused("inbound", denied, self._admission.pod)
            self._session.cut(PolicyRevokedError(denied.message))

    def drain(self) -> None:
        """Close behind the exchange in progress."""
        if self._session is not None:
            self._session.drain()

    def leave(self, pod: Pod) -> None:
        """Drain if the pod is leaving."""
        if self._admission.pod is pod:
            self.drain()

    def cut(self, error: WeftError) -> None:
        """End now."""
        if self._session is not None:
            self._session.cut(error)

    # -- upstream -----------------------------------------------------------------------------------------------------

    def _connect(self, permit: Permit) -> None:
        context, facts = self._context, self._admission.facts
        self._dial = dial_application(
            permit, context.reactor, context.limits, self._admission.pod, (facts.destination_address, facts.destination_port),
            facts.source_address, self._dialled, self._undialled,
        )  # fmt: skip
        self._dial.begin()

    def _dialled(self, end: TcpEnd, peer: Peer | None) -> None:
        self._dial = None
        upstream = self._upstream(end, peer)
        end.start(upstream)
        if self._session is not None:
            self._session.forward(upstream)

    def _undialled(self, error: WeftError) -> None:
        self._dial = None
        if self._session is not None:
            self._session.fail(error)

    def _upstream(self, end: TcpEnd, peer: Peer | None) -> Upstream:
        upstream = Upstream(end, self._context.limits, _text(self._admission.facts))
        upstream.peer = peer
        upstream.on_gone = self._gone
        return upstream

    def _gone(self, upstream: Upstream) -> None:
        self._admission.pod.back_ports.release(upstream.peer)
        if self._idle is upstream:
            self._idle = None

    def _log(self, session: Session, flags: str, error: WeftError | None, seconds: float) -> None:
        admission = self._admission
        pod, caller, denied = admission.pod, admission.caller, session.denied
        permit = session.permit
        self._context.access_log.record((
            time.time() - seconds, "inbound", caller.principal, f"{caller.namespace}/{caller.workload}".strip("/"),
            admission.facts.source_address, pod.party.principal, f"{pod.party.namespace}/{pod.party.workload}",
            _text(admission.facts),
            session.method, session.host, session.path, session.status, flags,
            denied.reason if denied is not None else error.reason if error is not None else "",
            denied.policy if denied is not None else permit.policy if permit is not None else "",
            denied.rule if denied is not None else permit.rule if permit is not None else "",
            session.received_bytes, session.sent_bytes, seconds, "http/1.1", b"", "", session.upstream_address,
        ))  # fmt: skip


@lru_cache(maxsize=1024)
def _text(facts: ConnectionFacts) -> str:
    """Return the original destination, the same text for all connections of a caller."""
    return f"{facts.destination_address}:{facts.destination_port}"
