"""One gRPC health check over a connected socket, as much HTTP/2 as that takes.

Source: RFC 9113 (frames), RFC 7541 §6.2.2 (literal header fields, no Huffman code, no table), gRPC over HTTP/2, and the
gRPC health checking protocol (`grpc.health.v1`). Replies' header blocks are not read: the message alone decides.
"""

import socket
import struct
from collections.abc import Callable, Iterator
from typing import Final

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7
_END_STREAM, _ACK, _PADDED, _END_HEADERS = 1, 1, 8, 4
_MAX_FRAME_BYTES: Final = 16 * 1024
_MAX_MESSAGE_BYTES: Final = 1024
_SERVING: Final = 1


class HealthProtocolError(Exception):
    """What answers does not speak gRPC's health protocol."""


def check(connection: socket.socket, authority: str, service: str, remaining_s: Callable[[], float]) -> bool:
    """Ask for the health of a service.

    Args:
        connection: connected to the server.
        authority: host and port, for the request.
        service: name to ask for; empty for the server as a whole.
        remaining_s: seconds left; raises TimeoutError when there are none.

    Returns:
        Whether it is SERVING.

    Raises:
        HealthProtocolError: the answer is not one.
        OSError: the connection broke, or time is over.
    """
    connection.settimeout(remaining_s())
    connection.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, b"") + _request(authority, service))
    message = b""
    for kind, flags, stream, payload in _frames(connection, remaining_s):
        if kind == _SETTINGS and not flags & _ACK:
            connection.sendall(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            connection.sendall(_frame(_PING, _ACK, 0, payload))
        elif kind in {_RST_STREAM, _GOAWAY}:
            raise HealthProtocolError("the server reset the stream")
        elif stream == 1 and kind == _DATA:
            message += _unpadded(payload, flags)
        if len(message) > _MAX_MESSAGE_BYTES:
            raise HealthProtocolError("the answer is too long")
        if stream == 1 and kind in {_DATA, _HEADERS} and flags & _END_STREAM:
            return _status(message) == _SERVING
    raise HealthProtocolError("the server closed the connection")


def _request(authority: str, service: str) -> bytes:
    fields = (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/grpc.health.v1.Health/Check"),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("user-agent", "kube-probe/weft-lab"),
    )
    block = b"".join(_literal(name.encode(), value.encode()) for name, value in fields)
    name = service.encode()
    proto = b"\x0a" + _varint(len(name)) + name if name else b""
    body = b"\0" + struct.pack("!I", len(proto)) + proto
    return _frame(_HEADERS, _END_HEADERS, 1, block) + _frame(_DATA, _END_STREAM, 1, body)


def _literal(name: bytes, value: bytes) -> bytes:
    return b"\x10" + _prefixed(len(name)) + name + _prefixed(len(value)) + value


def _prefixed(number: int) -> bytes:
    """Encode a length with a 7-bit prefix (RFC 7541 §5.1)."""
    return bytes([number]) if number < 127 else b"\x7f" + _varint(number - 127)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack("!I", len(payload))[1:] + bytes([kind, flags]) + struct.pack("!I", stream) + payload


def _frames(connection: socket.socket, remaining_s: Callable[[], float]) -> Iterator[tuple[int, int, int, bytes]]:
    while True:
        head = _exactly(connection, 9, remaining_s)
        if not head:
            return
        length = int.from_bytes(head[:3], "big")
        if length > _MAX_FRAME_BYTES:
            raise HealthProtocolError("not HTTP/2, or a frame larger than was offered")
        payload = _exactly(connection, length, remaining_s)
        yield head[3], head[4], int.from_bytes(head[5:9], "big") & 0x7FFFFFFF, payload


def _exactly(connection: socket.socket, count: int, remaining_s: Callable[[], float]) -> bytes:
    """Read so many bytes; nothing at all if the connection ends before."""
    data = b""
    while len(data) < count:
        connection.settimeout(remaining_s())
        more = connection.recv(count - len(data))
        if not more:
            return b""
        data += more
    return data


def _unpadded(payload: bytes, flags: int) -> bytes:
    return payload[1 : len(payload) - payload[0]] if flags & _PADDED and payload else payload


def _status(message: bytes) -> int:
    """Return the status of a HealthCheckResponse; 0 (unknown) where there is none."""
    proto = message[5:]
    return proto[1] if len(proto) >= 2 and proto[0] == 0x08 else 0
