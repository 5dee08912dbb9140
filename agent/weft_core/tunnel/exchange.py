"""Heads in both directions: requests, responses, trailers; put together, read, judged, handed on.

Theory: a server knows a stream from its request head on, a client from the head it sent. Each side expects, in this order:
informational heads, one final head (client only), DATA, trailers that end the stream. CONNECT streams have no trailers
(RFC 9113 §8.5). What we send passes the same checks as what we receive; breaking them is our bug and stopped here.

The first block that we send opens with a table size of 0, which tells a strict decoder what our SETTINGS tell its encoder.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from weft_contract.limits import Limits
from weft_core.errors import LocalProtocolError
from weft_core.facts import Header
from weft_core.tunnel import frames, hpack
from weft_core.tunnel.assembly import HeadAssembly
from weft_core.tunnel.breach import StreamBreachError
from weft_core.tunnel.frames import ErrorCode
from weft_core.tunnel.heads import UNANSWERED, check_trailers
from weft_core.tunnel.known_heads import encode_request, encode_response, list_size, ours, read_request, read_response
from weft_core.tunnel.seams import SILENCE, HeadReceiver
from weft_core.tunnel.stream import TunnelStream

if TYPE_CHECKING:
    from weft_core.tunnel.engine import Engine


class Exchange:
    """The heads of one connection.

    Args:
        engine: the connection's machine.
        limits: sizes and counts of heads, streams allowed.
    """

    __slots__ = ("_assembly", "_engine", "_first_block", "_limits")

    def __init__(self, engine: "Engine", limits: Limits) -> None:
        self._engine = engine
        self._limits = limits
        self._assembly = HeadAssembly(limits.tunnel_head_bytes, limits.h2_continuations)
        self._first_block = True

    @property
    def assembling(self) -> int:
        """Stream whose header block is incomplete; 0: none."""
        return self._assembly.stream_id

    @property
    def largest_payload(self) -> int:
        """Bytes that a HEADERS or CONTINUATION frame may have."""
        return self._assembly.largest_payload

    # -- received -------------------------------------------------------------------------------------------------

    def take(self, kind: int, flags: int, stream_id: int, payload: memoryview) -> bool:
        """Take a HEADERS or CONTINUATION frame; False: the block goes on."""
        assembly = self._assembly
        if kind == frames.HEADERS:
            block = assembly.begin(flags, stream_id, payload)
        else:
            block = assembly.extend(flags, payload)
        if block is None:
            return False
        stream = self._engine.roll.open.get(stream_id)
        try:
            if stream is None:
                self._new(stream_id, block, assembly.end_stream)
            elif self._engine.client and stream._expected == UNANSWERED:
                self._response(stream, block, assembly.end_stream)
            else:
                self._trailers(stream, block, assembly.end_stream)
        except StreamBreachError as error:
            if stream is not None:
                self._engine.breach(stream, error)
            else:
                self._engine.refuse(stream_id, error.code)
                self._engine.charge_reset()
        return True

    def _new(self, stream_id: int, block: bytes, end_stream: bool) -> None:
        engine = self._engine
        roll = engine.roll
        if not roll.may_open(stream_id):
            engine.stray(stream_id)
            return
        if engine.goaway_sent:
            engine.stray(stream_id)  # our GOAWAY said that we would not act on it
            return
        roll.last_peer_id = stream_id
        if len(roll.open) >= self._limits.tunnel_streams:
            engine.refuse(stream_id, ErrorCode.REFUSED_STREAM)
            if engine.acknowledged:  # before that, the peer could not know our limit
                engine.charge_reset()
            return
        limits = self._limits
        headers, forward, expected = read_request(block, limits.header_count, limits.tunnel_head_bytes, end_stream)
        stream = engine.new_stream(stream_id, _method(headers), expected)
        if end_stream:
            stream._shut_in()
            stream._end_delivered = True
        stream.block = forward
        engine.handler.opened(stream, list(headers), end_stream)
        stream.block = b""
        if stream._receiver is SILENCE:
            stream.reset(ErrorCode.INTERNAL_ERROR)  # nobody took it

    def _response(self, stream: TunnelStream, block: bytes, end_stream: bool) -> None:
        limits = self._limits
        headers, forward, status, expected = read_response(
            block, limits.header_count, limits.tunnel_head_bytes, end_stream, stream._method
        )
        if status < 200:
            stream._informational += 1
            if stream._informational > self._limits.informational_count:
                raise StreamBreachError(ErrorCode.ENHANCE_YOUR_CALM, "too many informational heads", "informational")
        else:
            stream._answered = True
            stream._expected = expected
            stream._aim()
        if end_stream:
            stream._shut_in()
            stream._end_delivered = True
        stream._deliver_head(list(headers), forward, end_stream=end_stream)
        self._engine.sent_end(stream)

    def _trailers(self, stream: TunnelStream, block: bytes, end_stream: bool) -> None:
        if stream._peer_ended:
            raise StreamBreachError(ErrorCode.STREAM_CLOSED, "HEADERS behind END_STREAM", "head_behind_end")
        if not end_stream or stream._method == b"CONNECT":
            raise StreamBreachError(ErrorCode.PROTOCOL_ERROR, "a head that is neither response nor trailers", "head")
        limits = self._limits
        headers, forward = hpack.scan(block, count=limits.trailer_count, size_bytes=limits.tunnel_head_bytes)
        kept = check_trailers(headers)
        self._engine.peer_ended(stream, (kept, forward if len(kept) == len(headers) else hpack.encode(kept)))

    # -- sent -----------------------------------------------------------------------------------------------------

    def request(
        self, headers: Sequence[Header], receiver: HeadReceiver, end_stream: bool, block: bytes | None
    ) -> TunnelStream:
        """Open a stream with this head."""
        encoded = encode_request(headers, end_stream, block)
        block = self._block(encoded.block, encoded.size, len(headers), self._limits.header_count)
        engine = self._engine
        stream = engine.new_stream(engine.roll.next_id(), _method(headers), UNANSWERED)
        stream.receiver = receiver
        stream._sending = not end_stream
        stream._out_ended = end_stream
        self._send(stream, block, end_stream=end_stream)
        return stream

    def send(self, stream: TunnelStream, headers: Sequence[Header], end_stream: bool, block: bytes | None) -> None:
        """Send a response head or trailers."""
        if self._engine.client or stream._answered:
            self._send_trailers(stream, headers, end_stream, block)
            return
        encoded = encode_response(headers, end_stream, block, stream._method)
        block = self._block(encoded.block, encoded.size, len(headers), self._limits.header_count)
        self._send(stream, block, end_stream=end_stream)
        if encoded.status >= 200:
            stream._answered = True
            stream._sending = not end_stream
            if end_stream:
                stream._end_sent()

    def _send_trailers(
        self, stream: TunnelStream, headers: Sequence[Header], end_stream: bool, block: bytes | None
    ) -> None:
        if not stream._sending or not end_stream or stream._method == b"CONNECT":
            raise LocalProtocolError("trailers come once, end the stream, and do not exist on CONNECT")
        kept = ours(lambda: check_trailers(headers))
        block = block if block is not None and len(kept) == len(headers) else hpack.encode(kept)
        stream._begin_end(trailers=self._block(block, list_size(kept), len(kept), self._limits.trailer_count))

    def _block(self, block: bytes, size: int, fields: int, count: int) -> bytes:
        """Return the block to send; a head that the peer would refuse is our bug, not its."""
        if fields > count or size > min(self._limits.tunnel_head_bytes, self._engine.peer.max_head_bytes):
            raise LocalProtocolError(f"a head of {fields} fields and {size} bytes is too large for a tunnel")
        if self._first_block:
            self._first_block = False
            block = hpack.NO_TABLE + block
        return block

    def _send(self, stream: TunnelStream, block: bytes, *, end_stream: bool) -> None:
        outlet = self._engine.outlet
        outlet.send(frames.head_frames(stream.id, block, end_stream=end_stream, max_frame=outlet.max_frame))


def _method(headers: Sequence[Header]) -> bytes:
    name, method = headers[0]
    if name == b":method":  # as our own heads begin
        return method
    return next(value for name, value in headers if name == b":method")
