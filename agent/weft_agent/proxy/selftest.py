"""The self test: a request of control's own through acceptor, parser, session and answer of this worker."""

import socket

from weft_agent.proxy.context import Context
from weft_agent.proxy.http1 import Session, Upstream
from weft_agent.reactor import TcpEnd
from weft_core.errors import NoRouteError, WeftError
from weft_core.http1 import RequestHead, ResponseHead

PATH = b"/healthz/worker"


class SelfTestDoor:
    """Takes what the self-test listener accepts."""

    __slots__ = ("_context",)

    def __init__(self, context: Context) -> None:
        self._context = context

    def accepted(self, sock: socket.socket, peer: tuple[str, int]) -> None:
        """Serve one connection."""
        context = self._context
        end = TcpEnd(context.reactor, sock, context.limits, downstream=True)
        end.start(Session(context.reactor, end, context.limits, _SelfTestPlanner()))


class _SelfTestPlanner:
    """Answers `GET /healthz/worker`, nothing else."""

    def start(self, session: Session, head: RequestHead) -> None:
        """Answer."""
        if head.method == b"GET" and head.target == PATH:
            session.reply(200, b"content-type: text/plain\r\n", b"ok\n")
        else:
            session.fail(NoRouteError("this listener answers the self test only"))

    def again(self, session: Session, head: RequestHead, error: WeftError) -> bool:
        """There is no upstream."""
        return False

    def release(self, session: Session, upstream: Upstream, *, reusable: bool) -> None:
        """There is no upstream."""

    def response_block(self, session: Session, head: ResponseHead) -> bytes | None:
        """There is no response but ours."""
        return None

    def finished(self, session: Session, error: WeftError | None) -> None:
        """Control counts."""

    def closed(self, session: Session) -> None:
        """Nothing is held."""
