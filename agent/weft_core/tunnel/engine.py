"""The machine of one connection: what each frame does to it and to its streams.

Theory of operation. `Intake` cuts the byte stream and calls `announced`, `frame`, `stray`, `peer_ended`; `Exchange` reads heads;
streams call `sent_end`, `reset`, `breach`. A peer that breaks a rule of the connection raises `ConnectionBreachError`, which
only `TunnelConnection.receive` catches; a rule broken on a stream ends that stream by `breach`.

Rules for editors: `closed` is final. A stream leaves the roll in `_remove` and in `end_all`, nowhere else. Whatever a peer
can ask for without doing work costs it a token (`budgets`). Callbacks that are due because of what was sent (`drained`,
`lost(None)`) are collected and made by `settle`, never inside a call that a stream's owner makes.

Source: RFC 9113 §5.4, §6.
"""

from collections.abc import Sequence
from typing import Final

from weft_contract.limits import Limits
from weft_core.errors import (
    ClientGoneError,
    StreamRefusedError,
    TunnelDrainedError,
    TunnelLostError,
    UpstreamResetError,
    WeftError,
)
from weft_core.facts import Header
from weft_core.tunnel import frames
from weft_core.tunnel.breach import ConnectionBreachError, StreamBreachError
from weft_core.tunnel.budgets import Guard
from weft_core.tunnel.exchange import Exchange
from weft_core.tunnel.frames import ErrorCode
from weft_core.tunnel.heads import UNANSWERED
from weft_core.tunnel.intake import Intake
from weft_core.tunnel.outlet import Outlet
from weft_core.tunnel.roll import StreamRoll
from weft_core.tunnel.rules import check_frame
from weft_core.tunnel.seams import TunnelHandler
from weft_core.tunnel.settings import PeerSettings, own_max_frame
from weft_core.tunnel.stream import TunnelStream
from weft_core.tunnel.windows import PROBE, Windows

UNHEEDED_COST: Final = 0.25
"""Of a frame on a stream above our GOAWAY: an honest peer may have as many streams under way as we allow it."""
DEBUG_SHOWN_BYTES: Final = 200
"""Of a peer's explanation in GOAWAY, in our error message."""


class Engine:
    """Everything of a connection but its public face.

    Args:
        client: whether we opened the connection, and so open its streams.
        limits: windows, budgets, marks.
        handler: what sits on top.
    """

    __slots__ = (
        "_greeted", "_over", "_peer_last", "_retired", "acknowledged", "client", "closed", "draining", "exchange", "goaway_sent",
        "guard", "handler", "intake", "outlet", "peer", "roll", "windows",
    )  # fmt: skip

    def __init__(self, *, client: bool, limits: Limits, handler: TunnelHandler) -> None:
        self.client = client
        self.handler = handler
        self.roll = StreamRoll(client=client, remembered=limits.tunnel_streams)
        self.outlet = Outlet(limits, handler.wants_flush)
        self.windows = Windows(limits, self.outlet)
        self.peer = PeerSettings(client=client, max_streams=limits.tunnel_streams)
        self.guard = Guard(limits)
        self.exchange = Exchange(self, limits)
        self.intake = Intake(
            self,
            self.roll.open,
            self.windows,
            self.outlet,
            window=limits.tunnel_connection_window_bytes,
            max_frame=own_max_frame(limits),
            preface=not client,
        )
        self.acknowledged = False
        """The peer knows our settings."""
        self.goaway_sent = False
        self.draining = False
        self.closed = False
        self._greeted = False
        self._peer_last = frames.LARGEST_ID
        self._retired = False
        self._over: list[TunnelStream] = []

    # -- frames (called by the intake) ----------------------------------------------------------------------------

    def announced(self, kind: int, flags: int, stream_id: int, size: int) -> None:
        """Check a frame by its header."""
        if not self._greeted and (kind != frames.SETTINGS or flags & frames.ACK):
            raise ConnectionBreachError(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS", "no_settings")
        open_head = self.exchange.assembling
        if (kind == frames.CONTINUATION) != bool(open_head) or (open_head and stream_id != open_head):
            raise ConnectionBreachError(
                ErrorCode.PROTOCOL_ERROR, "CONTINUATION missing or out of place", "continuation"
            )
        if kind > frames.CONTINUATION:
            self.glitch()  # unknown types are ignored (RFC 9113 §4.1)
        elif kind != frames.DATA:
            check_frame(kind, stream_id, size, self.exchange.largest_payload)

    def frame(self, kind: int, flags: int, stream_id: int, payload: memoryview) -> None:
        """Take a whole frame of a known type other than DATA."""
        match kind:
            case frames.HEADERS | frames.CONTINUATION:
                if self.exchange.take(kind, flags, stream_id, payload):
                    self.intake.release()
                else:
                    self.intake.hold()
            case frames.WINDOW_UPDATE:
                self._window_update(stream_id, frames.LONG.unpack(payload)[0] & frames.LARGEST_WINDOW)
            case frames.RST_STREAM:
                self._reset_by_peer(stream_id, frames.LONG.unpack(payload)[0])
            case frames.SETTINGS:
                self._settings(flags, payload)
            case frames.PING:
                self._ping(flags, bytes(payload))
            case frames.GOAWAY:
                self._goaway(payload)
            case _:
                self.glitch()  # PRIORITY: deprecated, ignored (RFC 9113 §5.3.2)

    def stray(self, stream_id: int) -> None:
        """Judge DATA or HEADERS of a stream that is not open."""
        if not self._known(stream_id):
            return
        if not self.roll.forgiven(stream_id):
            raise ConnectionBreachError(
                ErrorCode.STREAM_CLOSED, f"frame on stream {stream_id}, which is closed", "stream_closed"
            )
        self.glitch()

    def _known(self, stream_id: int) -> bool:
        """Return whether the id was used; False: it is one that our GOAWAY said we would ignore."""
        if not self.roll.idle(stream_id):
            return True
        if self.goaway_sent and not self.client and stream_id % 2:
            self.glitch(UNHEEDED_COST)
            return False
        raise ConnectionBreachError(
            ErrorCode.PROTOCOL_ERROR, f"frame on stream {stream_id}, which is idle", "stream_idle"
        )

    def peer_ended(self, stream: TunnelStream, trailers: tuple[list[Header], bytes] | None = None) -> None:
        """Take the peer's END_STREAM."""
        if stream._peer_ended or self.roll.open.get(stream.id) is not stream:
            return
        if stream._expected > 0 or stream._expected == UNANSWERED:
            short = "END_STREAM before the response head, or before all of content-length"
            self.breach(stream, StreamBreachError(ErrorCode.PROTOCOL_ERROR, short, "body_incomplete"))
            return
        stream._peer_finished(trailers)
        self.sent_end(stream)

    def idled(self) -> None:
        """Charge a DATA frame that carries nothing and ends nothing."""
        self.glitch()
        self.guard.empty(self.intake.total_bytes)

    def crowded(self, frame_count: int) -> None:
        """Charge tiny frames beyond what one read may bring."""
        self.glitch(frame_count / 1024)

    def glitch(self, cost: float = 1.0) -> None:
        """Charge a frame that moves nothing."""
        self.guard.glitch(cost, self.outlet.sent_bytes + self.intake.total_bytes)
        self._calm()

    def charge_reset(self) -> None:
        """Charge a stream that was given up for nothing."""
        self.guard.reset()
        self._calm()

    def _calm(self) -> None:
        if self.guard.low and not self.goaway_sent:
            self.drain()
            if self.client:
                self.handler.goaway()

    def _window_update(self, stream_id: int, increment: int) -> None:
        self.glitch()
        if not stream_id:
            if not increment:
                raise ConnectionBreachError(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0", "window_update")
            self.outlet.grant(increment)
            return
        stream = self.roll.open.get(stream_id)
        if stream is None:
            self._known(stream_id)
        elif not increment:
            self.breach(stream, StreamBreachError(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0", "window_update"))
        elif not stream._grant(increment):
            error = StreamBreachError(ErrorCode.FLOW_CONTROL_ERROR, "stream window above 2^31-1", "window_overflow")
            self.breach(stream, error)
        else:
            self.windows.weigh(stream)

    def _reset_by_peer(self, stream_id: int, code: int) -> None:
        stream = self.roll.open.get(stream_id)
        if stream is None:
            if self._known(stream_id):
                self.glitch()
            else:
                self.charge_reset()  # rapid reset does not get cheaper while we drain
            return
        self._remove(stream)
        for_nothing = not self.client and stream.unserved
        why = f"the peer agent reset the stream ({frames.code_name(code)})"
        error: WeftError = UpstreamResetError(why) if self.client else ClientGoneError(why)
        if self.client and code == ErrorCode.REFUSED_STREAM:
            error = StreamRefusedError(why) if self._peer_last == frames.LARGEST_ID else TunnelDrainedError(why)
        if code == ErrorCode.NO_ERROR and stream._peer_ended and not (stream._end_delivered or stream._gone):
            stream._stop_sending(error)  # a complete answer must not be lost to it (RFC 9113 §8.1)
        else:
            stream._lose(error)
        if for_nothing:
            self.charge_reset()

    def _settings(self, flags: int, payload: memoryview) -> None:
        if flags & frames.ACK:
            self._settings_acknowledged(len(payload))
            return
        if self._greeted:
            self.glitch(1.0 + len(self.roll.open) / 100)
        self._greeted = True
        before = self.peer.window
        self.peer.apply(payload)
        self.outlet.max_frame = self.peer.max_frame
        self.outlet.send(frames.SETTINGS_ACK)
        if self.peer.window != before:
            for stream in list(self.roll.open.values()):
                if not stream._grant(self.peer.window - before):
                    raise ConnectionBreachError(
                        ErrorCode.FLOW_CONTROL_ERROR, "stream window above 2^31-1", "window_overflow"
                    )

    def _settings_acknowledged(self, size: int) -> None:
        if size:
            raise ConnectionBreachError(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS ACK with a payload", "settings")
        if self.acknowledged:
            self.glitch()
        else:
            self.acknowledged = True
            self.windows.acknowledged(self.roll.open.values())

    def _ping(self, flags: int, payload: bytes) -> None:
        self.glitch()
        if not flags & frames.ACK:
            self.outlet.send(frames.ping_frame(payload, ack=True))
        elif payload == PROBE:
            self.windows.probe_answered()

    def _goaway(self, payload: memoryview) -> None:
        last, code = (frames.LONG.unpack_from(payload, at)[0] for at in (0, 4))
        last &= frames.ID_MASK
        if last > self._peer_last:
            raise ConnectionBreachError(ErrorCode.PROTOCOL_ERROR, "GOAWAY raised its last stream id", "goaway")
        self._peer_last = last
        unknown = [stream for stream in self.roll.open.values() if stream.id > last] if self.client else []
        for stream in unknown:
            self._remove(stream)
            self.roll.remember_reset(stream.id)
        self.draining = True
        if code == ErrorCode.NO_ERROR:
            self.glitch()
            self.handler.goaway()
        for stream in unknown:
            stream._lose(TunnelDrainedError("the peer agent drains and did not act on this stream"))
        if code != ErrorCode.NO_ERROR:
            said = bytes(payload[8 : 8 + DEBUG_SHOWN_BYTES]).decode("ascii", "backslashreplace")
            self.fail(TunnelLostError(f"the peer agent ended the tunnel: {frames.code_name(code)} {said!r}"))

    # -- streams --------------------------------------------------------------------------------------------------

    def new_stream(self, stream_id: int, method: bytes, expected: int) -> TunnelStream:
        """Return a stream that is on the roll.

        Args:
            stream_id: an id that is free.
            method: of its request.
            expected: bytes of the body to be received, or `UNMEASURED`, or `UNANSWERED`.
        """
        windows = self.windows
        stream = TunnelStream(
            self, self.outlet, stream_id, window=windows.opening, size=windows.start, credit=self.peer.window
        )
        stream._method = method
        stream._expected = expected
        self.roll.open[stream_id] = stream
        return stream

    def refill(self, stream: TunnelStream) -> None:
        """Give receive window back if enough was consumed."""
        if stream._window <= stream._refill_at:
            self.windows.refill(stream)

    def sent_end(self, stream: TunnelStream) -> None:
        """See whether a stream is over, now that one side of it ended."""
        if not stream._out_ended:
            return
        if stream._peer_ended:
            self._remove(stream)
            if stream._end_delivered and not stream._gone:
                self._over.append(stream)
        elif stream._closing and self._remove(stream):
            self.refuse(stream.id, ErrorCode.NO_ERROR)
            stream._drop()

    def reset(self, stream: TunnelStream, code: int) -> None:
        """Send RST_STREAM and forget the stream."""
        if self._remove(stream):
            self.refuse(stream.id, code)

    def send_head(self, stream: TunnelStream, headers: Sequence[Header], end_stream: bool, block: bytes | None) -> None:
        """Check and send a head or trailers of ours."""
        self.exchange.send(stream, headers, end_stream, block)

    def breach(self, stream: TunnelStream, error: StreamBreachError) -> None:
        """Reset a stream because the peer broke a rule on it, and tell its receiver."""
        if self._remove(stream):
            self.refuse(stream.id, error.code)
            stream._lose(error)
            self.charge_reset()

    def refuse(self, stream_id: int, code: int) -> None:
        """Send RST_STREAM, and forgive what is still under way."""
        self.roll.remember_reset(stream_id)
        self.outlet.send(frames.reset_frame(stream_id, code))

    def _remove(self, stream: TunnelStream) -> bool:
        """Take a stream off the roll; False: it was off already."""
        if not self.roll.remove(stream):
            return False
        self.windows.forget(stream)
        return True

    def settle(self) -> None:
        """Make the callbacks that are due."""
        outlet = self.outlet
        while outlet.relieved or self._over:
            relieved, outlet.relieved = outlet.relieved, []
            over, self._over = self._over, []
            for stream in relieved:
                if not stream._gone:
                    stream._receiver.drained()
            for stream in over:
                if not stream._gone:
                    stream._lose(stream._error)

    # -- the end --------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Say that no stream above the last one accepted will be acted on."""
        if not (self.closed or self.goaway_sent):
            self.goaway_sent = self.draining = True
            self.outlet.send(frames.goaway_frame(self.roll.last_peer_id, ErrorCode.NO_ERROR, "draining"))

    def retire(self) -> None:
        """Say that no new stream is wanted, without setting a last one."""
        if not (self.closed or self.goaway_sent or self._retired):
            self._retired = True
            self.outlet.send(frames.goaway_frame(frames.LARGEST_ID, ErrorCode.NO_ERROR, "retiring"))

    def refuse_unconnected(self) -> None:
        """Tell a client which of the streams up to our GOAWAY came to nothing either; the connection ends right after."""
        if not self.client:
            for stream in self.roll.open.values():
                if stream.unconnected:
                    self.outlet.send(frames.reset_frame(stream.id, ErrorCode.REFUSED_STREAM))

    def broke(self, error: ConnectionBreachError) -> None:
        """Answer a breach of the peer."""
        if not self.closed:
            self.outlet.send(frames.goaway_frame(self.roll.last_peer_id, error.code, str(error)))
            why = f"the peer agent broke the tunnel's protocol: {error}"
            self.end_all(TunnelLostError(why) if self.client else ClientGoneError(why))
            self.handler.broken(error)

    def fail(self, error: WeftError) -> None:
        """End the connection without a breach to be answered."""
        self.end_all(error)
        self.handler.broken(error)

    def end_all(self, error: WeftError) -> None:
        """End every stream; nothing is received or opened after this."""
        if self.closed:
            return
        self.closed = self.draining = True
        self.intake.halt()
        streams = list(self.roll.open.values())
        self.roll.open.clear()
        self.settle()
        for stream in streams:
            if not stream._gone:
                stream._lose(error)
