"""What is known of one caller's connection and of the exchange in progress on it: the ground that this room stands on.

Theory: one object with slots per connection, reused by every exchange on it, so that a request makes no new object but its
head. Underscored attributes are shared within the room: `session` owns them, `intake`, `holding`, `patience` and `switching` are
functions on them, split by concern.
"""

from typing import TYPE_CHECKING, Final

from weft_agent.proxy.http1.planner import Planner
from weft_agent.proxy.relay import Relay
from weft_agent.reactor import OUTSIDE, End, Reactor, Timer
from weft_contract.limits import Limits
from weft_core.decision import Denied, Permit
from weft_core.http1 import ChunkedDecoder, RequestHead

if TYPE_CHECKING:
    from weft_agent.proxy.http1.upstream import Upstream

WAIT: Final = 0
BODY: Final = 1
SENT: Final = 2
RAW: Final = 3
NEXT: Final = 4
OVER: Final = 5

UNMEASURED: Final = -1.0
"""Of `_body_since`: the caller waits for 100 before it sends its body."""


class Exchange:
    """State of a session.

    Args:
        reactor: the worker's loop.
        end: the caller's end, already started.
        limits: all limits of HTTP.
        planner: decides and finds upstreams.
    """

    __slots__ = (
        "_backlog", "_body", "_body_bytes", "_body_mark", "_body_since", "_chunks", "_clogged", "_draining", "_full",
        "_half_closed", "_head_sent", "_held", "_keep_alive", "_left", "_limits", "_mark", "_outgoing", "_pending", "_relay",
        "_state", "_still_since", "_timer", "deadline", "denied", "end", "head", "host", "method", "path", "permit",
        "planner", "reactor", "received_bytes", "route", "sent_bytes", "started", "status", "target", "tries", "upstream",
        "upstream_address", "wheel_at",
    )  # fmt: skip

    def __init__(self, reactor: Reactor, end: End, limits: Limits, planner: Planner) -> None:
        self.reactor = reactor
        self.end = end
        self.planner = planner
        self._limits = limits
        self._state = WAIT
        # the caller's connection
        self._pending: bytes | bytearray | memoryview = b""
        """Bytes not taken yet: part of a head in WAIT, further requests in SENT and NEXT."""
        self._keep_alive = True
        self._half_closed = False
        self._draining = False
        self._held = False
        self._clogged = False
        self._timer: Timer | None = None
        self._relay: Relay | None = None
        # the request
        self.head: RequestHead | None = None
        self._outgoing: bytes | None = None
        """The very slice that was judged; None: it has to be put together."""
        self._chunks: ChunkedDecoder | None = None
        self._left = 0
        self._backlog: list[bytes] | None = None
        """Body that waits for an upstream; None: there is one, or there is no body."""
        self._body: bytes | None = b""
        """The whole body as it was sent, to be sent again; None: not all of it was kept."""
        self._body_bytes = 0
        self._body_mark = 0
        self._body_since = UNMEASURED
        self._mark = 0
        self._still_since = 0.0
        # the answer
        self.upstream: Upstream | None = None
        self._full = False
        self._head_sent = False
        # what planners and logs want to know
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
        self.deadline = reactor.now + limits.http_idle_timeout_s
        self.wheel_at = OUTSIDE

    @property
    def switched(self) -> bool:
        """Whether the connection has become an opaque relay, for which no timeout of a route holds."""
        return self._state == RAW
