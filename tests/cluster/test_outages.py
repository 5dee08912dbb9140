"""What becomes of traffic on real nodes while no operator runs, and while the API server is away: nothing, and it is told."""

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from weft_contract.gate import GATE_CONTAINER
from weft_testing.cluster.api import Object
from weft_testing.cluster.binaries import Say
from weft_testing.cluster.cluster import Cluster
from weft_testing.cluster.components import API_SERVER
from weft_testing.cluster.demo.scene import CLIENT_NODE, SERVER_NODE
from weft_testing.cluster.demo.stage import Stage
from weft_testing.cluster.helm import NAMESPACE, Helm
from weft_testing.cluster.processes import wait_until
from weft_testing.cluster.scene import WAIT_S, Scene
from weft_testing.lab import Ran, run_weft

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

OPERATOR = "deployment/weft-operator"
DEGRADED_S = 150
"""`degraded_after_s` and `degraded_jitter_s`, and some."""
PLACE = f"--namespace={NAMESPACE}"


@pytest.fixture(scope="module")
def scene(mesh: Cluster, helm: Helm) -> Scene:
    return Scene(Stage(mesh, helm), "outages")


def weft_status(scene: Scene) -> Ran:
    return run_weft("status", KUBECONFIG=str(scene.stage.cluster.kubeconfig))


def wait_in_order(scene: Scene) -> None:
    wait_until(lambda: weft_status(scene).status == 0, "weft status had nothing to say", WAIT_S)


def scale(scene: Scene, replicas: int) -> None:
    """Have so many replicas: none is killed at once, some are waited for."""
    kubectl = scene.stage.kubectl
    kubectl(PLACE, "scale", OPERATOR, f"--replicas={replicas}")
    if replicas:
        kubectl(PLACE, "rollout", "status", OPERATOR, f"--timeout={WAIT_S}s")
        return
    pods = "--selector=app.kubernetes.io/component=operator"
    kubectl(PLACE, "delete", "pod", pods, "--grace-period=0", "--force")
    wait_until(lambda: not kubectl.get(PLACE, "pods", pods)["items"], "no operator was left", WAIT_S)


def test_an_api_server_that_is_killed_and_comes_back_fails_no_call(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    wait_in_order(scene)
    plane = scene.stage.cluster.control_plane
    with scene.calls() as calls:
        for _ in range(2):
            plane.restart(API_SERVER)
            wait_in_order(scene)
    tell(capsys, f"API server killed twice: {calls.check()}")


@pytest.fixture(scope="module")
def away(scene: Scene, say: Say) -> Iterator[Scene]:
    """The scene without any operator, under calls of which none may fail, also when two come back; all pods are ready then."""
    scene.stage.apply(scene.pod("client", "client-2", held=True), scene.pod("server", "server-2", held=True))
    scene.stage.apply(*grown(scene), account(scene))
    rolled_out(scene)
    wait_in_order(scene)
    with scene.calls() as calls:
        scale(scene, 0)
        try:
            yield scene
        finally:
            scale(scene, 2)
        scene.release("client-2")
        scene.release("server-2")
        scene.stage.kubectl(
            f"--namespace={scene.namespace}", "wait", "pod", "--all", "--for=condition=Ready", f"--timeout={WAIT_S}s"
        )
        wait_in_order(scene)
    say(f"no operator, then two: {calls.check()}\n")


def test_without_any_operator_status_says_what_is_missing(away: Scene) -> None:
    def told() -> bool:
        said = weft_status(away)
        return said.status == 1 and said.out.count("no operator is connected") == 2 and "no operator runs" in said.err

    wait_until(told, "weft status named the operator and both nodes", WAIT_S)


def test_without_any_operator_pods_that_were_admitted_before_start_and_serve(away: Scene) -> None:
    """Pods that were admitted before and start now: their gate opens, they are captured, call and are called as members."""
    stage, names = away.stage, ("client-2", "server-2")
    for name in names:
        away.release(name)
    away.wait_ready(*names)
    for name in names:
        pod = stage.kubectl.get(f"--namespace={away.namespace}", "pod", name)
        assert pod["spec"]["initContainers"][0]["name"] == GATE_CONTAINER
    plain = {"reporter": "destination", "connection_security_policy": "none"}
    plain["destination_workload_namespace"] = away.namespace
    assert fetch(away, "client-2", f"http://{away.address}/from-client-2") == "200"
    assert stage.count(SERVER_NODE, "istio_requests_total", plain) == 0, "every call came in mutual TLS"
    server = stage.addresses("server-2", away.namespace)[4]
    assert fetch(away, "server", f"http://{server}:8080/to-server-2") == "200"
    for node in (CLIENT_NODE, SERVER_NODE):
        captured = stage.count(node, "weft_capture_state", {"state": "captured"})
        assert captured >= 2, (node, captured)


def grown(scene: Scene) -> tuple[Object, ...]:
    """A Deployment with a pod on each node, whose pods are made by a controller as those of a rollout; and its Service."""
    made = scene.pod("server")
    labels = {"app": "grown"}
    spread = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule"}
    spec = {**made["spec"], "topologySpreadConstraints": [{**spread, "labelSelector": {"matchLabels": labels}}]}
    del spec["nodeSelector"]
    template = {"metadata": {"labels": labels}, "spec": spec}
    metadata = {"name": "grown", "namespace": scene.namespace}
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    deployment = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    return (
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": deployment},
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"selector": labels, "ports": ports}},
    )


def account(scene: Scene) -> Object:
    metadata = {"name": "stranger", "namespace": scene.namespace}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def rolled_out(scene: Scene) -> None:
    place = f"--namespace={scene.namespace}"
    scene.stage.kubectl(place, "rollout", "status", "deployment/grown", f"--timeout={WAIT_S}s")


def test_without_any_operator_new_pods_of_known_identities_are_made_and_serve(away: Scene) -> None:
    """Pods made while no operator runs: the API server itself gives them their gate, and both nodes know their identity."""
    stage, place = away.stage, f"--namespace={away.namespace}"
    stage.kubectl(place, "scale", "deployment/grown", "--replicas=4")
    rolled_out(away)
    pods = stage.kubectl.get(place, "pods", "--selector=app=grown")["items"]
    assert sorted(pod["spec"]["nodeName"] for pod in pods) == sorted([CLIENT_NODE, SERVER_NODE] * 2)
    assert all(pod["spec"]["initContainers"][0]["name"] == GATE_CONTAINER for pod in pods)
    for pod in pods:
        name, near = pod["metadata"]["name"], "client" if pod["spec"]["nodeName"] == CLIENT_NODE else "server"
        assert fetch(away, near, f"http://{pod['status']['podIP']}:8080/to-{name}") == "200"
        assert fetch(away, name, f"http://{away.address}/from-{name}") == "200"


def test_without_any_operator_new_pods_are_found_behind_their_service_from_both_nodes(away: Scene) -> None:
    """Agents without an operator for a minute or two ask the API server who is new on the other node, and authenticate it."""
    stage, place = away.stage, f"--namespace={away.namespace}"
    names = {pod["metadata"]["name"] for pod in stage.kubectl.get(place, "pods", "--selector=app=grown")["items"]}

    def all_know_more(name: str, least: int, **labels: str) -> bool:
        return all(stage.count(node, name, labels) >= least for node in (CLIENT_NODE, SERVER_NODE))

    wait_until(lambda: all_know_more("weft_degraded_active", 1), "both agents asked the API server", DEGRADED_S)
    wait_until(lambda: all_know_more("weft_degraded_endpoints", 2, kind="added"), "both knew the new pods", WAIT_S)
    secure = {"reporter": "destination", "connection_security_policy": "mutual_tls"}
    secure |= {"source_workload": "client", "destination_workload": "grown"}
    address = stage.kubectl.get(place, "service", "grown")["spec"]["clusterIP"]
    before = stage.count(SERVER_NODE, "istio_requests_total", secure)
    answered = Counter(who(away, "client", f"http://{address}/") for _ in range(60))
    assert answered.keys() == names
    there = stage.kubectl.get(place, "pods", "--selector=app=grown", f"--field-selector=spec.nodeName={SERVER_NODE}")
    crossed = sum(answered[pod["metadata"]["name"]] for pod in there["items"])
    assert stage.count(SERVER_NODE, "istio_requests_total", secure) == before + crossed


def who(scene: Scene, pod: str, url: str) -> str:
    """Call from a pod and return the name of the pod that answered."""
    answer = scene.stage.in_pod(pod, "curl", "-sS", "--max-time", "10", url, namespace=scene.namespace)
    assert answer.status == 0, answer
    return str(json.loads(answer.text)["pod"])


def test_without_any_operator_a_new_identity_waits_at_its_gate_and_says_so(away: Scene) -> None:
    """Nobody can sign for an identity that its node does not have: the pod is made, and waits at its gate."""
    made = away.pod("client", "stranger")
    made["spec"]["serviceAccountName"] = "stranger"
    away.stage.apply(made)
    logs = (f"--namespace={away.namespace}", "logs", "stranger", f"--container={GATE_CONTAINER}")

    def told() -> bool:
        return "no configuration for it has come yet" in away.stage.kubectl.run(*logs).stdout

    wait_until(told, "the gate said what it waits for", WAIT_S)
    pod = away.stage.kubectl.get(f"--namespace={away.namespace}", "pod", "stranger")
    assert pod["status"]["phase"] == "Pending"
    assert not any(each.get("started") for each in pod["status"].get("containerStatuses", ()))


def fetch(scene: Scene, pod: str, url: str) -> str:
    """Call from a pod and return the status code."""
    command = ("curl", "-sS", "--max-time", "10", "-o", "/dev/null", "-w", "%{http_code}", url)
    answer = scene.stage.in_pod(pod, *command, namespace=scene.namespace)
    return answer.text or answer.errors


def tell(capsys: pytest.CaptureFixture[str], text: str) -> None:
    with capsys.disabled():
        print(f"\n{text}")  # noqa: T201 - for whoever watches the tests run
