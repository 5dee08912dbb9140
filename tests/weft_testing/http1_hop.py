"""One hop of HTTP/1.1 on loopback: a caller's socket, the real reactor with a real session, a server's socket.

Theory: the test holds both outer ends and drives them step by step, so that it sees which bytes leave the hop on either side, and
when. The planner is the smallest honest one: one server, a pool of its idle connections, and whatever the test decides.
"""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from weft_agent.proxy.http1 import Session, Upstream
from weft_agent.reactor import Connect, Listener, Reactor, TcpEnd
from weft_contract.limits import Limits
from weft_core.decision import Denied
from weft_core.errors import UpstreamError, WeftError
from weft_core.http1 import RequestHead, ResponseHead
from weft_testing.reactor import LIMITS, running_reactor
from weft_testing.wire import Port, Wire, connect, settled

Decision = Denied | WeftError | Callable[[Session], None] | None
"""What the test says to a request: refused, failed, answered from here (or later), None: forwarded."""


@dataclass(frozen=True)
class Record:
    """An exchange as its planner was told of it."""

    method: bytes
    status: int
    received: int
    sent: int
    reason: str
    tries: int


class Hop:
    """A listener whose connections get sessions, and the server behind them."""

    def __init__(self, reactor: Reactor, limits: Limits, buffer_bytes: int) -> None:
        self.reactor = reactor
        self.limits = limits
        self.server = Port(buffer_bytes=buffer_bytes)
        self._buffer_bytes = buffer_bytes
        door = Port(buffer_bytes=buffer_bytes)
        self._door = door.address
        self._listener = Listener(reactor, door.sock, self._accepted, lambda: None)
        self.sessions: list[Session] = []
        self.ends: list[TcpEnd] = []
        self.parked: list[Upstream] = []
        self.started: list[RequestHead] = []
        self.finished: list[Record] = []
        self.repeated: list[str] = []
        self.closed = 0
        self.wires: list[Wire] = []
        self.decide: Callable[[Session, RequestHead], Decision] = lambda session, head: None
        self.timeout_s: float | None = None
        self.target: bytes | None = None
        self.block: bytes | None = None
        self.response_block: bytes | None = None
        self.retries = True

    @property
    def session(self) -> Session:
        """The latest session."""
        return self.sessions[-1]

    @property
    def last(self) -> Record:
        """The latest exchange that ended."""
        return self.finished[-1]

    async def connect(self) -> Wire:
        """Return a caller whose session has begun."""
        count = len(self.sessions)
        wire = connect(self._door, buffer_bytes=self._buffer_bytes)
        self.wires.append(wire)
        with trio.fail_after(5):
            while len(self.sessions) == count:
                await settled()
        return wire

    async def accept(self) -> Wire:
        """Return the server's end of the hop's next connection."""
        wire = await self.server.accept()
        self.wires.append(wire)
        return wire

    async def asked(self, caller: Wire, request: bytes, forwarded: bytes | None = None) -> Wire:
        """Send a request whole and take it at the server."""
        await caller.send(request)
        server = await self.accept()
        expected = request if forwarded is None else forwarded
        assert await server.receive(len(expected)) == expected
        return server

    def close(self) -> None:
        """Close whatever the test left open."""
        self._listener.stop()
        self.server.close()
        for wire in self.wires:
            wire.reset()

    def _accepted(self, sock: socket.socket, peer: tuple[str, int]) -> None:
        end = TcpEnd(self.reactor, sock, self.limits, downstream=True)
        session = Session(self.reactor, end, self.limits, _Planner(self))
        self.sessions.append(session)
        self.ends.append(end)
        end.start(session)


class _Planner:
    """One caller's planner."""

    def __init__(self, hop: Hop) -> None:
        self.hop = hop
        self.attempt: Connect | None = None

    def start(self, session: Session, head: RequestHead) -> None:
        hop = self.hop
        hop.started.append(head)
        session.target = hop.target
        if hop.timeout_s is not None:
            session.arm(hop.timeout_s)
        match hop.decide(session, head):
            case Denied() as denied:
                session.refuse(denied, explain=True)
            case WeftError() as error:
                session.fail(error)
            case None:
                self.send(session)
            case answer:
                answer(session)

    def send(self, session: Session) -> None:
        hop = self.hop
        if hop.parked:
            session.forward(hop.parked.pop(), block=hop.block)
            return
        sock = socket.socket()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hop._buffer_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, hop._buffer_bytes)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, hop._buffer_bytes)
        sock.setblocking(False)

        def connected(sock: socket.socket) -> None:
            self.attempt = None
            session.forward(new_upstream(hop, sock), block=hop.block)

        def failed(error: UpstreamError, code: int) -> None:
            self.attempt = None
            session.fail(error)

        attempt = Connect(hop.reactor, sock, hop.server.address, 1.0, connected, failed)
        self.attempt = attempt if session.upstream is None else None

    def again(self, session: Session, head: RequestHead, error: WeftError) -> bool:
        if not self.hop.retries or session.tries >= 3:
            return False
        self.hop.repeated.append(error.reason)
        self.send(session)
        return True

    def release(self, session: Session, upstream: Upstream, *, reusable: bool) -> None:
        if reusable:
            self.hop.parked.append(upstream)
        else:
            upstream.drop()

    def response_block(self, session: Session, head: ResponseHead) -> bytes | None:
        return self.hop.response_block

    def finished(self, session: Session, error: WeftError | None) -> None:
        self.forget()
        reason = error.reason if error is not None else session.denied.reason if session.denied is not None else ""
        self.hop.finished.append(
            Record(session.method, session.status, session.received_bytes, session.sent_bytes, reason, session.tries)
        )

    def closed(self, session: Session) -> None:
        self.forget()
        self.hop.closed += 1

    def forget(self) -> None:
        if self.attempt is not None:
            self.attempt.cancel()
            self.attempt = None


def new_upstream(hop: Hop, sock: socket.socket) -> Upstream:
    """Return an upstream on a connected socket."""
    end = TcpEnd(hop.reactor, sock, hop.limits, downstream=False)
    upstream = Upstream(end, hop.limits, f"{hop.server.address[0]}:{hop.server.address[1]}")

    def gone(upstream: Upstream) -> None:
        if upstream in hop.parked:
            hop.parked.remove(upstream)

    upstream.on_gone = gone
    hop.ends.append(end)
    end.start(upstream)
    return upstream


@asynccontextmanager
async def running_hop(limits: Limits = LIMITS, *, buffer_bytes: int = 0) -> AsyncIterator[Hop]:
    """Run a hop; a fault in any callback fails the test, and so does an exchange that was begun and never ended."""
    async with running_reactor() as reactor:
        hop = Hop(reactor, limits, buffer_bytes)
        try:
            yield hop
        finally:
            hop.close()
        await settled()
        assert hop.closed == len(hop.sessions), "a session outlived its caller"
