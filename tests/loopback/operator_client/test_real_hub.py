"""Both planes together: the agent's stream and certificates against the operator's real hub and authority, over real TLS."""

import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
import trio

from weft_agent.control.config_source import Config
from weft_agent.operator_client.bearer import read_token
from weft_agent.operator_client.certificates import Certificates
from weft_agent.operator_client.https import post
from weft_agent.operator_client.stream import ConfigStream, StreamSettings
from weft_agent.operator_client.transport import Endpoint
from weft_agent.telemetry.log import Log
from weft_agent.telemetry.metrics import Metrics
from weft_contract.codec import decode_resource
from weft_contract.limits import Limits
from weft_contract.stream import CERTIFICATE_PATH, CertificateRequest, Pods
from weft_core.snapshot import SnapshotBuilder
from weft_operator.ca import Authority, create_intermediate, create_root
from weft_operator.distribution.session import State
from weft_testing import objects as o
from weft_testing.served_hub import TRUST_DOMAIN, ServedHub, served_hub

pytestmark = pytest.mark.trio

LIMITS = Limits(
    operator_backoff_first_s=0.02, operator_backoff_max_s=0.1, snapshot_interval_s=0.1, certificate_retry_first_s=0.05
)


class Worker:
    """A worker's view: the real snapshot builder, without sockets."""

    def __init__(self) -> None:
        self.generation = 0
        self.builder = SnapshotBuilder()
        self.refuse: dict[str, str] = {}
        self._told: dict[str, str] = {}
        self._refused: list[tuple[int, str, str]] = []

    def apply(self, config: Config) -> None:
        self.generation += 1
        changed = [key for key, (item_hash, _) in config.entries.items() if self._told.get(key) != item_hash]
        removes = [key for key in self._told if key not in config.entries]
        taken = [decode_resource(config.entries[key][1]) for key in changed if key not in self.refuse]
        _, refused = self.builder.apply(taken, removes)
        refused += [(key, self.refuse[key]) for key in changed if key in self.refuse]
        self._refused += [(self.generation, key, reason) for key, reason in refused]
        self._told = {key: item_hash for key, (item_hash, _) in config.entries.items()}

    async def until_in_force(self, generation: int) -> None:
        await trio.lowlevel.checkpoint()

    def take_refusals(self) -> list[tuple[int, str, str]]:
        found, self._refused = self._refused, []
        return found


class Node:
    """An agent's operator side on one node."""

    def __init__(self, hub: ServedHub, name: str, directory: Path) -> None:
        self.name = name
        self.worker = Worker()
        self.lines: list[bytes] = []
        self.metrics = Metrics()
        self.endpoint = Endpoint("127.0.0.1", hub.port, hub.roots_path, 5.0)
        self.token = hub.token_path(name)
        self.identity = directory / "identity"
        self.pods = Pods()
        settings = StreamSettings(
            node=name,
            build="1.0",
            endpoint=self.endpoint,
            token=self.token,
            snapshot=directory / "disk",
            limits=LIMITS,
        )
        log = Log(self.lines.append, "json", "debug")
        self.stream = ConfigStream(settings, self.worker, lambda: self.pods, log, self.metrics, Random(1))
        self.certificates = Certificates(self.identity, LIMITS, self.ask, log, self.metrics, Random(2))
        self.stream.connected = self.certificates.hurry

    async def ask(self, request: CertificateRequest) -> bytes:
        body = msgspec.json.encode(request)
        return await post(self.endpoint, read_token(self.token), CERTIFICATE_PATH, body, 5.0)

    def apply(self, config: Config) -> None:
        self.worker.apply(config)
        self.certificates.want({workload.identity for workload in config.workloads}, config.bundles)

    def holds(self) -> dict[str, str]:
        current = self.stream.current
        return {} if current is None else {key: item_hash for key, (item_hash, _) in current.entries.items()}

    def events(self, name: str) -> list[dict[str, Any]]:
        return [event for line in self.lines if (event := json.loads(line))["event"] == name]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.stream.run, self.apply)
            nursery.start_soon(self.certificates.run)
            yield
            nursery.cancel_scope.cancel()


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait for what happens in another thread's loop, which is no event of ours."""
    with trio.move_on_after(20):
        while not condition():  # noqa: ASYNC110 - as the docstring says
            await trio.sleep(0.01)
        return
    raise TimeoutError(what)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[ServedHub]:
    directory = tmp_path / "hub"
    directory.mkdir()
    with served_hub(directory) as hub:
        hub.change(
            o.node("n1", "172.16.0.1"),
            o.node("n2", "172.16.0.2"),
            o.namespace("shop"),
            o.pod("web", "10.0.0.1", node="n1", account="web"),
            o.pod("db", "10.0.0.2", node="n2", account="db"),
            *(o.service(f"s{number}", 80, addresses=[f"10.96.0.{number + 1}"]) for number in range(20)),
        )
        yield hub


@pytest.fixture
def node(hub: ServedHub, tmp_path: Path) -> Node:
    return Node(hub, "n1", tmp_path)


async def in_step(hub: ServedHub, node: Node) -> None:
    await until(lambda: node.holds() == hub.should_hold(node.name), "the node holds what it should")
    await until(lambda: [each for each in hub.call(lambda: hub.hub.nodes) if each.behind == 0], "all is acknowledged")


async def test_a_node_is_brought_up_to_date_kept_so_and_its_hub_knows(hub: ServedHub, node: Node) -> None:
    async with node.running():
        await in_step(hub, node)
        assert "Workload/shop/web" in node.holds()
        hub.change(o.service("s0", 81), drop=(("Service", "shop/s1"),))
        await in_step(hub, node)
        assert "Service/shop/s1" not in node.holds()
        assert node.worker.builder.snapshot.resources.keys() == node.holds().keys()


async def test_a_reconnect_and_a_restart_bring_differences_only(hub: ServedHub, node: Node, tmp_path: Path) -> None:
    async with node.running():
        await in_step(hub, node)
        node.stream.reload()
        await until(lambda: len(node.events("operator-connected")) == 2, "it is connected again")
        hub.change(o.service("late", 80, addresses=["10.96.1.1"]))
        await in_step(hub, node)
        sent = [event["changed"] for event in node.events("config-changed")]
        assert sent[0] > 20
        assert max(sent[1:]) <= 3
    again = Node(hub, "n1", tmp_path)
    async with again.running():
        await until(lambda: again.events("operator-connected"), "it is connected")
        hub.change(o.service("later", 80, addresses=["10.96.1.2"]))
        await in_step(hub, again)
        first, *others = again.events("config-changed")
        assert first["origin"] == "snapshot"
        assert max(event["changed"] for event in others) <= 3


async def test_a_goodbye_of_the_hub_is_honoured_and_the_node_comes_back(hub: ServedHub, node: Node) -> None:
    async with node.running():
        await in_step(hub, node)
        await trio.to_thread.run_sync(hub.stop)
        await until(lambda: node.events("operator-away"), "it was told goodbye")
        assert node.events("operator-away")[0]["reason"] == "goodbye"
        assert any("no operator for" in text for text in node.stream.degraded())
        await trio.to_thread.run_sync(hub.start)
        hub.change(o.service("after", 80, addresses=["10.96.1.1"]))
        await in_step(hub, node)
        assert list(node.stream.degraded()) == []


async def test_a_refused_resource_is_known_at_the_hub_and_told_again_by_the_next_session(
    hub: ServedHub, node: Node
) -> None:
    async with node.running():
        await in_step(hub, node)
        good = node.holds()["Service/shop/s0"]
        node.worker.refuse = {"Service/shop/s0": "not today"}  # no compiler of ours would make what workers refuse
        hub.change(o.service("s0", 8080, addresses=["10.96.0.1"]))

        def refusals() -> dict[str, str]:
            nodes = hub.call(lambda: tuple(hub.hub.nodes))  # none between two sessions
            return {key: refusal.reason for status in nodes for key, refusal in status.refused.items()}

        await until(lambda: refusals() == {"Service/shop/s0": "not today"}, "the hub knows")
        assert node.holds()["Service/shop/s0"] == good
        node.stream.reload()
        await until(lambda: len(node.events("operator-connected")) == 2, "it is connected again")
        await until(lambda: refusals() == {"Service/shop/s0": "not today"}, "the hub knows again")
        (item,) = [each for each in hub.call(lambda: list(hub.twin.board.items("n1"))) if each.key == "Service/shop/s0"]
        assert hub.call(lambda: hub.hub.state("n1", item))[0] is State.REFUSED


async def test_certificates_are_had_for_what_runs_here_and_for_nothing_else(hub: ServedHub, node: Node) -> None:
    web = f"spiffe://{TRUST_DOMAIN}/ns/shop/sa/web"
    async with node.running():
        await until(lambda: node.events("certificate-issued"), "a certificate is there")
        assert [event["identity"] for event in node.events("certificate-issued")] == [web]
        hub.change(o.pod("two", "10.0.0.3", node="n1", account="two"))
        await until(lambda: len(node.events("certificate-issued")) == 2, "another one, for a new pod")
        node.certificates.want([web, f"spiffe://{TRUST_DOMAIN}/ns/shop/sa/db"], node.stream.current.bundles)  # type: ignore[union-attr]  # it is there
        await until(lambda: node.events("certificate-not-issued"), "what runs elsewhere is refused")
        told = node.events("certificate-not-issued")[0]
        assert "403" in told["error"]
        assert len(node.events("certificate-issued")) == 2


async def test_a_root_is_replaced_with_overlap(hub: ServedHub, node: Node) -> None:
    """New root beside the old, signing moves, old root leaves: certificates follow, and the bundle is acknowledged."""
    async with node.running():
        await until(lambda: node.events("certificate-issued"), "a certificate is there")
        new = create_root(TRUST_DOMAIN, now_unix_s=time.time())
        hub.replace_roots(hub.root.certificate_pem, new.certificate_pem)
        await in_step(hub, node)
        hub.authority = Authority(create_intermediate(new, TRUST_DOMAIN, now_unix_s=time.time()), TRUST_DOMAIN)
        hub.replace_roots(new.certificate_pem)
        await until(lambda: len(node.events("certificate-issued")) == 2, "the certificate of the old root is replaced")
        await in_step(hub, node)


async def test_pods_reach_the_hub(hub: ServedHub, node: Node) -> None:
    node.pods = Pods(captured=("shop/web",))
    async with node.running():
        await until(
            lambda: [each for each in hub.call(lambda: hub.hub.nodes) if each.pods == node.pods], "they are told"
        )
