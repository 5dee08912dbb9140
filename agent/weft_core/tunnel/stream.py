"""One stream of a tunnel: a CONNECT that carries opaque bytes, or one HTTP request with its response.

Theory of operation. Both directions live and end on their own (RFC 9113 §5.1):

    sending    `_sending`: DATA may be written · `_ending`: the end is asked for, the queue or trailers are still to go ·
               `_out_ended`: END_STREAM is in `out`
    receiving  `_peer_ended`: END_STREAM came · `_end_delivered`: and the receiver knows, after all bytes before it

When both END_STREAMs are on the wire the connection forgets the stream (its place is free for another); when the receiver
has seen everything too it gets `lost(None)`. `_gone` is set once nobody above is to be called any more.

Arriving bytes go through `_take`, one bound method that `_aim` chooses anew whenever something changes: the receiver itself,
the queue of a paused stream, the measure of a body with Content-Length, or nowhere. So the hot path asks no question. For
the same reason a side that ended has a window of -1.
Leaving bytes go straight into the outlet while nothing waits; otherwise they queue, and the outlet gives turns.

One class, because both halves share the end of the stream, and a layer between them would cost each message.

Rules for editors: `write` never calls anybody back. No callback is made from an owner's call except from `resume` (which
delivers what waited). After a callback, look at `_gone` again. Underscored attributes are shared within this room.

Source: RFC 9113 §5.1, §8.1; `weft_agent.reactor.ends` for the meaning of each call.
"""

from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from weft_core.errors import LocalProtocolError, WeftError
from weft_core.facts import Header
from weft_core.tunnel import frames
from weft_core.tunnel.breach import StreamBreachError
from weft_core.tunnel.bytes_queue import BytesQueue
from weft_core.tunnel.frames import END_STREAM, SMALLEST_MAX_FRAME, ErrorCode
from weft_core.tunnel.heads import UNANSWERED, UNMEASURED
from weft_core.tunnel.outlet import QUANTUM_BYTES, Outlet
from weft_core.tunnel.seams import SILENCE, Buffer, Receiver, StreamOwner

NEVER: Final = -(1 << 40)
"""Refill mark of a window that is not given back any more."""

DIRECT_BYTES: Final = 256 * 1024
"""Of a large write that goes out at once: fewer frames make larger writes at the other end."""

_pack_frame: Final = frames.FRAME.pack


class TunnelStream:
    """One side of a byte exchange inside a tunnel; fits the reactor's `End`. Made by `TunnelConnection` only.

    Args:
        owner: the connection.
        outlet: the connection's sending half.
        stream_id: id on the wire.
        window: receive window as the peer may see it now, bytes.
        size: receive window we mean to give, bytes.
        credit: what the peer lets us send, bytes.
    """

    __slots__ = (
        "_advertised", "_answered", "_bulk", "_closing", "_credit", "_delivering", "_end_delivered", "_ending", "_error",
        "_expected", "_gone", "_granted", "_informational", "_method", "_out_ended", "_outlet", "_owner", "_padding", "_paused",
        "_peer_ended", "_probe_at", "_queue", "_receiver", "_refill_at", "_refused", "_sending", "_size", "_take", "_trailers",
        "_trailers_in", "_unread", "_waiting", "_window", "block", "id",
    )  # fmt: skip

    def __init__(
        self, owner: StreamOwner, outlet: Outlet, stream_id: int, *, window: int, size: int, credit: int
    ) -> None:
        self.id = stream_id
        self.block = b""
        """Raw block of the head being delivered, fit to be forwarded; empty outside of that call."""
        self._owner = owner
        self._outlet = outlet
        self._receiver: Receiver = SILENCE
        self._method = b""
        self._answered = False
        """The final response head passed, either way."""
        self._informational = 0
        # receiving
        self._window = self._advertised = window
        self._size = size
        self._refill_at = size // 2
        self._probe_at = 0
        self._padding = 0
        self._expected = UNMEASURED
        self._take: Callable[[Buffer], None] = SILENCE.feed
        self._paused = False
        self._unread: BytesQueue | None = None
        self._delivering = False
        self._peer_ended = False
        self._trailers_in: tuple[list[Header], bytes] | None = None
        self._end_delivered = False
        # sending
        self._credit = self._granted = credit
        self._queue: BytesQueue | None = None
        self._trailers: bytes | None = None
        self._waiting = False
        self._refused = False
        self._sending = False
        self._ending = False
        self._out_ended = False
        # both
        self._bulk = False
        self._error: WeftError | None = None
        self._closing = False
        self._gone = False

    # -- for the owner --------------------------------------------------------------------------------------------

    @property
    def receiver(self) -> Receiver:
        """What sits on top."""
        return self._receiver

    @receiver.setter
    def receiver(self, receiver: Receiver) -> None:
        if not self._gone:
            self._receiver = receiver
            self._aim()

    @property
    def bytes_in(self) -> int:
        """Payload bytes that arrived."""
        return self._advertised - self._window - self._padding

    @property
    def bytes_out(self) -> int:
        """Payload bytes that left."""
        return self._granted - self._credit

    @property
    def moved_bytes(self) -> int:
        """Both together."""
        return self.bytes_in + self.bytes_out

    @property
    def unserved(self) -> bool:
        """True while the peer got nothing for opening the stream: no byte, no end, and no connection it asked for."""
        connected = self._answered and self._method == b"CONNECT"
        return not (connected or self._out_ended or self.bytes_out)

    @property
    def unconnected(self) -> bool:
        """True while it is a CONNECT without an answer: whoever accepts one passes nothing on before saying so."""
        return self._method == b"CONNECT" and not self._answered

    @property
    def queued_bytes(self) -> int:
        """Bytes written that wait for credit."""
        return self._queue.size if self._queue is not None else 0

    @property
    def unread_bytes(self) -> int:
        """Bytes that arrived while paused."""
        return self._unread.size if self._unread is not None else 0

    @property
    def closed(self) -> bool:
        """True once no callback follows any more."""
        return self._gone

    @property
    def draining(self) -> bool:
        """True once its tunnel only finishes what is open: keep it for nothing further."""
        return self._owner.draining

    def send_headers(self, headers: Sequence[Header], end_stream: bool = False, *, block: bytes | None = None) -> None:
        """Send a response head (1xx ones, then the final one), or trailers, which follow everything written.

        Args:
            headers: pseudo headers first, names in lower case; checked like a peer's.
            end_stream: whether nothing follows; trailers need it.
            block: the same head as it came on another stream (its `block`); sent as it is instead of being encoded.

        Raises:
            LocalProtocolError: out of order, or malformed.
        """
        if not self._gone:
            self._owner.send_head(self, headers, end_stream, block)

    def write(self, data: Buffer) -> bool:
        """Send or queue bytes (copied where they could change).

        Returns:
            False above the high-water mark, or with bytes waiting for the peer's credit: wait for `drained`.

        Raises:
            LocalProtocolError: before the response head, or behind `finish`.
        """
        size = len(data)
        outlet = self._outlet
        if 0 < size <= self._credit and size <= outlet.room and size <= SMALLEST_MAX_FRAME and self._sending:
            self._credit -= size
            outlet.room -= size
            out = outlet.out
            if out:
                out.append(_pack_frame(size << 8, 0, self.id) + data)
            else:
                outlet.send(_pack_frame(size << 8, 0, self.id) + data)
            return True
        return self._write_queued(data)

    def finish(self) -> None:
        """Send END_STREAM behind what is queued; the other direction lives on.

        Raises:
            LocalProtocolError: before the response head.
        """
        if self._gone or self._ending or self._out_ended:
            return
        if not self._sending:
            raise LocalProtocolError("finish before the response head")
        self._begin_end()

    def pause(self) -> None:
        """Keep arriving bytes instead of feeding them; the peer stops after one window."""
        if not self._paused and not self._gone:
            self._paused = True
            self._aim()

    def resume(self) -> None:
        """Feed what was kept, then go on as before; calls back at once."""
        if not self._paused or self._gone:
            return
        self._paused = False
        if self._delivering or not self._deliver_unread():
            return
        self._aim()
        if self._peer_ended and not self._end_delivered:
            self._deliver_end()
            if self._out_ended:
                self._lose(self._error)

    def close(self) -> None:
        """Send what is queued and END_STREAM, then tell the peer that nothing more is read; no callback follows."""
        if self._gone:
            return
        if not (self._sending or self._ending or self._out_ended):
            self.reset(ErrorCode.CANCEL)  # a request that was not answered
            return
        self._gone = self._closing = True
        self._receiver = SILENCE
        self._aim()
        self._unread = None
        self._owner.refill(self)
        if self._out_ended:
            self._owner.sent_end(self)
        elif not self._ending:
            self._begin_end()

    def abort(self) -> None:
        """End both directions now, visibly broken; no callback follows."""
        self.reset(ErrorCode.CANCEL)

    def reset(self, code: int) -> None:
        """Send RST_STREAM with a code of RFC 9113 §7; no callback follows."""
        if not self._gone:
            self._drop()
            self._owner.reset(self, code)

    def detach(self) -> NoReturn:
        """Refuse: a stream has no socket of its own.

        Raises:
            LocalProtocolError: always.
        """
        raise LocalProtocolError("a tunnel stream is not a socket")

    # -- sending --------------------------------------------------------------------------------------------------

    def _write_queued(self, data: Buffer) -> bool:
        if self._gone or self._error is not None:
            return True
        if not self._sending:
            raise LocalProtocolError("write before the response head, or behind finish")
        if len(data) > SMALLEST_MAX_FRAME and not self.queued_bytes and self._outlet.takes_at_once:
            data = self._write_now(memoryview(data))
        if not len(data):
            return not self._refused
        if self._queue is None:
            self._queue = BytesQueue()
        self._queue.append(data)
        self._serve()
        waiting = self.queued_bytes
        outlet = self._outlet
        if waiting and (waiting > outlet.high_bytes or self._credit <= 0 or outlet.out_of_credit):
            self._refused = True
            return False
        return True

    def _write_now(self, data: memoryview) -> memoryview:
        """Pass on large pieces without a copy; return what has to be queued."""
        outlet = self._outlet
        while outlet.takes_at_once:
            size = min(len(data), self._credit, outlet.room, outlet.max_frame, DIRECT_BYTES)
            if size <= 0:
                break
            self._credit -= size
            outlet.send_now(_pack_frame(size << 8, 0, self.id), data[:size], size)
            data = data[size:]
        return data

    def _grant(self, increment: int) -> bool:
        """Take credit (less than none after a SETTINGS); False: the window would be above what the RFC allows."""
        if self._credit + increment > frames.LARGEST_WINDOW:
            return False
        self._credit += increment
        self._granted += increment
        self._serve()
        return True

    def _serve(self) -> None:
        """Get in line, if there is something to send and credit for it."""
        if self._credit > 0 and self.queued_bytes:
            self._outlet.wait(self)
            self._outlet.pump()

    def _send_quantum(self) -> bool:
        """Send one turn's worth of the queue; True: there is more, and credit for it."""
        queue, outlet = self._queue, self._outlet
        size = 0 if queue is None else min(queue.size, self._credit, outlet.room, outlet.max_frame, QUANTUM_BYTES)
        if queue is None or size <= 0:
            return False
        last = size == queue.size
        ends = last and self._ending and self._trailers is None
        self._credit -= size
        outlet.send_data(_pack_frame(size << 8, END_STREAM if ends else 0, self.id), queue.take(size), size)
        if self._refused and queue.size <= outlet.low_bytes:
            self._refused = False
            outlet.relieved.append(self)
        if ends:
            self._end_sent()
        elif last and self._ending:
            self._send_end()
        return not last and self._credit > 0

    def _begin_end(self, trailers: bytes | None = None) -> None:
        self._sending = self._refused = False
        self._ending = True
        self._trailers = trailers
        if not self.queued_bytes:
            self._send_end()

    def _send_end(self) -> None:
        outlet = self._outlet
        if self._trailers is None:
            outlet.send(_pack_frame(0, END_STREAM, self.id))
        else:
            outlet.send(frames.head_frames(self.id, self._trailers, end_stream=True, max_frame=outlet.max_frame))
        self._end_sent()

    def _end_sent(self) -> None:
        self._sending = self._ending = False
        self._out_ended = True
        self._queue = self._trailers = None
        self._owner.sent_end(self)

    # -- receiving ------------------------------------------------------------------------------------------------

    def _aim(self) -> None:
        """Choose where arriving bytes go."""
        if self._gone:
            self._take = SILENCE.feed
        elif self._expected == UNANSWERED:
            self._take = self._refuse_early
        elif self._expected != UNMEASURED:
            self._take = self._measure
        else:
            self._take = self._keep if self._paused else self._receiver.feed

    def _keep(self, data: Buffer) -> None:
        if self._unread is None:
            self._unread = BytesQueue()
        self._unread.append(data)

    def _measure(self, data: Buffer) -> None:
        self._expected -= len(data)
        if self._expected < 0:
            self._owner.breach(
                self, StreamBreachError(ErrorCode.PROTOCOL_ERROR, "body longer than content-length", "content_length")
            )
        elif self._paused:
            self._keep(data)
        else:
            self._receiver.feed(data)

    def _refuse_early(self, _data: Buffer) -> None:
        self._owner.breach(
            self, StreamBreachError(ErrorCode.PROTOCOL_ERROR, "DATA before the response head", "data_before_head")
        )

    def _deliver_unread(self) -> bool:
        """Feed what was kept; False: paused again, or gone."""
        self._delivering = True
        while self._unread is not None and not self._paused:
            piece = self._unread.pop()
            if not self._unread.size:
                self._unread = None
            self._receiver.feed(piece)
        self._delivering = False
        if not self._gone and self._window <= self._refill_at:
            self._owner.refill(self)
        return not (self._gone or self._paused)

    def _peer_finished(self, trailers: tuple[list[Header], bytes] | None) -> None:
        """Take the peer's END_STREAM; the receiver hears of it once it has all that came before."""
        self._shut_in()
        self._trailers_in = trailers
        if not (self._gone or self._paused):
            self._deliver_end()

    def _shut_in(self) -> None:
        """Note END_STREAM. No frame fits into the window any more, so the hot path hands a late one over to be judged."""
        self._peer_ended = True
        self._refill_at = NEVER
        self._advertised -= self._window + 1
        self._window = -1

    def _deliver_end(self) -> None:
        self._end_delivered = True
        if self._trailers_in is None:
            self._receiver.eof()
        else:
            headers, block = self._trailers_in
            self._trailers_in = None
            self._deliver_head(headers, block, end_stream=True)

    def _deliver_head(self, headers: list[Header], block: bytes, *, end_stream: bool) -> None:
        take: Callable[[list[Header], bool], None] | None = getattr(self._receiver, "headers", None)
        if take is not None:
            self.block = block
            take(headers, end_stream)
            self.block = b""
        elif end_stream:
            self._receiver.eof()

    # -- the end --------------------------------------------------------------------------------------------------

    def _stop_sending(self, error: WeftError) -> None:
        """The peer, which has ended, wants no more of ours; what it sent is still delivered, then `error`."""
        self._sending = self._ending = self._refused = False
        self._queue = self._trailers = None
        self._out_ended = True
        self._error = error

    def _lose(self, error: WeftError | None) -> None:
        """Tell the receiver, once, that the stream is gone."""
        receiver = self._receiver
        self._drop()
        receiver.lost(error)

    def _drop(self) -> None:
        self._gone = True
        self._sending = self._ending = self._refused = False
        self._receiver = SILENCE
        self._take = SILENCE.feed
        self._refill_at = NEVER
        self._queue = self._unread = self._trailers = self._trailers_in = None
