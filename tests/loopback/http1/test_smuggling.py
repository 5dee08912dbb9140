"""The verdict of request smuggling, over every case the parser is tested with, and over the pairs that make an attack.

What counts is never "it returned 200" but which bytes reached the server, read by a strict reader, as how many requests.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from weft_testing.http1_cases import CVES, HOST, REQUESTS, RequestCase, chunked, get, post
from weft_testing.http1_hop import Hop, running_hop
from weft_testing.http1_reader import Message, read
from weft_testing.wire import Wire, settled

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
STATUS_LINES = re.compile(rb"HTTP/1\.1 [1-5][0-9]{2} ").findall
LONG_BYTES = 2000
"""Cases beyond are not sent byte by byte: the parser's own tests cut them."""


class Servers:
    """Whatever connects is recorded, and answered once per request that is complete."""

    def __init__(self) -> None:
        self.arrived: list[bytearray] = []

    async def accept(self, hop: Hop, nursery: trio.Nursery) -> None:
        while True:
            await trio.lowlevel.wait_readable(hop.server.sock)
            wire = await hop.accept()
            data = bytearray()
            self.arrived.append(data)
            nursery.start_soon(self._serve, wire, data)

    async def _serve(self, wire: Wire, data: bytearray) -> None:
        answered = 0
        while True:
            try:
                piece = await wire._some(65536)
            except ConnectionResetError:
                return
            if not piece:
                wire.close()
                return
            data += piece
            complete = len(whole(data))
            for _ in range(complete - answered):
                wire.sock.send(b"HTTP/1.1 200 OK\r\n\r\n" if data.startswith(b"CONNECT") else OK)
            answered = complete


@asynccontextmanager
async def serving(hop: Hop) -> AsyncIterator[Servers]:
    async with trio.open_nursery() as nursery:
        servers = Servers()
        nursery.start_soon(servers.accept, hop, nursery)
        yield servers
        nursery.cancel_scope.cancel()


def whole(data: bytes | bytearray) -> list[Message]:
    return [message for message in read([bytes(data)]).messages if message.complete]


async def send(caller: Wire, pieces: list[bytes]) -> None:
    try:
        await caller.send(*pieces)
    except (BrokenPipeError, ConnectionResetError):
        pass  # it was refused and closed before its end
    await settled()


@pytest.mark.trio
@pytest.mark.parametrize("cut", ["whole", "bytes"])
@pytest.mark.parametrize("case", REQUESTS, ids=lambda case: case.id)
async def test_requests_reach_the_server_as_judged_or_not_at_all(case: RequestCase, cut: str) -> None:
    if cut == "bytes" and len(case.data) > LONG_BYTES:
        return
    pieces = [case.data] if cut == "whole" else [case.data[at : at + 1] for at in range(len(case.data))]
    expected = [message.body for message in whole(case.data)]
    async with running_hop() as hop, serving(hop) as servers:
        caller = await hop.connect()
        await send(caller, pieces)
        for data in servers.arrived:
            assert read([bytes(data)]).rule is None, "an ambiguous byte was forwarded"
        assert [message.body for data in servers.arrived for message in whole(data)] == expected
        refused = [record for record in hop.finished if record.reason == "malformed_message"]
        if case.rule is None:
            assert not refused
            caller.finish()
            answers, _ = await caller.rest()
            assert len(STATUS_LINES(answers)) == len(expected) == len(case.bodies)
        else:
            assert len(refused) == 1
            answers, _ = await caller.rest()
            assert len(STATUS_LINES(answers)) == len(expected) + 1
            assert b"detail=%b" % case.rule.encode() in answers
        assert not any(b"\r\n\r\nG" in data for data in servers.arrived if case.rule)


VICTIM = b"GET /victim HTTP/1.1\r\nHost: a.example\r\n\r\n"


@pytest.mark.trio
@pytest.mark.parametrize("case", CVES, ids=lambda case: case.id)
async def test_the_next_callers_request_is_its_own_whatever_was_sent_before(case: RequestCase) -> None:
    """Two callers on one pool: the second one's request arrives exactly, and gets the answer to it."""
    async with running_hop() as hop, serving(hop) as servers:
        attacker, victim = await hop.connect(), await hop.connect()
        await send(attacker, [case.data])
        before = sum(len(whole(data)) for data in servers.arrived)
        await victim.send(VICTIM)
        assert await victim.receive(len(OK)) == OK
        await settled()
        assert victim.arrived() is None
        seen = [message for data in servers.arrived for message in whole(data)]
        assert len(seen) == before + 1
        assert sum(data.count(VICTIM) for data in servers.arrived) == 1


@pytest.mark.trio
@pytest.mark.parametrize(
    "first",
    [
        post(b"Content-Length: 41", body=VICTIM),  # a body that looks like a request
        chunked(b"%x\r\n%b\r\n0\r\n\r\n" % (len(VICTIM), VICTIM)),
        b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 41\r\n\r\n" + VICTIM,
        get(b"X: %b" % VICTIM.split(b"\r\n")[0]),
    ],
    ids=["post", "chunks", "get", "field"],
)
async def test_content_that_looks_like_a_request_is_content(first: bytes) -> None:
    async with running_hop() as hop, serving(hop) as servers:
        caller = await hop.connect()
        await caller.send(first + get(target=b"/second"))
        await settled()
        assert [head.target for head in hop.started][1:] == [b"/second"]
        assert len(whole(servers.arrived[0])) == 2
        assert await caller.receive(2 * len(OK)) == OK * 2
