"""Connections that stop being HTTP: what is held, what is let through, what is refused, and that nothing is used again."""

import os

import pytest
import trio

from weft_agent.proxy.http1.holding import PIPELINE_BYTES
from weft_agent.proxy.relay import SPLICE_AFTER_BYTES
from weft_contract.limits import KIB, Limits
from weft_core.errors import DrainDeadlineError
from weft_testing.http1_hop import Hop, running_hop
from weft_testing.reactor import until
from weft_testing.wire import Wire, cuts, settled

UPGRADE = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nX: y\r\n\r\n"
UPGRADE_SENT = b"GET /chat HTTP/1.1\r\nHost: a\r\nX: y\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
SWITCHES = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nZ: 1\r\n\r\n"
SWITCHES_SENT = b"HTTP/1.1 101 Switching Protocols\r\nZ: 1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
CONNECT = b"CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n"
CONNECTED = b"HTTP/1.1 200 Fine\r\n\r\n"
PAIRS = pytest.mark.parametrize(
    ("request_", "sent", "reply", "answered"),
    [(UPGRADE, UPGRADE_SENT, SWITCHES, SWITCHES_SENT), (CONNECT, CONNECT, CONNECTED, CONNECTED)],
    ids=["upgrade", "connect"],
)


async def switched(hop: Hop) -> tuple[Wire, Wire]:
    caller = await hop.connect()
    server = await hop.asked(caller, UPGRADE, UPGRADE_SENT)
    await server.send(SWITCHES)
    assert await caller.receive(len(SWITCHES_SENT)) == SWITCHES_SENT
    return caller, server


@pytest.mark.trio
@PAIRS
async def test_bytes_sent_too_early_wait_for_the_answer(
    request_: bytes, sent: bytes, reply: bytes, answered: bytes
) -> None:
    for pieces in cuts(request_ + b"early"):
        async with running_hop() as hop:
            caller = await hop.connect()
            await caller.send(*pieces)
            server = await hop.accept()
            assert await server.receive(len(sent)) == sent
            await settled()
            assert server.arrived() is None
            await server.send(reply + b"from the server")
            assert await caller.receive(len(answered) + 15) == answered + b"from the server"
            assert await server.receive(5) == b"early"
            await caller.send(b"\x00\xffHTTP/1.1 400\r\n\r\n")
            assert await server.receive(18) == b"\x00\xffHTTP/1.1 400\r\n\r\n"


@pytest.mark.trio
async def test_the_answer_in_every_cut() -> None:
    for pieces in cuts(SWITCHES + b"first frame"):
        async with running_hop() as hop:
            caller = await hop.connect()
            server = await hop.asked(caller, UPGRADE, UPGRADE_SENT)
            await server.send(*pieces)
            assert await caller.receive(len(SWITCHES_SENT) + 11) == SWITCHES_SENT + b"first frame"


@pytest.mark.trio
@pytest.mark.parametrize("direction", ["caller first", "server first"])
async def test_a_relay_carries_half_close_and_counts_exactly(direction: str) -> None:
    async with running_hop() as hop:
        caller, server = await switched(hop)
        first, second = (caller, server) if direction == "caller first" else (server, caller)
        blob = os.urandom(SPLICE_AFTER_BYTES + 12345)
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                await first.send(blob)
                first.finish()

            nursery.start_soon(send)
            assert await second.rest() == (blob, "eof")
        await second.send(b"the other way")
        second.finish()
        assert await first.rest() == (b"the other way", "eof")
        await until(lambda: len(hop.finished) == 1)
        record = hop.last
        up, down = (len(blob), 13) if direction == "caller first" else (13, len(blob))
        assert (record.status, record.reason) == (101, "")
        assert record.received == len(UPGRADE) + up
        assert record.sent == len(SWITCHES_SENT) + down
        await until(lambda: hop.closed == 1)
        assert not hop.parked


@pytest.mark.trio
@pytest.mark.parametrize("side", ["caller", "server"])
async def test_a_reset_goes_through(side: str) -> None:
    async with running_hop() as hop:
        caller, server = await switched(hop)
        gone, other = (caller, server) if side == "caller" else (server, caller)
        gone.reset()
        assert await other.ended() == "reset"
        await until(lambda: len(hop.finished) == 1)
        assert hop.last.reason == ("client_gone" if side == "caller" else "upstream_reset")


@pytest.mark.trio
@pytest.mark.parametrize("early", [b"", b"early", b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"])
@PAIRS
async def test_a_refused_switch_ends_both_connections_and_drops_what_came_early(
    request_: bytes, sent: bytes, reply: bytes, answered: bytes, early: bytes
) -> None:
    """CVE-2025-64763, CVE-2026-73548, CVE-2026-2833: what was sent early is no request, and no connection is used again."""
    async with running_hop() as hop:
        caller = await hop.connect()
        await caller.send(request_ + early)
        server = await hop.accept()
        assert await server.receive(len(sent)) == sent
        await server.send(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
        assert await caller.rest() == (b"HTTP/1.1 403 No\r\nContent-Length: 2\r\nconnection: close\r\n\r\nno", "eof")
        assert await server.rest() == (b"", "eof")
        assert not hop.parked
        assert len(hop.started) == 1


@pytest.mark.trio
async def test_a_200_does_not_switch() -> None:
    """CVE-2024-23326."""
    async with running_hop() as hop:
        caller = await hop.connect()
        server = await hop.asked(caller, UPGRADE + b"early", UPGRADE_SENT)
        await server.send(
            b"HTTP/1.1 200 OK\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nhi"
        )
        assert await caller.rest() == (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nconnection: close\r\n\r\nhi", "eof")
        assert await server.ended() == "eof"


@pytest.mark.trio
@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", SWITCHES),
        (b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", SWITCHES),  # Connection did not name it
        (b"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", SWITCHES),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
            SWITCHES.replace(b"websocket", b"h2c"),
        ),
        (UPGRADE, SWITCHES.replace(b"websocket", b"h2c")),
        (UPGRADE, SWITCHES.replace(b"websocket", b"other")),
        (UPGRADE, b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
        (CONNECT, SWITCHES),
    ],
)
async def test_a_switch_that_nobody_asked_for_is_a_fault_of_the_server(request_: bytes, reply: bytes) -> None:
    async with running_hop() as hop:
        caller = await hop.connect()
        await caller.send(request_)
        server = await hop.accept()
        await server.head()
        await server.send(reply + b"frames")
        data, how = (
            await caller.rest() if b"HTTP/1.0" in request_ or b"pgrade: W" in request_ else (await caller.head(), "eof")
        )
        assert data.startswith(b"HTTP/1.1 502 ")
        assert how == "eof"
        assert b"frames" not in data
        assert hop.last.reason == "upstream_protocol_error"
        assert await server.ended() == "reset"


@pytest.mark.trio
async def test_a_switch_before_the_request_is_complete_is_refused() -> None:
    async with running_hop() as hop:
        caller = await hop.connect()
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        await caller.send(head + b"abc")
        server = await hop.accept()
        await server.receive_until(b"abc")
        await server.send(SWITCHES)
        data, _ = await caller.rest()
        assert data.startswith(b"HTTP/1.1 502 ")


@pytest.mark.trio
async def test_one_of_several_protocols_may_be_chosen() -> None:
    async with running_hop() as hop:
        caller = await hop.connect()
        await caller.send(UPGRADE.replace(b"WebSocket", b"foo/1, websocket, h2c"))
        server = await hop.accept()
        assert b"upgrade: foo/1, websocket\r\n" in await server.head()
        await server.send(SWITCHES)
        assert await caller.receive(len(SWITCHES_SENT)) == SWITCHES_SENT


@pytest.mark.trio
async def test_much_sent_too_early_is_bounded_and_all_of_it_arrives() -> None:
    """A caller that was held for it was once never read again."""
    blob = os.urandom(3 * PIPELINE_BYTES)
    async with running_hop(buffer_bytes=64 * KIB) as hop:
        caller = await hop.connect()
        server = await hop.asked(caller, UPGRADE, UPGRADE_SENT)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller.send, blob)
            await until(lambda: len(hop.session._pending) > PIPELINE_BYTES)
            await settled()
            assert len(hop.session._pending) <= PIPELINE_BYTES + 64 * KIB
            await server.send(SWITCHES)
            assert await server.receive(len(blob)) == blob
        await caller.send(b"and on")
        assert await server.receive(6) == b"and on"


@pytest.mark.trio
async def test_a_caller_that_finished_before_the_answer_is_half_closed_in_the_relay() -> None:
    async with running_hop() as hop:
        caller = await hop.connect()
        server = await hop.asked(caller, CONNECT + b"query", CONNECT)
        caller.finish()
        await settled()
        await server.send(CONNECTED + b"rows")
        assert await server.rest() == (b"query", "eof")
        await server.send(b"more rows")
        server.finish()
        assert await caller.rest() == (CONNECTED + b"rowsmore rows", "eof")


@pytest.mark.trio
async def test_a_relay_is_not_bound_by_the_routes_timeout_nor_by_idle_http() -> None:
    limits = Limits(http_idle_timeout_s=0.25, stream_idle_timeout_s=0.25, tcp_idle_timeout_s=1.0)
    async with running_hop(limits) as hop:
        hop.timeout_s = 0.25
        caller, server = await switched(hop)
        with trio.move_on_after(0.8):
            await trio.sleep_forever()
        await caller.send(b"still here")
        assert await server.receive(10) == b"still here"
        assert await caller.ended() == "reset"
        assert hop.last.reason == "idle_timeout"


@pytest.mark.trio
async def test_a_relay_outlives_a_drain_until_it_is_cut() -> None:
    async with running_hop() as hop:
        caller, server = await switched(hop)
        hop.session.drain()
        await caller.send(b"x")
        assert await server.receive(1) == b"x"
        hop.session.cut(DrainDeadlineError("enough"))
        assert await caller.ended() == "reset"
        assert await server.ended() == "reset"
        assert hop.last.reason == "drain_deadline"
