"""On real nodes: the gate by the webhook alone, which fails closed, and the change to the policy and back without a gap."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from weft_contract.gate import GATE_CONTAINER
from weft_contract.labels import MESH_ENABLED, MESH_LABEL
from weft_testing.cluster.api import Api
from weft_testing.cluster.cluster import Cluster
from weft_testing.cluster.fixtures import fresh_namespace
from weft_testing.cluster.helm import NAMESPACE, Helm, install_weft
from weft_testing.cluster.processes import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

POD = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "none"}]}}
BY_WEBHOOK = ("webhooks.gate.by=Webhook",)
BY_ITSELF = ("webhooks.gate.by=Auto",)
"""Given, because Helm keeps the values of before where none are given."""
WAIT_S = 60
PERIOD_S = 0.05


@pytest.fixture
def pods(mesh: Cluster) -> Iterator[str]:
    """The path of dry runs of pods in a namespace of the mesh."""
    with fresh_namespace(mesh.control_plane.api, {MESH_LABEL: MESH_ENABLED}) as name:
        yield f"/api/v1/namespaces/{name}/pods?dryRun=All"


def outcome(api: Api, pods: str) -> str:
    """Return what would become of a pod of the mesh: `gated`, `ungated`, or why it is refused."""
    status, answer = api.send("POST", pods, POD)
    if status != 201:
        return str(answer["message"])
    names = [each["name"] for each in answer["spec"].get("initContainers", ())]
    return "gated" if names[:1] == [GATE_CONTAINER] else "ungated"


@contextmanager
def all_the_while(ask: Callable[[], str]) -> Iterator[Counter[str]]:
    """Ask without pause while the block lasts, and count the answers."""
    answers: Counter[str] = Counter()
    ending = threading.Event()

    def run() -> None:
        while not ending.wait(PERIOD_S):
            answers[ask()] += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield answers
    finally:
        ending.set()
        thread.join()


def test_the_gate_by_the_webhook_alone_and_no_gap_where_it_changes_hands(
    mesh: Cluster, helm: Helm, pods: str, capsys: pytest.CaptureFixture[str]
) -> None:
    api, kubectl = mesh.control_plane.api, mesh.kubectl
    operator = (f"--namespace={NAMESPACE}", "deployment/weft-operator")

    def ask() -> str:
        return outcome(api, pods)

    def policies() -> str:
        return kubectl("get", "mutatingadmissionpolicy", "-o=name")

    wait_until(lambda: ask() == "gated", "the policy was in force", WAIT_S)
    try:
        with all_the_while(ask) as answers:
            assert "weft-gate" in policies(), "the chart found the kind by itself"
            install_weft(helm, BY_WEBHOOK)
            assert "weft-gate" not in policies()
            wait_until(lambda: ask() == "gated", "the webhook put it in", WAIT_S)
            install_weft(helm, BY_ITSELF)
            assert "weft-gate" in policies()
        assert answers.keys() == {"gated"}, answers
        install_weft(helm, BY_WEBHOOK)
        kubectl("scale", *operator, "--replicas=0")
        wait_until(lambda: "gate.weft.dev" in ask(), "pods of the mesh were refused", WAIT_S)
    finally:
        install_weft(helm, BY_ITSELF)
        kubectl("scale", *operator, "--replicas=2")
        kubectl("rollout", "status", *operator, f"--timeout={WAIT_S}s")
    with capsys.disabled():
        print(f"\nthe gate changed hands twice: {dict(answers)}")  # noqa: T201 - for whoever watches the tests run
