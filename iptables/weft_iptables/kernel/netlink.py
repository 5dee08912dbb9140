"""Netlink in the small: requests, dumps and attributes, for reading.

Source: Documentation/userspace-api/netlink/intro.rst.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

NETLINK_ROUTE: Final = 0
NETLINK_SOCK_DIAG: Final = 4
NETLINK_NETFILTER: Final = 12

NLM_F_REQUEST: Final = 0x1
NLM_F_ACK: Final = 0x4
NLM_F_DUMP_INTR: Final = 0x10
NLM_F_DUMP: Final = 0x300

_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_SOL_NETLINK: Final = 270
_NETLINK_GET_STRICT_CHK: Final = 12
_TYPE_MASK: Final = 0x3FFF
"""Without the flags "nested" and "network byte order"."""
_BUFFER_BYTES: Final = 1 << 17
_TIMEOUT_S: Final = 5.0
_ATTEMPTS: Final = 5

_header = struct.Struct("=IHHII")
_attribute = struct.Struct("=HH")


class Netlink:
    """A netlink socket in the namespace of the thread that makes it; close it, or use it as a context manager."""

    __slots__ = ("_sequence", "_socket")

    def __init__(self, protocol: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.settimeout(_TIMEOUT_S)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def dump(self, message: int, payload: bytes) -> list[tuple[int, bytes]]:
        """Ask for a list; return (message type, payload) of each entry. A list that changed meanwhile is read again.

        Raises:
            OSError: the kernel's answer, `ENOENT` among them; EINTR if the list never stood still.
        """
        for _ in range(_ATTEMPTS):
            self._send(message, NLM_F_REQUEST | NLM_F_DUMP, payload)
            entries, interrupted = self._collect()
            if not interrupted:
                return entries
        raise InterruptedError(errno.EINTR, f"netlink dump {message:#x} changed while it was read, {_ATTEMPTS} times")

    def ask(self, message: int, payload: bytes) -> list[tuple[int, bytes]]:
        """Send one request; return what came back before the acknowledgement.

        Raises:
            OSError: the kernel's answer.
        """
        self._send(message, NLM_F_REQUEST | NLM_F_ACK, payload)
        return self._collect()[0]

    def batch(self, messages: list[tuple[int, int, bytes]]) -> None:
        """Send (type, flags, payload) messages as one datagram and wait for the acknowledgement of each that asks for one.

        Raises:
            OSError: the kernel's first refusal.
        """
        awaited = 0
        out = b""
        for message, flags, payload in messages:
            self._sequence += 1
            awaited += bool(flags & NLM_F_ACK)
            out += _header.pack(_header.size + len(payload), message, flags, self._sequence, 0) + _padded(payload)
        self._socket.send(out)
        while awaited:
            self._collect()
            awaited -= 1

    def _send(self, message: int, flags: int, payload: bytes) -> None:
        self._sequence += 1
        self._socket.send(_header.pack(_header.size + len(payload), message, flags, self._sequence, 0) + payload)

    def _collect(self) -> tuple[list[tuple[int, bytes]], bool]:
        entries: list[tuple[int, bytes]] = []
        interrupted = False
        while True:
            for message, flags, payload in _messages(self._socket.recv(_BUFFER_BYTES)):
                interrupted |= bool(flags & NLM_F_DUMP_INTR)
                if message in (_NLMSG_ERROR, _NLMSG_DONE):
                    (code,) = struct.unpack_from("=i", payload) if len(payload) >= 4 else (0,)
                    if code < 0:
                        raise OSError(-code, os.strerror(-code))
                    return entries, interrupted
                entries.append((message, payload))


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    offset = 0
    while offset + _header.size <= len(data):
        length, message, flags, _, _ = _header.unpack_from(data, offset)
        yield message, flags, data[offset + _header.size : offset + length]
        offset += (length + 3) & ~3


def attributes(data: bytes, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """Walk the attributes that begin at `offset`; give (type without flags, value)."""
    end = len(data)
    while offset + 4 <= end:
        length, kind = _attribute.unpack_from(data, offset)
        if length < 4:
            return
        yield kind & _TYPE_MASK, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def attribute(kind: int, value: bytes) -> bytes:
    """Encode one attribute."""
    return _padded(_attribute.pack(4 + len(value), kind) + value)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def text(value: bytes) -> str:
    """Decode a name: bytes up to the NUL."""
    return value.partition(b"\0")[0].decode("ascii", "backslashreplace")
