"""The certificate endpoint: one POST, one certificate, for an identity that really is on the caller's node.

Theory: a request names a service account and proves that its sender holds a key. Everything else is established here: the
node from the token, the right to the identity from the operator's own index of pods, the words of the certificate by the
authority. Every answer, also a refusal, leaves one line in the audit log.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final

import msgspec
import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter

from weft_contract.identity import IdentityGrammarError, SpiffeId, spiffe_id
from weft_contract.stream import CERTIFICATE_PATH, CertificateAnswer, CertificateRequest
from weft_operator.ca import Authority, CaError, IssuedCertificate, public_key_of_request
from weft_operator.distribution import Caller, Gatekeeper, RefusedError
from weft_operator.distribution.endpoint import bearer_token, problem
from weft_operator.identity.pods import PodIndex
from weft_operator.identity.rates import NodeRates

MAX_REQUEST_BYTES: Final = 16 * 1024
"""A request with an RSA key of 4096 bits has 3 KiB."""
READ_TIMEOUT_S: Final = 10.0
"""Seconds for a body of a few KiB."""

_audit: Final = structlog.get_logger("weft_operator.audit")
_log: Final = structlog.get_logger("weft_operator.identity")


class CertificateEndpoint:
    """Serves `CERTIFICATE_PATH`.

    Args:
        gatekeeper: knows agents.
        pods: says which identities are on which node.
        authority: signs; None: it is not there yet.
        registry: where requests are counted; None: nowhere, for tests.
        clock: monotonic seconds.
        wall: seconds since 1970.
    """

    def __init__(
        self,
        gatekeeper: Gatekeeper,
        pods: PodIndex,
        authority: Callable[[], Authority | None],
        *,
        registry: CollectorRegistry | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._gatekeeper, self._pods, self._authority = gatekeeper, pods, authority
        self._clock, self._wall = clock, wall
        self._rates = NodeRates()
        self._answers = Counter(
            "weft_operator_certificate_requests",
            "Certificate requests of nodes, by HTTP status of the answer.",
            ["status"],
            registry=registry if registry is not None else CollectorRegistry(),
        )

    def routes(self) -> Iterable[web.RouteDef]:
        """Return the routes to add to an application."""
        return [web.post(CERTIFICATE_PATH, self._handle)]

    async def _handle(self, http: web.Request) -> web.Response:
        caller: Caller | None = None
        asked: CertificateRequest | None = None
        try:
            caller = await self._gatekeeper.admit(bearer_token(http))
            self._check_rate(caller)
            asked = await _read(http)
            issued = self._issue(caller, asked)
        except RefusedError as exc:
            self._note(http, caller, asked, status=exc.status, why=exc.detail)
            return problem(exc)
        except Exception:
            _log.exception("certificate request failed", node=caller.node if caller else "")
            refused = RefusedError(500, "Internal error", "an error of the operator's own; see its log", 5.0)
            self._note(http, caller, asked, status=500, why=refused.detail)
            return problem(refused)
        self._note(http, caller, asked, status=200, issued=issued)
        answer = CertificateAnswer(
            chain=issued.chain_pem.decode("ascii"),
            identity=str(issued.identity),
            not_after_unix_s=issued.not_after_unix_s,
        )
        return web.Response(body=msgspec.json.encode(answer), content_type="application/json")

    def _check_rate(self, caller: Caller) -> None:
        wait_s = self._rates.wait_s(caller.node, self._clock())
        if wait_s:
            detail = f"node {caller.node} asks for too many certificates; come again in {wait_s:.1f} s"
            raise RefusedError(429, "Too many requests", detail, wait_s)

    def _issue(self, caller: Caller, asked: CertificateRequest) -> IssuedCertificate:
        authority = self._authority()
        if authority is None:
            detail = "this replica has not read the certificate authority yet; come again"
            raise RefusedError(503, "No authority", detail, 1.0)
        identity = _identity(authority, asked)
        objection = self._pods.objection(caller.node, asked.namespace, asked.service_account)
        if objection is not None:
            raise RefusedError(403, "Not on this node", objection, 1.0)
        try:
            key = public_key_of_request(asked.csr.encode())
        except CaError as exc:
            raise RefusedError(400, "Bad request", f"$.csr: {exc}") from exc
        try:
            return authority.issue(key, identity, now_unix_s=self._wall())
        except CaError as exc:
            raise RefusedError(503, "Cannot sign", str(exc), 30.0) from exc

    def _note(
        self,
        http: web.Request,
        caller: Caller | None,
        asked: CertificateRequest | None,
        *,
        status: int,
        why: str = "",
        issued: IssuedCertificate | None = None,
    ) -> None:
        """Write the audit line."""
        self._answers.labels(str(status)).inc()
        facts: dict[str, object] = {"status": status, "peer": http.remote}
        if caller is not None:
            facts |= {"node": caller.node, "agent": caller.pod, "agent_uid": caller.pod_uid}
        if asked is not None:
            facts |= {"namespace": asked.namespace[:253], "service_account": asked.service_account[:253]}
        if issued is not None:
            facts |= {"identity": str(issued.identity), "serial": f"{issued.serial:x}"}
            _audit.info("certificate issued", not_after_unix_s=issued.not_after_unix_s, **facts)
        else:
            _audit.warning("certificate refused", why=why, **facts)


async def _read(http: web.Request) -> CertificateRequest:
    """Read a request.

    Raises:
        RefusedError: it is none.
    """
    if http.content_length is not None and http.content_length > MAX_REQUEST_BYTES:
        raise RefusedError(413, "Request too large", f"a request has at most {MAX_REQUEST_BYTES} bytes")
    body = b""
    try:
        async with asyncio.timeout(READ_TIMEOUT_S):
            while len(body) <= MAX_REQUEST_BYTES and not http.content.at_eof():
                body += await http.content.read(MAX_REQUEST_BYTES + 1 - len(body))
    except TimeoutError:
        detail = f"the request did not come within {READ_TIMEOUT_S:.0f} s"
        raise RefusedError(408, "Request too slow", detail, 1.0) from None
    if len(body) > MAX_REQUEST_BYTES:
        raise RefusedError(413, "Request too large", f"a request has at most {MAX_REQUEST_BYTES} bytes")
    try:
        return msgspec.json.decode(body, type=CertificateRequest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise RefusedError(400, "Bad request", f"not a certificate request: {exc}") from exc


def _identity(authority: Authority, asked: CertificateRequest) -> SpiffeId:
    try:
        return spiffe_id(authority.trust_domain, asked.namespace, asked.service_account)
    except IdentityGrammarError as exc:
        raise RefusedError(400, "Bad request", str(exc)) from exc
