"""An upstream HTTP/1.1 connection: reads responses strictly and passes their bytes to the session it serves at the time.

Theory of operation. Between exchanges the state is IDLE and any byte is a violation: the connection is dropped, so a
response can never be taken for the answer to another request. A response that arrives whole, with a known length and no
field to change, is forwarded as the one slice it came in. Everything else goes through the framing states:

    IDLE → HEAD → (1xx: HEAD again) → LENGTH | CHUNKED | UNTIL_EOF → IDLE or gone

An upstream whose response did not end where its framing said, or that was told to close, or that was asked to switch protocols,
is never used again.

Rules for editors: a session may end the exchange inside each of its calls; look whether it still is this upstream's session
before the next one.
"""

from typing import TYPE_CHECKING, Final

from weft_agent.proxy.connect_head import read_answer
from weft_agent.proxy.http1.switching import switch
from weft_agent.reactor import OUTSIDE, Buffer, End
from weft_contract.limits import Limits
from weft_core.errors import (
    InternalError,
    RemoteProtocolError,
    UpstreamProtocolError,
    UpstreamResetError,
    WeftError,
)
from weft_core.facts import Header
from weft_core.http1 import CHUNKED, UNTIL_EOF, ChunkedDecoder, ResponseHead, next_informational, parse_response
from weft_core.tunnel import TunnelStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from weft_agent.proxy.backports import Peer
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
        "_chunks", "_interim", "_left", "_limits", "_pending", "_state", "address", "deadline", "end", "keep_alive", "key",
        "on_gone", "parked_before", "peer", "session", "uses", "wheel_at",
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
        self.peer: Peer | None = None
        """Its source port towards an application, for whoever releases it."""
        self.deadline = 0.0
        self.wheel_at = OUTSIDE
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

    def finish(self) -> None:
        """Carry the caller's end of stream: without a mesh the server would see this FIN, so it does with one."""
        self.keep_alive = False
        self.end.finish()

    def rest(self) -> None:
        """Go back to IDLE after an exchange."""
        self.session = None
        self._state = IDLE

    @property
    def lasts(self) -> bool:
        """Whether it may be kept for another exchange: a stream whose tunnel drains would keep that tunnel alive."""
        end = self.end
        return not (isinstance(end, TunnelStream) and end.draining)

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
        if self.session is None:
            self.drop()

    def crash(self) -> None:
        """End in a defined way after a bug of ours: the caller is told, or reset."""
        session, self.session = self.session, None
        self.abort()
        if session is not None:
            session.upstream_lost(self, InternalError("a bug of this agent ended the exchange"), answered=True)

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
        searched = len(self._pending)
        buffer: Buffer = self._pending + bytes(data) if searched else data
        self._pending = b""
        while True:
            try:
                head = parse_response(buffer, self._limits, session.method, searched)
            except RemoteProtocolError as exc:
                self._violated(exc)
                return
            if head is None:
                self._pending = bytes(buffer)
                return
            if head.status >= 200 or head.status == 101:
                self._final(session, head, buffer)
                return
            if not self._informational(session, head, buffer[: head.size]):
                return
            buffer = buffer[head.size :]
            searched = 0
            if not len(buffer):
                return

    def _informational(self, session: "Session", head: ResponseHead, raw: Buffer) -> bool:
        """Pass on a 1xx response; False: that was one too many."""
        try:
            self._interim = next_informational(self._interim, self._limits)
        except RemoteProtocolError as exc:
            self._violated(exc)
            return False
        session.interim(head, raw)
        return self.session is session

    def _final(self, session: "Session", head: ResponseHead, buffer: Buffer) -> None:
        if not head.keep_alive:
            self.keep_alive = False
        length = head.length
        if head.status == 101 or (length == UNTIL_EOF and session.method == b"CONNECT" and head.status < 300):
            self._state = GONE
            switch(session, head, self, buffer[head.size :])
        elif length >= 0:
            self._with_length(session, head, buffer, length)
        else:
            self._without_length(session, head, buffer)

    def _without_length(self, session: "Session", head: ResponseHead, buffer: Buffer) -> None:
        """Pass on the head of a response whose end has to be found, and what is there of its body."""
        session.response_head(head, buffer)
        if self.session is not session:
            return
        body = buffer[head.size :]
        if head.length == CHUNKED:
            plain = session.head is not None and not session.head.minor  # HTTP/1.0 knows no chunks
            self._chunks = ChunkedDecoder(self._limits, decode=plain, response=True)
            self._state = CHUNKS
            if len(body):
                self._chunked(body)
        else:
            self._state = TO_EOF
            self.keep_alive = False
            if len(body):
                session.response_body(body)

    def _with_length(self, session: "Session", head: ResponseHead, buffer: Buffer, length: int) -> None:
        """Pass on head and as much of the body as is there, in one write where possible."""
        total = head.size + length
        there = len(buffer)
        if there < total:
            self._left = total - there
            self._state = LENGTH
            session.response_head(head, buffer)
            return
        if there > total:  # bytes behind the answer: nobody asked for them
            self.keep_alive = False
            buffer = buffer[:total]
        self._state = IDLE
        session.response_head(head, buffer)
        if self.session is session:
            session.response_complete()

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
            data = data[:left]
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
        if finished:
            session.response_complete()

    def _violated(self, exc: RemoteProtocolError) -> None:
        session, self.session = self.session, None
        self.abort()
        if session is not None:
            error = UpstreamProtocolError(f"upstream {self.address}: {exc}")
            session.upstream_lost(self, error, answered=True)
