"""Replicas over HTTP: the leader asks, only kin are answered, a replica that is away is no error."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from weft_contract.resources.document import SCHEMA
from weft_contract.stream import Ack, Hello
from weft_operator.distribution import Caller, Hub, RefusedError
from weft_operator.distribution.peers import STANDING_PATH, Kinship, Peers, StandingEndpoint
from weft_testing import objects as o
from weft_testing.live import Twin

SECRET = b"the authority's key"


def test_a_proof_holds_for_a_minute() -> None:
    now = [1000.0]
    kin = Kinship(lambda: SECRET, wall=lambda: now[0])
    token = kin.token()
    kin.check(token)
    now[0] += 61
    with pytest.raises(RefusedError, match="of another time"):
        kin.check(token)


@pytest.mark.parametrize("token", ["", "x", "1000", "1000.", "1000.é", "é.x", "1" * 20, "1001.0"])
def test_what_is_no_proof(token: str) -> None:
    with pytest.raises(RefusedError):
        Kinship(lambda: SECRET, wall=lambda: 1000.0).check(token)


def test_a_proof_of_another_mesh_or_time_is_none() -> None:
    token = Kinship(lambda: b"another key", wall=lambda: 1000.0).token()
    kin = Kinship(lambda: SECRET, wall=lambda: 1000.0)
    with pytest.raises(RefusedError, match="not made with the key"):
        kin.check(token)
    with pytest.raises(RefusedError, match="not made with the key"):
        kin.check(kin.token().replace("1000.", "1001."))
    with pytest.raises(RefusedError, match="not known here yet"):
        Kinship(lambda: None).token()


@asynccontextmanager
async def replica(hub: Hub, name: str, kinship: Kinship) -> AsyncIterator[str]:
    application = web.Application(client_max_size=0)
    application.add_routes(StandingEndpoint(hub, kinship, name).routes())
    async with TestServer(application) as server:
        yield str(server.make_url("")).rstrip("/")


@pytest.mark.asyncio
async def test_the_leader_learns_of_the_others_nodes() -> None:
    twin, leader, other = Twin(), Hub(), Hub()
    policy = o.policy("AuthorizationPolicy", "web", {"rules": [{}]})
    delta = twin.change([o.node("n1", "172.16.0.1"), o.namespace("shop"), o.pod("web", "10.0.0.1"), policy])
    leader.apply(delta)
    other.apply(delta)
    hello = Hello(node="n1", build="t", schema=SCHEMA, have={})
    line = other.join(Caller(node="n1"), hello, lambda: None, lambda text, after: None)
    batch = other.take(line)
    assert batch is not None
    other.acked(line, Ack(nonce=batch.nonce))
    kin = Kinship(lambda: SECRET)
    async with (
        replica(leader, "a", kin) as own_url,
        replica(other, "b", kin) as url,
        aiohttp.ClientSession() as http,
    ):
        urls = [own_url, url, "http://127.0.0.1:9"]
        peers = Peers(leader, kin, "a", urls=lambda: urls, tls=lambda: None)
        look = leader.look("AuthorizationPolicy", "shop/web")
        assert look is not None
        assert look.progress.text == "0/1"
        for _ in range(2):
            await peers.ask_all(http)
        look = leader.look("AuthorizationPolicy", "shop/web")
        assert look is not None
        assert look.progress.text == "1/1"
        assert leader.elsewhere.nodes == {"n1"}, "what we answer ourselves is passed over"


@pytest.mark.asyncio
async def test_only_kin_are_answered() -> None:
    kin = Kinship(lambda: SECRET)
    async with replica(Hub(), "b", kin) as url, aiohttp.ClientSession() as http:
        body = msgspec.msgpack.encode({"keys": {}})
        for headers, data, status in (
            ({}, body, 401),
            ({"Authorization": "Bearer 1.2"}, body, 401),
            ({"Authorization": f"Bearer {kin.token()}"}, b"\xc1", 400),
            ({"Authorization": f"Bearer {kin.token()}"}, body, 200),
        ):
            async with http.post(url + STANDING_PATH, data=data, headers=headers) as response:
                assert response.status == status, await response.text()


@pytest.mark.asyncio
async def test_it_asks_while_leading_only() -> None:
    asked = asyncio.Event()

    def urls() -> list[str]:
        asked.set()
        return []

    leading = [False]
    peers = Peers(Hub(), Kinship(lambda: SECRET), "a", urls=urls, tls=lambda: None)
    task = asyncio.create_task(peers.run(lambda: leading[0]))
    await asyncio.sleep(0.05)
    assert not asked.is_set()
    leading[0] = True
    async with asyncio.timeout(5):
        await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
