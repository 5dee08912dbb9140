"""The stream over a real socket: admission, updates, peers that are slow, wrong or gone, and orderly ends."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from weft_contract.stream import STREAM_PATH, SUBPROTOCOL, Ack, Goodbye, Hello, Pods, Update
from weft_operator.distribution import Hub, HubSettings, StreamEndpoint
from weft_testing import objects as o
from weft_testing.live import Twin
from weft_testing.stream_agent import OpenDoor, StreamAgent

pytestmark = pytest.mark.asyncio

QUICK = HubSettings(hello_timeout_s=0.3, admission_wait_s=0.2, recheck_s=0.05, send_timeout_s=0.5, ack_timeout_s=0.4)


def narrow_listener(host: str, port: int, family: socket.AddressFamily) -> socket.socket:
    """Listen with small kernel buffers, so that a peer that does not read is noticed after little."""
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)
    listener.bind((host, port))
    return listener


def narrow_socket(info: aiohttp.AddrInfoType) -> socket.socket:
    """Make a client's socket of that kind."""
    family, kind, number, _, _ = info
    made = socket.socket(family, kind, number)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return made


@dataclass
class World:
    """A server on a loopback port."""

    twin: Twin
    hub: Hub
    door: OpenDoor
    endpoint: StreamEndpoint
    url: str
    http: aiohttp.ClientSession

    def change(self, *put: o.Doc) -> None:
        self.hub.apply(self.twin.change(put))

    def should_hold(self, node: str) -> dict[str, str]:
        return {key: item_hash for key, (item_hash, _) in self.twin.contents()[node].items()}

    async def until(self, what: str, condition: object, timeout_s: float = 10.0) -> None:
        """Wait until something became true on the server's side, which shares our loop."""
        assert callable(condition)
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110 - the other side has no event to wait for
                await asyncio.sleep(0.005)


@asynccontextmanager
async def serve(settings: HubSettings = QUICK, services: int = 3, ports: int = 1) -> AsyncIterator[World]:
    twin, door = Twin(), OpenDoor()
    hub = Hub(settings=settings)
    endpoint = StreamEndpoint(hub, door)
    application = web.Application()
    application.add_routes(endpoint.routes())
    async with TestServer(application, socket_factory=narrow_listener) as server, aiohttp.ClientSession() as http:
        world = World(twin, hub, door, endpoint, str(server.make_url("")).rstrip("/"), http)
        world.change(
            *(o.node(f"n{number}", f"172.16.0.{number}") for number in range(1, 9)),
            o.namespace("shop"),
            *(o.pod(f"web{number}", f"10.0.0.{number}", node=f"n{number}") for number in range(1, 9)),
            *(
                o.service(f"s{number}", *range(80, 80 + ports), addresses=[f"10.96.{number // 250}.{number % 250 + 1}"])
                for number in range(services)
            ),
        )
        yield world


async def test_a_node_is_brought_up_to_date_and_kept_so() -> None:
    async with serve() as world:
        agent = StreamAgent("n1")
        async with agent.connected(world.http, world.url):
            await agent.next_update()
            assert agent.held == world.should_hold("n1")
            world.change(o.service("s0", 81))
            parts = await agent.next_update()
            assert isinstance(parts, list)
            told = {key for part in parts for key, _, _ in part.upserts}
            assert told == {"Service/shop/s0", "Endpoints/shop/s0:81"}
            await world.until("the Ack arrived", lambda: world.hub.nodes[0].behind == 0)
            assert agent.held == world.should_hold("n1")
        await world.until("the stream ended", lambda: not world.hub.nodes)


async def test_a_large_update_comes_in_parts_and_counts_once() -> None:
    async with serve(replace(QUICK, send_timeout_s=10, ack_timeout_s=10), services=1500, ports=8) as world:
        agent = StreamAgent("n1")
        async with agent.connected(world.http, world.url):
            parts = await agent.next_update()
            assert isinstance(parts, list)
            assert len(parts) > 1
            assert agent.held == world.should_hold("n1")
            assert world.hub.metrics.sent_bytes._value.get() == agent.received_bytes


async def test_a_node_that_stops_reading_costs_nothing_and_is_ended() -> None:
    async with serve(replace(QUICK, ack_timeout_s=60), services=1500, ports=8) as world:
        agent = StreamAgent("n1")
        connector = aiohttp.TCPConnector(socket_factory=narrow_socket)
        async with (
            aiohttp.ClientSession(connector=connector) as http,
            agent.connected(http, world.url) as connected,
        ):
            connection = connected._response.connection
            assert connection is not None
            assert isinstance(connection.transport, asyncio.Transport)
            connection.transport.pause_reading()
            await world.until("it is connected", lambda: world.hub.nodes)
            for version in range(10):
                moved = (f"10.97.{version}.{number}" for number in range(30))
                ports = range(80, 88)
                world.change(*(o.service(f"s{number}", *ports, addresses=[it]) for number, it in enumerate(moved)))
            assert world.hub._lines["n1"].session.pending <= 30, "the newest version of each"
            began = time.monotonic()
            await world.until("it was ended", lambda: not world.hub.nodes)
            assert time.monotonic() - began < 5
            connection.transport.resume_reading()


async def test_without_an_ack_a_session_ends() -> None:
    async with serve() as world:
        agent = StreamAgent("n1", automatic=False)
        async with agent.connected(world.http, world.url):
            assert isinstance(await agent.next_update(), list)
            goodbye = await agent.receive()
            assert isinstance(goodbye, Goodbye)
            assert "no Ack within" in goodbye.reason
            assert await agent.receive() is None


async def test_a_token_that_expires_ends_the_session_and_the_next_one_may_begin() -> None:
    async with serve() as world:
        world.door.expires_unix_s = time.time() + 0.3
        agent = StreamAgent("n1")
        async with agent.connected(world.http, world.url):
            await agent.next_update()
            goodbye = await agent.receive()
            assert isinstance(goodbye, Goodbye)
            assert "token has expired" in goodbye.reason
        world.door.expires_unix_s = float("inf")
        async with agent.connected(world.http, world.url):
            await world.until("it is connected", lambda: world.hub.nodes)
            assert world.hub.nodes[0].behind == 0, "it has everything already"


async def test_a_deleted_agent_s_session_ends_although_its_token_lasts() -> None:
    async with serve() as world:
        agent = StreamAgent("n1")
        async with agent.connected(world.http, world.url):
            await agent.next_update()
            world.door.gone.add("n1")
            goodbye = await agent.receive()
            assert isinstance(goodbye, Goodbye)
            assert "is not there any more" in goodbye.reason


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (Ack(nonce=1), "the first message must be a Hello, not Ack"),
        (Hello(node="n2", build="x", schema="weft.dev/node/v1", have={}), "Hello of node 'n2'"),
        (Hello(node="n1", build="x", schema="other", have={}), "bring both to the same version"),
    ],
)
async def test_a_wrong_hello_is_answered_with_the_reason(message: Ack | Hello, says: str) -> None:
    async with serve() as world:
        agent = StreamAgent("n1")
        async with agent.connected(world.http, world.url, hello=message):
            goodbye = await agent.receive()
            assert isinstance(goodbye, Goodbye)
            assert says in goodbye.reason
            assert goodbye.retry_after_s > 0


async def test_what_is_no_message_is_answered_with_the_reason() -> None:
    async with serve() as world:
        agent = StreamAgent("n1")
        async with agent.connected(world.http, world.url) as socket:
            await agent.next_update()
            await socket.send_bytes(b"\xc1 not msgpack")
            goodbye = await agent.receive()
            assert isinstance(goodbye, Goodbye)
            assert "not a message of this contract" in goodbye.reason
        async with agent.connected(world.http, world.url) as socket:
            await socket.send_str("text")
            goodbye = await agent.receive()
            assert isinstance(goodbye, Goodbye)
            assert "messages are binary frames" in goodbye.reason
        await world.until("both ended", lambda: not world.hub.nodes)


async def test_silence_instead_of_a_hello_ends() -> None:
    async with serve() as world:
        headers = {"Authorization": "Bearer n1"}
        async with world.http.ws_connect(world.url + STREAM_PATH, protocols=(SUBPROTOCOL,), headers=headers) as socket:
            agent = StreamAgent("n1", socket=socket)
            goodbye = await agent.receive()
            assert isinstance(goodbye, Goodbye)
            assert goodbye.reason == "no Hello came in time"


async def test_at_shutdown_every_node_hears_goodbye_and_nobody_is_let_in() -> None:
    async with serve() as world:
        agents = [StreamAgent(f"n{number}") for number in range(1, 4)]
        async with (
            agents[0].connected(world.http, world.url),
            agents[1].connected(world.http, world.url),
            agents[2].connected(world.http, world.url),
        ):
            for agent in agents:
                await agent.next_update()
            closing = asyncio.create_task(world.endpoint.close())
            for agent in agents:
                goodbye = await agent.receive()
                assert isinstance(goodbye, Goodbye)
                assert "shuts down" in goodbye.reason
                assert await agent.receive() is None
            await closing
            assert await refusal(world, "n4") == (503, "Shutting down", "1")


async def refusal(world: World, token: str | None, protocol: str = SUBPROTOCOL) -> tuple[int, str, str | None]:
    """Ask for a stream that is refused; return status, title and Retry-After."""
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    headers |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": protocol}
    headers |= {"Authorization": f"Bearer {token}"} if token is not None else {}
    async with world.http.get(world.url + STREAM_PATH, headers=headers) as response:
        assert response.content_type == "application/problem+json"
        body = json.loads(await response.read())
        assert body["status"] == response.status
        assert body["detail"]
        return response.status, body["title"], response.headers.get("Retry-After")


async def test_who_is_refused_is_told_why() -> None:
    async with serve() as world:
        assert await refusal(world, None) == (401, "No token", None)
        assert await refusal(world, "n1", "other") == (400, "Unknown protocol", None)
        assert await refusal(world, "nowhere") == (503, "Unknown node", "5")
        world.door.gone.add("n1")
        assert await refusal(world, "n1") == (401, "Refused", None)


async def test_a_storm_is_admitted_in_turns() -> None:
    async with serve(replace(QUICK, initial_syncs=2, ack_timeout_s=60)) as world:
        slow = [StreamAgent(f"n{number}", automatic=False) for number in (1, 2)]
        async with slow[0].connected(world.http, world.url), slow[1].connected(world.http, world.url):
            parts = [await agent.next_update() for agent in slow]
            assert await refusal(world, "n3") == (503, "Busy", "5")
            first = parts[0]
            assert isinstance(first, list)
            await slow[0].say(slow[0].apply(first))
            third = StreamAgent("n3")
            async with third.connected(world.http, world.url):
                assert isinstance(await third.next_update(), list)
                await world.until("its turn ended", lambda: world.hub.metrics.syncing._value.get() == 1)
        await world.until("all turns ended", lambda: world.hub.metrics.syncing._value.get() == 0)


async def test_what_a_node_says_of_its_pods_is_kept() -> None:
    async with serve() as world:
        agent = StreamAgent("n1")
        async with agent.connected(world.http, world.url):
            await agent.next_update()
            await agent.say(Pods(captured=("shop/web1",), waiting=(("shop/web2", "no certificate"),)))
            await world.until("it arrived", lambda: world.hub.nodes[0].pods.captured == ("shop/web1",))


async def test_a_node_that_connects_again_replaces_its_old_session() -> None:
    async with serve() as world:
        first, second = StreamAgent("n1"), StreamAgent("n1")
        async with first.connected(world.http, world.url):
            await first.next_update()
            async with second.connected(world.http, world.url):
                assert isinstance(await second.next_update(), list)
                goodbye = await first.receive()
                assert isinstance(goodbye, Goodbye)
                world.change(o.service("s0", 82))
                update = await second.receive()
                assert isinstance(update, Update)
                assert len(world.hub.nodes) == 1
