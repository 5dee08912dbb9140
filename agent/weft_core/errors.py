"""Every way an exchange can fail, a class each: why, whose fault, what the peer is told, does the connection live.

Theory: a fault is raised, a denial is a value (`weft_core.decision.Denied`). `reason` is the one vocabulary of metric
label, log field and `Proxy-Status` detail: snake_case, a closed set. `flag` is Envoy's short response flag, which
operators read as folklore. Library exceptions are translated once, at the border, with `raise … from`.
"""

from typing import ClassVar, Literal

Blame = Literal["client", "policy", "mesh", "upstream", "config"]


class WeftError(Exception):
    """Base of all faults; never raised itself.

    Class attributes describe the consequence, the message tells a human what happened, to whom, and the likely cause.
    """

    reason: ClassVar[str] = "internal_error"
    blame: ClassVar[Blame] = "mesh"
    http_status: ClassVar[int] = 500
    grpc_status: ClassVar[int] = 13
    closes_connection: ClassVar[bool] = True
    retryable: ClassVar[bool] = False
    """Whether the upstream certainly did not act on the request."""
    endpoint_at_fault: ClassVar[bool] = True
    """Of retryable ones: whether another endpoint should be tried, rather than the same one by another way."""
    flag: ClassVar[str] = ""


# -- capture ------------------------------------------------------------------------------------------------------


class CaptureError(WeftError):
    """The connection did not arrive as a captured one should."""

    reason = "capture_error"


class CaptureLoopError(CaptureError):
    """The original destination is a capture port: somebody dialled the agent, or our own socket was captured."""

    reason = "capture_loop"
    flag = "NR"


class RulesRejectedError(CaptureError):
    """The kernel refused the capture rules; the pod's traffic is not let through."""

    reason = "rules_rejected"


# -- identity -----------------------------------------------------------------------------------------------------


class IdentityError(WeftError):
    """A certificate or name that cannot be trusted."""

    reason = "identity_error"
    http_status = 503
    grpc_status = 14


class NoIdentityError(IdentityError):
    """This workload has no valid certificate (yet), so it may not speak for itself."""

    reason = "no_identity"
    retryable = True


class UntrustedPeerError(IdentityError):
    """The peer's certificate breaks a rule of SPIFFE or is not signed by its domain's roots."""

    reason = "untrusted_peer"
    flag = "UF"


class IdentityMismatchError(IdentityError):
    """The peer is somebody, but not the one this endpoint should be (a reused pod IP, most likely)."""

    reason = "identity_mismatch"
    retryable = True
    flag = "UF"


class CertificateExpiredError(IdentityError):
    """The peer's certificate is outside its validity, clock skew included."""

    reason = "certificate_expired"
    flag = "UF"


class PeerRefusedError(IdentityError):
    """The peer ended the handshake because of our certificate; its own log says why."""

    reason = "refused_by_peer"
    flag = "UF"


class HandshakeError(WeftError):
    """No TLS session came about: garbage, an old version, another protocol, or the peer left."""

    reason = "handshake_failed"
    http_status = 503
    grpc_status = 14
    retryable = True
    flag = "UF"


class HandshakeTimeoutError(HandshakeError):
    """The handshake was not complete in time."""

    reason = "handshake_timeout"


# -- protocol -----------------------------------------------------------------------------------------------------


class ProtocolError(WeftError):
    """Bytes that break a protocol; raised as one of its two children only."""

    reason = "protocol_error"


class LocalProtocolError(ProtocolError):
    """We were about to break the protocol: our bug, stopped at the last line of defence."""

    reason = "local_protocol_error"


class RemoteProtocolError(ProtocolError):
    """A peer broke the protocol.

    Args:
        message: what was wrong, with the rule.
        status: what a client is told; ignored when the upstream is to blame (502).
        detail: closed-set name of the rule broken, the sub-reason in metrics: `bare_lf`, `conflicting_length`, …
    """

    reason = "malformed_message"
    blame: ClassVar[Blame] = "client"
    http_status = 400

    def __init__(self, message: str, *, status: int = 400, detail: str = "malformed") -> None:
        super().__init__(message)
        self.status = status
        self.detail = detail


# -- downstream ---------------------------------------------------------------------------------------------------


class DownstreamError(WeftError):
    """The caller's side ended the exchange."""

    blame = "client"


class ClientGoneError(DownstreamError):
    """The caller closed or reset before the answer was complete."""

    reason = "client_gone"
    http_status = 499
    grpc_status = 1
    flag = "DC"


class IdleTimeoutError(DownstreamError):
    """Nothing moved for the time allowed."""

    reason = "idle_timeout"
    http_status = 408
    grpc_status = 4
    flag = "SI"


class SlowRequestError(DownstreamError):
    """Head or body came slower than the floor."""

    reason = "slow_request"
    http_status = 408
    grpc_status = 4
    flag = "SI"


# -- upstream -----------------------------------------------------------------------------------------------------


class UpstreamError(WeftError):
    """The destination's side failed."""

    blame: ClassVar[Blame] = "upstream"
    http_status = 502
    grpc_status = 14
    closes_connection = False


class NoRouteError(UpstreamError):
    """No rule or Service port takes this request."""

    reason = "no_route"
    blame = "config"
    http_status = 404
    grpc_status = 5
    flag = "NR"


class InvalidBackendError(UpstreamError):
    """The chosen backend does not resolve (Gateway API: answer 500 for its share)."""

    reason = "invalid_backend"
    blame = "config"
    http_status = 500
    flag = "NC"


class NoEndpointsError(UpstreamError):
    """The Service exists but nothing stands behind it."""

    reason = "no_endpoints"
    http_status = 503
    flag = "UH"


class ConnectFailedError(UpstreamError):
    """Refused or unreachable."""

    reason = "connect_failed"
    http_status = 503
    retryable = True
    flag = "UF"


class ConnectTimeoutError(UpstreamError):
    """No answer to the SYN (or handshake) in time."""

    reason = "connect_timeout"
    http_status = 503
    retryable = True
    flag = "UF"


class ResponseTimeoutError(UpstreamError):
    """The route's timeout passed before the answer."""

    reason = "response_timeout"
    http_status = 504
    grpc_status = 4
    flag = "UT"


class UpstreamResetError(UpstreamError):
    """The upstream closed or reset before its answer was complete."""

    reason = "upstream_reset"
    http_status = 502
    flag = "UC"


class StreamRefusedError(UpstreamError):
    """The peer agent says that it did not act on the stream (refused, or above its GOAWAY): try another tunnel."""

    reason = "stream_refused"
    http_status = 503
    retryable = True
    flag = "UR"


class TunnelDrainedError(StreamRefusedError):
    """Nothing of the stream was acted on (above the peer agent's GOAWAY, or never sent), and only this tunnel is over.

    The same endpoint is there by another one.
    """

    endpoint_at_fault = False


class TunnelLostError(UpstreamError):
    """The tunnel ended under the stream: its socket closed, its peer went silent, or one side broke the protocol."""

    reason = "tunnel_lost"
    http_status = 503
    flag = "UC"


class RootWithdrawnError(TunnelLostError):
    """The root that vouched for the peer agent was withdrawn, so it may not speak on; its streams ended with the tunnel."""

    reason = "root_withdrawn"


class UpstreamProtocolError(UpstreamError):
    """The upstream's bytes break HTTP; nothing ambiguous is passed on."""

    reason = "upstream_protocol_error"
    http_status = 502
    flag = "UPE"


# -- overload and life cycle --------------------------------------------------------------------------------------


class OverloadError(WeftError):
    """A limit of this agent was reached."""

    reason = "overload"
    http_status = 503
    grpc_status = 14
    retryable = True
    closes_connection = False
    flag = "UO"


class ConnectionLimitError(OverloadError):
    """The pod or the worker holds as many connections as it may."""

    reason = "connection_limit"
    closes_connection = True


class StockEmptyError(OverloadError):
    """Control did not supply a socket in time (it is restarting, or out of descriptors)."""

    reason = "no_socket"


class TunnelFullError(OverloadError):
    """This tunnel takes no new stream (draining, at its limit, or out of ids); the caller opens another tunnel."""

    reason = "tunnel_full"


class DrainDeadlineError(WeftError):
    """The drain time is over; what is still open is cut."""

    reason = "drain_deadline"
    http_status = 503
    grpc_status = 14


class PolicyRevokedError(WeftError):
    """A policy or certificate change ended this connection."""

    reason = "policy_revoked"
    blame = "policy"
    http_status = 403
    grpc_status = 7
    flag = "UAEX"


class InternalError(WeftError):
    """Our bug: logged with its traceback, answered 500, counted, alarmed."""
