"""A tunnel's transport: the TLS engine and the tunnel engine on one TCP socket, driven by the reactor.

Theory of operation. Reading: one recv into the shared buffer, then as many TLS records as that holds into the plaintext
buffer, then one call of the tunnel engine, whose streams call their receivers. Writing: streams append frames to the
engine's `out` during a turn; `flush`, once per turn, encrypts and sends them together. Batching decides the cost of
small messages (measured: 0.07 writes per message, against 0.9 with a flush per stream). Large writes do not wait for it: the
engine calls `_push`, which encrypts them out of the buffer that they were read into. What the socket does not take stays
encrypted in `_unsent`, nothing more is encrypted meanwhile, and the engine pauses its writers.

Bulk is handled in slices that the processor's cache holds, and never joined: each copy of a megabyte into fresh memory costs
as much as its encryption (page faults; measured, see docs/performance.md).
"""

import socket
from collections.abc import Sequence
from typing import Final, Protocol

from weft_agent.reactor import OUTSIDE, Buffer, Reactor
from weft_agent.reactor.loop import READ, WRITE
from weft_agent.tls.engine import TlsEngine
from weft_contract.limits import KIB
from weft_core.errors import CertificateExpiredError, IdentityError, RemoteProtocolError, TunnelLostError, WeftError
from weft_core.tunnel import TunnelConnection

SMALL_READ_BYTES: Final = 64 * KIB
SLICE_BYTES: Final = 64 * KIB
PLAIN_BYTES: Final = 256 * KIB
"""Plaintext collected per call of the tunnel engine: sixteen full records."""

LARGE_BYTES: Final = 16 * KIB
"""A piece that is not joined with others: a TLS record of its own."""

Pieces = Sequence[bytes | memoryview]


class TransportOwner(Protocol):
    """Who must know that a transport has ended."""

    def transport_over(self, transport: "Transport") -> None:
        """Forget the transport."""


class Transport:
    """One tunnel.

    Args:
        reactor: the worker's loop.
        sock: connected, non-blocking, handshake done; owned from now on.
        engine: the TLS engine, holding whatever it has read already.
        connection: the tunnel engine; its handler's `wants_flush` calls `mark`.
        plain: the worker's one plaintext buffer.
        owner: told of the end.
    """

    __slots__ = (
        "_connection",
        "_engine",
        "_events",
        "_fd",
        "_marked",
        "_owner",
        "_plain",
        "_reactor",
        "_read_bytes",
        "_sock",
        "_unsent",
        "deadline",
        "expires",
        "wheel_at",
    )  # fmt: skip

    def __init__(
        self,
        reactor: Reactor,
        sock: socket.socket,
        engine: TlsEngine,
        connection: TunnelConnection,
        plain: memoryview,
        owner: TransportOwner,
    ) -> None:
        self._reactor = reactor
        self._sock = sock
        self._fd = sock.fileno()
        self._engine = engine
        self._connection = connection
        self._plain = plain
        connection.send_at_once(self._push)
        self._owner = owner
        self._events = READ
        self._read_bytes = SMALL_READ_BYTES
        self._unsent: Pieces = []
        self._marked = False
        self.expires = float("inf")
        """When the peer's certificate ends, on the reactor's clock."""
        self.deadline = 0.0
        self.wheel_at = OUTSIDE

    def start(self) -> None:
        """Register, and handle what arrived behind the handshake."""
        self._reactor.register(self._fd, self, READ)
        self.expire()
        self._decrypt()
        self.mark()

    @property
    def closed(self) -> bool:
        """True once the socket is gone."""
        return self._fd < 0

    def mark(self) -> None:
        """Flush at the end of this turn."""
        if not self._marked:
            self._marked = True
            self._reactor.dirty.append(self)

    def ready(self, mask: int) -> None:
        """Handle readiness; called by the reactor."""
        if mask & READ:
            self._read()
        elif mask & ~WRITE:
            self._lost("reset by peer")
            return
        if mask & WRITE and self._fd >= 0:
            self._resend()

    def crash(self) -> None:
        """End visibly after a bug of ours in a callback."""
        self._lost("internal error")

    def _read(self) -> None:
        try:
            size = self._sock.recv_into(self._reactor.buffer, self._read_bytes)
        except BlockingIOError:
            return
        except OSError as exc:
            self._lost(str(exc.strerror))
            return
        if size == 0:
            self._lost("closed by peer")
            return
        if size == self._read_bytes:
            self._read_bytes = len(self._reactor.buffer)
        if size <= SLICE_BYTES:
            self._engine.feed(self._reactor.view[:size])
            self._decrypt()
        else:
            self._read_bulk(size)
        if self._engine.worn_out:
            self._connection.drain()

    def _decrypt(self) -> None:
        """Pass on what the engine can decrypt."""
        engine, connection, plain = self._engine, self._connection, self._plain
        try:
            while True:
                size = engine.read_into(plain)
                if size:
                    connection.receive(plain[:size])
                if self._fd < 0 or size < len(plain):
                    return
        except (IdentityError, RemoteProtocolError) as exc:
            self._end(exc)

    def _read_bulk(self, size: int) -> None:
        """Decrypt slice after slice, since TLS buffers never shrink, and pass on as much as a buffer holds at a time."""
        engine, connection, plain = self._engine, self._connection, self._plain
        view, last, filled = self._reactor.view, len(plain) - 2 * SLICE_BYTES, 0
        for start in range(0, size, SLICE_BYTES):
            engine.feed(view[start : min(start + SLICE_BYTES, size)])
            try:
                filled += engine.read_into(plain[filled:])
            except (IdentityError, RemoteProtocolError) as exc:
                if filled:
                    connection.receive(plain[:filled])
                self._end(exc)
                return
            if filled and (filled > last or start + SLICE_BYTES >= size):
                connection.receive(plain[:filled])
                filled = 0
                if self._fd < 0:
                    return

    def flush(self) -> None:
        """Encrypt and send what the streams collected in this turn, then let those write that had to wait."""
        self._marked = False
        if self._fd >= 0:
            self._push()
            self._connection.settle()

    def _push(self) -> None:
        """Encrypt and send what is in `out`, as far as the socket takes it; makes no callback."""
        out = self._connection.out
        while out and not self._unsent and self._fd >= 0:
            engine = self._engine
            if len(out) == 1:
                engine.write(out[0])
            elif max(map(len, out)) < LARGE_BYTES:
                engine.write(b"".join(out))
            else:
                _write_apart(engine, out)
            out.clear()
            self._connection.taken(self._send(engine.pending_pieces()))

    def _send(self, pieces: Pieces) -> int:
        """Send; return how many bytes the socket did not take, which are kept."""
        left = sum(map(len, pieces))
        try:
            left -= self._sock.send(pieces[0]) if len(pieces) == 1 else self._sock.sendmsg(pieces)
        except BlockingIOError:
            pass
        except OSError:
            left = 0  # epoll reports the error, and nobody reads these bytes
        self._unsent = _last(pieces, left)
        if left and not self._events & WRITE:
            self._events = READ | WRITE
            self._reactor.modify(self._fd, self._events)
        return left

    def _resend(self) -> None:
        left = self._send(self._unsent) if self._unsent else 0
        if not left:
            self._events = READ
            self._reactor.modify(self._fd, READ)
        self._connection.unsent(left)
        self.flush()

    # -- endings ------------------------------------------------------------------------------------------------------

    def expire(self) -> None:
        """Drive liveness and the certificate's end; called by the wheel."""
        now = self._reactor.now
        if self._fd < 0:
            return
        if now >= self.expires:
            self._end(CertificateExpiredError("the peer's certificate expired while the tunnel was open"))
            return
        due = self._connection.tick(now)
        if self._connection.out:
            self.mark()
        self.deadline = min(self.expires, now + 3600.0 if due is None else due)
        self._reactor.watch(self)

    def close(self, error: WeftError | None = None) -> None:
        """Say goodbye and close; streams that are still open are told why."""
        if self._fd >= 0:
            self._connection.close(error=error)
            self._marked = True
            self.flush()
            if not self._unsent:  # else the goodbye would stand in the middle of a record
                self._engine.finish()
                self._send(self._engine.pending_pieces())
            self._shut()

    def _lost(self, why: str) -> None:
        self._end(TunnelLostError(f"tunnel ended: {why}"))

    def _end(self, error: WeftError) -> None:
        if self._fd >= 0:
            self._shut()
            self._connection.lost(error)

    def _shut(self) -> None:
        self._reactor.unregister(self._fd)
        self._fd = -1
        self.deadline = 0.0
        self._unsent = []
        self._sock.close()
        self._owner.transport_over(self)


def _write_apart(engine: TlsEngine, pieces: Sequence[Buffer]) -> None:
    """Encrypt large pieces where they are, small ones joined."""
    small: list[Buffer] = []
    for piece in pieces:
        if len(piece) < LARGE_BYTES:
            small.append(piece)
            continue
        if small:
            engine.write(b"".join(small))
            small.clear()
        engine.write(piece)
    if small:
        engine.write(b"".join(small))


def _last(pieces: Pieces, size: int) -> Pieces:
    """Return the last `size` bytes."""
    kept: list[bytes | memoryview] = []
    for piece in reversed(pieces):
        if size <= 0:
            break
        kept.append(piece if len(piece) <= size else memoryview(piece)[len(piece) - size :])
        size -= len(piece)
    kept.reverse()
    return kept
