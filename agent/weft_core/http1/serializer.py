"""From values to bytes: the last line of defence against a message that says more than was judged.

Theory: what comes here was parsed strictly or made by us, so nothing should ever be refused; if it is, it is our bug, and a
`LocalProtocolError` ends one exchange instead of a header injection (H2.CRLF, `:path` with a space) reaching a backend.
The lines are checked as a whole by one possessive pattern, the same that a parser would use on them.
"""

import re
from typing import Final

from weft_core.errors import LocalProtocolError
from weft_core.http1.grammar import IS_FIELD_LINES, IS_TOKEN, TOKEN, VALUE

Buffer = bytes | bytearray | memoryview

LAST_CHUNK: Final = b"0\r\n\r\n"
"""Ends a chunked body without trailers."""

_IS_START: Final = re.compile(TOKEN + rb" [!-~]++").fullmatch
_IS_VALUE: Final = re.compile(VALUE).fullmatch
_MAX_STATUS: Final = 599


def request_bytes(method: bytes, target: bytes, minor: int, block: bytes, extra: bytes = b"") -> bytes:
    """Return the head of a request.

    Args:
        method: a token.
        target: visible ASCII.
        minor: 0 or 1 of HTTP/1.x.
        block: field lines, each ending CRLF: usually `RequestHead.block`.
        extra: our field lines behind them, each ending CRLF.

    Raises:
        LocalProtocolError: an argument would break the framing of the message.
    """
    start = b"%b %b" % (method, target)
    if _IS_START(start) is None or minor not in (0, 1):
        raise LocalProtocolError(f"request line would break: {start!r:.80} HTTP/1.{minor}")
    lines = block + extra if extra else block
    if IS_FIELD_LINES(lines) is None:
        raise LocalProtocolError("field lines of a request would break its head")
    return b"%b HTTP/1.%d\r\n%b\r\n" % (start, minor, lines)


def response_bytes(status: int, reason: bytes, block: bytes, extra: bytes = b"", minor: int = 1) -> bytes:
    """Return the head of a response.

    Args:
        status: 100 to 599.
        reason: anything without control characters, or empty.
        block: field lines, each ending CRLF: usually `ResponseHead.block`.
        extra: our field lines behind them, each ending CRLF.
        minor: 0 or 1 of HTTP/1.x.

    Raises:
        LocalProtocolError: an argument would break the framing of the message.
    """
    if not 100 <= status <= _MAX_STATUS or minor not in (0, 1) or _IS_VALUE(reason) is None:
        raise LocalProtocolError(f"status line would break: HTTP/1.{minor} {status} {reason!r:.80}")
    lines = block + extra if extra else block
    if IS_FIELD_LINES(lines) is None:
        raise LocalProtocolError("field lines of a response would break its head")
    return b"HTTP/1.%d %d %b\r\n%b\r\n" % (minor, status, reason, lines)


def field_line(name: bytes, value: bytes) -> bytes:
    """Return one field line: the place where a value made of somebody else's bytes becomes part of a head.

    Raises:
        LocalProtocolError: the name is not a token, or the value holds a control character.
    """
    if IS_TOKEN(name) is None or _IS_VALUE(value) is None:
        raise LocalProtocolError(f"field {name!r:.40} would break the head")
    return b"%b: %b\r\n" % (name, value)


def encode_chunk(data: Buffer) -> list[Buffer]:
    """Return content as one chunk, without copying it; nothing for nothing, since an empty chunk would end the body."""
    return [b"%x\r\n" % len(data), data, b"\r\n"] if len(data) else []
