"""The TLS ClientHello: server name and ALPN, by a strict bounded reader that never raises.

Theory: every length is checked against the room its parent has left, each list must be filled to the last byte, and an
extension may come once; whatever breaks that is not a ClientHello. A handshake message may be cut into several records
(large ones are; some clients do it to hide), so records are joined first, at most `MAX_RECORDS` of them: no TLS library
cuts finer, and the bound keeps a look at the same growing bytes cheap each time.

Source: RFC 8446 §4.1.2, §4.2, §5.1; RFC 6066 §3 (server_name); RFC 7301 §3.1 (ALPN).
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

MAX_RECORDS: Final = 64
MAX_RECORD_BYTES: Final = 1 << 14

_RECORD_HEADER_BYTES: Final = 5
_HANDSHAKE_HEADER_BYTES: Final = 4
_HANDSHAKE_RECORD: Final = 22
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0
_ALPN: Final = 16
_HOST_NAME: Final = 0
_NAME: Final = re.compile(rb"[A-Za-z0-9_\-]{1,63}(?:\.[A-Za-z0-9_\-]{1,63})*\.?").fullmatch


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What a ClientHello says in clear."""

    sni: str
    """Server name in lower case without trailing dot; empty: none was sent."""
    alpn: tuple[bytes, ...]
    """Protocols offered, in the client's order."""


class _MalformedError(Exception):
    """Never leaves this file: garbage is opaque, and nobody's error."""


class _Reader:
    """Takes bytes off the front and refuses to take more than there are."""

    __slots__ = ("_data", "_pos")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._pos = 0

    def take(self, count: int) -> bytes:
        end = self._pos + count
        if end > len(self._data):
            raise _MalformedError
        taken = self._data[self._pos : end]
        self._pos = end
        return taken

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "big")

    def vector(self, width: int, shortest: int = 0) -> "_Reader":
        """Take a vector: its length in `width` bytes, then so many bytes."""
        count = self.number(width)
        if count < shortest:
            raise _MalformedError
        return _Reader(self.take(count))

    @property
    def rest(self) -> bytes:
        return self._data[self._pos :]

    def is_empty(self) -> bool:
        return self._pos == len(self._data)


def read_client_hello(data: bytes, limit_bytes: int) -> ClientHello | Literal[False] | None:
    """Read the ClientHello a connection begins with.

    Args:
        data: the first bytes received.
        limit_bytes: largest handshake message looked at, its header included.

    Returns:
        The ClientHello, None if more bytes are needed, False if this is none.
    """
    try:
        message = _join_records(data, limit_bytes)
        return None if message is None else _read_message(message)
    except _MalformedError:
        return False


def _join_records(data: bytes, limit_bytes: int) -> bytes | None:
    """Return the handshake message without record headers; None: it is not all there."""
    message = b""
    announced = pos = 0
    wanted = _HANDSHAKE_HEADER_BYTES
    for _ in range(MAX_RECORDS):
        count = _record_bytes(data[pos : pos + _RECORD_HEADER_BYTES])
        if not count:
            return None
        pos += _RECORD_HEADER_BYTES
        message += data[pos : pos + count]
        announced += count
        pos += count
        if wanted == _HANDSHAKE_HEADER_BYTES:
            wanted = _message_bytes(message, limit_bytes)
        if announced > wanted > _HANDSHAKE_HEADER_BYTES:
            raise _MalformedError  # a client has nothing to say behind its ClientHello, before it got an answer
        if len(message) == wanted > _HANDSHAKE_HEADER_BYTES:
            return message
        if len(message) < announced:
            return None
    raise _MalformedError


def _record_bytes(header: bytes) -> int:
    """Return how many bytes the record has; 0 while its header is not whole."""
    if (header and header[0] != _HANDSHAKE_RECORD) or (len(header) > 1 and header[1] != 3) or header[2:3] > b"\x04":
        raise _MalformedError
    if len(header) < _RECORD_HEADER_BYTES:
        return 0
    count = int.from_bytes(header[3:], "big")
    if not 0 < count <= MAX_RECORD_BYTES:
        raise _MalformedError
    return count


def _message_bytes(begin: bytes, limit_bytes: int) -> int:
    """Return how many bytes the handshake message has, header included; 4 while the header is not whole."""
    if begin and begin[0] != _CLIENT_HELLO:
        raise _MalformedError
    if len(begin) < _HANDSHAKE_HEADER_BYTES:
        return _HANDSHAKE_HEADER_BYTES
    total = _HANDSHAKE_HEADER_BYTES + int.from_bytes(begin[1:4], "big")
    if not _HANDSHAKE_HEADER_BYTES < total <= limit_bytes:
        raise _MalformedError
    return total


def _read_message(message: bytes) -> ClientHello:
    body = _Reader(message[_HANDSHAKE_HEADER_BYTES:])
    if body.take(1) != b"\x03":  # legacy_version: 3.3 since TLS 1.2, 3.1 and 3.2 before
        raise _MalformedError
    body.take(1 + 32)  # its second byte, random
    if len(body.vector(1).rest) > 32:  # legacy_session_id
        raise _MalformedError
    if len(body.vector(2, shortest=2).rest) % 2:  # cipher suites
        raise _MalformedError
    body.vector(1, shortest=1)  # compression methods
    if body.is_empty():
        return ClientHello("", ())
    extensions = body.vector(2)
    if not body.is_empty():
        raise _MalformedError
    return _read_extensions(extensions)


def _read_extensions(extensions: _Reader) -> ClientHello:
    sni = ""
    alpn: tuple[bytes, ...] = ()
    seen: set[int] = set()
    while not extensions.is_empty():
        kind = extensions.number(2)
        content = extensions.vector(2)
        if kind in seen:
            raise _MalformedError
        seen.add(kind)
        if kind == _SERVER_NAME:
            sni = _read_server_name(content)
        elif kind == _ALPN:
            alpn = _read_alpn(content)
    return ClientHello(sni, alpn)


def _read_server_name(content: _Reader) -> str:
    """Read the one host name of the list; there is no second kind of name, and no two of a kind are allowed."""
    names = content.vector(2, shortest=1)
    if not content.is_empty() or names.number(1) != _HOST_NAME:
        raise _MalformedError
    name = names.vector(2, shortest=1).rest
    if not names.is_empty() or len(name) > 254 or _NAME(name) is None:
        raise _MalformedError
    return name.decode("ascii").lower().removesuffix(".")


def _read_alpn(content: _Reader) -> tuple[bytes, ...]:
    names = content.vector(2, shortest=2)
    if not content.is_empty():
        raise _MalformedError
    found: list[bytes] = []
    while not names.is_empty():
        found.append(names.vector(1, shortest=1).rest)
    return tuple(found)
