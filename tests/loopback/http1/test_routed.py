"""Requests that leave a pod by the routes of the Service they call: backends, timeouts, refusals of a share alone."""

import re
from collections import Counter

import pytest
import trio
from trio.testing import MockClock

from weft_agent.proxy.outbound_http import ATTEMPTS
from weft_contract.resources import Backend, HttpRule, Resource
from weft_contract.resources.route import Filters, HeaderModifier, PathModifier, Rewrite
from weft_core.errors import TunnelDrainedError
from weft_testing.routed_hop import RoutedHop, running_routed_hop
from weft_testing.routes import endpoint, endpoints, http_route, leads, match, service
from weft_testing.wire import Wire

GET = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
UPGRADE = b"GET / HTTP/1.1\r\nHost: web\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"


def behind(hop: RoutedHop, *rules: HttpRule, servers: tuple[str, ...] = ("v1",)) -> None:
    """Put a Service, a route of these rules, and a Service `shop/NAME` for each server into force."""
    resources: list[Resource] = [service("web", "10.96.0.1")]
    for name in servers:
        resources += [service(name), endpoints(name, endpoint("127.0.0.1", hop.server(name)))]
    hop.configure(*resources, service("empty"), endpoints("empty"), http_route(*rules))


@pytest.mark.trio
async def test_a_rewrite_and_header_changes_reach_the_chosen_backend() -> None:
    filters = Filters(
        rewrite=Rewrite(hostname="inner", path=PathModifier(kind="prefix", value="/new")),
        request_headers=HeaderModifier(set=(("x-a", "1"),), remove=("x-b",)),
        response_headers=HeaderModifier(add=(("x-c", "2"),)),
    )
    async with running_routed_hop() as hop:
        behind(hop, leads(match("/old"), filters=filters))
        caller = await hop.connect()
        await caller.send(b"GET /old/x?q=1 HTTP/1.1\r\nHost: web\r\nX-B: gone\r\n\r\n")
        server = await hop.accept("v1")
        assert await server.head() == b"GET /new/x?q=1 HTTP/1.1\r\nHost: inner\r\nx-a: 1\r\n\r\n"
        await server.send(OK)
        assert b"x-c: 2\r\n" in await caller.head()


@pytest.mark.trio
@pytest.mark.parametrize("which", ["request", "backend"])
async def test_a_timeout_of_the_route_is_504_and_the_backend_is_let_go(which: str, autojump_clock: MockClock) -> None:
    backends = (Backend(service="shop/v1", port=80),)
    rule = HttpRule(backends=backends, **{f"{which}_timeout_s": 0.5})  # type: ignore[arg-type] # one of the two names
    async with running_routed_hop() as hop:
        behind(hop, rule)
        caller = await hop.connect()
        await caller.send(GET)
        server = await hop.accept("v1")
        assert await server.receive(len(GET)) == GET
        begun = trio.current_time()
        assert (await caller.head()).startswith(b"HTTP/1.1 504 ")
        assert trio.current_time() - begun <= 0.5
        assert await server.ended() == "reset"


@pytest.mark.trio
async def test_each_exchange_has_the_backends_whole_time(autojump_clock: MockClock) -> None:
    rule = HttpRule(backends=(Backend(service="shop/v1", port=80),), backend_timeout_s=0.5)
    async with running_routed_hop() as hop:
        behind(hop, rule)
        caller = await hop.connect()
        await caller.send(GET)
        server = await hop.accept("v1")
        for turn in range(3):
            if turn:
                await caller.send(GET)
            assert await server.receive(len(GET)) == GET
            await trio.sleep(0.4)
            await server.send(OK)
            assert await caller.receive(len(OK)) == OK
        await trio.sleep(5)
        assert caller.arrived() is None, "a timeout of an exchange that is over ends nothing"


@pytest.mark.trio
async def test_an_answer_that_begins_in_time_and_does_not_end_is_cut(autojump_clock: MockClock) -> None:
    rule = HttpRule(backends=(Backend(service="shop/v1", port=80),), backend_timeout_s=0.5)
    async with running_routed_hop() as hop:
        behind(hop, rule)
        caller = await hop.connect()
        await caller.send(GET)
        server = await hop.accept("v1")
        assert await server.receive(len(GET)) == GET
        await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart")
        data, how = await caller.rest()
        assert (data.endswith(b"part"), how) == (True, "reset"), "a truncated answer never looks complete"


@pytest.mark.trio
async def test_a_connection_that_switched_protocols_has_no_timeout(autojump_clock: MockClock) -> None:
    rule = HttpRule(backends=(Backend(service="shop/v1", port=80),), request_timeout_s=0.6, backend_timeout_s=0.5)
    async with running_routed_hop() as hop:
        behind(hop, rule)
        caller = await hop.connect()
        await caller.send(UPGRADE)
        server = await hop.accept("v1")
        await server.head()
        await server.send(SWITCHED)
        assert (await caller.head()).startswith(b"HTTP/1.1 101 ")
        await trio.sleep(5)
        await caller.send(b"still")
        assert await server.receive(5) == b"still"


@pytest.mark.trio
async def test_a_backend_without_endpoints_and_one_that_is_invalid_refuse_their_shares_alone() -> None:
    backends = (
        Backend(service="shop/v1", port=80),
        Backend(service="shop/empty", port=80),
        Backend(service="shop/gone", port=80, invalid="BackendNotFound: Service shop/gone is not there"),
    )
    async with running_routed_hop() as hop, trio.open_nursery() as nursery:
        behind(hop, leads(to=backends))
        nursery.start_soon(_serve, hop, "v1")
        caller = await hop.connect()
        statuses: Counter[int] = Counter()
        for _ in range(90):
            await caller.send(GET)
            statuses[await _status(caller)] += 1
        assert set(statuses) == {200, 503, 500}
        assert min(statuses.values()) >= 9, f"five standard deviations around 30: {statuses}"
        nursery.cancel_scope.cancel()


async def _serve(hop: RoutedHop, name: str) -> None:
    server = await hop.accept(name)
    while await server.receive(len(GET)):
        await server.send(OK)


async def _status(caller: Wire) -> int:
    """Receive one answer whole."""
    head = await caller.head()
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    assert length is not None
    await caller.receive(int(length[1]))
    return int(head[9:12])


async def taken_and_drained(hop: RoutedHop) -> None:
    """Take the request at the server, and let its tunnel drain without an answer."""
    server = await hop.accept("v1")
    await server.receive_until(b"\r\n\r\n")
    session = hop.sessions[0]
    assert session.upstream is not None
    session.upstream_lost(session.upstream, TunnelDrainedError("drains"), answered=False)


@pytest.mark.trio
async def test_the_only_endpoint_is_tried_again_where_just_the_tunnel_to_it_drained() -> None:
    """An agent that is replaced says GOAWAY; a stream that was on its way then was acted on by nobody."""
    async with running_routed_hop() as hop:
        behind(hop, leads())
        caller = await hop.connect()
        await caller.send(GET)
        await taken_and_drained(hop)
        second = await hop.accept("v1")
        await second.receive_until(b"\r\n\r\n")
        await second.send(OK)
        assert (await caller.receive_until(b"hi")).startswith(b"HTTP/1.1 200")


@pytest.mark.trio
async def test_a_tunnel_that_drains_every_time_is_told_after_some_tries() -> None:
    async with running_routed_hop() as hop:
        behind(hop, leads())
        caller = await hop.connect()
        await caller.send(GET)
        for _ in range(ATTEMPTS):
            await taken_and_drained(hop)
        assert b"reason=stream_refused" in await caller.receive_until(b"stream_refused")
