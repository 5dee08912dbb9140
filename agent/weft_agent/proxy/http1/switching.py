"""A connection that stops being HTTP: 101 to an Upgrade, 2xx to a CONNECT; from there on an opaque relay.

Theory: bytes that the caller sends behind its request belong to a protocol that was not agreed on yet, so they are held until
the upstream says yes, and discarded with the connection if it says no. Neither side's connection serves HTTP afterwards,
whatever the answer was (CVE-2025-64763, CVE-2026-73548, CVE-2026-2833). Only 101 switches (CVE-2024-23326), only to what the
caller asked for, and never before the whole request is there.

Source: RFC 9110 §7.8, §9.3.6, §15.2.2.
"""

from typing import TYPE_CHECKING

from weft_agent.proxy.http1.composing import compose_switch
from weft_agent.proxy.http1.exchange import RAW, SENT
from weft_agent.proxy.relay import Relay
from weft_agent.reactor import Buffer
from weft_core.errors import UpstreamProtocolError
from weft_core.http1 import RequestHead, ResponseHead

if TYPE_CHECKING:
    from weft_agent.proxy.http1.session import Session
    from weft_agent.proxy.http1.upstream import Upstream


def wants_switch(request: RequestHead) -> bool:
    """Tell whether a request asks for another protocol, so that its connections serve no other request."""
    return bool(request.upgrade) or request.method == b"CONNECT"


def agrees(request: RequestHead, head: ResponseHead) -> bool:
    """Tell whether a response that switches is one that the request asked for."""
    if request.method == b"CONNECT":
        return head.status != 101
    offered = request.upgrade.split(b", ")
    return bool(head.upgrade) and all(protocol in offered for protocol in head.upgrade.split(b", "))


def switch(session: "Session", head: ResponseHead, upstream: "Upstream", rest: Buffer) -> None:
    """Turn both sides into a relay, or refuse what nobody asked for.

    Args:
        session: whose exchange it is.
        head: 101, or 2xx to CONNECT.
        upstream: serves nobody else any more; belongs to the relay from here on.
        rest: what the upstream sent behind its head.
    """
    request = session.head
    if request is None or session._state != SENT or not agrees(request, head):
        session.fail(UpstreamProtocolError("upstream switched protocols without being asked"))
        return
    opening = compose_switch(head, session.planner.response_block(session, head))
    session._disarm()
    session._state = RAW
    session.status = head.status
    session._answer(opening)
    session.reactor.unwatch(session)
    early, session._pending = session._pending, b""
    relay = session._relay = Relay(session.reactor, session.end, upstream.end, session._limits, session)
    relay.give_back(rest)
    relay.give(early)
    if session._half_closed:
        relay.downstream_finished()
    elif session._held:  # behind what was held, which a tunnel's stream would deliver at once
        session.end.resume()
