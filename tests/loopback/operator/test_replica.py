"""A whole replica against a small API server: from the first list to conditions, webhooks, roots, and an orderly end."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from weft_contract.stream import CERTIFICATE_PATH, SERVER_NAME, STREAM_PATH, Goodbye
from weft_operator.apiserver import ApiServer
from weft_operator.server import replica as module
from weft_operator.server.replica import Replica
from weft_operator.server.settings import parse_settings
from weft_testing import objects as o
from weft_testing.small_api import SmallApi, small_api
from weft_testing.stream_agent import StreamAgent

pytestmark = pytest.mark.asyncio
NAMESPACE = "weft-system"
PATIENCE_S = 20.0


@pytest.fixture(autouse=True)
def no_lingering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINGER_S", 0.0)


class Running:
    """A replica that runs, and what it is asked."""

    def __init__(self, replica: Replica, api: SmallApi, stop: asyncio.Event, task: asyncio.Task[None]) -> None:
        self.replica, self.api, self.stop, self.task = replica, api, stop, task

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for something that has no event."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while True:
            if condition():
                return
            if self.task.done():
                self.task.result()
            assert asyncio.get_running_loop().time() < deadline, f"not within {PATIENCE_S} s: {what}"
            await asyncio.sleep(0.02)

    async def get(self, server: str, path: str) -> tuple[int, str]:
        url = f"http://127.0.0.1:{self.replica.servers[server].port}{path}"
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            return answer.status, await answer.text()


@asynccontextmanager
async def running(api: SmallApi, *, ready: bool = True) -> AsyncIterator[Running]:
    raw = {f"{name}-address": "127.0.0.1:0" for name in ("stream", "webhook", "metrics", "health")}
    settings = parse_settings({**raw, "namespace": NAMESPACE, "gate-image": "weft.dev/agent:1"}, host="one")
    stop = asyncio.Event()
    async with ApiServer(api) as client:
        replica = Replica(settings, api, client)
        task = asyncio.create_task(replica.run(stop))
        found = Running(replica, api, stop, task)
        try:
            await found.until(lambda: "health" in replica.servers, "health was served")
            if ready:
                await found.until(lambda: not replica.health.not_ready, "it was ready")
            yield found
        finally:
            stop.set()
            await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), PATIENCE_S)


def conditions(item: dict[str, Any] | None) -> dict[str, tuple[str, str, int]]:
    found = (item or {}).get("status", {}).get("conditions", ())
    return {each["type"]: (each["status"], each["reason"], each["observedGeneration"]) for each in found}


def policy(**spec: object) -> o.Doc:
    rules = [{"to": [{"operation": {"paths": ["/foo"]}}]}]
    return o.policy("AuthorizationPolicy", "web", {"rules": rules, **spec}, namespace="shop")


async def test_from_an_object_to_its_conditions(tmp_path: Path) -> None:
    async with small_api(tmp_path, "grpcroutes", "tlsroutes") as api:
        api.put(o.namespace("shop"))
        api.put(o.node("n1", "172.16.0.1"))
        api.put(o.pod("web-1", "10.0.0.1", labels={"app": "web"}))
        async with running(api) as it:
            await it.until(lambda: it.replica.candidate.leads, "it led")
            api.put(policy(selector={"matchLabels": {"app": "web"}}))

            def told() -> dict[str, tuple[str, str, int]]:
                return conditions(api.get("authorizationpolicies", "shop/web"))

            await it.until(lambda: told().get("Programmed") == ("False", "Pending", 1), "it was waited for")
            assert told()["Accepted"] == ("True", "Accepted", 1)
            api.put(policy(selector={"matchLabels": {"app": "other"}}))
            await it.until(lambda: told().get("Programmed") == ("True", "NoPods", 2), "nobody needed it any more")
            roots = api.get("configmaps", f"{NAMESPACE}/weft-roots")
            assert roots is not None
            assert "BEGIN CERTIFICATE" in roots["data"]["roots.pem"]
            assert not [path for _, path in api.writes if "/pods" in path or path == "/namespaces/shop"]


async def test_webhooks_answer_with_a_certificate_of_the_published_roots(tmp_path: Path) -> None:
    async with small_api(tmp_path) as api, running(api) as it:
        await it.until(lambda: api.get("configmaps", f"{NAMESPACE}/weft-roots"), "the roots were published")
        roots = api.objects["configmaps"][f"{NAMESPACE}/weft-roots"]["data"]["roots.pem"]
        review = {
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "1",
                "kind": {"group": "weft.dev", "version": "v1alpha1", "kind": "AuthorizationPolicy"},
                "operation": "CREATE",
                "namespace": "shop",
                "object": policy(action="PERHAPS"),
            },
        }
        url = f"https://127.0.0.1:{it.replica.servers['webhook'].port}/validate"
        tls = ssl.create_default_context(cadata=roots)
        name = f"weft-operator.{NAMESPACE}.svc"
        async with (
            aiohttp.ClientSession() as http,
            http.post(url, data=json.dumps(review), ssl=tls, server_hostname=name) as answer,
        ):
            said = (await answer.json())["response"]
        assert said["allowed"] is False
        assert said["status"]["details"]["causes"][0]["field"] == "spec.action"


async def test_it_is_not_ready_before_everything_is_known_and_says_what_is_missing(tmp_path: Path) -> None:
    async with small_api(tmp_path, "pods") as api, running(api, ready=False) as it:
        await it.until(lambda: len(it.replica.mirror.missing) == 1, "all others were known")
        status, text = await it.get("health", "/healthz/ready")
        assert status == 503
        assert text.startswith("not known yet: Pod: ")
        assert (await it.get("health", "/healthz/live"))[0] == 200
        assert "stream" not in it.replica.servers


async def test_an_api_server_that_is_away_ends_nothing_and_is_healed_from(tmp_path: Path) -> None:
    async with small_api(tmp_path) as api:
        api.put(o.namespace("shop"))
        async with running(api) as it:
            await it.until(lambda: it.replica.candidate.leads, "it led")
            api.go_away()
            await it.until(lambda: it.replica.mirror.failing, "it was noticed")
            assert not it.replica.health.not_alive
            assert not it.replica.health.not_ready, "what is known is served"
            api.away = False
            api.put(policy())
            await it.until(
                lambda: conditions(api.get("authorizationpolicies", "shop/web")).get("Accepted"), "it was told"
            )
            await it.until(lambda: not it.replica.mirror.failing, "every kind was followed again")


async def test_metrics_tell_of_everything(tmp_path: Path) -> None:
    async with small_api(tmp_path) as api, running(api) as it:
        api.put(o.namespace("shop"))
        await it.until(lambda: it.replica.known.objects["Namespace"] == 1, "it was seen")
        status, text = await it.get("metrics", "/metrics")
        assert status == 200
        for line in (
            'weft_operator_objects{kind="Namespace"} 1.0',
            'weft_operator_watch_failing{kind="Pod"} 0.0',
            'weft_operator_lists_total{kind="Pod"} 1.0',
        ):
            assert line in text
        assert 'weft_operator_certificate_not_after_seconds{certificate="server"}' in text


async def test_it_ends_in_order_and_gives_the_lease_back(tmp_path: Path) -> None:
    async with small_api(tmp_path) as api:
        async with running(api) as it:
            await it.until(lambda: it.replica.candidate.leads, "it led")
            it.stop.set()
            await asyncio.wait_for(it.task, PATIENCE_S)
        lease = api.get("leases", f"{NAMESPACE}/weft-operator")
        assert lease is not None
        assert lease["spec"]["holderIdentity"] == ""


def slice_at(name: str, port: int) -> o.Doc:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": {"kubernetes.io/service-name": "weft-operator"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "stream", "port": port}],
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
    }


async def test_two_replicas_are_one_operator(tmp_path: Path) -> None:
    async with small_api(tmp_path) as api, running(api) as first:
        await first.until(lambda: first.replica.candidate.leads, "it led")
        async with running(api) as second:
            assert list(first.replica.trust.roots) == list(second.replica.trust.roots)
            for number, each in enumerate((first, second)):
                api.put(slice_at(f"op-{number}", each.replica.servers["stream"].port))
            heard = first.replica._peers._names
            await first.until(lambda: len(heard) == 2, "each replica had answered, with a proof of kinship")
            assert len(set(heard.values())) == 2
            first.stop.set()
            await second.until(lambda: second.replica.candidate.leads, "the other led")


async def test_streams_and_certificates_are_refused_without_a_token(tmp_path: Path) -> None:
    async with small_api(tmp_path) as api, running(api) as it:
        base = f"https://127.0.0.1:{it.replica.servers['stream'].port}"
        tls = it.replica.trust.client_tls()
        assert tls is not None
        async with aiohttp.ClientSession() as http:
            for method, path in (("GET", STREAM_PATH), ("POST", CERTIFICATE_PATH), ("POST", "/v1/standing")):
                async with http.request(method, base + path, ssl=tls, server_hostname=SERVER_NAME) as answer:
                    assert (answer.status, answer.content_type) == (401, "application/problem+json"), path


async def test_an_authority_that_cannot_be_read_is_named_and_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weft_operator.server.trust.RETRY_S", 0.05)
    async with small_api(tmp_path) as api:
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "weft-ca", "namespace": NAMESPACE}}
        api.put({**secret, "data": {"ca.json": "bm9uc2Vuc2U="}})
        async with running(api, ready=False) as it:
            await it.until(lambda: any("weft-ca" in why for why in it.replica.health.not_ready), "it was named")
            assert not it.replica.health.not_alive
            api.remove("secrets", f"{NAMESPACE}/weft-ca")
            await it.until(lambda: not it.replica.health.not_ready, "it was ready")


@asynccontextmanager
async def agent_on(it: Running, node: str) -> AsyncIterator[StreamAgent]:
    """An agent that follows its stream at a replica."""
    agent = StreamAgent(node, it.api.admit_agent(node, NAMESPACE))
    await it.until(lambda: len(it.replica.pods) >= len(it.api.objects["pods"]), "the agent's pod was known")
    url = f"https://127.0.0.1:{it.replica.servers['stream'].port}"

    async def follow() -> None:
        while await agent.next_update(timeout_s=3600) is not None:
            pass

    async with aiohttp.ClientSession() as http, agent.connected(http, url, tls=it.replica.trust.client_tls()):
        task = asyncio.create_task(follow())
        try:
            yield agent
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_an_agent_whose_pod_is_gone_is_sent_away_and_both_ends_close(tmp_path: Path) -> None:
    async with small_api(tmp_path) as api:
        api.put(o.node("n1", "172.16.0.1"))
        agent = StreamAgent("n1", api.admit_agent("n1", NAMESPACE))
        async with running(api) as it:
            await sent_away(it, agent)


async def sent_away(it: Running, agent: StreamAgent) -> None:
    """Take the agent's pod away while it is connected."""
    await it.until(lambda: len(it.replica.pods) >= len(it.api.objects["pods"]), "the agent's pod was known")
    url, tls = f"https://127.0.0.1:{it.replica.servers['stream'].port}", it.replica.trust.client_tls()
    async with aiohttp.ClientSession() as http, agent.connected(http, url, tls=tls) as socket:
        assert isinstance(await agent.next_update(), list)
        connection = socket._response.connection
        transport = connection.transport if connection is not None else None
        assert transport is not None
        it.api.remove("pods", f"{NAMESPACE}/weft-agent-n1")
        while not isinstance(message := await agent.receive(), Goodbye):
            assert message is not None
        for _ in range(2):
            transport.close()  # as happens, now and then, when both ends close at the same moment


async def test_programmed_counts_the_nodes_of_every_replica_and_names_who_lags(tmp_path: Path) -> None:
    async with small_api(tmp_path) as api:
        api.put(o.namespace("shop"))
        for number in (1, 2):
            api.put(o.node(f"n{number}", f"172.16.0.{number}"))
            api.put(o.pod(f"web-{number}", f"10.0.0.{number}", node=f"n{number}", labels={"app": "web"}))
        async with running(api) as first:
            await first.until(lambda: first.replica.candidate.leads, "it led")
            async with running(api) as second, agent_on(first, "n1"), agent_on(second, "n2") as other:
                for number, each in enumerate((first, second)):
                    api.put(slice_at(f"op-{number}", each.replica.servers["stream"].port))
                api.put(policy(selector={"matchLabels": {"app": "web"}}))

                def status() -> dict[str, Any]:
                    found: dict[str, Any] = api.objects["authorizationpolicies"]["shop/web"].get("status", {})
                    return found

                await first.until(lambda: status().get("nodes") == "2/2", "both nodes had it")
                assert conditions({"status": status()})["Programmed"] == ("True", "Programmed", 1)
                other.automatic = False
                api.put(policy(selector={"matchLabels": {"app": "web"}}, action="DENY"))
                await first.until(
                    lambda: conditions({"status": status()})["Programmed"] == ("False", "Pending", 2), "one lagged"
                )
                message = [each["message"] for each in status()["conditions"] if each["type"] == "Programmed"]
                assert message == ["in force at 1 of 2 nodes; waiting for n2"]
