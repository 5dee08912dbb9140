"""The opaque relay over real sockets: exact bytes, half-close, back-pressure, splice, idle end."""

import hashlib
import os
import socket

import pytest
import trio

from weft_agent.proxy.relay import SPLICE_AFTER_BYTES, Relay
from weft_agent.reactor import Reactor, TcpEnd
from weft_contract.limits import KIB, Limits
from weft_core.errors import IdleTimeoutError, WeftError
from weft_testing.reactor import LIMITS, Recorder, running_reactor, tcp_pair, until

Finished = list[tuple[int, int, WeftError | None]]


class Owner:
    def __init__(self, finished: Finished) -> None:
        self._finished = finished

    def relay_over(self, relay: Relay, error: WeftError | None) -> None:
        self._finished.append((relay.bytes_received, relay.bytes_sent, error))


def relayed(
    reactor: Reactor, limits: Limits = LIMITS, buffer_bytes: int = 0
) -> tuple[socket.socket, socket.socket, Relay, Finished]:
    client, down = tcp_pair(buffer_bytes)
    up, server = tcp_pair(buffer_bytes)
    finished: Finished = []
    downstream = TcpEnd(reactor, down, limits, downstream=True)
    upstream = TcpEnd(reactor, up, limits, downstream=False)
    downstream.start(Recorder())
    upstream.start(Recorder())
    relay = Relay(reactor, downstream, upstream, limits, Owner(finished))
    return client, server, relay, finished


async def send_all(sock: socket.socket, data: bytes) -> None:
    view = memoryview(data)
    while view:
        await trio.lowlevel.wait_writable(sock)
        view = view[sock.send(view) :]
    sock.shutdown(socket.SHUT_WR)


async def receive_all(sock: socket.socket) -> bytes:
    out = bytearray()
    while True:
        await trio.lowlevel.wait_readable(sock)
        piece = sock.recv(1 << 18)
        if not piece:
            return bytes(out)
        out += piece


@pytest.mark.trio
@pytest.mark.parametrize("size", [0, 1, 100 * KIB, 3 * SPLICE_AFTER_BYTES + 12345])
async def test_both_directions_exactly_and_half_close(size: int) -> None:
    blob = os.urandom(size)
    async with running_reactor() as reactor:
        client, server, _, finished = relayed(reactor)
        got: dict[str, bytes] = {}

        async def serve() -> None:
            got["up"] = await receive_all(server)
            await send_all(server, got["up"][::-1])

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve)
                nursery.start_soon(send_all, client, blob)
                got["down"] = await receive_all(client)
        assert hashlib.sha256(got["up"]).digest() == hashlib.sha256(blob).digest()
        assert got["down"] == blob[::-1]
        await until(lambda: finished == [(size, size, None)])
        client.close()
        server.close()


@pytest.mark.trio
async def test_a_slow_receiver_stops_the_sender_also_when_spliced() -> None:
    async with running_reactor() as reactor:
        client, server, relay, finished = relayed(reactor, buffer_bytes=256 * KIB)
        sent = 0

        async def flood() -> None:
            nonlocal sent
            while True:
                await trio.lowlevel.wait_writable(client)
                sent += client.send(bytes(256 * KIB))

        received = 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            with trio.fail_after(10):
                while received < 2 * SPLICE_AFTER_BYTES:
                    await trio.lowlevel.wait_readable(server)
                    received += len(server.recv(1 << 18))
            with trio.move_on_after(0.3):
                await trio.sleep_forever()
            stalled = sent
            with trio.move_on_after(0.3):
                await trio.sleep_forever()
            assert sent == stalled
            assert sent - received < 4 << 20
            nursery.cancel_scope.cancel()
        client.close()
        with trio.fail_after(10):
            while received < sent:
                await trio.lowlevel.wait_readable(server)
                received += len(server.recv(1 << 18))
        assert received == sent
        server.close()
        await until(lambda: bool(finished))
        assert relay.bytes_received == sent


@pytest.mark.trio
async def test_a_reset_is_carried_across() -> None:
    async with running_reactor() as reactor:
        client, server, _, finished = relayed(reactor)
        client.send(b"x")
        await trio.lowlevel.wait_readable(server)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        client.close()
        await until(lambda: bool(finished))
        assert finished[0][2] is not None
        assert server.recv(10) == b"x"
        with pytest.raises(ConnectionResetError):
            server.recv(10)
        server.close()


@pytest.mark.trio
async def test_an_idle_relay_ends() -> None:
    async with running_reactor() as reactor:
        client, server, _, finished = relayed(reactor, Limits(tcp_idle_timeout_s=0.3))
        client.send(b"x")
        await until(lambda: bool(finished))
        assert isinstance(finished[0][2], IdleTimeoutError)
        client.close()
        server.close()
