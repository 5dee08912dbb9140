"""The life of one caller's HTTP/1.1 connection: heads in, exchanges one after another, answers out.

Theory of operation. Exchanges are strictly sequential; pipelined bytes wait (and beyond a bound pause the caller). States:

    WAIT    between requests, or with part of a head        → BODY | SENT
    BODY    the request's body is still coming              → SENT
    SENT    the request is complete, the answer is not      → WAIT | over
    RAW     both sides are an opaque relay (101, CONNECT)   → over

The planner is asked once per request and answers with `forward`, `refuse` or `fail`, at once or later; until then body bytes
wait in `_backlog`. What is forwarded is the very slice that was judged whenever nothing has to change.

A failure before the first byte of the answer becomes a defined response; after it, the caller's connection is reset, so a
truncated answer can never look complete. The caller's half-close is carried upstream as it is without a mesh. Nothing is
read after an exchange whose request body was not consumed: the connection closes behind the answer.
"""

from typing import TYPE_CHECKING, Final

from weft_agent.proxy.http1.planner import Planner
from weft_agent.proxy.relay import Relay
from weft_agent.proxy.rescue import PHRASES, error_answer, refusal_answer
from weft_agent.reactor import Buffer, End, Reactor, Timer
from weft_contract.limits import KIB, Limits
from weft_core.decision import Denied, Permit
from weft_core.errors import (
    ClientGoneError,
    IdleTimeoutError,
    LocalProtocolError,
    RemoteProtocolError,
    ResponseTimeoutError,
    SlowRequestError,
    UpstreamProtocolError,
    WeftError,
)
from weft_core.http1 import (
    CHUNKED,
    ChunkedDecoder,
    RequestHead,
    ResponseHead,
    parse_request,
    request_bytes,
    response_bytes,
)

if TYPE_CHECKING:
    from weft_agent.proxy.http1.upstream import Upstream

WAIT: Final = 0
BODY: Final = 1
SENT: Final = 2
RAW: Final = 3
OVER: Final = 4

PIPELINE_BYTES: Final = 64 * KIB
"""Bytes of further requests that may wait while one is answered."""
REPLAY_SAFE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})
"""Idempotent methods (RFC 9110 §9.2.2): may be sent again after a reused connection died without an answer."""
RATE_CHECK_S: Final = 5.0


class Session:
    """Receiver of one caller's end.

    Args:
        reactor: the worker's loop.
        end: the caller's end, already started.
        limits: all limits of HTTP.
        planner: decides and finds upstreams.
    """

    __slots__ = (
        "_backlog", "_body_bytes", "_body_since", "_chunks", "_draining", "_half_closed", "_head_sent", "_interim_ok",
        "_keep_alive", "_left", "_limits", "_outgoing", "_pending", "_relay", "_state", "_timer", "deadline", "denied",
        "end", "head", "host", "in_wheel", "method", "path", "permit", "planner", "reactor", "received_bytes", "route",
        "sent_bytes", "started", "status", "target", "tries", "upstream", "upstream_address",
    )  # fmt: skip

    def __init__(self, reactor: Reactor, end: End, limits: Limits, planner: Planner) -> None:
        self.reactor = reactor
        self.end = end
        self.planner = planner
        self._limits = limits
        self._state = WAIT
        self._pending = b""
        self._chunks: ChunkedDecoder | None = None
        self._left = 0
        self._backlog: list[bytes] | None = None
        self._outgoing: bytes | None = None
        self._relay: Relay | None = None
        self._timer: Timer | None = None
        self._keep_alive = True
        self._half_closed = False
        self._draining = False
        self._head_sent = False
        self._body_bytes = 0
        self._body_since = 0.0
        self.upstream: Upstream | None = None
        self.head: RequestHead | None = None
        self.method = b""
        self.path = self.host = b""
        self.route = ""
        self.target: bytes | None = None
        """Target to forward in place of the one sent, set by the planner; None: as it was sent."""
        self.permit: Permit | None = None
        self.denied: Denied | None = None
        self.started = reactor.now
        self.status = 0
        self.tries = 0
        self.received_bytes = 0
        self.sent_bytes = 0
        self.upstream_address = ""
        self.in_wheel = False
        self.deadline = reactor.now + limits.http_idle_timeout_s
        end.receiver = self
        reactor.watch(self)

    @property
    def busy(self) -> bool:
        """True while an exchange is in progress or the connection became a relay."""
        return self._state in (BODY, SENT, RAW)

    # -- receiver of the caller's end ---------------------------------------------------------------------------------

    def feed(self, data: Buffer) -> None:
        """Take bytes of the caller."""
        state = self._state
        if state == WAIT:
            self._take_head(self._pending + bytes(data) if self._pending else data)
        elif state == BODY:
            self._take_body(data)
        elif state == SENT:
            self._pending += bytes(data)
            if len(self._pending) > PIPELINE_BYTES:
                self.end.pause()

    def eof(self) -> None:
        """Handle the caller's end of stream."""
        if self._state == WAIT:
            self._close()
        elif self._state == BODY:
            self._give_up(ClientGoneError("client closed in the middle of its request"))
        elif self._state == SENT:  # without a mesh the server would see this FIN: so it does with one
            self._half_closed = True
            self._keep_alive = False
            if self.upstream is not None:
                self.upstream.end.finish()

    def drained(self) -> None:
        """Let the upstream send on."""
        if self.upstream is not None:
            self.upstream.end.resume()

    def lost(self, error: WeftError | None) -> None:
        """Handle the end of the caller's connection."""
        if self._state in (BODY, SENT):
            self._give_up(error or ClientGoneError("client closed before the answer was complete"))
        elif self._state != OVER:
            self._over()

    def crash(self) -> None:
        """End visibly after a bug of ours."""
        self._give_up(LocalProtocolError("internal error"))

    # -- request ------------------------------------------------------------------------------------------------------

    def _take_head(self, data: Buffer) -> None:
        try:
            head = parse_request(data, self._limits)
        except RemoteProtocolError as exc:
            self._malformed(exc)
            return
        if head is None:
            if not self._pending:
                self.deadline = self.reactor.now + self._limits.head_timeout_s
            self._pending = bytes(data)
            return
        self._pending = b""
        self._begin(head, data)

    def _begin(self, head: RequestHead, data: Buffer) -> None:
        self.head = head
        self.method = head.method
        self.started = self.reactor.now
        self.status = self.tries = self.sent_bytes = 0
        self.received_bytes = head.size
        self.denied = None
        self.permit = None
        self.target = None
        self.path = self.host = b""
        self.upstream_address = ""
        self._head_sent = False
        self._keep_alive = head.keep_alive and not self._draining
        size, length = head.size, head.length
        if length == 0:
            self._state = SENT
            if len(data) > size:
                self._pending = bytes(data[size:])
            self.deadline = self.started + self._limits.stream_idle_timeout_s
        else:
            self._state = BODY
            self._body_since = self.started
            self._body_bytes = 0
            self.deadline = self.started + self._limits.body_grace_s
            self._backlog = []
            if length == CHUNKED:
                self._chunks = ChunkedDecoder(self._limits)
            else:
                self._left = length
            if len(data) > size:
                self._take_body(data[size:])
        if self._state != OVER:
            # `_outgoing` keeps the slice that was judged, until `forward` composes what is sent
            self._outgoing = bytes(data[:size]) if head.raw else None
            self.planner.start(self, head)

    def _take_body(self, data: Buffer) -> None:
        self._body_bytes += len(data)
        self.received_bytes += len(data)
        chunks = self._chunks
        if chunks is None:
            left = self._left - len(data)
            if left > 0:
                self._left = left
                self._send_body(data)
                return
            if left < 0:
                self._pending = bytes(data[left:])
                data = data[:left]
            self._request_complete(data)
            return
        try:
            pieces, finished, consumed = chunks.feed(data)
        except RemoteProtocolError as exc:
            self._malformed(exc)
            return
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if finished:
            self._chunks = None
            if consumed < len(data):
                self._pending = bytes(data[consumed:])
            self._request_complete(body)
        elif len(body):
            self._send_body(body)

    def _request_complete(self, last: Buffer) -> None:
        self._state = SENT
        self.deadline = self.reactor.now + self._limits.stream_idle_timeout_s
        if len(last):
            self._send_body(last)

    def _send_body(self, data: Buffer) -> None:
        backlog = self._backlog
        if backlog is not None:
            backlog.append(bytes(data))
            if self._body_bytes > self._limits.retry_body_bytes:
                self.end.pause()
        elif self.upstream is not None and not self.upstream.end.write(data):
            self.end.pause()

    # -- the planner's answers ----------------------------------------------------------------------------------------

    def forward(self, upstream: "Upstream", *, block: bytes | None = None) -> None:
        """Send the request to `upstream`.

        Args:
            upstream: idle and connected.
            block: replaces the field lines; None: as sent.
        """
        head, target = self.head, self.target
        if head is None or self._state == OVER:
            upstream.drop()
            return
        outgoing = self._outgoing
        if outgoing is None or target is not None or block is not None:
            outgoing = self._outgoing = _compose(head, target, block)
        self.upstream = upstream
        self.upstream_address = upstream.address
        self.tries += 1
        upstream.begin(self)
        backlog, self._backlog = self._backlog, None
        if backlog:
            outgoing += b"".join(backlog)
            if self._state == SENT:
                self._outgoing = outgoing  # the whole request is here and may be sent again
            self.end.resume()
        if self._state == BODY:
            self._outgoing = None  # the rest of the body will not be kept
        if not upstream.end.write(outgoing):
            self.end.pause()
        if self._half_closed:
            upstream.end.finish()

    def arm(self, timeout_s: float) -> None:
        """Answer 504 if the exchange takes longer."""
        self._timer = self.reactor.after(timeout_s, self._timed_out)

    def refuse(self, denied: Denied, *, explain: bool) -> None:
        """Answer with a policy's refusal."""
        self.denied = denied
        self.status = denied.http_status
        self._answer(refusal_answer(denied, explain=explain, method=self.method, keep_alive=self._may_continue()))
        self._exchange_over(None)

    def fail(self, error: WeftError) -> None:
        """Answer with a fault of ours or of the upstream's."""
        if self._state == OVER:
            return
        if self._head_sent:
            self._give_up(error)
            return
        if error.closes_connection:
            self._keep_alive = False
        self.status = error.http_status
        self._answer(error_answer(error, method=self.method, keep_alive=self._may_continue()))
        self._exchange_over(error)

    def reply(self, status: int, head: bytes, body: bytes = b"") -> None:
        """Answer from here: a redirect or the self test. `head` is field lines, each ending in CRLF."""
        self.status = status
        keep = b"" if self._may_continue() else b"connection: close\r\n"
        content = b"" if self.method == b"HEAD" else body
        fields = head + b"content-length: %d\r\n" % len(body) + keep
        self._answer(response_bytes(status, PHRASES.get(status, b""), fields) + content)
        self._exchange_over(None)

    def _may_continue(self) -> bool:
        self._keep_alive = self._keep_alive and self._state == SENT
        return self._keep_alive

    def _answer(self, data: bytes) -> None:
        self._head_sent = True
        self.sent_bytes += len(data)
        self.end.write(data)

    # -- the upstream's answer ----------------------------------------------------------------------------------------

    def interim(self, head: ResponseHead, raw: Buffer) -> None:
        """Pass on a 1xx response."""
        if self.head is not None and self.head.minor == 1:
            self.end.write(raw if head.raw else response_bytes(head.status, head.reason, head.block))

    def response_head(self, head: ResponseHead, buffer: Buffer) -> None:
        """Pass on a final response: its head and all of `buffer` behind it (for chunked and until-EOF, the head alone)."""
        self.status = head.status
        self._head_sent = True
        self.deadline = self.reactor.now + self._limits.stream_idle_timeout_s
        changed = self.planner.response_block(self, head)
        keep_alive = self._keep_alive and self._state == SENT and head.length != -2 and not self._draining
        if (
            head.raw
            and changed is None
            and keep_alive
            and head.length >= 0
            and self.head is not None
            and self.head.minor
        ):
            data = buffer
        else:
            self._keep_alive = keep_alive
            data = self._compose_response(head, changed, buffer)
        self.sent_bytes += len(data)
        if not self.end.write(data) and self.upstream is not None:
            self.upstream.end.pause()

    def _compose_response(self, head: ResponseHead, changed: bytes | None, buffer: Buffer) -> bytes:
        extra = b""
        if not self._keep_alive:
            extra = b"connection: close\r\n"
        elif self.head is not None and self.head.minor == 0:
            extra = b"connection: keep-alive\r\n"
        if head.length == CHUNKED:
            extra += b"transfer-encoding: chunked\r\n"
        block = head.block if changed is None else changed
        data = response_bytes(head.status, head.reason, block + extra)
        return data + bytes(buffer[head.size :]) if head.length > 0 else data

    def response_body(self, data: Buffer) -> None:
        """Pass on body bytes."""
        self.deadline = self.reactor.now + self._limits.stream_idle_timeout_s
        self.sent_bytes += len(data)
        if not self.end.write(data) and self.upstream is not None:
            self.upstream.end.pause()

    def response_complete(self) -> None:
        """Finish the exchange; the upstream is given back."""
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            reusable = upstream.keep_alive and self._state == SENT and not self._half_closed and upstream.idle
            upstream.rest() if reusable else None
            self.planner.release(self, upstream, reusable=reusable)
        self._exchange_over(None)

    def upstream_drained(self) -> None:
        """Let the caller send on."""
        if self._state != SENT or len(self._pending) <= PIPELINE_BYTES:
            self.end.resume()

    def upstream_lost(self, upstream: "Upstream", error: WeftError, *, answered: bool) -> None:
        """Handle an upstream that died in the middle of an exchange."""
        self.upstream = None
        self.planner.release(self, upstream, reusable=False)
        head = self.head
        if head is None or self._state == OVER:
            return
        stale = upstream.uses > 1 and head.method in REPLAY_SAFE
        may_repeat = not answered and not self._head_sent and self._outgoing is not None and self._state == SENT
        if may_repeat and (error.retryable or stale) and self.planner.again(self, head, error):
            return
        self.fail(error)

    # -- switching protocols --------------------------------------------------------------------------------------------

    def switches(self, head: ResponseHead) -> bool:
        """Tell whether this response turns the connection into a relay."""
        request = self.head
        if request is None:
            return False
        if request.method == b"CONNECT":
            return 200 <= head.status < 300
        return head.status == 101

    def switch(self, head: ResponseHead, upstream: "Upstream", rest: Buffer) -> None:
        """Turn both sides into an opaque relay; bytes that the caller sent too early were held until now."""
        request = self.head
        if request is None or (head.status == 101 and not request.upgrade):
            upstream.abort()
            self.fail(UpstreamProtocolError("upstream switched protocols without being asked"))
            return
        self._state = RAW
        self.status = head.status
        fields = head.block + (b"connection: upgrade\r\nupgrade: %b\r\n" % head.upgrade if head.upgrade else b"")
        self._answer(response_bytes(head.status, head.reason, fields))
        self.upstream = None
        self.deadline = 0.0
        pending, self._pending = self._pending, b""
        relay = self._relay = Relay(self.reactor, self.end, upstream.end, self._limits, self._relay_over)
        relay.give_back(rest)
        relay.give(pending)
        if self._half_closed:
            relay.downstream_finished()

    def _relay_over(self, relay: Relay, error: WeftError | None) -> None:
        self.received_bytes += relay.bytes_received
        self.sent_bytes += relay.bytes_sent
        self._state = SENT
        self.planner.finished(self, error)
        self._over()

    # -- endings --------------------------------------------------------------------------------------------------------

    def _exchange_over(self, error: WeftError | None) -> None:
        """Count the exchange, then wait for the next request or close."""
        self._disarm()
        self.planner.finished(self, error)
        if self._state != SENT or not self._keep_alive or self._half_closed:
            self._close()
            return
        self.head = None
        self._outgoing = None
        self._state = WAIT
        self.deadline = self.reactor.now + self._limits.http_idle_timeout_s
        if not self.in_wheel:
            self.reactor.watch(self)
        if self._pending:
            self.reactor.soon(self._continue)

    def _continue(self) -> None:
        if self._state == WAIT and self._pending:
            pending, self._pending = self._pending, b""
            self.end.resume()
            self._take_head(pending)

    def _malformed(self, exc: RemoteProtocolError) -> None:
        """Refuse ambiguous or broken framing and close: nothing behind it can be trusted."""
        if self._head_sent:
            self._give_up(exc)
            return
        if self.upstream is not None:
            self.upstream.abort()
            self.upstream = None
        self._keep_alive = False
        self.status = exc.status
        self._answer(error_answer(exc, method=b"GET", keep_alive=False))
        self._exchange_over(exc)

    def _give_up(self, error: WeftError) -> None:
        """End an exchange that can no longer be completed: reset both sides."""
        self._disarm()
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            upstream.abort()
        if self._state == OVER:
            return
        if self._relay is not None:
            self._relay.cut(error)
            return
        self.status = self.status or error.http_status
        if self.head is not None:
            self.planner.finished(self, error)
        self.end.abort()
        self._over()

    def _close(self) -> None:
        self.end.close()
        self._over()

    def _over(self) -> None:
        if self._state != OVER:
            self._state = OVER
            self.deadline = 0.0
            self._disarm()
            self.planner.closed(self)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def drain(self) -> None:
        """Close behind the exchange in progress, or now if there is none."""
        self._draining = True
        if self._state == WAIT and not self._pending:
            self._close()

    def cut(self, error: WeftError) -> None:
        """End now: drained too long, or revoked."""
        if self._state == WAIT:
            self._close()
        else:
            self._give_up(error)

    def expire(self) -> None:
        """Handle a deadline of the current state."""
        if self._state == WAIT:
            if self._pending:
                self._malformed(RemoteProtocolError("request head took too long", status=408, detail="slow_head"))
            else:
                self._close()
        elif self._state == BODY:
            self._check_rate()
        elif self._state == SENT:
            self.fail(IdleTimeoutError("no byte either way for too long"))

    def _check_rate(self) -> None:
        elapsed = self.reactor.now - self._body_since
        if self._backlog is None and self._body_bytes < elapsed * self._limits.body_rate_bytes_per_s:
            upstream, self.upstream = self.upstream, None
            if upstream is not None:
                upstream.abort()
            self.fail(SlowRequestError(f"{self._body_bytes} body bytes in {elapsed:.0f} s"))
            return
        self.deadline = self.reactor.now + RATE_CHECK_S
        self.reactor.watch(self)

    def _timed_out(self) -> None:
        self._timer = None
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            upstream.abort()
        self.fail(ResponseTimeoutError("the route's request timeout passed"))


def _compose(head: RequestHead, target: bytes | None, block: bytes | None) -> bytes:
    """Serialise a request whose bytes cannot be forwarded as they came."""
    extra = b""
    if head.length == CHUNKED:
        extra = b"transfer-encoding: chunked\r\n"
    if head.upgrade:
        extra += b"connection: upgrade\r\nupgrade: %b\r\n" % head.upgrade
    elif head.te_trailers:
        extra += b"connection: te\r\nte: trailers\r\n"
    fields = (head.block if block is None else block) + extra
    return request_bytes(head.method, head.target if target is None else target, head.minor, fields)
