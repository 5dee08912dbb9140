"""A TCP socket as an `End`: reads into the shared buffer, sends at once, queues only what the kernel did not take.

Theory of operation. Interest in events is kept in `_events`: READ unless paused or the peer finished, WRITE only while
something is queued. The read size grows with the flow (64 KiB, then the whole shared buffer) and falls back when the flow
is paused, so that a stalled receiver never holds much. A reset or an error is reported by epoll whatever the interest, so
`write` just drops its data and the next event ends the connection.

Closing. `close()` sends the queue, then FIN, then reads and discards for a moment so that the peer's late bytes do not turn
our last words into a reset (RFC 9112 §9.6). `abort()` resets. Both silence the receiver.
"""

import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Final

from weft_agent.reactor.ends import Buffer, Receiver
from weft_agent.reactor.loop import READ, WRITE, Reactor
from weft_contract.limits import KIB, Limits
from weft_core.errors import ClientGoneError, UpstreamResetError, WeftError

SMALL_READ_BYTES: Final = 64 * KIB
FULL_READS_TO_GROW: Final = 4
LINGER_S: Final = 1.0
"""How long late bytes are read after our FIN; a client on the same machine needs one round trip."""
LINGER_BYTES: Final = 256 * KIB
_RESET: Final = struct.pack("ii", 1, 0)


class _Silence:
    """The receiver of an end whose owner has left."""

    def feed(self, data: Buffer) -> None: ...

    def eof(self) -> None: ...

    def drained(self) -> None: ...

    def lost(self, error: WeftError | None) -> None: ...


SILENCE: Final = _Silence()


class TcpEnd:
    """One connected, non-blocking TCP socket.

    Args:
        reactor: the worker's loop.
        sock: connected and non-blocking; owned from now on.
        limits: high and low water marks.
        downstream: True for a caller's connection: a reset is then `ClientGoneError`, else `UpstreamResetError`.
    """

    __slots__ = (
        "_closing", "_diverted", "_downstream", "_eof", "_events", "_fd", "_feeder", "_finished", "_finishing",
        "_full_reads", "_high", "_low", "_over", "_parked", "_paused", "_queue", "_queued", "_reactor", "_read_bytes",
        "_recv_into", "_send", "_sock", "receiver",
    )  # fmt: skip

    def __init__(self, reactor: Reactor, sock: socket.socket, limits: Limits, *, downstream: bool) -> None:
        self._reactor = reactor
        self._sock = sock
        self._fd = sock.fileno()
        self._recv_into = sock.recv_into
        self._send = sock.send
        self._high = limits.write_high_bytes
        self._low = limits.write_low_bytes
        self._downstream = downstream
        self.receiver: Receiver = SILENCE
        self._queue: deque[bytes] | None = None
        self._queued = 0
        self._events = 0
        self._read_bytes = SMALL_READ_BYTES
        self._full_reads = 0
        self._paused = self._parked = self._over = False
        self._eof = self._finishing = self._finished = self._closing = False
        self._diverted: Callable[[], None] | None = None
        self._feeder: Callable[[], None] | None = None

    def start(self, receiver: Receiver) -> None:
        """Begin to deliver to `receiver`."""
        self.receiver = receiver
        self._events = READ
        self._reactor.register(self._fd, self.ready, READ)

    @property
    def queued_bytes(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return self._queued

    @property
    def closed(self) -> bool:
        """True once the socket is gone."""
        return self._fd < 0

    # -- events -----------------------------------------------------------------------------------------------------

    def ready(self, mask: int) -> None:
        """Handle readiness; called by the reactor."""
        if mask & READ and not self._paused:
            self._read()
        elif mask & ~(READ | WRITE):
            self._broken()
            return
        if mask & WRITE and self._fd >= 0:
            self._drain()

    def crash(self) -> None:
        """End visibly after a bug of ours in a callback."""
        receiver = self.receiver
        if self._fd >= 0:
            self.abort()
            receiver.lost(None)

    def _read(self) -> None:
        if self._diverted is not None:
            self._diverted()
            return
        try:
            size = self._recv_into(self._reactor.buffer, self._read_bytes)
        except BlockingIOError:
            return
        except OSError as exc:
            self._lost(exc)
            return
        if size == 0:
            self._peer_finished()
            return
        if size == self._read_bytes:
            self._grow()
        if self._closing:
            self._discard(size)
            return
        self.receiver.feed(self._reactor.view[:size])

    def _grow(self) -> None:
        self._full_reads += 1
        if self._full_reads == FULL_READS_TO_GROW:
            self._read_bytes = len(self._reactor.buffer)

    def _peer_finished(self) -> None:
        self._eof = True
        self._interest(self._events & ~READ)
        if self._closing or self._finished:
            receiver, done = self.receiver, self._finished and not self._closing
            self._shut()
            if done:
                receiver.eof()
                receiver.lost(None)
        else:
            self.receiver.eof()

    def _broken(self) -> None:
        """Handle EPOLLERR or EPOLLHUP without readable bytes."""
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code or self._eof:
            self._lost(OSError(code, "reset by peer"))
        elif self._paused:  # both directions have finished but the kernel holds unread bytes: HUP cannot be masked
            self._parked = True
            self._reactor.unregister(self._fd)
        else:
            self._read()

    def _lost(self, exc: OSError) -> None:
        receiver = self.receiver
        self._shut()
        if self._downstream:
            receiver.lost(ClientGoneError(f"client reset the connection: {exc.strerror}"))
        else:
            receiver.lost(UpstreamResetError(f"upstream reset the connection: {exc.strerror}"))

    # -- writing ----------------------------------------------------------------------------------------------------

    def write(self, data: Buffer) -> bool:
        """Send now what the kernel takes, queue the rest; False: wait for `drained`."""
        if self._queue is None:
            if self._fd < 0 or self._finishing:
                return True
            try:
                sent = self._send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                return True  # epoll reports the error; see the module's theory
            if sent == len(data):
                return True
            self._queue = deque((bytes(data[sent:]),))
            self._queued = len(data) - sent
            self._interest(self._events | WRITE)
        else:
            if self._finishing:
                return True
            self._queue.append(bytes(data))
            self._queued += len(data)
        if self._queued > self._high:
            self._over = True
            return False
        return True

    def _drain(self) -> None:
        queue = self._queue
        if queue is None and self._feeder is not None:
            self._feeder()
            return
        while queue:
            head = queue[0]
            try:
                sent = self._send(head)
            except BlockingIOError:
                break
            except OSError:
                queue.clear()
                self._queued = 0
                return
            self._queued -= sent
            if sent < len(head):
                queue[0] = head[sent:]
                break
            queue.popleft()
        if not queue:
            self._queue = None
            self._interest(self._events & ~WRITE)
            if self._finishing:
                self._send_fin()
        if self._over and self._queued <= self._low:
            self._over = False
            self.receiver.drained()

    def finish(self) -> None:
        """Half-close once the queue is sent."""
        if self._fd < 0 or self._finishing:
            return
        self._finishing = True
        if self._queue is None:
            self._send_fin()

    def _send_fin(self) -> None:
        self._finished = True
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:  # the peer is gone already; epoll reports it
            return
        if self._eof:
            receiver = self.receiver
            closing = self._closing
            self._shut()
            if not closing:
                self._reactor.soon(lambda: receiver.lost(None))

    # -- reading ----------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Stop reading; the kernel's window closes behind us."""
        if not self._paused and self._fd >= 0:
            self._paused = True
            self._read_bytes = SMALL_READ_BYTES
            self._full_reads = 0
            self._interest(self._events & ~READ)

    def resume(self) -> None:
        """Read again."""
        if self._paused and self._fd >= 0:
            self._paused = False
            if not self._eof:
                self._interest(self._events | READ)

    def _interest(self, events: int) -> None:
        if self._parked and events & READ:
            self._parked = False
            self._events = events
            self._reactor.register(self._fd, self.ready, events)
        elif events != self._events and self._fd >= 0:
            self._events = events
            if not self._parked:
                self._reactor.modify(self._fd, events)

    # -- splicing (see `splice`) ------------------------------------------------------------------------------------

    def divert(self, reader: Callable[[], None] | None) -> None:
        """Call `reader` instead of reading when bytes are there; None: read again."""
        self._diverted = reader

    def feed_from(self, feeder: Callable[[], None] | None) -> None:
        """Call `feeder` whenever the socket takes bytes; None: stop."""
        self._feeder = feeder
        if self._queue is None:
            self._interest(self._events | WRITE if feeder else self._events & ~WRITE)

    @property
    def descriptor(self) -> int:
        """The socket's descriptor; negative once closed."""
        return self._fd

    def peer_finished(self) -> None:
        """Note an end of stream that a diverted reader found."""
        self._peer_finished()

    def failed(self, exc: OSError) -> None:
        """Note an error that a diverted reader or feeder met."""
        self._lost(exc)

    # -- endings ----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Send what is queued, then end; late bytes of the peer are discarded for a moment."""
        if self._fd < 0 or self._closing:
            return
        self.receiver = SILENCE
        self._closing = True
        if self._queue is None and (self._eof or self._finished):
            self._shut()
            return
        self.finish()
        if self._fd >= 0:
            self.resume()
            self._read_bytes = LINGER_BYTES
            self._reactor.after(LINGER_S if self._queue is None else 10 * LINGER_S, self._shut)

    def _discard(self, size: int) -> None:
        self._read_bytes -= size  # a peer that keeps sending gets LINGER_BYTES and no more
        if self._read_bytes <= 0:
            self.abort()

    def abort(self) -> None:
        """Reset the connection."""
        if self._fd >= 0:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._shut()

    def detach(self) -> tuple[socket.socket, bytes]:
        """Give up the socket; unsent bytes must be gone first."""
        sock, fd = self._sock, self._fd
        self._fd = -1
        self.receiver = SILENCE
        if fd >= 0:
            self._reactor.unregister(fd)
        return sock, b""

    def _shut(self) -> None:
        if self._fd >= 0:
            self._reactor.unregister(self._fd)
            self._fd = -1
            self.receiver = SILENCE
            self._queue = None
            self._queued = 0
            self._sock.close()
