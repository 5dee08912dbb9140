"""Response heads: as strict as requests, because a hostile backend attacks the agent and its next caller (threat T25).

Theory: as in `weft_core.http1.request`. The length of what follows is decided here alone, from status, the request's method
and the fields; a caller never looks at Content-Length or Transfer-Encoding again. The caller turns every refusal into
`UpstreamProtocolError`: nothing ambiguous is passed on.
"""

import re
from typing import Final

from weft_contract.limits import Limits
from weft_core.http1.fields import (
    Special,
    connection_options,
    content_length,
    forwarded_lines,
    is_chunked,
    keeps_alive,
    upgrade_wanted,
)
from weft_core.http1.grammar import FIND_SPECIAL, IS_LENGTH, TOKEN, VALUE
from weft_core.http1.head import CHUNKED, UNTIL_EOF, ResponseHead
from weft_core.http1.rules import refused
from weft_core.http1.tokenizer import StatusLine, check_prefix, head_bytes, read_status_line, tokenize_response

_FAST: Final = re.compile(
    rb"HTTP/1\.([01]) ([1-5][0-9]{2}) (" + VALUE + rb")\r\n"
    rb"((?:" + TOKEN + rb":" + VALUE + rb"\r\n)*+)\r\n"
).match  # fmt: skip
_SHORTEST_LINE: Final = 4
_EXACT_DIGITS: Final = 15
"""Decimal numbers of so many digits are below `MAX_LENGTH`."""
_NO_PLAIN_BODY: Final = frozenset({b"HEAD", b"CONNECT"})


def parse_response(
    buffer: bytes | bytearray | memoryview, limits: Limits, request_method: bytes, searched: int = 0
) -> ResponseHead | None:
    """Read the head of a response from the beginning of a buffer.

    Args:
        buffer: what was received and not consumed.
        limits: `head_bytes`, `header_count`.
        request_method: of the request this answers; HEAD and CONNECT change the length.
        searched: bytes of this buffer that an earlier call, which returned None, has seen.

    Returns:
        The head, or None while it is incomplete.

    Raises:
        RemoteProtocolError: a rule of `weft_core.http1.RULES` is broken.

    Source: RFC 9112 §4-6, §9.
    """
    data = buffer if type(buffer) is bytes else head_bytes(buffer, limits.head_bytes, searched)
    end = data.find(b"\r\n\r\n", searched - 3 if searched > 3 else 0)
    if end < 0 or end + 4 > limits.head_bytes:
        check_prefix(data, len(buffer), limits, searched, read_status_line, "head_too_large")
        return None
    found = _FAST(data)
    if found is not None:
        minor, status, reason, block = found.groups()
        if len(block) < _SHORTEST_LINE * limits.header_count or block.count(b"\n") <= limits.header_count:
            special = FIND_SPECIAL(data, end - len(block) + 1, end + 2) if block else []
            if minor == b"1" and status == b"200" and len(special) == 1 and request_method not in _NO_PLAIN_BODY:
                name, length = special[0]  # the usual response: nothing to remove, nothing to be careful about
                if len(length) <= _EXACT_DIGITS and IS_LENGTH(length) and name.lower() == b"content-length":
                    return ResponseHead(200, reason, 1, int(length), True, block, block, end + 4, True)
            return _read(StatusLine(int(status), reason, int(minor)), block, special, end + 4, request_method)
    return slow_response(data, end, limits, request_method)


def slow_response(data: bytes | bytearray, end: int, limits: Limits, request_method: bytes) -> ResponseHead:
    """Read a complete head line by line: the reference of the fast way; arguments as in `slow_request`."""
    line, block, special = tokenize_response(data, end, limits)
    return _read(line, block, special, end + 4, request_method, plain=data[12:13] == b" ")


def next_informational(count: int, limits: Limits) -> int:
    """Count one more 1xx response before the final one.

    Args:
        count: those of this request so far.
        limits: `informational_count`.

    Returns:
        The new count.

    Raises:
        RemoteProtocolError: there are too many.
    """
    if count >= limits.informational_count:
        raise refused("too_many_informational")
    return count + 1


def _read(
    line: StatusLine,
    block: bytes,
    found: list[tuple[bytes, bytes]],
    size: int,
    request_method: bytes,
    *,
    plain: bool = True,
) -> ResponseHead:
    special = Special(found)
    options = connection_options(special.connection)
    length = _length(special, line, request_method)
    if special.lengths and _is_bodyless(line.status, request_method):  # a zero that nobody may send: RFC 9110 §8.6
        forwarded = forwarded_lines(block, options | {b"content-length"})
    else:
        forwarded = forwarded_lines(block, options) if special.strip else block
    return ResponseHead(
        status=line.status,
        reason=line.reason,
        minor=line.minor,
        length=length,
        keep_alive=length != UNTIL_EOF and keeps_alive(line.minor, options),
        block=forwarded,
        original=block,
        size=size,
        raw=plain and line.minor == 1 and forwarded is block,
        upgrade=upgrade_wanted(special.upgrade, options, line.minor),
    )


def _length(special: Special, line: StatusLine, request_method: bytes) -> int:
    """Decide how long the body is.

    Fields that promise a body where there is none are refused, although RFC 9112 §6.3 has a reading for them: a response
    that two parsers read differently poisons the connection. HEAD and 304 may describe the body they leave out.

    Source: RFC 9112 §6.3, RFC 9110 §8.6.
    """
    length = content_length(special.lengths)
    chunked = is_chunked(special.codings, special.lengths, line.minor)
    if _is_bodyless(line.status, request_method):
        if chunked:
            raise refused("coding_without_content")
        if length:
            raise refused("content_without_length_zero")
        return UNTIL_EOF if request_method == b"CONNECT" and line.status >= 200 else 0
    if line.status == 304 or request_method == b"HEAD":
        return 0
    if chunked:
        return CHUNKED
    return UNTIL_EOF if length is None else length


def _is_bodyless(status: int, request_method: bytes) -> bool:
    """Tell whether a response may not even announce a body: 1xx, 204, and the answer that opens a tunnel."""
    return status < 200 or status == 204 or (request_method == b"CONNECT" and status < 300)
