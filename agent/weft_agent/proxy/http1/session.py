"""The life of one caller's HTTP/1.1 connection: heads in, exchanges one after another, answers out.

Theory of operation. Exchanges are strictly sequential; further requests wait (and beyond a bound hold the caller). States:

    WAIT    between requests, or with part of a head            → BODY | SENT
    BODY    the request's body is still coming                  → SENT
    SENT    the request is complete, the answer is not          → WAIT | NEXT | OVER
    NEXT    the next request is here, or answers are not taken  → WAIT (and on) | OVER
    RAW     both sides are an opaque relay (101, CONNECT)       → OVER

The planner is asked once per request and answers with `forward`, `refuse`, `fail` or `reply`, at once or later; until then body
bytes wait in `_backlog`. What is forwarded is the very slice that was judged whenever nothing has to change.

A failure before the first byte of the answer becomes a defined response; after it, the caller's connection is reset, so a
truncated answer can never look complete. Nothing is read behind an exchange whose request body was not consumed, or that asked
for another protocol: the connection closes behind the answer. The caller's half-close is carried upstream as it is without a
mesh, with its last request.

Rules for editors: `end.resume` and `upstream.end.resume` may deliver before they return; call them last. A planner may raise (a
bug): whatever has to happen behind its call stands in a `finally`. See `intake` for everything between `feed` and the
planner's `start`, `holding` for when the caller is read, `patience` for deadlines, `switching` for RAW, `composing` for heads.
"""

from typing import TYPE_CHECKING, Final

from weft_agent.proxy.http1 import intake, patience, switching
from weft_agent.proxy.http1.composing import compose_request, compose_response
from weft_agent.proxy.http1.exchange import BODY, NEXT, OVER, RAW, SENT, UNMEASURED, WAIT, Exchange
from weft_agent.proxy.http1.holding import free, hold, measure_from_now
from weft_agent.proxy.http1.planner import Planner
from weft_agent.proxy.relay import Relay
from weft_agent.proxy.rescue import PHRASES, error_answer, refusal_answer
from weft_agent.reactor import Buffer, End, Reactor
from weft_contract.limits import Limits
from weft_core.decision import Denied
from weft_core.errors import (
    ClientGoneError,
    InternalError,
    LocalProtocolError,
    RemoteProtocolError,
    ResponseTimeoutError,
    WeftError,
)
from weft_core.http1 import CHUNKED, RequestHead, ResponseHead, response_bytes

if TYPE_CHECKING:
    from weft_agent.proxy.http1.upstream import Upstream

REPLAY_SAFE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})
"""Idempotent methods (RFC 9110 §9.2.2): may be sent again after a reused connection died without an answer."""


class Session(Exchange):
    """Receiver of one caller's end.

    Args:
        reactor: the worker's loop.
        end: the caller's end, already started.
        limits: all limits of HTTP.
        planner: decides and finds upstreams.
    """

    __slots__ = ()

    def __init__(self, reactor: Reactor, end: End, limits: Limits, planner: Planner) -> None:
        super().__init__(reactor, end, limits, planner)
        end.receiver = self
        reactor.watch(self)

    # -- receiver of the caller's end ---------------------------------------------------------------------------------

    def feed(self, data: Buffer) -> None:
        """Take bytes of the caller."""
        state = self._state
        if state == WAIT:
            before = len(self._pending)
            intake.take_head(self, bytes(self._pending) + bytes(data) if before else data, before)
        elif state == BODY:
            intake.take_body(self, data)
        else:
            intake.add_to_later(self, data)

    def eof(self) -> None:
        """Handle the caller's end of stream."""
        self._half_closed = True
        if self._state == WAIT:
            self._close()
        elif self._state == BODY:
            self._give_up(ClientGoneError("client closed in the middle of its request"))
        elif self._state == SENT and not len(self._pending):
            self._keep_alive = False
            if self.upstream is not None:
                self.upstream.finish()

    def drained(self) -> None:
        """Let the upstream send on, or the next request begin: the caller takes its answers again."""
        self._clogged = False
        if self._state == NEXT:
            self.reactor.soon(self._continue)
        elif self.upstream is not None:
            if self._state == SENT:
                self.deadline = self.reactor.now + self._limits.stream_idle_timeout_s
            self.upstream.end.resume()

    def lost(self, error: WeftError | None) -> None:
        """Handle the end of the caller's connection."""
        if self._state in (BODY, SENT):
            self._give_up(error or ClientGoneError("client closed before the answer was complete"))
        else:
            self._over()

    def crash(self) -> None:
        """End in a defined way after a bug of ours: 500 where nothing was answered yet."""
        error = InternalError("a bug of this agent ended the exchange")
        if self._state in (WAIT, NEXT):
            self._close()
        elif self.head is None:
            self._give_up(error)
        else:
            self.fail(error)

    # -- the planner's answers ----------------------------------------------------------------------------------------

    def forward(self, upstream: "Upstream", *, block: bytes | None = None) -> None:
        """Send the request to `upstream`.

        Args:
            upstream: idle and connected.
            block: replaces the field lines; None: as sent.
        """
        head, outgoing = self.head, self._outgoing
        if head is None or self.upstream is not None:
            upstream.drop()  # an answer too late
            return
        if outgoing is None or self.target is not None or block is not None:
            try:
                outgoing = compose_request(head, self.target, block)
            except LocalProtocolError as exc:
                upstream.drop()
                self.fail(exc)
                return
            if switching.wants_switch(head):
                upstream.keep_alive = False
        self.upstream = upstream
        self.upstream_address = upstream.address
        self.tries += 1
        upstream.begin(self)
        if self._backlog is not None:
            body = b"".join(self._backlog)
            self._backlog = None
            self._body = body if self._state == SENT else None
            outgoing += body
        elif self._body:
            outgoing += self._body
        if not upstream.end.write(outgoing):
            self._full = True
            if self._state == BODY:
                hold(self)
        if self._half_closed and not len(self._pending):
            upstream.finish()
        if self._held:
            free(self)

    def arm(self, timeout_s: float) -> None:
        """Answer 504 if the exchange takes longer."""
        self._disarm()
        self._timer = self.reactor.after(timeout_s, self._timed_out)

    def refuse(self, denied: Denied, *, explain: bool) -> None:
        """Answer with a policy's refusal."""
        if self.head is None:
            return
        self.denied = denied
        self.status = denied.http_status
        self._answer(refusal_answer(denied, explain=explain, method=self.method, keep_alive=self._may_continue()))
        self._exchange_over(None)

    def fail(self, error: WeftError) -> None:
        """Answer with a fault of ours or of the upstream's."""
        if self.head is None:
            return
        self._reset_upstream()
        if self._head_sent:
            self._give_up(error)
            return
        if error.closes_connection:
            self._keep_alive = False
        self.status = error.status if isinstance(error, RemoteProtocolError) else error.http_status
        self._answer(error_answer(error, method=self.method, keep_alive=self._may_continue()))
        self._exchange_over(error)

    def reply(self, status: int, head: bytes, body: bytes = b"") -> None:
        """Answer from here: a redirect or the self test. `head` is field lines, each ending in CRLF."""
        if self.head is None:
            return
        self.status = status
        keep = b"" if self._may_continue() else b"connection: close\r\n"
        content = b"" if self.method == b"HEAD" else body
        fields = head + b"content-length: %d\r\n" % len(body) + keep
        self._answer(response_bytes(status, PHRASES.get(status, b""), fields) + content)
        self._exchange_over(None)

    def _may_continue(self) -> bool:
        """Tell whether the connection goes on behind an answer of ours; HTTP/1.0 gets none that says so."""
        minor = self.head.minor if self.head is not None else 0
        self._keep_alive = self._keep_alive and self._state == SENT and bool(minor) and not self._draining
        return self._keep_alive

    def _answer(self, data: bytes) -> None:
        self._head_sent = True
        self._to_caller(data)

    def _to_caller(self, data: Buffer) -> None:
        self.sent_bytes += len(data)
        if not self.end.write(data):
            self._clog()

    def _clog(self) -> None:
        """Note that the caller has more of its answers than it takes."""
        self._clogged = True
        self._mark = self.sent_bytes - self.end.queued_bytes
        if self.upstream is not None:
            self.upstream.end.pause()

    # -- the upstream's answer ----------------------------------------------------------------------------------------

    def interim(self, head: ResponseHead, raw: Buffer) -> None:
        """Pass on a 1xx response; HTTP/1.0 knows none."""
        if self.head is not None and self.head.minor:
            if head.status == 100 and self._state == BODY and self._body_since == UNMEASURED:
                measure_from_now(self)  # the body that waited for this may come
            self._to_caller(raw if head.raw else response_bytes(head.status, head.reason, head.block))

    def response_head(self, head: ResponseHead, buffer: Buffer) -> None:
        """Pass on a final response: its head and all of `buffer` behind it (for chunked and until-EOF, the head alone)."""
        request = self.head
        if request is None:
            return
        block = self.planner.response_block(self, head)
        keep_alive = self._keep_alive and self._state == SENT and not self._draining and head.length != -2
        if head.raw and block is None and keep_alive and head.length >= 0 and request.minor:
            data = buffer
        else:
            if not request.minor and head.length == CHUNKED:
                keep_alive = False
            self._keep_alive = keep_alive
            try:
                data = compose_response(head, block, keep_alive=keep_alive, minor=request.minor)
            except LocalProtocolError as exc:
                self.fail(exc)
                return
            if head.length > 0:
                data += bytes(buffer[head.size :])
        self.status = head.status
        self._head_sent = True
        if self._state == SENT:
            self.deadline = self.reactor.now + self._limits.stream_idle_timeout_s
        self.sent_bytes += len(data)
        if not self.end.write(data):
            self._clog()

    def response_body(self, data: Buffer) -> None:
        """Pass on body bytes."""
        if self._state == SENT:
            self.deadline = self.reactor.now + self._limits.stream_idle_timeout_s
        self.sent_bytes += len(data)
        if not self.end.write(data):
            self._clog()

    def response_complete(self) -> None:
        """Finish the exchange; the upstream is given back."""
        upstream, self.upstream = self.upstream, None
        self._full = False
        if upstream is None:
            return
        if upstream.keep_alive and self._state == SENT:
            upstream.rest()
            if self._clogged:  # it was paused for this caller
                upstream.end.resume()
            reusable = bool(upstream.keep_alive)  # what it had to say meanwhile may have ended it
        else:
            reusable = False
        try:
            self.planner.release(self, upstream, reusable=reusable)
        finally:
            self._exchange_over(None)

    def upstream_drained(self) -> None:
        """Let the caller send on."""
        self._full = False
        free(self)

    def upstream_lost(self, upstream: "Upstream", error: WeftError, *, answered: bool) -> None:
        """Handle an upstream that died in the middle of an exchange."""
        self.upstream = None
        self._full = False
        head = self.head
        again = False
        try:
            self.planner.release(self, upstream, reusable=False)
            if head is not None and not answered and self._may_repeat(head, upstream, error):
                again = self.planner.again(self, head, error)
        finally:
            if not again:
                self.fail(error)

    def _may_repeat(self, head: RequestHead, upstream: "Upstream", error: WeftError) -> bool:
        stale = upstream.uses > 1 and head.method in REPLAY_SAFE
        whole = self._state == SENT and self._body is not None
        return whole and not self._head_sent and (error.retryable or stale)

    def relay_over(self, relay: Relay, error: WeftError | None) -> None:
        """Finish what became an opaque relay."""
        self.received_bytes += relay.bytes_received
        self.sent_bytes += relay.bytes_sent
        upstream, self.upstream = self.upstream, None
        self.head = None
        try:
            if upstream is not None:
                self.planner.release(self, upstream, reusable=False)
            self.planner.finished(self, error)
        finally:
            self._over()

    # -- endings ------------------------------------------------------------------------------------------------------

    def _exchange_over(self, error: WeftError | None) -> None:
        """Count the exchange, then make room for the next one or close."""
        if self._timer is not None:
            self._disarm()
        lives = self._state == SENT and self._keep_alive  # what the answer's head promised holds, drain or not
        self.head = None
        try:
            self.planner.finished(self, error)
        finally:
            if lives and (not self._half_closed or len(self._pending)):
                self._make_room()
            else:
                self._close()

    def _make_room(self) -> None:
        """Be ready for the next request: at once, behind those that wait, or when the answers were taken."""
        self._outgoing = None
        self._head_sent = False
        if self._clogged:
            self._state = NEXT
            hold(self)
            self._set_deadline(self._limits.stream_idle_timeout_s)
        elif len(self._pending):
            self._state = NEXT
            self.reactor.soon(self._continue)
        else:
            self._state = WAIT
            self.method = self.path = self.host = b""  # most connections rest, and have the last request's long enough
            limits = self._limits
            rest_s = limits.http_idle_timeout_s if not self._draining else limits.drain_rest_s
            self.deadline = self.reactor.now + rest_s
            if self.deadline < self.wheel_at:
                self.reactor.watch(self)
            if self._held:
                free(self)

    def _reset_upstream(self) -> None:
        """Give up the upstream's part: its request is cancelled and its connection never used again."""
        upstream, self.upstream = self.upstream, None
        self._full = False
        if upstream is not None:
            upstream.abort()

    def _give_up(self, error: WeftError) -> None:
        """End an exchange that can no longer be completed: reset both sides."""
        if self._state == RAW and self._relay is not None:
            self._relay.cut(error)
            return
        self._disarm()
        self._reset_upstream()
        self.status = self.status or error.http_status
        begun = self.head is not None
        self.head = None
        try:
            if begun:
                self.planner.finished(self, error)
        finally:
            self.end.abort()
            self._over()

    def _close(self) -> None:
        self.end.close()
        self._over()

    def _over(self) -> None:
        if self._state != OVER:
            self._state = OVER
            self._pending = b""
            self._disarm()
            self.reactor.unwatch(self)
            self.planner.closed(self)

    def drain(self) -> None:
        """Close behind the next answer whose head is not sent yet; where none comes, after `drain_rest_s`.

        A caller that sends while we close would not know whether its request was carried out; told `Connection: close`, it knows.
        An answer that had begun before has promised the opposite, so its connection rests once more.
        """
        self._draining = True
        if bytes(self._pending) not in intake.EMPTY_LINES:
            return
        if self._state == WAIT:
            self._set_deadline(min(self._limits.drain_rest_s, max(0.0, self.deadline - self.reactor.now)))

    def cut(self, error: WeftError) -> None:
        """End now: drained too long, or revoked."""
        if self._state in (WAIT, NEXT):
            self._close()
        elif self._state != OVER:
            self._give_up(error)

    def expire(self) -> None:
        """Handle a deadline of the current state."""
        patience.expire(self)

    def _set_deadline(self, seconds: float) -> None:
        self.deadline = self.reactor.now + seconds
        if self.deadline < self.wheel_at:
            self.reactor.watch(self)

    def _continue(self) -> None:
        intake.go_on(self)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _timed_out(self) -> None:
        self._timer = None
        self.fail(ResponseTimeoutError("the route's request timeout passed"))
