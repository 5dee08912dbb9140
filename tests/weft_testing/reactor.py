"""A reactor for tests: real epoll and sockets, a fault in any callback fails the test, waits are bounded."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio
import trio.testing

from weft_agent.reactor import Buffer, Reactor, TcpEnd
from weft_contract.limits import MIB, Limits
from weft_core.errors import WeftError
from weft_testing.wire import one_processor

LIMITS = Limits()


@asynccontextmanager
async def running_reactor(buffer_bytes: int = MIB) -> AsyncIterator[Reactor]:
    """Run a reactor beside the test."""
    faults: list[Exception] = []
    reactor = Reactor(buffer_bytes, faults.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reactor.run)
        with one_processor():
            await trio.testing.wait_all_tasks_blocked()
            yield reactor
        nursery.cancel_scope.cancel()
    reactor.close()
    if faults:
        raise ExceptionGroup("callbacks failed", faults)


def tcp_pair(buffer_bytes: int = 0) -> tuple[socket.socket, socket.socket]:
    """Return two connected, non-blocking TCP sockets on loopback; `buffer_bytes` pins the kernel's buffers."""
    with socket.socket() as listener:
        if buffer_bytes:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        left = socket.socket()
        if buffer_bytes:
            left.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
            left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        left.connect(listener.getsockname())
        right, _ = listener.accept()
    for sock in (left, right):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return left, right


async def until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    """Wait until `condition()` holds, letting the reactor run; fails after `timeout_s`."""
    with trio.fail_after(timeout_s):
        while not condition():  # noqa: ASYNC110 - the condition is any caller's; nobody could set an event
            await trio.sleep(0.001)


class Recorder:
    """A receiver that notes everything that is said to it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.calls: list[str] = []
        self.errors: list[WeftError | None] = []

    def feed(self, data: Buffer) -> None:
        """Note bytes."""
        self.data += data

    def eof(self) -> None:
        """Note an end of stream."""
        self.calls.append("eof")

    def drained(self) -> None:
        """Note room."""
        self.calls.append("drained")

    def lost(self, error: WeftError | None) -> None:
        """Note the end."""
        self.calls.append("lost")
        self.errors.append(error)


def recorded_end(reactor: Reactor, sock: socket.socket, limits: Limits = LIMITS) -> tuple[TcpEnd, Recorder]:
    """Start an end on `sock` with a recorder on top."""
    end, recorder = TcpEnd(reactor, sock, limits, downstream=True), Recorder()
    end.start(recorder)
    return end, recorder
