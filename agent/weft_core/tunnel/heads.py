"""Are these header fields a request, a response, trailers? What breaks a rule here breaks one stream, not the tunnel.

Theory: this is the gate in front of policy and of HTTP/1 upstreams, so it is as strict as the request line of the HTTP/1
parser: whoever passes can be written as HTTP/1 without becoming two requests. The same functions check what we send, as
the last line of defence. Bodies are measured against Content-Length by the stream; these functions say how long they are.

Source: RFC 9113 §8.2, §8.3, §8.5; the gaps of other libraries measured in the project's reliability notes (spaces in
:method and :path, :path without slash, :scheme garbage, length with END_STREAM).
"""

import re
from collections.abc import Sequence
from typing import Final

from weft_core.facts import Header
from weft_core.tunnel.breach import StreamBreachError
from weft_core.tunnel.frames import ErrorCode

UNMEASURED: Final = -1
"""Length of a body that no field announces."""
UNANSWERED: Final = -2
"""Length of a response body before the response's head."""

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_is_method: Final = re.compile(_TOKEN).fullmatch
_is_name: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch
_is_value: Final = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?").fullmatch
_is_path: Final = re.compile(rb"/[\x21\x22\x24-\x7e]*").fullmatch
_is_authority: Final = re.compile(rb"[A-Za-z0-9\-._~!$&'()*+,;=:%\[\]]+").fullmatch
_has_port: Final = re.compile(rb".+:[0-9]{1,5}").fullmatch
_is_length: Final = re.compile(rb"[0-9]{1,15}").fullmatch
_is_status: Final = re.compile(rb"[1-5][0-9]{2}").fullmatch

_CONNECTION_FIELDS: Final = frozenset(
    (b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"http2-settings")
)
_LOOKED_AT: Final = _CONNECTION_FIELDS | {b"te", b"host", b"content-length"}
_REQUEST_PSEUDO: Final = frozenset((b":method", b":scheme", b":path", b":authority"))
_RESPONSE_PSEUDO: Final = frozenset((b":status",))
_NO_PSEUDO: Final[frozenset[bytes]] = frozenset()
_NOT_IN_TRAILERS: Final = frozenset((
    b"authorization", b"cache-control", b"content-encoding", b"content-length", b"content-range", b"content-type", b"cookie",
    b"expect", b"host", b"max-forwards", b"proxy-authorization", b"range", b"set-cookie", b"te", b"trailer",
))  # fmt: skip
"""Framing, routing, authentication, content format: dropped from trailers. Source: RFC 9110 §6.5.1."""
_BODILESS: Final = frozenset((204, 304))


def check_request(headers: Sequence[Header], *, end_stream: bool) -> int:
    """Check the head of a request.

    Args:
        headers: the fields as sent.
        end_stream: whether the request ends with its head.

    Returns:
        Bytes of the body, or `UNMEASURED`.

    Raises:
        StreamBreachError: the head is malformed.
    """
    pseudo, fields = _check(headers, _REQUEST_PSEUDO)
    method, scheme = pseudo.get(b":method"), pseudo.get(b":scheme")
    path, authority = pseudo.get(b":path"), pseudo.get(b":authority")
    if method is None or not _is_method(method):
        raise _malformed("a request needs one :method, a token", "method")
    if authority is not None and not _is_authority(authority):
        raise _malformed(":authority is no host and port", "authority")
    if method == b"CONNECT":
        return _check_connect(scheme, path, authority, fields)
    if scheme not in (b"http", b"https"):
        raise _malformed(":scheme is neither http nor https", "scheme")
    if path is None or not (_is_path(path) or (path == b"*" and method == b"OPTIONS")):
        raise _malformed(":path is no path", "path")
    host = fields.get(b"host")
    if authority is None and host is None:
        raise _malformed("neither :authority nor host", "authority")
    if host is not None and not (_is_authority(host) and authority in (None, host)):
        raise _malformed("host differs from :authority, or is no host", "authority")
    return _body_length(fields, end_stream)


def _check_connect(
    scheme: bytes | None, path: bytes | None, authority: bytes | None, fields: dict[bytes, bytes]
) -> int:
    if scheme is not None or path is not None:
        raise _malformed("CONNECT has neither :scheme nor :path (RFC 9113 §8.5)", "connect")
    if authority is None or not _has_port(authority):
        raise _malformed("CONNECT needs host and port in :authority", "connect")
    if b"content-length" in fields or fields.get(b"host", authority) != authority:
        raise _malformed("CONNECT has no content-length and no other host", "connect")
    return UNMEASURED


def check_response(headers: Sequence[Header], *, end_stream: bool, method: bytes) -> tuple[int, int]:
    """Check the head of a response.

    Args:
        headers: the fields as sent.
        end_stream: whether the response ends with its head.
        method: of the request it answers.

    Returns:
        Status, and bytes of the body or `UNMEASURED`.

    Raises:
        StreamBreachError: the head is malformed.
    """
    pseudo, fields = _check(headers, _RESPONSE_PSEUDO)
    text = pseudo.get(b":status")
    if text is None or not _is_status(text) or text == b"101":
        raise _malformed("a response needs one :status of three digits, and 101 does not exist here", "status")
    status = int(text)
    if status < 200:
        if end_stream or b"content-length" in fields:
            raise _malformed("an informational head has no body and ends nothing", "informational")
        return status, UNMEASURED
    if method == b"CONNECT" and status < 300:
        return status, UNMEASURED  # its content-length is to be ignored (RFC 9110 §9.3.6)
    silent = method == b"HEAD" or status in _BODILESS
    return status, _body_length(fields, end_stream or silent, describes_another=silent)


def check_trailers(headers: Sequence[Header]) -> list[Header]:
    """Check trailers.

    Returns:
        The fields without those that have no meaning behind a body.

    Raises:
        StreamBreachError: the trailers are malformed.
    """
    _check(headers, _NO_PSEUDO, in_trailers=True)
    return [header for header in headers if header[0] not in _NOT_IN_TRAILERS]


def _check(
    headers: Sequence[Header], allowed: frozenset[bytes], *, in_trailers: bool = False
) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
    """Check what holds for every field; return pseudo headers and the fields that are looked at."""
    pseudo: dict[bytes, bytes] = {}
    fields: dict[bytes, bytes] = {}
    behind_pseudo = False
    for name, value in headers:
        if not _is_value(value):
            raise _malformed("a value has a control character, or white space at its ends", "value")
        if name[:1] == b":":
            if behind_pseudo or name in pseudo or name not in allowed:
                raise _malformed("a pseudo header is late, doubled or unknown", "pseudo_header")
            pseudo[name] = value
            continue
        behind_pseudo = True
        if not _is_name(name):
            raise _malformed("a name is no token in lower case", "name")
        if name in _LOOKED_AT and not in_trailers:
            _look_at(name, value, fields)
        elif name in _CONNECTION_FIELDS:
            raise _malformed("a field that belongs to HTTP/1 connections", "connection_field")
    return pseudo, fields


def _look_at(name: bytes, value: bytes, fields: dict[bytes, bytes]) -> None:
    if name in _CONNECTION_FIELDS or (name == b"te" and value.lower() != b"trailers"):
        raise _malformed("a field that belongs to HTTP/1 connections", "connection_field")
    if name in fields:
        raise _malformed("te, host and content-length come once", "doubled_field")
    if name == b"content-length" and not _is_length(value):
        raise _malformed("content-length is no number", "content_length")
    fields[name] = value


def _body_length(fields: dict[bytes, bytes], bodiless: bool, *, describes_another: bool = False) -> int:
    """Return the length of the body; `describes_another`: the field may tell of a body that is not sent (HEAD, 304)."""
    length = fields.get(b"content-length")
    if bodiless:
        if length is not None and int(length) and not describes_another:
            raise _malformed("content-length above 0, and no body", "content_length")
        return 0
    return UNMEASURED if length is None else int(length)


def _malformed(why: str, detail: str) -> StreamBreachError:
    return StreamBreachError(ErrorCode.PROTOCOL_ERROR, f"malformed head: {why} (RFC 9113 §8)", detail)
