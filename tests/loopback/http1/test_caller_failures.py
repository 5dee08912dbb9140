"""A caller that goes away or finishes early: the server's work is cancelled, and nothing half is completed."""

import pytest
import trio

from weft_core.decision import Denied
from weft_core.errors import NoEndpointsError
from weft_testing.http1_hop import new_upstream, running_hop
from weft_testing.reactor import tcp_pair, until
from weft_testing.wire import Wire, settled

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"
CHUNKS = b"POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
ENDINGS = pytest.mark.parametrize("ending", ["finish", "reset"])


def leave(caller: Wire, ending: str) -> None:
    caller.finish() if ending == "finish" else caller.reset()


@pytest.mark.trio
@ENDINGS
@pytest.mark.parametrize("sent", [b"", b"G", GET[:-2], b"\r\n"])
async def test_gone_before_a_request(sent: bytes, ending: str) -> None:
    async with running_hop() as hop:
        caller = await hop.connect()
        await caller.send(sent)
        leave(caller, ending)
        await until(lambda: hop.closed == 1)
        assert not hop.started
        assert not hop.finished
        if ending == "finish":
            assert await caller.ended() == "eof"


@pytest.mark.trio
@ENDINGS
@pytest.mark.parametrize("body", [(POST, b"12345"), (CHUNKS, b""), (CHUNKS, b"5\r\n12"), (CHUNKS, b"2\r\n12\r\n0\r\n")])
async def test_gone_in_the_middle_of_a_body_the_server_never_sees_a_whole_one(
    body: tuple[bytes, bytes], ending: str
) -> None:
    async with running_hop() as hop:
        caller = await hop.connect()
        await caller.send(body[0] + body[1])
        server = await hop.accept()
        await server.receive(len(body[0]))
        leave(caller, ending)
        data, how = await server.rest()
        assert how == "reset"
        assert not data.endswith(b"0\r\n\r\n")
        assert (hop.last.status, hop.last.reason) == (499, "client_gone")


@pytest.mark.trio
@pytest.mark.parametrize(
    "answered", [b"", b"HTTP/1.1 102 P\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123"]
)
async def test_a_reset_while_the_answer_is_awaited_cancels_the_server(answered: bytes) -> None:
    async with running_hop() as hop:
        caller = await hop.connect()
        server = await hop.asked(caller, GET)
        await server.send(answered)
        start = trio.current_time()
        caller.reset()
        assert await server.ended() == "reset"
        assert trio.current_time() - start < 0.1
        assert (hop.last.status, hop.last.reason) == (200 if b"200" in answered else 499, "client_gone")


@pytest.mark.trio
async def test_a_half_close_behind_the_request_is_carried_and_the_answer_comes_whole() -> None:
    async with running_hop() as hop:
        caller = await hop.connect()
        server = await hop.asked(caller, GET)
        caller.finish()
        assert await server.rest() == (b"", "eof")
        await server.send(b"HTTP/1.1 200 OK\r\n", b"Content-Length: 2\r\n\r\nh", b"i")
        data, how = await caller.rest()
        assert (data.endswith(b"\r\n\r\nhi"), how) == (True, "eof")
        assert await server.ended() == "eof"
        assert not hop.parked
        assert hop.last.reason == ""


@pytest.mark.trio
async def test_a_half_close_before_the_server_was_reached_is_carried_too() -> None:
    async with running_hop() as hop:
        caller = await hop.connect()
        caller.sock.send(POST + b"123456789")
        caller.finish()
        server = await hop.accept()
        assert await server.rest() == (POST + b"123456789", "eof")
        await server.send(OK)
        assert (await caller.rest())[1] == "eof"


@pytest.mark.trio
async def test_gone_while_the_server_is_looked_for_and_an_answer_that_comes_too_late() -> None:
    async with running_hop() as hop:
        hop.decide = lambda session, head: lambda session: None  # the planner takes its time
        caller = await hop.connect()
        await caller.send(GET)
        caller.reset()
        await until(lambda: hop.closed == 1)
        assert (hop.last.status, hop.last.reason) == (499, "client_gone")
        hop.session.fail(NoEndpointsError("too late"))
        hop.session.refuse(Denied("denied_by_rule"), explain=True)
        hop.session.reply(200, b"")
        ours, theirs = tcp_pair()
        hop.session.forward(new_upstream(hop, ours))
        assert await Wire(theirs).ended() == "eof"
        theirs.close()
        assert len(hop.finished) == 1


@pytest.mark.trio
@ENDINGS
async def test_cve_2025_62409_gone_behind_a_big_upload_that_nobody_read(ending: str) -> None:
    """The hop holds what the server did not take; the caller leaves; everything is let go and no callback finds a corpse."""
    async with running_hop(buffer_bytes=4096) as hop:
        caller = await hop.connect()
        size = 8 << 20
        async with trio.open_nursery() as sending:
            sending.start_soon(_pour, caller, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size, size)
            server = await hop.accept()
            await server.receive(100)
            await settled()
            sending.cancel_scope.cancel()
        leave(caller, ending)
        _, how = await server.rest()
        assert how == "reset", "the server never takes a part for the whole"
        await until(lambda: hop.closed == 1 and len(hop.finished) == 1)
        assert (hop.last.status, hop.last.reason) == (499, "client_gone")
        assert not hop.parked


async def _pour(caller: Wire, head: bytes, size: int) -> None:
    await caller.send(head, bytes(size))
