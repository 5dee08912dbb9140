"""A server that breaks off, breaks the protocol, or says more than asked: the caller gets a defined answer or a visible end.

The truncation rule: an answer that did not arrive whole never looks whole, whatever framed it.
"""

import pytest

from weft_testing.http1_cases import RESPONSES, ResponseCase
from weft_testing.http1_hop import Hop, running_hop
from weft_testing.reactor import until
from weft_testing.wire import Wire, settled

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
ENDINGS = pytest.mark.parametrize("ending", ["finish", "reset"])


def leave(server: Wire, ending: str) -> None:
    server.finish() if ending == "finish" else server.reset()


async def asked(hop: Hop) -> tuple[Wire, Wire]:
    caller = await hop.connect()
    return caller, await hop.asked(caller, GET)


async def status(caller: Wire) -> bytes:
    """Return the status line and the reason of an answer of ours."""
    head = await caller.head()
    length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
    assert b"proxy-status: weft; error=" in head
    return head[9:12] + b" " + (await caller.receive(length)).split()[2]


@pytest.mark.trio
@ENDINGS
@pytest.mark.parametrize(
    "stage", [b"", b"H", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", b"HTTP/1.1 102 Wait\r\n\r\n"]
)
async def test_an_end_before_the_answer_is_502_and_the_caller_goes_on(stage: bytes, ending: str) -> None:
    async with running_hop() as hop:
        caller, server = await asked(hop)
        await server.send(stage)
        leave(server, ending)
        if b"102" in stage:
            assert await caller.head() == stage
        assert await status(caller) == b"502 upstream_reset:"
        assert hop.last.reason == "upstream_reset"
        server = await hop.asked(caller, GET)
        await server.send(OK)
        assert await caller.receive(len(OK)) == OK


TRUNCATED = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n",
)


@pytest.mark.trio
@ENDINGS
@pytest.mark.parametrize("minor", [b"0", b"1"])
@pytest.mark.parametrize("truncated", TRUNCATED)
async def test_a_truncated_answer_is_a_reset(truncated: bytes, ending: str, minor: bytes) -> None:
    """Also where chunks were taken off for a caller of HTTP/1.0, which would read the end as the end."""
    async with running_hop() as hop:
        caller = await hop.connect()
        server = await hop.asked(caller, GET.replace(b"1.1", b"1." + minor))
        await server.send(truncated)
        leave(server, ending)
        data, how = await caller.rest()
        assert how == "reset"
        assert not data.endswith(b"0\r\n\r\n")
        assert (hop.last.status, hop.last.reason) == (200, "upstream_reset")


@pytest.mark.trio
async def test_a_reset_in_a_body_until_the_end_is_a_reset_and_an_end_is_an_end() -> None:
    async with running_hop() as hop:
        for ending, expected in (("finish", "eof"), ("reset", "reset")):
            caller, server = await asked(hop)
            await server.send(b"HTTP/1.1 200 OK\r\n\r\nsome of it")
            leave(server, ending)
            assert (await caller.rest())[1] == expected


@pytest.mark.trio
async def test_a_reset_that_was_heard_while_sending_is_no_end_of_the_answer() -> None:
    """The kernel tells an error once: after a failed send, recv says 0, which once looked like a whole answer."""
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"
    async with running_hop() as hop:
        for _ in range(20):
            caller = await hop.connect()
            await caller.send(head)
            server = await hop.accept()
            await server.receive(len(head))
            await server.send(b"HTTP/1.1 200 OK\r\n\r\nhalf of it")
            await caller.receive_until(b"half of it")
            upstream = hop.session.upstream
            assert upstream is not None
            server.reset()
            upstream.end.write(b"x")  # in the same turn as the reset: send hears it first
            upstream.end.write(b"y")
            assert await caller.ended() == "reset"
            assert hop.last.reason == "upstream_reset"


@pytest.mark.trio
@pytest.mark.parametrize("extra", [b"X", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"])
@pytest.mark.parametrize(
    "reply",
    [
        OK,
        b"HTTP/1.1 204 None\r\n\r\n",
        b"HTTP/1.1 304 Same\r\nContent-Length: 9\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("when", ["in the same packet", "in the next packet", "later"])
async def test_bytes_behind_an_answer_reach_nobody_and_end_the_connection(
    when: str, reply: bytes, extra: bytes
) -> None:
    async with running_hop() as hop:
        caller, server = await asked(hop)
        if when == "in the same packet":
            await server.send(reply + extra)
        else:
            await server.send(reply)
            if when == "later":
                assert len(hop.parked) == 1
            await server.send(extra)
        assert (await caller.receive(len(reply))).lower() == reply.lower()
        await settled()
        assert caller.arrived() is None
        assert not hop.parked
        assert await server.ended() == "eof"
        server = await hop.asked(caller, GET)  # a new connection, and the right answer
        await server.send(OK)
        assert await caller.receive(len(OK)) == OK


@pytest.mark.trio
async def test_a_body_behind_the_answer_to_head_is_not_an_answer() -> None:
    async with running_hop() as hop:
        caller = await hop.connect()
        server = await hop.asked(caller, GET.replace(b"GET", b"HEAD"))
        await server.send(OK)
        assert await caller.head() == OK[:-2]
        await caller.send(GET)
        server = await hop.accept()
        assert await server.receive(len(GET)) == GET
        await server.send(OK)
        assert await caller.receive(len(OK)) == OK


@pytest.mark.trio
async def test_bytes_before_any_request_end_the_connection() -> None:
    async with running_hop() as hop:
        caller, server = await asked(hop)
        await server.send(OK)
        assert await caller.receive(len(OK)) == OK
        await server.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        assert not hop.parked
        assert await server.ended() == "eof"
        assert caller.arrived() is None


@pytest.mark.trio
@ENDINGS
async def test_an_idle_connection_that_ends_is_forgotten(ending: str) -> None:
    async with running_hop() as hop:
        caller, server = await asked(hop)
        await server.send(OK)
        assert await caller.receive(len(OK)) == OK
        assert len(hop.parked) == 1
        leave(server, ending)
        await until(lambda: not hop.parked)
        server = await hop.asked(caller, GET)
        await server.send(OK)
        assert await caller.receive(len(OK)) == OK
        assert not hop.repeated


@pytest.mark.trio
@pytest.mark.parametrize("case", [case for case in RESPONSES if case.rule], ids=lambda case: case.id)
async def test_an_answer_that_breaks_a_rule_is_502_or_a_reset(case: ResponseCase) -> None:
    """Response splitting, smuggling and bad framing: nothing ambiguous is passed on, the connection is not used again."""
    async with running_hop() as hop:
        caller = await hop.connect()
        if case.method == b"CONNECT":
            await caller.send(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n")
        else:
            await caller.send(GET.replace(b"GET", case.method))
        server = await hop.accept()
        await server.head()
        await server.send(case.data)
        await settled()
        assert hop.last.reason == "upstream_protocol_error"
        assert not hop.parked
        assert await server.ended() == "reset"
        if hop.last.status == 502:
            while (head := await caller.head()).startswith(b"HTTP/1.1 1"):
                pass
            assert head.startswith(b"HTTP/1.1 502 ")
        else:  # broken behind its head
            data, how = await caller.rest()
            assert how == "reset"
            assert not data.endswith(b"0\r\n\r\n")


@pytest.mark.trio
async def test_too_many_informational_answers_are_502() -> None:
    async with running_hop() as hop:
        caller, server = await asked(hop)
        await server.send(*[b"HTTP/1.1 103 Hints\r\n\r\n"] * 9)
        for _ in range(8):
            assert await caller.head() == b"HTTP/1.1 103 Hints\r\n\r\n"
        assert await status(caller) == b"502 upstream_protocol_error:"
        assert await server.ended() == "reset"


@pytest.mark.trio
async def test_a_server_that_cannot_be_reached_is_503() -> None:
    async with running_hop() as hop:
        hop.server.close()
        caller = await hop.connect()
        await caller.send(GET)
        assert await status(caller) == b"503 connect_failed:"
