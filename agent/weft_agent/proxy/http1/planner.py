"""What a session asks of whoever knows where a request may go: one call per request, answered now or later."""

from typing import TYPE_CHECKING, Protocol

from weft_core.errors import WeftError
from weft_core.http1 import RequestHead, ResponseHead

if TYPE_CHECKING:
    from weft_agent.proxy.http1.session import Session
    from weft_agent.proxy.http1.upstream import Upstream


class Planner(Protocol):
    """Decides on requests of one caller's connection and finds upstreams for them."""

    def start(self, session: "Session", head: RequestHead) -> None:
        """Answer with exactly one of `session.forward`, `session.refuse`, `session.fail`; now or later."""

    def again(self, session: "Session", head: RequestHead, error: WeftError) -> bool:
        """Look for another upstream after a retryable failure; False: there is none, the failure stands."""

    def release(self, session: "Session", upstream: "Upstream", *, reusable: bool) -> None:
        """Take an upstream back after an exchange."""

    def response_block(self, session: "Session", head: ResponseHead) -> bytes | None:
        """Return the response's field lines after this route's changes; None: as they are."""

    def finished(self, session: "Session", error: WeftError | None) -> None:
        """Note the end of an exchange: count it, log it."""

    def closed(self, session: "Session") -> None:
        """Note that the caller's connection is gone."""
