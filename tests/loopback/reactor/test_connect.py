"""A connect in flight over real sockets: what this machine answers is known at once, everything else is waited for."""

import errno
import socket

import pytest

from weft_agent.reactor import Connect, Reactor
from weft_core.errors import UpstreamError
from weft_testing.reactor import running_reactor, until

ATTEMPTS = 20


class Heard:
    """What the two callbacks said."""

    def __init__(self) -> None:
        self.connected: list[socket.socket] = []
        self.failed: list[int] = []

    def fail(self, error: UpstreamError, code: int) -> None:
        self.failed.append(code)

    def is_over(self) -> bool:
        return bool(self.connected or self.failed)


def begun(reactor: Reactor, address: tuple[str, int], timeout_s: float = 5.0) -> tuple[Connect, Heard]:
    sock = socket.socket()
    sock.setblocking(False)
    heard = Heard()
    return Connect(reactor, sock, address, timeout_s, heard.connected.append, heard.fail), heard


@pytest.mark.trio
async def test_a_listener_on_this_machine_is_reached_before_the_call_returns() -> None:
    async with running_reactor() as reactor:
        with socket.create_server(("127.0.0.1", 0), backlog=ATTEMPTS) as server:
            at_once = 0
            for _ in range(ATTEMPTS):  # a kernel that is behind with its interrupts may answer a little later
                _, heard = begun(reactor, server.getsockname())
                at_once += len(heard.connected)
                await until(heard.is_over)
                heard.connected[0].close()
                assert not heard.failed
            assert at_once


@pytest.mark.trio
async def test_a_refusal_on_this_machine_is_told_once() -> None:
    async with running_reactor() as reactor:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))  # bound and not listening: the kernel refuses
            _, heard = begun(reactor, nobody.getsockname())
            await until(heard.is_over)
            assert heard.failed == [errno.ECONNREFUSED]
            assert not heard.connected


@pytest.mark.trio
async def test_a_destination_that_does_not_answer_is_waited_for_and_given_up() -> None:
    async with running_reactor() as reactor:
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            server.listen(0)
            with socket.create_connection(server.getsockname()):  # its queue is full: further SYNs are dropped
                _, heard = begun(reactor, server.getsockname(), 0.05)
                assert not heard.connected
                assert not heard.failed
                await until(heard.is_over)
                assert heard.failed == [errno.ETIMEDOUT]
                attempt, forgotten = begun(reactor, server.getsockname())
                attempt.cancel()
                server.accept()[0].close()
                assert not forgotten.connected
                assert not forgotten.failed
