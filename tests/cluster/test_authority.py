"""The authority's Secret and a root's replacement against a real API server, with two nodes that acknowledge when told to."""

import asyncio
import json
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack

import aiohttp
import pytest
from cryptography import x509

from weft_contract.stream import Update
from weft_operator.ca.kept import ROTATE
from weft_operator.ca.rotation import MIN_DISTRIBUTION_S, OVERLAP_S
from weft_testing.cluster.api import Object
from weft_testing.cluster.control_plane import ControlPlane
from weft_testing.cluster.operator_process import OperatorProcess
from weft_testing.cluster.places import Place, running_place
from weft_testing.cluster.processes import wait_until
from weft_testing.stream_agent import StreamAgent

pytestmark = [pytest.mark.cluster]
NAMESPACE = "weft-authority"
SECRET = f"/api/v1/namespaces/{NAMESPACE}/secrets/weft-ca"
ALARM = 'weft_operator_authority_alarm{alarm="SecretUnreadable"} 1.0'
ROOTS = f"/api/v1/namespaces/{NAMESPACE}/configmaps/weft-roots"


@pytest.fixture(scope="module")
def place(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with running_place(control_plane, tmp_path_factory.mktemp("authority"), NAMESPACE) as place:
        yield place


def state(place: Place) -> Object:
    found: Object = json.loads(b64decode(place.api.get(SECRET)["data"]["ca.json"]))
    return found


def published(place: Place) -> int:
    return int(place.api.get(ROOTS)["data"]["roots.pem"].count("BEGIN CERTIFICATE"))


def let_pass(place: Place, field: str, seconds: float) -> None:
    """Let time pass for a rotation: what it remembers lies so much longer ago."""
    found = state(place)
    found["rotation"][field] -= seconds
    text = b64encode(json.dumps(found).encode()).decode()
    place.api.patch(SECRET, {"data": {"ca.json": text}})


def root_of(place: Place, account: str) -> str:
    """Return which root a new certificate is below."""
    status, answer = place.ask(place.token("here"), account)
    assert status == 200, answer
    _, intermediate = x509.load_pem_x509_certificates(answer["chain"].encode())
    for root in state(place)["roots"]:
        try:
            intermediate.verify_directly_issued_by(x509.load_pem_x509_certificate(root["certificate"].encode()))
        except Exception:
            continue
        return str(root["name"])
    raise AssertionError("it is below no root of the Secret")


def test_a_second_replica_signs_with_the_same_authority(place: Place, tmp_path_factory: pytest.TempPathFactory) -> None:
    before = state(place)
    directory = tmp_path_factory.mktemp("second")
    arguments = [f"--namespace={NAMESPACE}"]
    with OperatorProcess(directory, place.control_plane.kubeconfig, "second", arguments) as second:
        second.wait_ready()
        other = Place(place.control_plane, second, NAMESPACE)
        wait_until(lambda: other.ask(other.token("here"), "web")[0] == 200, "the other replica signed", 10)
        assert root_of(other, "web") == before["signer"]["root"]
    assert state(place) == before


def test_what_is_damaged_is_not_overwritten_and_the_operator_signs_on(place: Place) -> None:
    good = place.api.get(SECRET)["data"]["ca.json"]
    place.api.patch(SECRET, {"data": {"ca.json": b64encode(b"damaged").decode()}})
    try:
        sees_it(place)
    finally:
        place.api.patch(SECRET, {"data": {"ca.json": good}})
    wait_until(lambda: ALARM not in place.operator.get("metrics", "/metrics")[1], "the alarm had ended", 30)


def sees_it(place: Place) -> None:
    wait_until(lambda: ALARM in place.operator.get("metrics", "/metrics")[1], "the alarm was raised", 30)
    assert b64decode(place.api.get(SECRET)["data"]["ca.json"]) == b"damaged"
    assert place.ask(place.token("here"), "web")[0] == 200


async def until(what: str, holds: Callable[[], bool], timeout_s: float = 30.0) -> None:
    await asyncio.to_thread(wait_until, holds, what, timeout_s)


def test_a_root_is_replaced_when_every_node_trusts_the_new_one(place: Place) -> None:
    (old,) = (root["name"] for root in state(place)["roots"])
    tls = place.tls
    agents = [StreamAgent(node, token=place.token(node)) for node in ("here", "there")]

    async def next_bundle(agent: StreamAgent) -> list[Update]:
        while True:
            agent.automatic = False
            parts = await agent.next_update(30)
            assert isinstance(parts, list)
            if any(key.startswith("TrustBundle/") for part in parts for key, _, _ in part.upserts):
                return parts
            await agent.say(agent.apply(parts))

    async def rotate(connect: Callable[[StreamAgent], Awaitable[object]]) -> None:
        for agent in agents:
            await connect(agent)
            assert isinstance(await agent.next_update(), list)
        here, there = agents
        annotation = {"metadata": {"annotations": {ROTATE: "root"}}}
        await asyncio.to_thread(place.api.patch, SECRET, annotation)
        updates = [await next_bundle(agent) for agent in agents]
        await until("both roots were published for agents and webhooks", lambda: published(place) == 2)
        await here.say(here.apply(updates[0]))
        await asyncio.to_thread(let_pass, place, "sinceUnixS", MIN_DISTRIBUTION_S)
        await asyncio.sleep(7)  # a look of the leader: one node does not trust the new root yet
        assert await asyncio.to_thread(root_of, place, "web") == old
        await there.say(there.apply(updates[1]))
        await until("the new root signed", lambda: root_of(place, "web") != old)
        assert len(state(place)["roots"]) == 2, "certificates below the old root are in use"
        await asyncio.to_thread(let_pass, place, "movedUnixS", OVERLAP_S)
        for agent in agents:
            await agent.say(agent.apply(await next_bundle(agent)))
        await until("the old root had left", lambda: published(place) == 1)

    async def follow() -> None:
        async with aiohttp.ClientSession() as http, AsyncExitStack() as stack:
            await rotate(lambda agent: stack.enter_async_context(agent.connected(http, place.url, tls=tls)))

    asyncio.run(follow())
    (new,) = (root["name"] for root in state(place)["roots"])
    assert new != old
    assert root_of(place, "web") == new
    assert ROTATE not in (place.api.get(SECRET)["metadata"].get("annotations") or {})
    does = [entry["step"] for entry in place.operator.logged("authority changed")]
    assert does == ["add root", "move", "retire"]
