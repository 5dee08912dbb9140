"""The one place that turns a denial or a fault into bytes for a client: status, reason, and who said so.

Theory: every answer of ours carries `proxy-status` (RFC 9209) with our reason, so that a user can tell a mesh error from an
application's. Policy and rule are named only to those who may know (`Telemetry.explain_refusals`). Bodies are one plain
line that helps at 3 a.m.; everything put into a field is stripped of what could end it.
"""

import re
from http import HTTPStatus
from typing import Final

from weft_core.decision import Denied
from weft_core.errors import RemoteProtocolError, WeftError
from weft_core.http1 import response_bytes

PHRASES: Final = {status.value: status.phrase.encode() for status in HTTPStatus} | {499: b"Client Closed Request"}

_UNSAFE: Final = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")

_PROXY_ERRORS: Final[dict[str, str]] = {
    "connect_failed": "connection_refused",
    "connect_timeout": "connection_timeout",
    "response_timeout": "http_response_timeout",
    "upstream_reset": "connection_terminated",
    "upstream_protocol_error": "http_protocol_error",
    "no_endpoints": "destination_unavailable",
    "no_route": "destination_not_found",
    "untrusted_peer": "tls_certificate_error",
    "identity_mismatch": "tls_certificate_error",
    "certificate_expired": "tls_certificate_error",
    "malformed_message": "http_request_error",
    "slow_request": "http_request_error",
    "overload": "connection_limit_reached",
    "connection_limit": "connection_limit_reached",
    "no_socket": "connection_limit_reached",
    "capture_loop": "proxy_loop_detected",
}
"""RFC 9209 §2.3 error types for our reasons; everything else is `proxy_internal_error`."""


def refusal_answer(denied: Denied, *, explain: bool, method: bytes, keep_alive: bool) -> bytes:
    """Return the response for a denial.

    Args:
        denied: what the policy engine said.
        explain: whether this client may know policy, rule and message.
        method: the request's method (HEAD gets no body).
        keep_alive: whether the connection goes on.
    """
    details = f"reason={denied.reason}"
    text = f"weft: {denied.http_status} {denied.reason}"
    if explain:
        details += f" policy={denied.policy or '-'} rule={denied.rule or '-'}"
        text += f": {denied.message}" if denied.message else ""
    fields = b""
    if denied.retry_after_s:
        fields = b"retry-after: %d\r\n" % denied.retry_after_s
    return _answer(denied.http_status, "http_request_denied", details, text, fields, method, keep_alive)


def error_answer(error: WeftError, *, method: bytes, keep_alive: bool) -> bytes:
    """Return the response for a fault; arguments as in `refusal_answer`."""
    status = error.status if isinstance(error, RemoteProtocolError) else error.http_status
    detail = f" detail={error.detail}" if isinstance(error, RemoteProtocolError) else ""
    kind = _PROXY_ERRORS.get(error.reason, "proxy_internal_error")
    text = f"weft: {status} {error.reason}: {error}"
    return _answer(status, kind, f"reason={error.reason}{detail}", text, b"", method, keep_alive)


def _answer(status: int, kind: str, details: str, text: str, fields: bytes, method: bytes, keep_alive: bool) -> bytes:
    body = (_UNSAFE.sub("?", text.replace('"', "'").replace("\\", "/")) + "\n").encode("ascii")
    proxy_status = f'weft; error={kind}; details="{_UNSAFE.sub("?", details)}"'.encode("ascii")
    close = b"" if keep_alive else b"connection: close\r\n"
    block = (
        b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nproxy-status: %b\r\n%b%b"
        % (len(body), proxy_status, fields, close)
    )  # fmt: skip
    return response_bytes(status, PHRASES.get(status, b""), block) + (b"" if method == b"HEAD" else body)
