"""Answers that come before the request is complete: forwarded at once, and neither connection is used again."""

import pytest
import trio

from weft_contract.limits import KIB, MIB
from weft_core.decision import Denied
from weft_testing.http1_hop import running_hop
from weft_testing.reactor import until
from weft_testing.wire import settled

HEAD = b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"
CHUNKED_HEAD = b"POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
REFUSAL = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"
REFUSAL_SENT = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nconnection: close\r\n\r\nno"


@pytest.mark.trio
async def test_a_whole_answer_ends_the_exchange_and_what_still_comes_is_no_request() -> None:
    """CL.0 and its kin: the rest of a body that nobody read is never taken for a request, on either side."""
    async with running_hop() as hop:
        caller = await hop.connect()
        await caller.send(HEAD + b"12345")
        server = await hop.accept()
        assert await server.receive(len(HEAD) + 5) == HEAD + b"12345"
        await server.send(REFUSAL)
        assert await caller.receive(len(REFUSAL_SENT)) == REFUSAL_SENT
        await caller.send(b"67890GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
        assert await caller.ended() == "eof"
        assert await server.rest() == (b"", "eof")
        assert not hop.parked
        assert [(record.status, record.reason) for record in hop.finished] == [(413, "")]


@pytest.mark.trio
@pytest.mark.parametrize("head", [HEAD, CHUNKED_HEAD], ids=["length", "chunks"])
async def test_an_answer_that_takes_its_time_lets_the_body_go_on(head: bytes) -> None:
    async with running_hop() as hop:
        caller = await hop.connect()
        first, second = (b"12345", b"67890") if head is HEAD else (b"5\r\n12345\r\n", b"5\r\n67890\r\n0\r\n\r\n")
        await caller.send(head + first)
        server = await hop.accept()
        await server.receive_until(b"12345" if head is HEAD else b"12345\r\n")
        await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
        early = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nconnection: close\r\n\r\nabc"
        assert await caller.receive(len(early)) == early
        await caller.send(second)
        assert await server.receive(len(second)) == second
        await server.send(b"def")
        assert await caller.rest() == (b"def", "eof")
        await until(lambda: len(hop.finished) == 1)
        assert hop.last.reason == ""


@pytest.mark.trio
@pytest.mark.parametrize("then", ["finishes", "closes", "resets"])
async def test_a_server_that_answers_early_and_leaves(then: str) -> None:
    async with running_hop() as hop:
        caller = await hop.connect()
        await caller.send(HEAD + b"12345")
        server = await hop.accept()
        await server.receive(len(HEAD))  # five bytes stay unread, so a close is a reset
        await server.send(REFUSAL)
        {"finishes": server.finish, "closes": server.close, "resets": server.reset}[then]()
        data, how = await caller.rest()
        assert (data, how) == (REFUSAL_SENT, "eof")


@pytest.mark.trio
@pytest.mark.parametrize("size", [200 * KIB, 3 * MIB])
async def test_a_policys_refusal_reaches_a_caller_that_is_still_sending(size: int) -> None:
    """The connection is not reset under an upload that both kernels hold already."""
    async with running_hop() as hop:
        hop.decide = lambda session, head: Denied("denied_by_rule", "shop/p", "rules[0]")
        caller = await hop.connect()
        head = HEAD.replace(b"10", b"%d" % size)
        async with trio.open_nursery() as nursery:

            async def upload() -> None:
                await caller.send(head + bytes(size))

            nursery.start_soon(upload)
            data, how = await caller.rest()
        assert data.startswith(b"HTTP/1.1 403 ")
        assert b"connection: close\r\n" in data
        assert how == "eof"
        assert hop.server.nobody()


@pytest.mark.trio
async def test_expect_is_answered_by_the_server_alone() -> None:
    head = HEAD.replace(b"Host: a", b"Host: a\r\nExpect: 100-continue")
    async with running_hop() as hop:
        caller = await hop.connect()
        server = await hop.asked(caller, head)
        await settled()
        assert caller.arrived() is None
        await server.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await caller.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await caller.send(b"0123456789")
        assert await server.receive(10) == b"0123456789"
        await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert await caller.head() == b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        assert len(hop.parked) == 1


@pytest.mark.trio
async def test_expect_answered_with_a_refusal_ends_both_connections() -> None:
    """Whether the body still comes is the caller's choice, so nothing behind it can be trusted."""
    head = HEAD.replace(b"Host: a", b"Host: a\r\nExpect: 100-continue")
    async with running_hop() as hop:
        caller = await hop.connect()
        server = await hop.asked(caller, head)
        await server.send(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
        await caller.send(b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
        assert await caller.rest() == (b"HTTP/1.1 417 No\r\nContent-Length: 0\r\nconnection: close\r\n\r\n", "eof")
        assert await server.ended() == "eof"
        assert len(hop.started) == 1


@pytest.mark.trio
async def test_100_that_comes_late_is_passed_on_all_the_same() -> None:
    head = HEAD.replace(b"Host: a", b"Host: a\r\nExpect: 100-continue")
    async with running_hop() as hop:
        caller = await hop.connect()
        server = await hop.asked(caller, head + b"0123456789")
        await server.send(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        assert await caller.receive(len(answer)) == answer


@pytest.mark.trio
async def test_an_expectation_other_than_100_is_417() -> None:
    async with running_hop() as hop:
        caller = await hop.connect()
        await caller.send(HEAD.replace(b"Host: a", b"Host: a\r\nExpect: 200-ok") + b"0123456789")
        data, how = await caller.rest()
        assert data.startswith(b"HTTP/1.1 417 ")
        assert how == "eof"
        assert hop.server.nobody()
