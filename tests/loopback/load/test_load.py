"""The load driver against its own server and against servers that fail: every outcome is told from the others."""

import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from weft_testing.load import drive
from weft_testing.load_backend import Backend
from weft_testing.load_verdict import Kind, Plan, Stream, Verdict

Handler = Callable[[trio.SocketStream], Awaitable[None]]
KINDS: tuple[Kind, ...] = ("http", "http-new", "tcp", "tcp-new", "download")


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [item.getsockname()[1] for item in held]
    for item in held:
        item.close()
    return ports


def stream(kind: Kind, port: int, **settings: Any) -> Stream:
    given = {"interval_s": 0.01, "timeout_s": 10.0} | settings  # a busy machine is no failure
    return Stream(name=kind, kind=kind, host="127.0.0.1", port=port, **given)


async def against(handler: Handler, kind: Kind, seconds: float = 0.3, **settings: Any) -> Verdict:
    """Send for a while to a server that treats every connection by the handler."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, handler, [listener])
        port = listener.socket.getsockname()[1]
        found = await drive(Plan((stream(kind, port, **settings),), seconds))
        nursery.cancel_scope.cancel()
    (verdict,) = found.verdicts
    return verdict


@pytest.mark.trio
async def test_a_sound_server_passes_every_kind() -> None:
    http, echo = free_ports(2)
    plan = Plan(tuple(stream(kind, echo if "tcp" in kind else http, clients=2) for kind in KINDS), 0.5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Backend("one", 0.0).run, (http, echo))
        await _accepts(http)
        found = await drive(plan)
        nursery.cancel_scope.cancel()
    for verdict in found.verdicts:
        assert verdict.failed == 0, verdict
        assert verdict.ok == verdict.sent > 10
        assert verdict.max_gap_ms > 0
        assert verdict.p50_ms <= verdict.p99_ms <= verdict.max_ms


async def _accepts(port: int) -> None:
    while True:
        try:
            await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
        except OSError:
            await trio.sleep(0.01)
        else:
            return


async def _answers_wrongly(server: trio.SocketStream) -> None:
    async with server:
        while await server.receive_some():
            await server.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nother")


async def _refuses(server: trio.SocketStream) -> None:
    async with server:
        while await server.receive_some():
            await server.send_all(
                b"HTTP/1.1 503 Unavailable\r\nproxy-status: weft; error=x\r\ncontent-length: 0\r\n\r\n"
            )


async def _cuts(server: trio.SocketStream) -> None:
    async with server:
        await server.receive_some()
        await server.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\nhalf")


async def _closes(server: trio.SocketStream) -> None:
    async with server:
        await server.receive_some()


async def _resets(server: trio.SocketStream) -> None:
    await server.receive_some()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    server.socket.close()


async def _sleeps(server: trio.SocketStream) -> None:
    async with server:
        await trio.sleep_forever()


@pytest.mark.parametrize(
    ("handler", "outcome"),
    [
        (_answers_wrongly, "wrong"),
        (_refuses, "status"),
        (_cuts, "truncated"),
        (_closes, "closed"),
        (_resets, "reset"),
        (_sleeps, "timeout"),
    ],
)
@pytest.mark.trio
async def test_every_way_to_fail_has_its_word(handler: Handler, outcome: str) -> None:
    verdict = await against(handler, "http", timeout_s=0.25 if outcome == "timeout" else 10.0)
    assert verdict.ok == 0
    assert set(verdict.outcomes) == {outcome}
    assert verdict.failures[0].began_s <= verdict.failures[0].at_s
    assert verdict.failures[0].port or outcome == "refused"
    assert verdict.max_gap_ms >= 250, "no success from the beginning to the end"


@pytest.mark.trio
async def test_nobody_there_is_refused() -> None:
    (port,) = free_ports(1)
    (verdict,) = (await drive(Plan((stream("http", port),), 0.1))).verdicts
    assert set(verdict.outcomes) == {"refused"}
    assert verdict.failures[0].port == 0


@pytest.mark.trio
async def test_an_echo_that_changes_bytes_is_wrong() -> None:
    async def upper(server: trio.SocketStream) -> None:
        async with server:
            while data := await server.receive_some():
                await server.send_all(bytes(data).upper())

    assert set((await against(upper, "tcp")).outcomes) == {"wrong"}


@pytest.mark.trio
async def test_a_connection_that_rested_may_be_closed_for_http() -> None:
    """What keep-alive allows is no failure: the next request goes on a new connection, and that is counted."""

    async def once(server: trio.SocketStream) -> None:
        async with server:
            request = bytes(await server.receive_some())
            token = request.split(b" ")[1].removeprefix(b"/check/")
            body = token + b" one"
            await server.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

    verdict = await against(once, "http", 1.0)
    assert verdict.failed == 0
    assert verdict.reconnects >= verdict.ok - 1 > 3
