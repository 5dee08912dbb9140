"""Endpoints without an operator, over real TLS: when it begins, what is asked and told, and that an operator's word ends it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

from weft_agent.control.config_source import Config
from weft_agent.control.desired import Entries
from weft_agent.degraded import DegradedEndpoints, mode
from weft_agent.telemetry.log import Log
from weft_agent.telemetry.metrics import Metrics
from weft_contract.codec import decode_resource, digest, encode
from weft_contract.gate import GATE_CONTAINER
from weft_contract.limits import DEFAULT_LIMITS
from weft_contract.resources import Endpoint, Endpoints, Node, Resource, Service, ServicePort
from weft_contract.resources.document import resource_key
from weft_testing.stub_api_server import (
    Asked,
    Stream,
    StubApiServer,
    begin,
    event,
    failure,
    listing,
    reply,
    until,
)

pytestmark = pytest.mark.trio

WEB = "spiffe://cluster.local/ns/shop/sa/web"
KEY = "Endpoints/shop/web:80"


def entries_of(*resources: Resource) -> Entries:
    return {resource_key(item): (digest(encode(item)), encode(item)) for item in resources}


def config(*addresses: str) -> Config:
    found = tuple(
        Endpoint(address=address, port=8080, identity=WEB, node="n2", workload="shop/web") for address in addresses
    )
    entries = entries_of(
        Service(namespace="shop", name="web", ports=(ServicePort(port=80),)),
        Endpoints(namespace="shop", service="web", port=80, endpoints=found),
    )
    node = Node(name="n1", trust_domain="cluster.local")
    return Config(digest="", origin="operator", node=node, workloads=(), bundles=(), entries=entries)


def endpoint_slice(*addresses: str, version: str = "1", namespace: str = "shop") -> dict[str, Any]:
    labels = {"kubernetes.io/service-name": "web"}
    metadata = {"name": "web-1", "namespace": namespace, "labels": labels, "resourceVersion": version}
    endpoints = [{"addresses": [one], "nodeName": "n2", "conditions": {"ready": True}} for one in addresses]
    return {"metadata": metadata, "endpoints": endpoints or None, "ports": [{"name": "", "port": 8080}]}


class Rig(StubApiServer):
    """An API server, and an agent's degraded mode that holds `shop/web` at two addresses."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.lines: list[bytes] = []
        self.metrics = Metrics()
        self.told = 0
        self.held = config("10.0.0.1", "10.0.0.2")

    @asynccontextmanager
    async def running(self, after_s: float = 0.01) -> AsyncIterator["Rig"]:
        limits = replace(DEFAULT_LIMITS, degraded_after_s=after_s, degraded_jitter_s=0.01)
        log = Log(self.lines.append, "json", "debug")
        with trio.fail_after(20):
            async with self.serving() as account, trio.open_nursery() as nursery:
                self.mode = DegradedEndpoints("n1", account, limits, self._tell, log, self.metrics, Random(1))
                self.mode.configured(self.held)
                nursery.start_soon(self.mode.run)
                yield self
                nursery.cancel_scope.cancel()

    def _tell(self) -> None:
        self.told += 1

    @property
    def addresses(self) -> list[str]:
        """What workers are told of the Service."""
        entries = self.mode.over(self.held.entries)
        assert entries is not None
        resource = decode_resource(entries[KEY][1])
        assert isinstance(resource, Endpoints)
        return [item.address for item in resource.endpoints]

    def counted(self, kind: str) -> float:
        return self.metrics.get("weft_degraded_endpoints", kind=kind)


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setattr(mode, "SETTLE_S", 0.01)
    return Rig(tmp_path)


async def one_is_gone(asked: Asked, stream: Stream) -> None:
    if not asked.watches:
        await listing(stream, endpoint_slice("10.0.0.1"), endpoint_slice("10.0.0.2", namespace="elsewhere"))
    else:
        await begin(stream)
        await trio.sleep_forever()


async def test_fresh_endpoints_are_told_and_every_change_of_them(rig: Rig) -> None:
    change = trio.Event()

    async def answer(asked: Asked, stream: Stream) -> None:
        if not asked.watches:
            await listing(stream, endpoint_slice("10.0.0.1"), endpoint_slice("10.0.0.2", namespace="elsewhere"))
            return
        await begin(stream)
        await change.wait()
        await event(stream, "MODIFIED", endpoint_slice("10.0.0.2", "10.0.0.77", version="11"))
        await trio.sleep_forever()

    rig.answer = answer
    async with rig.running():
        await until(lambda: rig.addresses == ["10.0.0.1"] and rig.mode.status()["connected"] is True)
        assert rig.counted("gone") == 1
        assert rig.metrics.get("weft_degraded_active") == 1.0
        change.set()
        await until(lambda: rig.addresses == ["10.0.0.2"])
        assert rig.counted("unknown") == 1, "nobody said who is at 10.0.0.77"
        assert any("10.0.0.77" not in text and "1 new endpoints" in text for text in rig.mode.warnings())
        first, watch = rig.asked
        assert first.path == "/apis/discovery.k8s.io/v1/endpointslices"
        assert first.query == {"labelSelector": "kubernetes.io/service-name in (web)", "resourceVersion": "0"}
        assert watch.query["resourceVersion"] == "10"
        assert rig.told == 2


def pod_of(address: str, uid: str = "u77") -> dict[str, Any]:
    return {
        "metadata": {"name": "web-77", "namespace": "shop", "uid": uid},
        "spec": {"nodeName": "n2", "serviceAccountName": "web", "initContainers": [{"name": GATE_CONTAINER}]},
        "status": {"podIP": address},
    }


def slice_with_a_new_pod() -> dict[str, Any]:
    shown = endpoint_slice("10.0.0.1", "10.0.0.2", "10.0.0.77")
    shown["endpoints"][2]["targetRef"] = {"kind": "Pod", "namespace": "shop", "name": "web-77", "uid": "u77"}
    return shown


async def test_a_pod_that_is_new_on_another_node_is_asked_for_by_name_once(rig: Rig) -> None:
    async def answer(asked: Asked, stream: Stream) -> None:
        if asked.watches:
            await begin(stream)
            await trio.sleep_forever()
        elif asked.path == "/api/v1/namespaces/shop/pods/web-77":
            await reply(stream, pod_of("10.0.0.77"))
        else:
            await listing(stream, slice_with_a_new_pod())

    rig.answer = answer
    async with rig.running():
        await until(lambda: rig.addresses == ["10.0.0.1", "10.0.0.2", "10.0.0.77"])
        assert (rig.counted("added"), rig.counted("unknown")) == (1, 0)
        assert not list(rig.mode.warnings())
        rig.mode.agreed()
        assert rig.addresses == ["10.0.0.1", "10.0.0.2"]
        assert [each.path for each in rig.asked if "/pods/" in each.path] == ["/api/v1/namespaces/shop/pods/web-77"]


async def test_a_pod_that_cannot_be_asked_for_stays_unknown_and_is_asked_for_again(rig: Rig) -> None:
    tries = 0

    async def answer(asked: Asked, stream: Stream) -> None:
        nonlocal tries
        if asked.watches:
            await begin(stream)
            await trio.sleep_forever()
        elif "/pods/" not in asked.path:
            await listing(stream, slice_with_a_new_pod())
        elif (tries := tries + 1) < 3:
            await reply(stream, failure(403, "because"), 403)
        else:
            await reply(stream, pod_of("10.0.0.77"))

    rig.answer = answer
    async with rig.running():
        await until(lambda: any("cannot be asked for" in text and "because" in text for text in rig.mode.warnings()))
        assert rig.addresses == ["10.0.0.1", "10.0.0.2"]
        await until(lambda: rig.addresses == ["10.0.0.1", "10.0.0.2", "10.0.0.77"])
        assert tries == 3
        assert rig.metrics.get("weft_degraded_watch_errors_total", reason="refused") == 2


@pytest.mark.parametrize("gone", [True, False], ids=["gone", "another of its name"])
async def test_a_pod_that_is_not_there_any_more_is_nobody_and_not_asked_for_again(rig: Rig, gone: bool) -> None:
    async def answer(asked: Asked, stream: Stream) -> None:
        if asked.watches:
            await begin(stream)
            await trio.sleep_forever()
        elif "/pods/" not in asked.path:
            await listing(stream, slice_with_a_new_pod())
        elif gone:
            await reply(stream, failure(404, "not found"), 404)
        else:
            await reply(stream, pod_of("10.0.0.77", uid="u78"))

    rig.answer = answer
    async with rig.running():
        await until(lambda: len(rig.asked) == 3 and rig.counted("unknown") == 1)
        rig.mode.sees([])
        await trio.sleep(0.2)
        assert len(rig.asked) == 3
        assert rig.addresses == ["10.0.0.1", "10.0.0.2"]


async def test_nothing_is_asked_while_an_operator_agrees_or_was_there_a_moment_ago(rig: Rig) -> None:
    rig.answer = one_is_gone
    async with rig.running(after_s=0.1):
        rig.mode.agreed()
        await trio.sleep(0.3)
        assert not rig.asked
        for _ in range(5):
            rig.mode.lost()
            rig.mode.agreed()
        await trio.sleep(0.3)
        assert not rig.asked
        rig.mode.lost()
        await until(lambda: rig.addresses == ["10.0.0.1"])


async def test_the_operators_word_holds_as_soon_as_it_agrees_and_the_next_absence_counts_anew(rig: Rig) -> None:
    rig.answer = one_is_gone
    async with rig.running(after_s=0.1):
        await until(lambda: rig.addresses == ["10.0.0.1"])
        rig.mode.agreed()
        assert rig.addresses == ["10.0.0.1", "10.0.0.2"]
        assert rig.told == 2
        await until(lambda: not rig.mode.is_active)
        assert rig.counted("gone") == 0
        assert rig.metrics.get("weft_degraded_active") == 0.0
        rig.mode.lost()
        assert rig.addresses == ["10.0.0.1", "10.0.0.2"]
        await until(lambda: rig.addresses == ["10.0.0.1"])


async def test_what_an_operator_sends_ends_it_without_telling_twice(rig: Rig) -> None:
    rig.answer = one_is_gone
    async with rig.running():
        await until(lambda: rig.addresses == ["10.0.0.1"])
        rig.mode.agreed(tell=False)
        rig.held = config("10.0.0.5")
        rig.mode.configured(rig.held)
        assert rig.addresses == ["10.0.0.5"]
        assert rig.told == 1
        await until(lambda: not rig.mode.is_active)


async def test_another_configuration_without_an_operator_is_worked_on_from_then_on(rig: Rig) -> None:
    rig.answer = one_is_gone
    async with rig.running():
        await until(lambda: rig.addresses == ["10.0.0.1"])
        rig.held = config("10.0.0.1", "10.0.0.3")
        rig.mode.configured(rig.held)
        assert rig.addresses == ["10.0.0.1", "10.0.0.3"], "never what was worked out from something else"
        await until(lambda: rig.addresses == ["10.0.0.1"])


async def test_a_refusal_is_told_with_its_remedy_and_takes_nothing_away(rig: Rig) -> None:
    async def answer(asked: Asked, stream: Stream) -> None:
        await reply(stream, failure(403, "because"), 403)

    rig.answer = answer
    async with rig.running():
        await until(lambda: any("list and watch endpointslices" in text for text in rig.mode.warnings()))
        assert rig.addresses == ["10.0.0.1", "10.0.0.2"]
        assert rig.metrics.get("weft_degraded_watch_errors_total", reason="refused") >= 1
        assert rig.metrics.get("weft_degraded_watch_connected") == 0.0
        rig.answer = one_is_gone
        await until(lambda: rig.addresses == ["10.0.0.1"] and not list(rig.mode.warnings()))


async def test_an_api_server_that_goes_away_leaves_what_it_told_last(rig: Rig) -> None:
    async def answer(asked: Asked, stream: Stream) -> None:
        if asked.watches:
            await begin(stream)
        elif len(rig.asked) == 1:
            await listing(stream, endpoint_slice("10.0.0.1"))

    rig.answer = answer
    async with rig.running():
        await until(lambda: any("broke off" in text for text in rig.mode.warnings()) and rig.addresses == ["10.0.0.1"])
