"""What happens when a deadline of a session passes: who was waited for, and what that means.

Theory. One attribute, `deadline`, serves every state; the wheel calls `expire` once it has passed.

    WAIT   nothing or an empty line came: close. A part of a head came: 408.
    BODY   looked at every few seconds: a caller that is read and sends less than the floor is told 408; if nothing moved for
           the stream's idle time, the upstream is to blame where it holds the caller back (504)
    SENT   nothing moved for the stream's idle time: 504, or a reset where the answer has begun
    NEXT   the caller does not take its answers: reset

A caller that is held (it waits for us), or that waits for 100 before it sends its body, is not slow: its measure begins when it
may send again. One that takes its answer slowly, but takes it, is left alone.
"""

from typing import TYPE_CHECKING, Final

from weft_agent.proxy.http1.exchange import BODY, NEXT, SENT, UNMEASURED, WAIT
from weft_agent.proxy.http1.intake import EMPTY_LINES, refuse_head
from weft_core.errors import IdleTimeoutError, ResponseTimeoutError, SlowRequestError, WeftError

if TYPE_CHECKING:
    from weft_agent.proxy.http1.session import Session

RATE_CHECK_S: Final = 5.0


def expire(session: "Session") -> None:
    """Handle a deadline of the session's state."""
    state = session._state
    if state == WAIT:
        if bytes(session._pending) in EMPTY_LINES:
            session._close()
        else:
            refuse_head(session, SlowRequestError("the request's head did not come in time"), len(session._pending))
    elif state == BODY:
        _look_at_body(session)
    elif state in (SENT, NEXT) and not _is_taking(session):
        _end_silence(session)


def _is_taking(session: "Session") -> bool:
    """Tell whether a slow caller took something of its answer since the last look; if so, wait on."""
    taken = session.sent_bytes - session.end.queued_bytes
    if not session._clogged or taken == session._mark:
        return False
    session._mark = taken
    session._set_deadline(session._limits.stream_idle_timeout_s)
    return True


def _end_silence(session: "Session") -> None:
    seconds = session._limits.stream_idle_timeout_s
    if session._clogged:
        session._give_up(IdleTimeoutError(f"the client took nothing of its answer for {seconds:g} s"))
    elif session._head_sent:
        session._give_up(IdleTimeoutError(f"no byte of the answer for {seconds:g} s"))
    else:
        session.fail(ResponseTimeoutError(f"no answer for {seconds:g} s"))


def _look_at_body(session: "Session") -> None:
    """Keep an eye on a request's body: is it coming, fast enough, and is it taken?"""
    limits, now = session._limits, session.reactor.now
    moved = session.received_bytes + session.sent_bytes - _queued(session)
    if moved != session._mark:
        session._mark = moved
        session._still_since = now
    fault: WeftError | None = None
    if _is_slow(session):
        fault = SlowRequestError(f"less than {limits.body_rate_bytes_per_s:g} body bytes per second")
    elif now - session._still_since >= limits.stream_idle_timeout_s:
        fault = ResponseTimeoutError(f"the request's body was not taken for {limits.stream_idle_timeout_s:g} s")
    if fault is None:
        session._set_deadline(min(RATE_CHECK_S, limits.body_grace_s, limits.stream_idle_timeout_s))
    else:
        session.fail(fault)


def _is_slow(session: "Session") -> bool:
    if session._held:
        return False
    limits, now = session._limits, session.reactor.now
    if session._body_since == UNMEASURED:  # it waits for 100, or began a moment ago without
        if session._body_bytes:
            session._body_since, session._body_mark = now, session._body_bytes
        return False
    elapsed = now - session._body_since
    came = session._body_bytes - session._body_mark
    return elapsed >= limits.body_grace_s and came < elapsed * limits.body_rate_bytes_per_s


def _queued(session: "Session") -> int:
    upstream = session.upstream
    return session.end.queued_bytes + (upstream.end.queued_bytes if upstream is not None else 0)
