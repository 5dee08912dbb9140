"""An upstream HTTP/1.1 connection: reads responses strictly and passes their bytes to the session it serves at the time.

Theory of operation. Between exchanges the state is IDLE and any byte is a violation: the connection is dropped, so a
response can never be taken for the answer to another request. A response that arrives whole, with a known length and no
field to change, is forwarded as the one slice it came in. Everything else goes through the framing states:

    IDLE → HEAD → (1xx: HEAD again) → LENGTH | CHUNKED | UNTIL_EOF → IDLE or gone

An upstream whose response did not end where its framing said, or that was told to close, is never used again.
"""

from typing import TYPE_CHECKING, Final

from weft_agent.proxy.connect_head import read_answer
from weft_agent.reactor import Buffer, End
from weft_contract.limits import Limits
from weft_core.errors import RemoteProtocolError, UpstreamProtocolError, UpstreamResetError, WeftError
from weft_core.facts import Header
from weft_core.http1 import CHUNKED, UNTIL_EOF, ChunkedDecoder, ResponseHead, parse_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from weft_agent.proxy.http1.session import Session

IDLE: Final = 0
HEAD: Final = 1
LENGTH: Final = 2
CHUNKS: Final = 3
TO_EOF: Final = 4
GONE: Final = 5


class Upstream:
    """Receiver of one upstream end.

    Args:
        end: connected; owned from now on; None: `attach` gives it later (a stream is opened with its receiver).
        limits: head limits, 1xx count.
        address: `ip:port` for logs.
    """

    __slots__ = (
        "_chunks", "_interim", "_left", "_limits", "_pending", "_state", "address", "deadline", "end", "in_wheel",
        "keep_alive", "key", "on_gone", "parked_before", "session", "uses",
    )  # fmt: skip

    def __init__(self, end: End | None, limits: Limits, address: str) -> None:
        self.end: End
        self.key = ("", 0)
        """Which pool it belongs to."""
        self.address = address
        self.session: Session | None = None
        self.keep_alive = True
        self.uses = 0
        self.on_gone: Callable[[Upstream], None] | None = None
        self.deadline = 0.0
        self.in_wheel = False
        self.parked_before = False
        self._limits = limits
        self._state = IDLE
        self._pending = b""
        self._left = 0
        self._interim = 0
        self._chunks: ChunkedDecoder | None = None
        if end is not None:
            self.end = end
            end.receiver = self

    def attach(self, stream: End) -> None:
        """Take the stream that was opened with this as its receiver."""
        self.end = stream

    def begin(self, session: "Session") -> None:
        """Serve `session` for one exchange; the caller writes the request."""
        self.session = session
        self.uses += 1
        self.deadline = 0.0
        self._interim = 0
        self._state = HEAD

    def rest(self) -> None:
        """Go back to IDLE after an exchange."""
        self.session = None
        self._state = IDLE

    @property
    def idle(self) -> bool:
        """True between exchanges, while the connection is good."""
        return self._state == IDLE

    @property
    def answered(self) -> bool:
        """True once a byte of the current response has arrived."""
        return self._state > HEAD or bool(self._pending) or self._interim > 0

    # -- receiver ---------------------------------------------------------------------------------------------------

    def feed(self, data: Buffer) -> None:
        """Take response bytes."""
        state = self._state
        if state == HEAD:
            self._head(data)
        elif state == LENGTH:
            self._length(data)
        elif state == CHUNKS:
            self._chunked(data)
        elif state == TO_EOF and self.session is not None:
            self.session.response_body(data)
        else:  # unsolicited: never to be taken for the next answer
            self.drop()

    def headers(self, headers: list[Header], end_stream: bool) -> None:
        """Read the answer of a destination's agent to the stream we opened."""
        error = read_answer(headers)
        if error is not None:
            self.lost(error)
        elif end_stream:
            self.eof()

    def eof(self) -> None:
        """Handle the upstream's end of stream."""
        session = self.session
        if session is None:
            self.drop()
        elif self._state == TO_EOF:
            self._state = GONE
            self.keep_alive = False
            session.response_complete()
        else:
            self.lost(UpstreamResetError(f"upstream {self.address} closed before its answer was complete"))

    def drained(self) -> None:
        """Let the caller send on."""
        if self.session is not None:
            self.session.upstream_drained()

    def lost(self, error: WeftError | None) -> None:
        """Handle the connection's end."""
        session, self.session = self.session, None
        answered = self.answered
        self._gone()
        if session is not None:
            failure = error or UpstreamResetError(f"upstream {self.address} closed")
            session.upstream_lost(self, failure, answered=answered)

    def expire(self) -> None:
        """Close after the idle time in the pool."""
        self.drop()

    def crash(self) -> None:
        """End visibly after a bug of ours."""
        self.abort()

    def drop(self) -> None:
        """Close without an exchange in progress."""
        self._gone()
        self.end.close()

    def abort(self) -> None:
        """Reset: the exchange in progress is given up."""
        self._gone()
        self.end.abort()

    def _gone(self) -> None:
        self._state = GONE
        self.keep_alive = False
        self.deadline = 0.0
        self.session = None
        if self.on_gone is not None:
            self.on_gone(self)
            self.on_gone = None

    # -- framing ----------------------------------------------------------------------------------------------------

    def _head(self, data: Buffer) -> None:
        session = self.session
        if session is None:
            return
        buffer: Buffer = self._pending + bytes(data) if self._pending else data
        while True:
            try:
                head = parse_response(buffer, self._limits, session.method)
            except RemoteProtocolError as exc:
                self._violated(exc)
                return
            if head is None:
                self._pending = bytes(buffer)
                return
            if head.status >= 200 or head.status == 101:
                break
            self._interim += 1
            if self._interim > self._limits.informational_count:
                self._violated(RemoteProtocolError("too many 1xx responses", detail="informational_flood"))
                return
            session.interim(head, buffer[: head.size])
            buffer = buffer[head.size :]
            if not len(buffer):
                self._pending = b""
                return
        self._pending = b""
        self._final(session, head, buffer)

    def _final(self, session: "Session", head: ResponseHead, buffer: Buffer) -> None:
        self.keep_alive = self.keep_alive and head.keep_alive
        if session.switches(head):
            self._state = GONE
            session.switch(head, self, buffer[head.size :])
            return
        length = head.length
        if length >= 0:
            self._with_length(session, head, buffer, length)
            return
        session.response_head(head, buffer)
        body = buffer[head.size :]
        if length == CHUNKED:
            self._chunks = ChunkedDecoder(self._limits)
            self._state = CHUNKS
            if len(body):
                self._chunked(body)
        elif length == UNTIL_EOF:
            self._state = TO_EOF
            self.keep_alive = False
            if len(body):
                session.response_body(body)

    def _with_length(self, session: "Session", head: ResponseHead, buffer: Buffer, length: int) -> None:
        """Pass on head and as much of the body as is there, in one write where possible."""
        total = head.size + length
        there = len(buffer)
        if there >= total:
            if there > total:  # bytes behind the answer: nobody asked for them
                self.keep_alive = False
                buffer = buffer[:total]
            self._state = IDLE
            session.response_head(head, buffer)
            session.response_complete()
            return
        self._left = total - there
        self._state = LENGTH
        session.response_head(head, buffer)

    def _length(self, data: Buffer) -> None:
        session = self.session
        if session is None:
            return
        left = self._left - len(data)
        if left > 0:
            self._left = left
            session.response_body(data)
            return
        if left < 0:
            self.keep_alive = False
            data = data[: self._left]
        self._state = IDLE
        session.response_body(data)
        session.response_complete()

    def _chunked(self, data: Buffer) -> None:
        session, chunks = self.session, self._chunks
        if session is None or chunks is None:
            return
        try:
            pieces, finished, consumed = chunks.feed(data)
        except RemoteProtocolError as exc:
            self._violated(exc)
            return
        if finished:
            self._chunks = None
            self._state = IDLE
            if consumed < len(data):
                self.keep_alive = False
        if pieces:
            session.response_body(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if finished and self.session is session:
            session.response_complete()

    def _violated(self, exc: RemoteProtocolError) -> None:
        session, self.session = self.session, None
        self.abort()
        if session is not None:
            error = UpstreamProtocolError(f"upstream {self.address}: {exc}")
            session.upstream_lost(self, error, answered=True)
