"""What a session asks of whoever knows where a request may go: one call per request, answered now or later."""

from typing import TYPE_CHECKING, Protocol

from weft_core.errors import WeftError
from weft_core.http1 import RequestHead, ResponseHead

if TYPE_CHECKING:
    from weft_agent.proxy.http1.session import Session
    from weft_agent.proxy.http1.upstream import Upstream


class Planner(Protocol):
    """Decides on requests of one caller's connection and finds upstreams for them.

    Between `start` and `finished` of a request a session takes one answer. An answer that comes behind `finished` would be
    taken for the next request's, so a planner forgets its attempt there.
    """

    def start(self, session: "Session", head: RequestHead) -> None:
        """Answer with exactly one of `session.forward`, `session.refuse`, `session.fail`, `session.reply`; now or later."""

    def again(self, session: "Session", head: RequestHead, error: WeftError) -> bool:
        """Look for another upstream after a retryable failure; False: there is none, the failure stands."""

    def release(self, session: "Session", upstream: "Upstream", *, reusable: bool) -> None:
        """Take an upstream back after an exchange; one that is not reusable is to be dropped.

        Not called for an upstream that the session had to reset: `Upstream.on_gone` tells of those.
        """

    def response_block(self, session: "Session", head: ResponseHead) -> bytes | None:
        """Return the response's field lines after this route's changes; None: as they are."""

    def finished(self, session: "Session", error: WeftError | None) -> None:
        """Note the end of an exchange: count it, log it, forget what is still attempted for it.

        Also called, without a `start`, for a request that could not be read; its method is then empty.
        """

    def closed(self, session: "Session") -> None:
        """Note that the caller's connection is gone."""
