"""A TCP socket as an `End`: reads into the shared buffer, sends at once, queues only what the kernel did not take.

Theory of operation. Interest in events is kept in `_events`: READ unless paused or the peer finished, WRITE only while
something is queued. The read size grows with the flow (64 KiB, then the whole shared buffer) and falls back when the flow
is paused, so that a stalled receiver never holds much. Nothing is kept per end that can be
reached in one step more: bound methods of the socket alone would make an idle connection 288 bytes larger.

Errors. epoll reports a reset whatever the interest, so `write` drops its data and leaves the rest to the next event. But the
kernel tells an error once: if `send` was the one to hear ECONNRESET, `recv` says 0 afterwards, and a reset would look like a
clean end. So `send`'s error is kept, and an end of stream that comes after it is that error. EPIPE is no such
error: the peer's FIN came before its reset (or the reset was heard already), and what FIN ended was complete.

Closing. `close()` sends the queue, then FIN, then reads and discards for a moment so that the peer's late bytes do not turn
our last words into a reset (RFC 9112 §9.6). A peer that takes nothing of the queue for `STALL_S` gets a reset, so what it has
of an answer does not look whole. `abort()` resets. Both silence the receiver.
"""

import errno
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Final

from weft_agent.reactor.ends import SILENCE, Buffer, Receiver
from weft_agent.reactor.loop import READ, WRITE, Reactor
from weft_agent.reactor.timers import Timer
from weft_contract.limits import KIB, MIB, Limits
from weft_core.errors import ClientGoneError, InternalError, UpstreamResetError

SMALL_READ_BYTES: Final = 64 * KIB
FULL_READS_TO_GROW: Final = 4
LINGER_S: Final = 1.0
"""How long late bytes are read after our FIN; a client on the same machine needs one round trip."""
LINGER_BYTES: Final = 4 * MIB
"""How many; what both kernels may hold of an upload whose answer came early (tcp_wmem and tcp_rmem)."""
STALL_S: Final = 10.0
"""A closing end whose peer takes nothing for so long is reset."""
_RESET: Final = struct.pack("ii", 1, 0)


class _Rare:
    """What an end has to know that is closing, has heard an error, or has somebody else move its bytes (see `splice`)."""

    __slots__ = ("budget", "closing", "error", "feeder", "mark", "parked", "reader", "timer")

    def __init__(self) -> None:
        self.closing = False
        self.timer: Timer | None = None
        """Of an end that is closing."""
        self.mark = 0
        """Bytes queued when the timer was set."""
        self.budget = LINGER_BYTES
        """Late bytes that may still come."""
        self.error: OSError | None = None
        """What a `send` heard."""
        self.parked = False
        """Taken out of the loop while paused, since a hang-up cannot be masked."""
        self.reader: Callable[[], None] | None = None
        self.feeder: Callable[[], None] | None = None


class TcpEnd:
    """One connected, non-blocking TCP socket.

    Args:
        reactor: the worker's loop.
        sock: connected and non-blocking; owned from now on.
        limits: high and low water marks.
        downstream: True for a caller's connection: a reset is then `ClientGoneError`, else `UpstreamResetError`.
    """

    __slots__ = (
        "_downstream", "_eof", "_events", "_fd", "_finished", "_finishing", "_full_reads", "_limits", "_over", "_paused",
        "_queue", "_queued", "_rare", "_reactor", "_sock", "receiver",
    )  # fmt: skip

    def __init__(self, reactor: Reactor, sock: socket.socket, limits: Limits, *, downstream: bool) -> None:
        self._reactor = reactor
        self._sock = sock
        self._fd = sock.fileno()
        self._limits = limits
        self._downstream = downstream
        self.receiver: Receiver = SILENCE
        self._queue: deque[bytes] | None = None
        self._queued = 0
        self._events = 0
        self._full_reads = 0
        self._paused = self._over = False
        self._eof = self._finishing = self._finished = False
        self._rare: _Rare | None = None

    def start(self, receiver: Receiver) -> None:
        """Begin to deliver to `receiver`."""
        self.receiver = receiver
        self._events = READ
        self._reactor.register(self._fd, self, READ)

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
        crash: Callable[[], None] | None = getattr(receiver, "crash", None)
        if crash is None:
            self.abort()
            receiver.lost(InternalError("a bug of this agent ended the connection"))
            return
        try:
            crash()
        except BaseException:
            self.abort()  # it did not even end well
            raise

    def _read(self) -> None:
        rare = self._rare
        if rare is not None and rare.reader is not None:
            rare.reader()
            return
        wanted = SMALL_READ_BYTES if self._full_reads < FULL_READS_TO_GROW else len(self._reactor.buffer)
        try:
            size = self._sock.recv_into(self._reactor.buffer, wanted)
        except BlockingIOError:
            return
        except OSError as exc:
            self._lost(exc)
            return
        if size == 0:
            self._peer_finished()
        elif rare is not None and rare.closing:
            self._discard(rare, size)
        else:
            if size == wanted:
                self._full_reads += 1
            self.receiver.feed(self._reactor.view[:size])

    def _peer_finished(self) -> None:
        self._eof = True
        self._interest(self._events & ~READ)
        rare = self._rare
        if rare is not None and rare.error is not None:
            self._lost(rare.error)
        elif rare is not None and rare.closing:
            if self._queue is None:
                self._shut()
        else:
            self.receiver.eof()
            if self._finished:
                self._both_finished()

    def _both_finished(self) -> None:
        if self._fd >= 0 and not self._closing():
            receiver = self.receiver
            self._shut()
            receiver.lost(None)

    def _broken(self) -> None:
        """Handle EPOLLERR or EPOLLHUP without readable bytes."""
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        heard = self._rare.error if self._rare is not None else None
        if code or heard is not None:
            self._lost(heard or OSError(code, os.strerror(code)))
        elif self._eof and self._finished:
            self._both_finished()
        elif self._eof:
            self._lost(OSError(errno.EPIPE, os.strerror(errno.EPIPE)))
        elif self._paused:  # both directions have finished but the kernel holds unread bytes: HUP cannot be masked
            self._made_rare().parked = True
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
                sent = self._sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError as exc:
                self.send_failed(exc)
                return True
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
        if self._queued > self._limits.write_high_bytes:
            self._over = True
            return False
        return True

    def send_failed(self, exc: OSError) -> None:
        """Keep what a `send` heard, since `recv` will not hear it; the next event ends the connection."""
        if exc.errno != errno.EPIPE:
            rare = self._made_rare()
            rare.error = rare.error or exc

    def _drain(self) -> None:
        queue = self._queue
        rare = self._rare
        if queue is None and rare is not None and rare.feeder is not None:
            rare.feeder()
            return
        while queue:
            head = queue[0]
            try:
                sent = self._sock.send(head)
            except BlockingIOError:
                break
            except OSError as exc:
                self.send_failed(exc)
                self._queue = None
                self._queued = 0
                self._interest(self._events & ~WRITE)
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
        if self._over and self._queued <= self._limits.write_low_bytes:
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
        if self._closing():
            self._stay(LINGER_S)
        elif self._eof:
            self._reactor.soon(self._both_finished)

    # -- reading ----------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Stop reading; the kernel's window closes behind us."""
        if not self._paused and self._fd >= 0:
            self._paused = True
            self._full_reads = 0
            self._interest(self._events & ~READ)

    def resume(self) -> None:
        """Read again."""
        if self._paused and self._fd >= 0:
            self._paused = False
            if not self._eof:
                self._interest(self._events | READ)

    def _interest(self, events: int) -> None:
        rare = self._rare
        if rare is not None and rare.parked:
            if events & READ:
                rare.parked = False
                self._reactor.register(self._fd, self, events)
            self._events = events
        elif events != self._events and self._fd >= 0:
            self._events = events
            self._reactor.modify(self._fd, events)

    # -- what is rare -----------------------------------------------------------------------------------------------

    def _made_rare(self) -> _Rare:
        if self._rare is None:
            self._rare = _Rare()
        return self._rare

    def _closing(self) -> bool:
        return self._rare is not None and self._rare.closing

    # -- splicing (see `splice`) ------------------------------------------------------------------------------------

    def divert(self, reader: Callable[[], None] | None) -> None:
        """Call `reader` instead of reading when bytes are there; None: read again."""
        self._made_rare().reader = reader

    def feed_from(self, feeder: Callable[[], None] | None) -> None:
        """Call `feeder` whenever the socket takes bytes; None: stop."""
        self._made_rare().feeder = feeder
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
        """Note an error that a diverted reader met."""
        self._lost(exc)

    # -- endings ----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Send what is queued, then end; late bytes of the peer are discarded for a moment."""
        if self._fd < 0 or self._closing():
            return
        self.receiver = SILENCE
        self._made_rare().closing = True
        if self._eof and self._queue is None:
            self._shut()
            return
        if self._finished:
            self._stay(LINGER_S)
        else:
            self._stay(STALL_S)
            self.finish()
        self.resume()

    def _stay(self, seconds: float) -> None:
        if self._eof and self._queue is None:
            self._shut()
            return
        rare = self._made_rare()
        if rare.timer is not None:
            rare.timer.cancel()
        rare.mark = self._queued
        rare.timer = self._reactor.after(seconds, self._stayed)

    def _stayed(self) -> None:
        """Look how the closing goes on."""
        if self._queue is None:
            self._shut()
        elif self._queued == self._made_rare().mark:
            self.abort()
        else:
            self._stay(STALL_S)

    def _discard(self, rare: _Rare, size: int) -> None:
        """Count down what a peer may send while we close; the rest stays in the kernel and holds it back."""
        rare.budget -= size
        if rare.budget <= 0:
            self._interest(self._events & ~READ)

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
            if self._rare is not None and self._rare.timer is not None:
                self._rare.timer.cancel()
            self._sock.close()
