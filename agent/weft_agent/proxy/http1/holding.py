"""When the caller is read: it is *held* while what it sends would only pile up here.

Theory. There are three reasons to hold a caller, and it is read again when none is left:

    its request's body waits for an upstream that takes no more (`_full`) or that is not there yet (`_backlog`)
    more of its next requests has come than may wait (`_pending`)
    it does not take its answers (`_clogged`), so no further request of it is begun (NEXT)

So what one connection holds is bounded by the write mark of either side, what may wait, and one read of each.
"""

from typing import TYPE_CHECKING, Final

from weft_agent.proxy.http1.exchange import BODY, NEXT
from weft_contract.limits import KIB

if TYPE_CHECKING:
    from weft_agent.proxy.http1.session import Session

PIPELINE_BYTES: Final = 64 * KIB
"""Bytes of further requests that may wait while one is answered."""


def hold(session: "Session") -> None:
    """Read the caller no further."""
    if not session._held:
        session._held = True
        session.end.pause()


def free(session: "Session") -> None:
    """Read the caller again, unless something speaks against it; may deliver before it returns."""
    if session._held and not _must_wait(session):
        session._held = False
        if session._state == BODY:  # its pace is its own from here on
            measure_from_now(session)
        session.end.resume()


def _must_wait(session: "Session") -> bool:
    if session._state == BODY:
        waiting = session._backlog is not None and session._body_bytes > session._limits.retry_body_bytes
        return waiting or session._full
    return len(session._pending) > PIPELINE_BYTES or (session._state == NEXT and session._clogged)


def measure_from_now(session: "Session") -> None:
    """Begin to measure how fast the request's body comes."""
    session._body_since = session.reactor.now
    session._body_mark = session._body_bytes
    session._set_deadline(session._limits.body_grace_s)
