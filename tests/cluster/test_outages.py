"""What becomes of traffic on real nodes while no operator runs, and while the API server is away: nothing, and it is told."""

import pytest

from weft_contract.gate import GATE_CONTAINER
from weft_testing.cluster.api import KubectlError
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


def test_without_any_operator_traffic_and_pods_of_known_identities_go_on_and_status_says_what_is_missing(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    scene.stage.apply(scene.pod("client", "client-2", held=True), scene.pod("server", "server-2", held=True))
    wait_in_order(scene)
    with scene.calls() as calls:
        scale(scene, 0)
        try:
            says_what_is_missing(scene)
            new_pods_serve(scene)
            with pytest.raises(KubectlError, match=r"gate\.weft\.dev"):
                scene.stage.apply(scene.pod("client", "client-3"))
        finally:
            scale(scene, 2)
        wait_in_order(scene)
        scene.stage.apply(scene.pod("client", "client-3"))
        scene.wait_ready("client-3")
        wait_in_order(scene)
    tell(capsys, f"no operator, then two: {calls.check()}")


def says_what_is_missing(scene: Scene) -> None:
    def told() -> bool:
        said = weft_status(scene)
        return said.status == 1 and said.out.count("no operator is connected") == 2 and "no operator runs" in said.err

    wait_until(told, "weft status named the operator and both nodes", WAIT_S)


def new_pods_serve(scene: Scene) -> None:
    """Pods that were admitted before and start now: their gate opens, they are captured, call and are called as members."""
    stage, names = scene.stage, ("client-2", "server-2")
    for name in names:
        scene.release(name)
    scene.wait_ready(*names)
    for name in names:
        pod = stage.kubectl.get(f"--namespace={scene.namespace}", "pod", name)
        assert pod["spec"]["initContainers"][0]["name"] == GATE_CONTAINER
    plain = {"reporter": "destination", "connection_security_policy": "none"}
    plain["destination_workload_namespace"] = scene.namespace
    assert fetch(scene, "client-2", f"http://{scene.address}/from-client-2") == "200"
    assert stage.count(SERVER_NODE, "istio_requests_total", plain) == 0, "every call came in mutual TLS"
    server = stage.addresses("server-2", scene.namespace)[4]
    assert fetch(scene, "server", f"http://{server}:8080/to-server-2") == "200"
    for node in (CLIENT_NODE, SERVER_NODE):
        captured = stage.count(node, "weft_capture_state", {"state": "captured"})
        assert captured >= 2, (node, captured)


def fetch(scene: Scene, pod: str, url: str) -> str:
    """Call from a pod and return the status code."""
    command = ("curl", "-sS", "--max-time", "10", "-o", "/dev/null", "-w", "%{http_code}", url)
    answer = scene.stage.in_pod(pod, *command, namespace=scene.namespace)
    return answer.text or answer.errors


def tell(capsys: pytest.CaptureFixture[str], text: str) -> None:
    with capsys.disabled():
        print(f"\n{text}")  # noqa: T201 - for whoever watches the tests run
