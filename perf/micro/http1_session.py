"""Micro benchmark of the HTTP/1.1 session: µs of CPU per exchange, over socket pairs and without sockets. Run it alone on a core.

    PYTHONPATH=agent:tests python perf/micro/http1_session.py

Prints one line per case, best of seven rounds (CPU time of this process). Over socket pairs, caller and server are ends of
the same reactor, so their share (about half) is in the figure; without sockets only parser, session and upstream are.
"""

import socket
import time
from collections.abc import Callable
from typing import Final

import trio

from weft_agent.proxy.http1 import Session, Upstream
from weft_agent.reactor import Buffer, End, Reactor, TcpEnd
from weft_agent.reactor.ends import Receiver
from weft_contract.limits import Limits
from weft_core.errors import WeftError
from weft_core.http1 import RequestHead, ResponseHead

ROUNDS: Final = 7
EXCHANGES: Final = 20_000
CALLERS: Final = 32
LIMITS: Final = Limits()

FIELDS: Final = b"Host: shop.example\r\nUser-Agent: bench/1\r\nAccept: */*\r\nX-Request-Id: 0123456789abcdef\r\n"
GET: Final = b"GET /items/42?page=1 HTTP/1.1\r\n" + FIELDS + b"\r\n"
POST: Final = b"POST /items HTTP/1.1\r\n" + FIELDS + b"Content-Length: 25\r\n\r\n" + b"x" * 25
CHUNKS: Final = b"POST /items HTTP/1.1\r\n" + FIELDS + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nServer: bench\r\nContent-Length: 13\r\n\r\nHello, world!"
)
CHUNKED_ANSWER: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nd\r\nHello, world!\r\n0\r\n\r\n"


class _Planner:
    """Sends every request to the one upstream that it was given."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream

    def start(self, session: Session, head: RequestHead) -> None:
        session.forward(self.upstream)

    def again(self, session: Session, head: RequestHead, error: WeftError) -> bool:
        return False

    def release(self, session: Session, upstream: Upstream, *, reusable: bool) -> None:
        assert reusable

    def response_block(self, session: Session, head: ResponseHead) -> bytes | None:
        return None

    def finished(self, session: Session, error: WeftError | None) -> None:
        assert error is None

    def closed(self, session: Session) -> None: ...


class _Peer:
    """Answers whatever comes with the same bytes."""

    def __init__(self, end: TcpEnd, answer: bytes) -> None:
        self.end = end
        self.answer = answer
        self.count = 0

    def feed(self, data: Buffer) -> None:
        self.count += 1
        self.end.write(self.answer)

    def eof(self) -> None: ...

    def drained(self) -> None: ...

    def lost(self, error: WeftError | None) -> None: ...


class _Sink:
    """An end that takes everything."""

    def __init__(self) -> None:
        self.receiver: Receiver
        self.queued_bytes = 0

    def write(self, data: Buffer) -> bool:
        return True

    def finish(self) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...

    def detach(self) -> tuple[socket.socket, bytes]:
        raise AssertionError


def _pair(reactor: Reactor, *, downstream: bool) -> tuple[TcpEnd, TcpEnd]:
    left, right = socket.socketpair()
    for sock in (left, right):
        sock.setblocking(False)
    return TcpEnd(reactor, left, LIMITS, downstream=downstream), TcpEnd(reactor, right, LIMITS, downstream=downstream)


async def over_sockets(request: bytes, answer: bytes) -> float:
    """Return seconds of CPU per exchange."""
    faults: list[Exception] = []
    reactor = Reactor(1 << 20, faults.append)
    callers = []
    for _ in range(CALLERS):
        caller, down = _pair(reactor, downstream=True)
        up, server = _pair(reactor, downstream=False)
        upstream = Upstream(up, LIMITS, "10.0.0.1:80")
        up.start(upstream)
        down.start(Session(reactor, down, LIMITS, _Planner(upstream)))
        server.start(_Peer(server, answer))
        peer = _Peer(caller, request)
        caller.start(peer)
        callers.append(peer)
    best = float("inf")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reactor.run)
        for peer in callers:
            peer.end.write(request)
        for _ in range(ROUNDS):
            before, start = sum(peer.count for peer in callers), time.process_time()
            while sum(peer.count for peer in callers) - before < EXCHANGES:  # noqa: ASYNC110 - an event would cost what is measured
                await trio.sleep(0.02)
            done = sum(peer.count for peer in callers) - before
            best = min(best, (time.process_time() - start) / done)
        nursery.cancel_scope.cancel()
    reactor.close()
    assert not faults, faults
    return best


async def without_sockets(request: bytes, answer: bytes) -> float:
    """Return seconds of CPU per exchange."""
    faults: list[Exception] = []
    reactor = Reactor(1 << 20, faults.append)
    end, up = _Sink(), _Sink()
    upstream = Upstream(_typed(up), LIMITS, "10.0.0.1:80")
    session = Session(reactor, _typed(end), LIMITS, _Planner(upstream))
    asked, answered = memoryview(bytearray(request)), memoryview(bytearray(answer))

    def exchange() -> None:
        session.feed(asked)
        upstream.feed(answered)

    best = min(_spent(exchange) for _ in range(ROUNDS))
    reactor.close()
    return best


def _typed(end: End) -> End:
    return end


def _spent(step: Callable[[], None]) -> float:
    start = time.process_time()
    for _ in range(EXCHANGES):
        step()
    return (time.process_time() - start) / EXCHANGES


async def main() -> None:
    cases = {
        "GET, answer with length": (GET, ANSWER),
        "POST with length, answer with length": (POST, ANSWER),
        "POST in chunks, answer in chunks": (CHUNKS, CHUNKED_ANSWER),
    }
    for name, (request, answer) in cases.items():
        alone = await without_sockets(request, answer)
        whole = await over_sockets(request, answer)
        print(f"{name:42} session alone {alone * 1e6:6.2f} us   over socket pairs {whole * 1e6:6.2f} us")


if __name__ == "__main__":
    trio.run(main)
