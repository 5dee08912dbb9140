"""Weft on real nodes while things end: updates, killed agents and kubelets, pods that start with their agents, a lost node.

Each test prints its figures. The short form sends some thousand requests; WEFT_LONG=1 sends more than 50 000 over the updates
alone and starts 60 pods: `WEFT_LONG=1 WEFT_REQUIRE_CLUSTER=1 pytest -s tests/cluster/test_mesh_faults.py` (ten minutes).
"""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

import pytest

from weft_contract.labels import API_VERSION
from weft_contract.limits import DEFAULT_LIMITS
from weft_lab.demonstration.wire import WireTap
from weft_testing.cluster.api import KubectlError
from weft_testing.cluster.binaries import Say
from weft_testing.cluster.cluster import Cluster
from weft_testing.cluster.demo.scene import CLIENT_NODE, MESH_LABEL, SERVER_NODE, namespace, pod
from weft_testing.cluster.demo.stage import Stage
from weft_testing.cluster.helm import NAMESPACE, RELEASE, Charts, Helm, install_weft
from weft_testing.cluster.node_files import KUBELET
from weft_testing.cluster.processes import wait_until
from weft_testing.cluster.scene import Scene
from weft_testing.cluster.traffic import LongTalk, Source
from weft_testing.cluster.weft_images import weft_images

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

LONG: Final = bool(os.environ.get("WEFT_LONG"))
RATE: Final = 200 if LONG else 100
"""Requests per second."""
SECONDS: Final = 90 if LONG else 30
PODS: Final = 60 if LONG else 20
WAIT_S: Final = 240
FORCED_GAP_S: Final = 30.0
"""Without an answer, at most, where an agent is killed: a new one is scheduled, starts, and takes over."""
FAULTS: Final = "faults"
STORM: Final = "storm"
STEADY: Final = "steady"
PLAIN: Final = "plain"
NEXT: Final = "0.1.1-next"
"""Version of the charts and tag of the images that are upgraded to; the same programs, so that a rollback is one too."""
PORT: Final = 8099
ECHO: Final = 7000
READABLE: Final = (
    f"tcp port {PORT} and ("
    "(ip and (tcp[((tcp[12] & 0xf0) >> 2):4] = 0x47455420 or tcp[((tcp[12] & 0xf0) >> 2):4] = 0x48545450)) or "
    "(ip6 and ip6[6] = 6 and "
    "(ip6[40 + ((ip6[52] & 0xf0) >> 2):4] = 0x47455420 or ip6[40 + ((ip6[52] & 0xf0) >> 2):4] = 0x48545450)))"
)
"""Packets whose payload begins with `GET ` or `HTTP`; nothing but the pods of these tests uses the port."""


def scene(name: str, **labels: str) -> list[dict[str, object]]:
    """Return a namespace with a server on one node, a client on the other, and a Service."""
    return [
        namespace(name, **labels),
        pod(name, "server", SERVER_NODE, {"serve": PORT, "tcp-echo": ECHO}),
        pod(name, "client", CLIENT_NODE, {}),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "server", "namespace": name},
            "spec": {
                "selector": {"app": "server"},
                "ports": [{"name": "http", "port": PORT}, {"name": "tcp-echo", "port": ECHO}],
            },
        },
    ]


def strict(name: str) -> dict[str, object]:
    metadata = {"name": "default", "namespace": name}
    return {
        "apiVersion": API_VERSION, "kind": "PeerAuthentication", "metadata": metadata, "spec": {"mtls": {"mode": "STRICT"}},
    }  # fmt: skip


def ready(stage: Stage, name: str, *pods: str) -> None:
    stage.kubectl(
        f"--namespace={name}", "wait", "--for=condition=Ready", f"--timeout={WAIT_S}s", *pods, timeout_s=WAIT_S + 10
    )


def service(stage: Stage, name: str) -> str:
    address: str = stage.kubectl.get(f"--namespace={name}", "service", "server")["spec"]["clusterIP"]
    return address


@pytest.fixture(scope="module")
def stage(mesh: Cluster, helm: Helm) -> Stage:
    made = Stage(mesh, helm)
    mesh.load(*weft_images(("agent", "operator"), tag=NEXT))
    made.apply(*scene(FAULTS, **{MESH_LABEL: "enabled"}), strict(FAULTS), *scene(PLAIN))
    for name in (FAULTS, PLAIN):
        ready(made, name, "pod/client", "pod/server")
    return made


@pytest.fixture(scope="module")
def source(stage: Stage) -> Source:
    return Source.of(stage, CLIENT_NODE, "client", FAULTS)


@pytest.fixture(scope="module")
def url(stage: Stage, source: Source) -> str:
    """Where requests go; answered by now, over mutual TLS, for the server takes nothing else."""
    url = f"http://{service(stage, FAULTS)}:{PORT}/load"
    wait_until(lambda: answered(source, url), "the server answered", WAIT_S)
    return url


@pytest.fixture(scope="module")
def steady(stage: Stage) -> Scene:
    """Calls of every kind beside the load: kept and new, HTTP and TCP."""
    return Scene(stage, STEADY)


def answered(source: Source, url: str) -> bool:
    process = source.start("get", "--fail", "--timeout", "2", url)
    process.communicate(timeout=10)
    return process.returncode == 0


# -- what happens under load ------------------------------------------------------------------------------------------


def roll(workload: str) -> Callable[[Stage], None]:
    def act(stage: Stage) -> None:
        place = f"--namespace={NAMESPACE}"
        stage.kubectl(place, "rollout", "restart", workload)
        stage.kubectl(place, "rollout", "status", workload, f"--timeout={WAIT_S}s", timeout_s=WAIT_S + 10)

    return act


def upgrade(stage: Stage) -> None:
    """Upgrade both charts to packages of another version: definitions, agents, operator, webhooks, all at once."""
    install_weft(stage.helm, charts=Charts.packaged(stage.helm, stage.cluster.record.directory, NEXT))
    assert running_images(stage) == {NEXT}


def roll_back(stage: Stage) -> None:
    """Go back to the first version, as one does when the new one disappoints."""
    stage.helm("rollback", RELEASE, f"--namespace={NAMESPACE}", "--wait", f"--timeout={WAIT_S}s")
    assert NEXT not in running_images(stage)


def running_images(stage: Stage) -> set[str]:
    """Return the tags of what the mesh's pods that are not ending run."""
    pods = stage.kubectl.get(f"--namespace={NAMESPACE}", "pods")["items"]
    staying = [each for each in pods if "deletionTimestamp" not in each["metadata"]]
    return {container["image"].rpartition(":")[2] for each in staying for container in each["spec"]["containers"]}


UPDATES: Final[dict[str, Callable[[Stage], None]]] = {
    "agents restarted": roll("daemonset/weft-agent"),
    "operator restarted": roll("deployment/weft-operator"),
    "helm upgrade": upgrade,
    "helm rollback": roll_back,
}


def kill_kubelets(stage: Stage) -> None:
    for node in stage.cluster.nodes.values():
        before = node.process(KUBELET)
        node.kill(KUBELET)
        wait_until(lambda node=node, before=before: node.process(KUBELET) not in (None, before), "it was back", 30)  # type: ignore[misc]  # a default binds the loop's value
        node.wait_ready()


def delete_agents_by_force(stage: Stage) -> None:
    for node in stage.cluster.nodes:
        old = stage.agent_on(node)
        stage.kubectl(f"--namespace={NAMESPACE}", "delete", "pod", old, "--force", "--grace-period=0")
        wait_until(lambda node=node, old=old: new_agent(stage, node, old), f"{node} had a new agent", WAIT_S)  # type: ignore[misc]  # as above


def new_agent(stage: Stage, node: str, old: str) -> bool:
    """Whether a node's agent is another pod now, and ready."""
    try:
        name = stage.agent_on(node)
    except StopIteration:
        return False
    conditions = stage.kubectl.get(f"--namespace={NAMESPACE}", "pod", name)["status"].get("conditions", ())
    return name != old and any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


@pytest.mark.parametrize("update", UPDATES)
def test_an_update_fails_no_request_and_cuts_no_connection_before_the_drain_limit(
    stage: Stage, source: Source, url: str, steady: Scene, say: Say, update: str
) -> None:
    with (
        steady.calls() as calls,
        LongTalk(source, service(stage, FAULTS), ECHO) as talk,
        source.load(url, rate=RATE, seconds=SECONDS) as outcome,
    ):
        wait_until(lambda: bool(talk.answered_s), "the connection was in use", 10)
        began = time.monotonic()
        UPDATES[update](stage)
        took_s = time.monotonic() - began
        talk.over.wait(max(0.0, DEFAULT_LIMITS.drain_timeout_s - took_s))
        lived_s = talk.answered_s[-1] - began
    say(f"{update}: done in {took_s:.0f} s; a long connection lived {lived_s:.0f} s on; {outcome}")
    say(calls.check(but="long TCP"))
    assert outcome.failed == 0, outcome
    assert outcome.requests >= RATE * SECONDS * 0.95
    assert lived_s >= DEFAULT_LIMITS.drain_timeout_s - 2, (
        "older than the update, so it is carried to the limit at least"
    )


def test_killed_kubelets_fail_no_request(stage: Stage, source: Source, url: str, say: Say) -> None:
    with LongTalk(source, service(stage, FAULTS), ECHO) as talk:
        with source.load(url, rate=RATE, seconds=SECONDS) as outcome:
            kill_kubelets(stage)
        assert not talk.over.is_set()
    say(f"kubelets killed: {outcome}")
    assert outcome.failed == 0, outcome


def test_agents_deleted_by_force_are_replaced_and_nothing_is_readable_meanwhile(
    stage: Stage, source: Source, url: str, say: Say
) -> None:
    with WireTap(stage, CLIENT_NODE, interface="any", only=READABLE) as tap:
        with source.load(url, rate=RATE, seconds=SECONDS) as outcome:
            delete_agents_by_force(stage)
        wait_until(lambda: answered(source, url), "the server answered again", WAIT_S)
    say(f"agents deleted by force, one after the other: {outcome}")
    assert tap.wire.empty, "plaintext on the wire"
    assert outcome.longest_gap_ms <= FORCED_GAP_S * 1000, outcome


# -- pods that start while agents start -------------------------------------------------------------------------------


def test_pods_that_start_while_agents_start_never_speak_plainly(stage: Stage, say: Say) -> None:
    """They call from their first moment on, and no policy forbids plaintext: only the gate keeps them from it."""
    assert_the_tap_sees_plaintext(stage)
    stage.apply(*scene(STORM, **{MESH_LABEL: "enabled"}))
    ready(stage, STORM, "pod/server")
    calls = ("load", "--rps", "1", "--duration", "86400", "--connections", "1", f"http://server:{PORT}/storm")
    nodes = sorted(stage.cluster.nodes)
    pods = [pod(STORM, f"storm-{number}", nodes[number % len(nodes)], {}, *calls) for number in range(PODS)]
    with ExitStack() as stack:
        taps = [stack.enter_context(WireTap(stage, node, interface="any", only=READABLE)) for node in nodes]
        agents = [stage.agent_on(node) for node in nodes]
        stage.kubectl(
            f"--namespace={NAMESPACE}", "delete", "pod", *agents, "--force", "--grace-period=0", "--wait=false"
        )
        began = time.monotonic()
        stage.apply(*pods)
        ready(stage, STORM, *(f"pod/storm-{number}" for number in range(PODS)))
        took_s = time.monotonic() - began
        wait_until(lambda: mutual(stage, STORM) > PODS, "they called by mutual TLS", WAIT_S)
    say(
        f"{PODS} pods started while the agents did: all ready after {took_s:.0f} s, {mutual(stage, STORM):.0f} mutual TLS calls"
    )
    assert all(tap.wire.empty for tap in taps), "plaintext on the wire"
    stage.kubectl("delete", "namespace", STORM, "--wait=false")


def assert_the_tap_sees_plaintext(stage: Stage) -> None:
    plain = Source.of(stage, CLIENT_NODE, "client", PLAIN)
    with WireTap(stage, CLIENT_NODE, interface="any", only=READABLE) as tap:
        assert answered(plain, f"http://{service(stage, PLAIN)}:{PORT}/seen")
    assert tap.wire.shows("GET /seen"), "a tap that sees nothing proves nothing"


def mutual(stage: Stage, name: str) -> float:
    """Return how many calls in a namespace the server's agent has counted as mutual TLS."""
    labels = {
        "reporter": "destination",
        "connection_security_policy": "mutual_tls",
        "destination_workload_namespace": name,
    }
    try:
        return stage.count(SERVER_NODE, "istio_requests_total", labels)
    except (KubectlError, StopIteration):
        return 0.0  # the agent is not there yet


# -- pods that leave --------------------------------------------------------------------------------------------------


def test_pods_whose_connections_only_rest_are_released_at_once(stage: Stage, say: Say) -> None:
    """A tunnel stays for minutes after the last request; it is nobody's who would miss it."""
    client = Source.of(stage, CLIENT_NODE, "client", PLAIN)
    server = stage.netns(SERVER_NODE, stage.addresses("server", PLAIN)[4])
    url = f"http://{service(stage, PLAIN)}:{PORT}/rest"
    stage.kubectl("label", "namespace", PLAIN, f"{MESH_LABEL}=enabled")
    wait_until(lambda: answered(client, url) and mutual(stage, PLAIN) > 0, "they spoke mutual TLS", WAIT_S)
    stage.kubectl("label", "namespace", PLAIN, f"{MESH_LABEL}-")

    def released() -> bool:
        pairs = ((CLIENT_NODE, client.netns), (SERVER_NODE, server))
        return not any("weft" in stage.rules(node, netns) for node, netns in pairs)

    took_s = wait_until(released, "their rules were gone", WAIT_S)
    say(f"label taken away, connections at rest: rules gone on both nodes after {took_s:.1f} s")
    assert took_s < DEFAULT_LIMITS.drain_timeout_s / 2
    assert answered(client, url)


# -- a node that is lost ----------------------------------------------------------------------------------------------


def test_a_node_that_reboots_is_in_the_mesh_again_and_nothing_is_readable_meanwhile(
    stage: Stage, source: Source, url: str, say: Say
) -> None:
    """Last, for it takes the server away: the pods of a node that lost its power are made anew from their sandboxes on."""
    with WireTap(stage, CLIENT_NODE, interface="any", only=READABLE) as tap:
        began = time.monotonic()
        stage.cluster.nodes[SERVER_NODE].reboot()
        stage.cluster.nodes[SERVER_NODE].wait_ready()
        ready_s = time.monotonic() - began
        wait_until(lambda: answered(source, url), "the server answered by mutual TLS again", WAIT_S)
        took_s = time.monotonic() - began
    say(f"{SERVER_NODE} lost its power: ready after {ready_s:.0f} s, its server answers after {took_s:.0f} s")
    assert tap.wire.empty, "plaintext on the wire"
