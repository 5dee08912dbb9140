"""Agents by real tokens: who is let in, who gets which certificate, and that a deleted pod's token ends at once for us."""

import asyncio
from collections.abc import Iterator

import aiohttp
import pytest
from cryptography import x509

from weft_contract.stream import TOKEN_AUDIENCE, Goodbye
from weft_testing.cluster.control_plane import ControlPlane
from weft_testing.cluster.places import AGENTS, Place, running_place
from weft_testing.cluster.processes import wait_until
from weft_testing.stream_agent import StreamAgent

pytestmark = [pytest.mark.cluster]
NAMESPACE = "weft-identity"
SHOP = f"{NAMESPACE}-shop"


@pytest.fixture(scope="module")
def place(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with running_place(control_plane, tmp_path_factory.mktemp("identity"), NAMESPACE) as place:
        place.account("other", namespace=NAMESPACE)
        place.run_pod("stranger", "here", "other", namespace=NAMESPACE)
        for account in ("hostly", "finished", "outside"):
            place.account(account)
        place.run_pod("hostly", "here", "hostly", hostNetwork=True)
        place.run_pod("finished", "here", "finished", finished=True)
        yield place


def test_an_agent_gets_the_certificate_of_a_pod_on_its_node(place: Place) -> None:
    status, answer = place.ask(place.token("here"), "web")
    assert (status, answer["identity"]) == (200, f"spiffe://cluster.local/ns/{SHOP}/sa/web")
    leaf = x509.load_pem_x509_certificate(answer["chain"].encode())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [answer["identity"]]


def test_an_identity_that_is_not_on_the_node_is_refused_always(place: Place) -> None:
    there = place.token("there")
    for account in ("web", "hostly", "finished", "outside", "default", "no-such-account"):
        status, detail = place.refused(there, account)
        assert (status, "is on node there" in detail) == (403, True), account
    status, detail = place.refused(place.token("here"), AGENTS, namespace=NAMESPACE)
    assert (status, "did not opt in" in detail) == (403, True), "the agents themselves are not in the mesh"


@pytest.mark.parametrize(("account", "why"), [("hostly", "uses the node's network"), ("finished", "has finished")])
def test_a_pod_that_is_no_member_gives_no_identity(place: Place, account: str, why: str) -> None:
    status, detail = place.refused(place.token("here"), account)
    assert (status, why in detail) == (403, True)


def test_who_is_no_agent_is_refused(place: Place) -> None:
    status, detail = place.refused(place.token("here", account="other", pod="stranger"), "web")
    assert (status, f"only system:serviceaccount:{NAMESPACE}:{AGENTS} is served" in detail) == (403, True)
    status, detail = place.refused(place.token("here", audience="https://kubernetes.default.svc"), "web")
    assert status == 401
    status, detail = place.refused(place.token("here", pod="-"), "web")
    assert (status, "does not name its node and pod" in detail) == (403, True)
    assert place.refused("nonsense", "web")[0] == 401


def test_a_deleted_agent_s_token_is_refused_although_the_api_server_accepts_it(place: Place) -> None:
    place.run_pod("agent-short", "here", AGENTS, namespace=NAMESPACE)
    token = place.token("here", pod="agent-short")
    wait_until(lambda: place.ask(token, "web")[0] == 200, "the operator knew the pod", 10)
    place.remove_pod("agent-short", namespace=NAMESPACE)
    wait_until(lambda: place.ask(token, "web")[0] == 403, "the operator knew that the pod is gone", 5)
    spec = {"token": token, "audiences": [TOKEN_AUDIENCE]}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
    place.api.create("/apis/authentication.k8s.io/v1/tokenreviews", body)
    assert place.refused(token, "web")[0] == 403


def test_a_pod_that_is_gone_takes_its_identity_along(place: Place) -> None:
    place.account("short")
    place.run_pod("short", "there", "short")
    token = place.token("there")
    wait_until(lambda: place.ask(token, "short")[0] == 200, "the operator knew the pod", 10)
    place.remove_pod("short")
    wait_until(lambda: place.ask(token, "short")[0] == 403, "the operator knew that the pod is gone", 5)


def test_an_agent_s_stream_begins_and_ends_with_its_pod(place: Place) -> None:
    place.run_pod("agent-stream", "here", AGENTS, namespace=NAMESPACE)
    agent, tls = StreamAgent("here", token=place.token("here", pod="agent-stream")), place.tls

    async def follow() -> Goodbye:
        async with aiohttp.ClientSession() as http:
            async with asyncio.timeout(10):
                while True:
                    try:
                        return await session(http)
                    except aiohttp.WSServerHandshakeError as exc:
                        if exc.status not in (403, 503):  # else its pod is not known there yet
                            raise
                        await asyncio.sleep(0.1)

    async def session(http: aiohttp.ClientSession) -> Goodbye:
        async with agent.connected(http, place.url, tls=tls):
            assert isinstance(await agent.next_update(), list)
            assert f"Workload/{SHOP}/web" in agent.held
            assert "TrustBundle/cluster.local" in agent.held
            await asyncio.to_thread(lambda: place.remove_pod("agent-stream", namespace=NAMESPACE))
            while not isinstance(message := await agent.receive(), Goodbye):
                assert message is not None
            return message

    goodbye = asyncio.run(follow())
    assert f"the agent's pod {NAMESPACE}/agent-stream is not there any more" in goodbye.reason


def test_a_node_may_not_say_that_it_is_another(place: Place) -> None:
    agent, tls = StreamAgent("there", token=place.token("here")), place.tls

    async def follow() -> Goodbye:
        async with aiohttp.ClientSession() as http, agent.connected(http, place.url, tls=tls):
            message = await agent.receive()
            assert isinstance(message, Goodbye)
            return message

    assert "Hello of node 'there', but the token is of node here" in asyncio.run(follow()).reason


def test_every_answer_is_in_the_audit_log(place: Place) -> None:
    place.ask(place.token("here"), "web")
    place.refused(place.token("there"), "web")
    issued, refused = place.operator.logged("certificate issued")[-1], place.operator.logged("certificate refused")[-1]
    assert (issued["node"], issued["agent"]) == ("here", f"{NAMESPACE}/agent-here")
    assert issued["identity"] == f"spiffe://cluster.local/ns/{SHOP}/sa/web"
    assert (refused["node"], refused["service_account"], refused["status"]) == ("there", "web", 403)
