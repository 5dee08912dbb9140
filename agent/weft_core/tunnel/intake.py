"""What arrives: bytes cut into frames, DATA accounted and handed on as it comes, everything else handed over whole.

Theory of operation. `read` takes any cut of the byte stream. The loop in it is the hot path: a whole DATA frame without
flags, within its windows, costs one unpack, one dictionary look-up, some arithmetic and the receiver's own call. All the
rest goes through `_open`, once per frame: frames with flags, large or cut DATA, control frames.

What may be unfinished between two calls, at most one of: the preface (`_preface_at`), a frame header (`_header`), the payload
of a control frame (`_kept`, bounded by what `sink.announced` allows), or a payload that is passed on without being kept
(`_flowing`: DATA, its padding, and unknown frames).

Windows are charged as payload arrives, but checked against the whole frame at its header: the peer needed credit for all of
it before it sent any. Padding is charged and counts as consumed. A stream's window is given back at the end of a frame, never
inside one, so that what a peer sees does not depend on how its bytes were cut.

A receiver may do anything in its callback, also end its stream or the connection. Therefore the loop keeps nothing but its
position across a callback: streams that ended are no longer found, `halt` makes every look-up fail, and `_open` sees why.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from weft_core.tunnel import frames
from weft_core.tunnel.breach import ConnectionBreachError, StreamBreachError
from weft_core.tunnel.frames import ErrorCode
from weft_core.tunnel.outlet import Outlet
from weft_core.tunnel.windows import Windows

if TYPE_CHECKING:
    from weft_core.tunnel.stream import TunnelStream

HOT_WORD: Final = frames.SMALLEST_MAX_FRAME << 8
"""`length << 8 | type` of the largest DATA frame that the hot loop takes: every peer accepts as much."""
CROWD_FRAMES: Final = 4096
CROWD_PAYLOAD_BYTES: Final = 16
"""One call with more frames than this, smaller than this on average, is a flood of tiny frames (data dribble). A stream of
single bytes is legal and common (an interactive session, a ping-pong benchmark), thousands of them in one read are not."""

_unpack_frame: Final = frames.FRAME.unpack_from


def _nobody(_stream_id: int) -> "TunnelStream | None":
    return None


class FrameSink(Protocol):
    """The connection, as the intake sees it. Methods raise `ConnectionBreachError` where the peer broke a rule."""

    def announced(self, kind: int, flags: int, stream_id: int, size: int) -> None:
        """Check a frame by its header."""

    def frame(self, kind: int, flags: int, stream_id: int, payload: memoryview) -> None:
        """Take a whole frame of a known type other than DATA."""

    def stray(self, stream_id: int) -> None:
        """Judge DATA of a stream that is not open."""

    def peer_ended(self, stream: "TunnelStream") -> None:
        """Take END_STREAM of a DATA frame."""

    def breach(self, stream: "TunnelStream", error: StreamBreachError) -> None:
        """End a stream whose peer broke a rule."""

    def idled(self) -> None:
        """Charge a DATA frame that carries nothing and ends nothing."""

    def crowded(self, frame_count: int) -> None:
        """Charge tiny frames beyond what one read may bring."""


class Intake:
    """The receiving half of a connection.

    Args:
        sink: the connection.
        streams: open streams by id; shared with the connection.
        windows: receive windows of streams.
        outlet: where the connection's WINDOW_UPDATE goes.
        window: the connection's receive window, bytes; at least the 65535 that nobody can take back.
        max_frame: largest frame we accept.
        preface: whether the peer, a client, starts with the preface.
    """

    __slots__ = (
        "_ends", "_find", "_flowing", "_frame_flags", "_frame_id", "_frame_kind", "_halted", "_header", "_kept", "_max_frame",
        "_needed", "_outlet", "_pad_due", "_padding", "_preface_at", "_rest", "_sink", "_size", "_stream", "_streams",
        "_unknown", "_windows", "received_bytes", "window",
    )  # fmt: skip

    def __init__(
        self,
        sink: FrameSink,
        streams: "dict[int, TunnelStream]",
        windows: Windows,
        outlet: Outlet,
        *,
        window: int,
        max_frame: int,
        preface: bool,
    ) -> None:
        self._sink = sink
        self._streams = streams
        self._windows = windows
        self._outlet = outlet
        self._max_frame = max_frame
        self._size = max(frames.DEFAULT_WINDOW, min(window, frames.LARGEST_WINDOW))
        self.window = self._size
        self.received_bytes = 0
        """Flow-controlled bytes given back so far; what is in the window now comes on top."""
        self._find: Callable[[int], TunnelStream | None] = streams.get
        self._halted = False
        self._preface_at = 0 if preface else len(frames.PREFACE)
        self._header = bytearray()
        self._kept = bytearray()
        self._needed = 0
        self._frame_kind = self._frame_flags = self._frame_id = 0
        self._flowing = False
        self._unknown = False
        self._stream: TunnelStream | None = None
        self._rest = 0
        self._padding = 0
        self._pad_due = False
        self._ends = False

    @property
    def opening_increment(self) -> int:
        """WINDOW_UPDATE that makes the peer's view of the connection window ours."""
        return self._size - frames.DEFAULT_WINDOW

    @property
    def total_bytes(self) -> int:
        """Flow-controlled bytes received so far."""
        return self.received_bytes + self._size - self.window

    def hold(self) -> None:
        """A header block is open: no frame is to be taken unseen."""
        self._find = _nobody

    def release(self) -> None:
        """The header block is complete."""
        if not self._halted:
            self._find = self._streams.get

    def halt(self) -> None:
        """The connection is closed: ignore everything."""
        self._halted = True
        self._find = _nobody

    # -- the hot path ---------------------------------------------------------------------------------------------

    def read(self, data: memoryview) -> None:
        """Take bytes from the peer, cut anywhere.

        Raises:
            ConnectionBreachError: the peer broke a rule of the connection.
        """
        end = len(data)
        at = self._go_on(data, end)
        find = self._find
        refill = self._windows.refill
        count = 0
        while end - at >= 9:
            word, flags, stream_id = _unpack_frame(data, at)
            stop = at + 9 + (word >> 8)
            if not (flags or word & 0xFF) and word <= HOT_WORD and stop <= end:
                stream = find(stream_id)
                if stream is not None:
                    size = word >> 8
                    left = stream._window - size
                    window = self.window - size
                    if left >= 0 and window >= 0 and size:
                        stream._window = left
                        self.window = window
                        stream._take(data[at + 9 : stop])
                        at = stop
                        count += 1
                        if left <= stream._refill_at:
                            refill(stream)
                        continue
            at = self._open(word, flags, stream_id & frames.ID_MASK, data, at + 9)
            find = self._find
        if at < end:
            self._header += data[at:]
        if self.window * 2 <= self._size:
            self._refill()
        if count > CROWD_FRAMES and end < count * (frames.HEADER_BYTES + CROWD_PAYLOAD_BYTES):
            self._sink.crowded(count - CROWD_FRAMES)

    def _refill(self) -> None:
        """Give the connection window back; see `windows` for why this does not wait for receivers."""
        if not self._halted:
            consumed = self._size - self.window
            self.window = self._size
            self.received_bytes += consumed
            self._outlet.send(frames.window_frame(0, consumed))

    # -- everything else ------------------------------------------------------------------------------------------

    def _go_on(self, data: memoryview, end: int) -> int:
        """Continue what the last call left unfinished; return the position where a frame begins."""
        if self._flowing:
            return self._pour(data, 0)
        if self._needed:
            return self._keep(data, 0)
        at = 0
        if self._preface_at < len(frames.PREFACE):
            at = self._match_preface(data)
        if self._header and at < end:
            header = self._header
            taken = min(frames.HEADER_BYTES - len(header), end)
            header += data[:taken]
            if len(header) < frames.HEADER_BYTES:
                return end
            word, flags, stream_id = _unpack_frame(header, 0)
            header.clear()
            return self._open(word, flags, stream_id & frames.ID_MASK, data, taken)
        return at

    def _match_preface(self, data: memoryview) -> int:
        start = self._preface_at
        wanted = frames.PREFACE[start : start + len(data)]
        if data[: len(wanted)] != wanted:
            raise ConnectionBreachError(ErrorCode.PROTOCOL_ERROR, "the connection preface is not HTTP/2's", "preface")
        self._preface_at += len(wanted)
        return len(wanted)

    def _open(self, word: int, flags: int, stream_id: int, data: memoryview, at: int) -> int:
        """Begin a frame whose payload starts at `at`; return the position behind what was taken of it."""
        if self._halted:
            return len(data)
        kind, size = word & 0xFF, word >> 8
        if size > self._max_frame:
            raise ConnectionBreachError(
                ErrorCode.FRAME_SIZE_ERROR, f"frame of {size} bytes, {self._max_frame} are allowed", "frame_size"
            )
        self._sink.announced(kind, flags, stream_id, size)
        if kind == frames.DATA:
            self._begin_data(size, flags, stream_id)
            return self._pour(data, at)
        if kind > frames.CONTINUATION:
            self._flowing = self._unknown = True
            self._rest = size
            return self._pour(data, at)
        if at + size <= len(data):
            self._sink.frame(kind, flags, stream_id, data[at : at + size])
            return at + size
        self._frame_kind, self._frame_flags, self._frame_id = kind, flags, stream_id
        self._needed = size
        return self._keep(data, at)

    def _keep(self, data: memoryview, at: int) -> int:
        kept = self._kept
        stop = min(at + self._needed - len(kept), len(data))
        kept += data[at:stop]
        if len(kept) == self._needed:
            self._needed = 0
            payload = memoryview(bytes(kept))
            kept.clear()
            self._sink.frame(self._frame_kind, self._frame_flags, self._frame_id, payload)
        return stop

    def _begin_data(self, size: int, flags: int, stream_id: int) -> None:
        if not stream_id:
            raise ConnectionBreachError(ErrorCode.PROTOCOL_ERROR, "DATA on stream 0", "stream_id")
        if size > self.window:
            raise ConnectionBreachError(
                ErrorCode.FLOW_CONTROL_ERROR, "DATA beyond the connection's window", "window_exceeded"
            )
        padded = bool(flags & frames.PADDED)
        if padded and not size:
            raise ConnectionBreachError(ErrorCode.FRAME_SIZE_ERROR, "padded DATA without pad length", "frame_size")
        self._ends = bool(flags & frames.END_STREAM)
        self._stream = self._admit(size, stream_id)
        self._flowing = True
        self._rest = size
        self._pad_due = padded
        if not size and not self._ends:
            self._sink.idled()

    def _admit(self, size: int, stream_id: int) -> "TunnelStream | None":
        """Return the stream that takes the payload; None: it is dropped."""
        stream = self._streams.get(stream_id)
        if stream is None:
            self._sink.stray(stream_id)
        elif stream._peer_ended:
            self._sink.breach(
                stream, StreamBreachError(ErrorCode.STREAM_CLOSED, "DATA behind END_STREAM", "data_behind_end")
            )
        elif size > stream._window:
            self._sink.breach(
                stream, StreamBreachError(ErrorCode.FLOW_CONTROL_ERROR, "DATA beyond the window", "window_exceeded")
            )
        else:
            return stream
        return None

    def _pour(self, data: memoryview, at: int) -> int:
        """Pass on what is there of a payload; return the position behind it."""
        end = len(data)
        if self._pad_due and at < end:
            self._read_pad_length(data[at])
            at += 1
        stop = min(at + self._rest, end)
        if stop > at and not self._pad_due:
            self._rest -= stop - at
            self._deliver(data[at:stop])
            at = stop
        if not self._rest and at < end:
            stop = min(at + self._padding, end)
            self._padding -= stop - at
            self._skip(stop - at)
            at = stop
        if not (self._rest or self._padding or self._pad_due):
            self._finish()
        return at

    def _read_pad_length(self, padding: int) -> None:
        self._pad_due = False
        self._rest -= 1
        self._skip(1)
        if padding > self._rest:
            raise ConnectionBreachError(ErrorCode.PROTOCOL_ERROR, "padding as long as the DATA frame", "padding")
        self._rest -= padding
        self._padding = padding
        if not self._rest and not self._ends:
            self._sink.idled()

    def _deliver(self, view: memoryview) -> None:
        if self._unknown:
            return
        size = len(view)
        self.window -= size
        stream = self._stream
        if stream is not None:
            stream._window -= size
            stream._take(view)

    def _skip(self, size: int) -> None:
        self.window -= size
        stream = self._stream
        if stream is not None:
            stream._window -= size
            stream._padding += size

    def _finish(self) -> None:
        stream, self._stream = self._stream, None
        self._flowing = self._unknown = False
        if stream is None:
            return
        if self._ends:
            self._sink.peer_ended(stream)
        elif stream._window <= stream._refill_at:
            self._windows.refill(stream)
