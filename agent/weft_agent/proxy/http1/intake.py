"""From the caller's bytes to requests: heads, bodies, and what waits behind them.

Theory. One request is taken at a time. What is read behind it is kept as it is: within the view it came in where that view
stays (a pipeline of a thousand requests is not copied a thousand times), else in a bytearray that grows in place. Bytes are
judged when their turn comes, never before: what stands behind a request that asks for another protocol is no request.

Source: RFC 9112 §2.2 (empty lines), §9.3.2 (pipelining).
"""

from typing import TYPE_CHECKING, Final

from weft_agent.proxy.http1.exchange import BODY, NEXT, OVER, SENT, UNMEASURED, WAIT
from weft_agent.proxy.http1.holding import PIPELINE_BYTES, free, hold
from weft_agent.proxy.http1.switching import wants_switch
from weft_agent.proxy.rescue import error_answer
from weft_agent.reactor import Buffer
from weft_core.errors import RemoteProtocolError, WeftError
from weft_core.http1 import CHUNKED, ChunkedDecoder, RequestHead, parse_request

if TYPE_CHECKING:
    from weft_agent.proxy.http1.session import Session

EMPTY_LINES: Final = (b"\r\n", b"\r", b"")
"""What old clients send behind a body (RFC 9112 §2.2): no beginning of a request."""


def take_head(session: "Session", data: Buffer, searched: int = 0) -> None:
    """Read a request's head, or keep the part that is there.

    Args:
        session: in WAIT.
        data: everything since the last request, `_pending` included.
        searched: bytes of it that were looked at before.
    """
    try:
        head = parse_request(data, session._limits, searched)
    except RemoteProtocolError as exc:
        refuse_head(session, exc, len(data))
        return
    if head is not None:
        session._pending = b""
        _begin(session, head, data)
        return
    begun, session._pending = session._pending, bytes(data)
    if bytes(begun) in EMPTY_LINES and session._pending not in EMPTY_LINES:
        session._set_deadline(session._limits.head_timeout_s)


def _begin(session: "Session", head: RequestHead, data: Buffer) -> None:
    session.head = head
    session.method = head.method
    session.started = now = session.reactor.now
    session.status = session.tries = session.sent_bytes = 0
    session.denied = session.permit = session.target = session._backlog = None
    session.path = session.host = session._body = b""
    session.route = session.upstream_address = ""
    session._keep_alive = head.keep_alive
    size = session.received_bytes = head.size
    if head.raw:
        session._outgoing = bytes(data[:size])
    elif wants_switch(head):
        session._keep_alive = False
    if head.length == 0:
        session._state = SENT
        session.deadline = now + session._limits.stream_idle_timeout_s
        if session.deadline < session.wheel_at:
            session.reactor.watch(session)
        if len(data) > size:
            _keep_for_later(session, data[size:])
    elif not _begin_body(session, head, data[size:]):
        return
    if session._half_closed and not len(session._pending):
        session._keep_alive = False
    session.planner.start(session, head)


def _begin_body(session: "Session", head: RequestHead, first: Buffer) -> bool:
    """Expect a body and take what came with the head; False: that was malformed, and is answered."""
    limits = session._limits
    session._state = BODY
    session._body_bytes = session._body_mark = session._mark = 0
    session._body_since = UNMEASURED if head.expect_continue else session.started
    session._still_since = session.started
    session._backlog = []
    if head.length == CHUNKED:
        session._chunks = ChunkedDecoder(limits)
    else:
        session._chunks = None
        session._left = head.length
    session._set_deadline(limits.body_grace_s)
    if len(first):
        take_body(session, first)
    return session._state != OVER


def take_body(session: "Session", data: Buffer) -> None:
    """Take bytes of the request's body.

    Args:
        session: in BODY.
        data: what was read; may reach into the next request.
    """
    chunks = session._chunks
    body: Buffer
    if chunks is None:
        size = min(len(data), session._left)
        session._left -= size
        finished = not session._left
        body = data if size == len(data) else data[:size]
    else:
        try:
            pieces, finished, size = chunks.feed(data)
        except RemoteProtocolError as exc:
            refuse(session, exc)
            return
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    session._body_bytes += size
    session.received_bytes += size
    if finished:
        session._state = SENT
        session._set_deadline(session._limits.stream_idle_timeout_s)
        if size < len(data):
            _keep_for_later(session, data[size:])
    if len(body):
        _send_body(session, body)


def _send_body(session: "Session", data: Buffer) -> None:
    backlog, upstream = session._backlog, session.upstream
    if backlog is not None:
        backlog.append(bytes(data))
        full = session._body_bytes > session._limits.retry_body_bytes
    elif upstream is not None and not upstream.end.write(data):
        full = session._full = True
    else:
        return
    if full and session._state == BODY:
        hold(session)


def _keep_for_later(session: "Session", rest: Buffer) -> None:
    """Keep what is behind a request; a view of bytes that stay is kept as it is."""
    session._pending = rest if isinstance(rest, memoryview) and rest.readonly else bytes(rest)
    if len(rest) > PIPELINE_BYTES:
        hold(session)


def add_to_later(session: "Session", data: Buffer) -> None:
    """Keep bytes that arrive while a request is in progress."""
    if session._state != OVER:
        if not isinstance(session._pending, bytearray):
            session._pending = bytearray(session._pending)
        session._pending += data
        if len(session._pending) > PIPELINE_BYTES:
            hold(session)


def go_on(session: "Session") -> None:
    """Begin what waits, or wait for the caller."""
    if session._state != NEXT or session._clogged:
        return
    waiting, session._pending = session._pending, b""
    session._state = WAIT
    session._set_deadline(
        session._limits.http_idle_timeout_s if not session._draining else session._limits.drain_rest_s
    )
    if len(waiting):
        take_head(session, waiting if isinstance(waiting, memoryview) else memoryview(bytes(waiting)))
    if session._half_closed and session._state in (WAIT, BODY):  # the rest will not come
        session.eof()
    free(session)


def refuse_head(session: "Session", error: WeftError, size: int) -> None:
    """Refuse a head that cannot be read, or did not come in time: counted as a request without a name.

    Args:
        session: in WAIT.
        error: what was wrong with it.
        size: bytes of it.
    """
    session.method = session.path = session.host = b""
    session.route = session.upstream_address = ""
    session.denied = session.permit = None
    session.started = session.reactor.now
    session.tries = session.sent_bytes = 0
    session.received_bytes = size
    refuse(session, error)


def refuse(session: "Session", error: WeftError) -> None:
    """Refuse broken framing and close: nothing behind it can be trusted."""
    session._reset_upstream()
    if session._head_sent:
        session._give_up(error)
        return
    session._keep_alive = False
    session.status = error.status if isinstance(error, RemoteProtocolError) else error.http_status
    session._answer(error_answer(error, method=session.method, keep_alive=False))
    session._exchange_over(error)
