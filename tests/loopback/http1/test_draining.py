"""A drain and connections that rest: their next request is still answered, as their last one; without one they end soon."""

import pytest
from trio import current_time
from trio.testing import MockClock

from weft_agent.reactor.timers import TICK_S
from weft_contract.limits import Limits
from weft_testing.http1_hop import running_hop

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


@pytest.mark.trio
@pytest.mark.parametrize("before", [0, 1])
async def test_the_next_request_of_a_resting_connection_is_its_last(before: int, autojump_clock: MockClock) -> None:
    """It was once closed at once: a caller that had just sent could not know whether its request was carried out."""
    async with running_hop() as hop:
        caller = await hop.connect()
        if before:
            server = await hop.asked(caller, GET)
            await server.send(OK)
            assert await caller.receive(len(OK)) == OK
            hop.session.drain()
            await caller.send(GET)
            await server.head()
        else:
            hop.session.drain()
            server = await hop.asked(caller, GET)
        await server.send(OK)
        data, how = await caller.rest()
        assert data.lower().startswith(b"http/1.1 200 ok")
        assert b"connection: close" in data.lower()
        assert how == "eof"


@pytest.mark.trio
@pytest.mark.parametrize("cut", [OK.index(b"hi"), len(OK) - 1, len(OK)])
async def test_an_answer_that_had_begun_promised_another_request(cut: int, autojump_clock: MockClock) -> None:
    """Its head had gone without `Connection: close`, and the connection was closed behind its body as the next request came."""
    async with running_hop() as hop:
        caller = await hop.connect()
        server = await hop.asked(caller, GET)
        await server.send(OK[:cut])
        assert await caller.receive(cut) == OK[:cut]
        hop.session.drain()
        await server.send(OK[cut:])
        assert await caller.receive(len(OK) - cut) == OK[cut:]
        await caller.send(GET)
        await server.head()
        await server.send(OK)
        data, how = await caller.rest()
        assert b"connection: close" in data.lower()
        assert how == "eof"


@pytest.mark.trio
async def test_a_connection_that_rests_behind_such_an_answer_is_closed_after_a_while(autojump_clock: MockClock) -> None:
    async with running_hop(Limits(drain_rest_s=0.5)) as hop:
        caller = await hop.connect()
        server = await hop.asked(caller, GET)
        await server.send(OK[:-1])
        await caller.receive(len(OK) - 1)
        hop.session.drain()
        await server.send(OK[-1:])
        await caller.receive(1)
        began = current_time()
        assert await caller.ended() == "eof"
        assert 0.5 - TICK_S <= current_time() - began <= 0.5 + TICK_S + 1e-6


@pytest.mark.trio
async def test_a_connection_that_rests_on_is_closed_after_a_while(autojump_clock: MockClock) -> None:
    async with running_hop(Limits(drain_rest_s=0.5)) as hop:
        caller = await hop.connect()
        server = await hop.asked(caller, GET)
        await server.send(OK)
        assert await caller.receive(len(OK)) == OK
        began = current_time()
        hop.session.drain()
        assert await caller.ended() == "eof"
        assert 0.5 <= current_time() - began <= 0.5 + TICK_S + 1e-6


@pytest.mark.trio
async def test_a_drain_does_not_prolong_a_rest(autojump_clock: MockClock) -> None:
    async with running_hop(Limits(drain_rest_s=5.0, http_idle_timeout_s=0.3)) as hop:
        caller = await hop.connect()
        server = await hop.asked(caller, GET)
        await server.send(OK)
        assert await caller.receive(len(OK)) == OK
        began = current_time()
        hop.session.drain()
        assert await caller.ended() == "eof"
        assert current_time() - began <= 0.3 + TICK_S + 1e-6
