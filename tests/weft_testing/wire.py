"""Plain TCP connections held by a test: every wait is bounded, and how a connection ended is part of what is read.

Theory: a packet over loopback waits in a queue of the processor that sent it until the kernel has time for it: at once on an
idle machine, milliseconds later on a busy one. So "nobody has anything to do" does not mean that all has arrived. On one
processor that queue is first in, first out: a datagram to oneself that has come back has pushed everything before it.
"""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Self

import trio
import trio.testing

WAIT_S: Final = 5.0
"""Bound on every wait of a test."""
RESET: Final = b"\x01\0\0\0\0\0\0\0"


HOPS: Final = 4
"""A reaction to what arrived is sent, arrives, and so on: so many times at most in the tests' scenes."""


@contextmanager
def one_processor() -> Iterator[None]:
    """Stay on one processor, so that what is sent over loopback arrives in the order in which it was sent."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(before)[os.getpid() % len(before)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Marker:
    """A datagram to oneself, which arrives behind everything that was sent before it."""

    def __init__(self) -> None:
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self._sock.connect(self._sock.getsockname())
        self._sock.settimeout(WAIT_S)

    def wait(self) -> None:
        """Send it and wait until it has arrived."""
        self._sock.send(b"x")
        self._sock.recv(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()


async def settled() -> None:
    """Wait until everything sent has arrived and nobody has anything to do; on `one_processor`."""
    with Marker() as marker:
        for _ in range(HOPS):
            await trio.testing.wait_all_tasks_blocked()
            marker.wait()
    await trio.testing.wait_all_tasks_blocked()


class Wire:
    """One end of a TCP connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def send(self, *pieces: bytes) -> None:
        """Send pieces; each is taken by the other side before the next one leaves."""
        with trio.fail_after(WAIT_S):
            for piece in pieces:
                view = memoryview(piece)
                while view:
                    await trio.lowlevel.wait_writable(self.sock)
                    view = view[self.sock.send(view) :]
                await settled()

    async def pour(self, total: int, piece: bytes = bytes(1 << 16)) -> int:
        """Send `piece` again and again, up to `total` bytes; return how many were taken once the other side stalls."""
        sent = 0
        while sent < total:
            start = sent % len(piece)
            try:
                sent += self.sock.send(piece[start : start + total - sent])
            except BlockingIOError:
                with trio.move_on_after(0.2) as patience:
                    await trio.lowlevel.wait_writable(self.sock)
                if patience.cancelled_caught:
                    break
        return sent

    async def receive(self, size: int) -> bytes:
        """Receive `size` bytes; fewer if the connection ends before."""
        out = bytearray()
        with trio.fail_after(WAIT_S):
            while len(out) < size:
                piece = await self._some(size - len(out))
                if not piece:
                    break
                out += piece
        return bytes(out)

    async def receive_until(self, mark: bytes) -> bytes:
        """Receive up to and including `mark`."""
        out = bytearray()
        with trio.fail_after(WAIT_S):
            while not out.endswith(mark):
                piece = await self._some(1)
                assert piece, f"ended behind {bytes(out)!r}"
                out += piece
        return bytes(out)

    async def head(self) -> bytes:
        """Receive one message head."""
        return await self.receive_until(b"\r\n\r\n")

    async def rest(self) -> tuple[bytes, str]:
        """Receive until the connection ends; tell how: `eof` or `reset`."""
        out = bytearray()
        with trio.fail_after(WAIT_S):
            while True:
                try:
                    piece = await self._some(1 << 18)
                except ConnectionResetError:
                    return bytes(out), "reset"
                if not piece:
                    return bytes(out), "eof"
                out += piece

    async def ended(self) -> str:
        """Wait for the end, with no byte before it; tell how it came."""
        data, how = await self.rest()
        assert not data, data
        return how

    async def _some(self, size: int) -> bytes:
        while True:
            try:
                return self.sock.recv(size)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self.sock)

    def arrived(self) -> bytes | None:
        """Return what has arrived without taking it; None: nothing, empty: the peer finished."""
        try:
            return self.sock.recv(1 << 20, socket.MSG_PEEK)
        except BlockingIOError:
            return None

    def finish(self) -> None:
        """Send FIN."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End with a reset."""
        if self.sock.fileno() >= 0:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.sock.close()

    def close(self) -> None:
        """Close; unread bytes make it a reset."""
        self.sock.close()


class Port:
    """A listening socket on loopback."""

    def __init__(self, *, backlog: int = 128, buffer_bytes: int = 0) -> None:
        self.sock = socket.socket()
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited, as by capture's listeners
        if buffer_bytes:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        self.sock.setblocking(False)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen(backlog)
        self.address: tuple[str, int] = self.sock.getsockname()

    async def accept(self) -> Wire:
        """Wait for a connection."""
        with trio.fail_after(WAIT_S):
            while True:
                try:
                    return Wire(self.sock.accept()[0])
                except BlockingIOError:
                    await trio.lowlevel.wait_readable(self.sock)

    def nobody(self) -> bool:
        """Return whether no connection waits to be accepted."""
        try:
            self.sock.accept()[0].close()
        except BlockingIOError:
            return True
        return False

    def close(self) -> None:
        """Stop listening."""
        self.sock.close()


def connect(address: tuple[str, int], *, buffer_bytes: int = 0) -> Wire:
    """Connect on loopback."""
    sock = socket.socket()
    if buffer_bytes:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
    sock.connect(address)
    return Wire(sock)


def cuts(data: bytes) -> list[list[bytes]]:
    """Return the ways to cut `data`: whole, at every place, into single bytes."""
    return [[data], *two_pieces(data), [data[at : at + 1] for at in range(len(data))]]


def two_pieces(data: bytes) -> Sequence[list[bytes]]:
    """Cut at every place once."""
    return [[data[:at], data[at:]] for at in range(1, len(data))]
