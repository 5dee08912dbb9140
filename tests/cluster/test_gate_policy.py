"""The policy by which the API server itself puts the capture gate into pods: with no operator, and as the webhook does it.

The webhook that stands behind it is installed too, and nobody answers: whatever it is asked about is refused.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from weft_contract.gate import GATE_CONTAINER
from weft_contract.labels import MESH_LABEL
from weft_operator.webhooks import GateSettings, gate_container, mutate
from weft_testing.cluster.api import Object
from weft_testing.cluster.control_plane import ControlPlane
from weft_testing.cluster.fixtures import fresh_namespace
from weft_testing.cluster.helm import CHARTS, NAMESPACE, Helm
from weft_testing.cluster.processes import wait_until
from weft_testing.reviews import patched, request_of

pytestmark = [pytest.mark.cluster]

SETTINGS: Final = GateSettings(image="registry.example/agent:v7", pull_policy="Always")
GATE: Final = gate_container(SETTINGS)
OWN: Final = ({"name": "own-1", "image": "none"}, {"name": "own-2", "image": "none", "restartPolicy": "Always"})
MOUNT: Final = {"name": "v", "mountPath": "/var/run/secrets/a"}
VOLUME: Final = {"name": "v", "emptyDir": {}}


def pod(label: str = "", *init: Mapping[str, Any], **spec: Any) -> Object:
    containers = {"containers": [{"name": "c", "image": "none"}], "initContainers": list(init)}
    labels = {MESH_LABEL: label} if label else {}
    return {
        "metadata": {"name": "p", "labels": labels},
        "spec": {"automountServiceAccountToken": False, **containers, **spec},
    }


CASES: Final[dict[str, tuple[str, Object, list[str]]]] = {
    "labelled": ("", pod("enabled"), [GATE_CONTAINER]),
    "not labelled": ("", pod(), []),
    "disabled": ("", pod("disabled"), []),
    "in a namespace of the mesh": ("enabled", pod(), [GATE_CONTAINER]),
    "labelled too": ("enabled", pod("enabled"), [GATE_CONTAINER]),
    "disabled in a namespace of the mesh": ("enabled", pod("disabled"), []),
    "another word in a namespace of the mesh": ("enabled", pod("yes"), [GATE_CONTAINER]),
    "in a namespace outside": ("disabled", pod(), []),
    "labelled in a namespace outside": ("disabled", pod("enabled"), [GATE_CONTAINER]),
    "on the node's network": ("enabled", pod("enabled", hostNetwork=True), []),
    "not on the node's network": ("", pod("enabled", hostNetwork=False), [GATE_CONTAINER]),
    "Windows": ("enabled", pod(os={"name": "windows"}), []),
    "Linux": ("enabled", pod(os={"name": "linux"}), [GATE_CONTAINER]),
    "with its own init containers": ("enabled", pod("", *OWN), [GATE_CONTAINER, "own-1", "own-2"]),
    "with the gate already": ("enabled", pod("", GATE, *OWN), [GATE_CONTAINER, "own-1", "own-2"]),
    "with the gate in the middle": ("enabled", pod("", OWN[0], GATE, OWN[1]), [GATE_CONTAINER, "own-1", "own-2"]),
    "with the gate and a mount of credentials": (
        "enabled", pod("", {**GATE, "volumeMounts": [MOUNT]}, volumes=[VOLUME]), [GATE_CONTAINER],
    ),
    "with the gate and a file over it": (
        "enabled",
        pod("", {**GATE, "volumeMounts": [{**MOUNT, "mountPath": "/usr/bin"}]}, volumes=[VOLUME]),
        [GATE_CONTAINER],
    ),
    "with a gate of its own making": (
        "enabled", pod("", {"name": GATE_CONTAINER, "image": "busybox", "command": ["true"]}, *OWN),
        [GATE_CONTAINER, "own-1", "own-2"],
    ),
    "with another command": ("enabled", pod("", {**GATE, "command": ["true"]}), [GATE_CONTAINER]),
    "with arguments": ("enabled", pod("", {**GATE, "args": ["--help"]}), [GATE_CONTAINER]),
    "with more environment": (
        "enabled", pod("", {**GATE, "env": [{"name": "PYTHONPATH", "value": "/x"}]}), [GATE_CONTAINER],
    ),
    "with more rights": (
        "enabled", pod("", {**GATE, "securityContext": {"capabilities": {"add": ["NET_RAW"]}}}), [GATE_CONTAINER],
    ),
}  # fmt: skip
"""Label of the namespace, the pod, and the names of its init containers as it is stored."""


class Asked:
    """Dry runs of pods in namespaces with each label, and the policy, which is made after the first of them.

    Args:
        plane: the API server; no operator runs.
        places: namespaces by their label.
    """

    def __init__(self, plane: ControlPlane, places: Mapping[str, str]) -> None:
        self._plane, self.places = plane, places
        self.before = {name: self.stored(name) for name in CASES}

    def stored(self, name: str) -> Object:
        """Return the pod of a case as the API server would store it."""
        label, item, _ = CASES[name]
        return self.dry_run(item, label)

    def is_gated(self) -> bool:
        """Whether a pod that opted in gets its gate."""
        return self._ask(CASES["labelled"][1], "")[0] == 201

    def _ask(self, item: Object, label: str) -> tuple[int, Object]:
        return self._plane.api.send("POST", f"/api/v1/namespaces/{self.places[label]}/pods?dryRun=All", item)

    def refusal(self) -> str:
        """Return why a pod that opted in is refused; empty: it is not."""
        status, answer = self._ask(CASES["labelled"][1], "")
        return "" if status == 201 else str(answer["message"])

    def dry_run(self, item: Object, label: str = "enabled") -> Object:
        """Return a pod as the API server would store it."""
        return self._plane.api.create(f"/api/v1/namespaces/{self.places[label]}/pods?dryRun=All", item)


@pytest.fixture(scope="module")
def asked(
    control_plane: ControlPlane, programs: Callable[..., dict[str, Path]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Asked]:
    programs("helm4")
    helm = Helm(control_plane.kubeconfig, tmp_path_factory.mktemp("helm"))
    text = helm(
        "template", "weft", str(CHARTS / "weft"), f"--namespace={NAMESPACE}", "--set=webhooks.gate.by=Policy",
        f"--set=agent.image.repository=registry.example/agent,agent.image.tag=v7,agent.image.pullPolicy={SETTINGS.pull_policy}",
        "--kube-version=1.35.4", "--show-only=templates/webhooks/gate-policy.yaml",
        "--show-only=templates/webhooks/gate.yaml",
    )  # fmt: skip
    api, kubectl = control_plane.api, control_plane.kubectl
    with (
        fresh_namespace(api) as none,
        fresh_namespace(api, {MESH_LABEL: "enabled"}) as within,
        fresh_namespace(api, {MESH_LABEL: "disabled"}) as outside,
    ):
        made = Asked(control_plane, {"": none, "enabled": within, "disabled": outside})
        kubectl("apply", "--filename=-", stdin=text)
        try:
            wait_until(made.is_gated, "the policy was in force", 30)
            yield made
        finally:
            kubectl("delete", "--filename=-", "--wait=true", stdin=text)


def gates(item: Object) -> list[str]:
    return [each["name"] for each in item["spec"].get("initContainers", ())]


@pytest.mark.parametrize("name", CASES)
def test_pods_are_stored_as_the_webhook_would_have_them_and_no_operator_runs(asked: Asked, name: str) -> None:
    label, _, expected = CASES[name]
    before, after = asked.before[name], asked.stored(name)
    assert gates(after) == expected
    labels = {MESH_LABEL: label} if label else {}
    answer = mutate(request_of(before, operation="CREATE"), SETTINGS, lambda _: labels)
    by_webhook = patched(before, answer.patch)
    assert after["spec"] == by_webhook["spec"]
    assert after["metadata"].get("labels") == before["metadata"].get("labels")


def test_the_gate_is_the_one_of_the_webhook_field_by_field(asked: Asked) -> None:
    assert asked.stored("labelled")["spec"]["initContainers"] == [GATE]


def test_a_token_and_defaults_of_the_namespace_come_to_every_container_and_stay(
    asked: Asked, control_plane: ControlPlane
) -> None:
    limits: Object = {"metadata": {"name": "room"}, "spec": {"limits": [
        {"type": "Container", "default": {"ephemeral-storage": "2Gi"}, "defaultRequest": {"ephemeral-storage": "1Gi"}}
    ]}}  # fmt: skip
    ranges = f"/api/v1/namespaces/{asked.places['enabled']}/limitranges"
    control_plane.api.create(ranges, limits)
    try:
        item = pod("", OWN[0], automountServiceAccountToken=True)

        def defaulted() -> bool:
            first = asked.dry_run(item)["spec"]["initContainers"][0]
            return (first["name"], first["resources"]["limits"].get("ephemeral-storage")) == (GATE_CONTAINER, "2Gi")

        wait_until(defaulted, "the gate had the defaults of the namespace", 20)
        first = asked.dry_run(item)["spec"]["initContainers"][0]
        assert [mount["mountPath"] for mount in first.pop("volumeMounts")] == [
            "/var/run/secrets/kubernetes.io/serviceaccount"
        ]
        assert first["resources"]["requests"] == {"cpu": "10m", "memory": "32Mi", "ephemeral-storage": "1Gi"}
        assert {**first, "resources": None} == {**GATE, "resources": None}
    finally:
        control_plane.api.delete(f"{ranges}/room")


PUSHES: Final = """
[JSONPatch{op: "add", path: "/spec/initContainers", value:
 [dyn({"name": "pushed", "image": "none"})] + object.spec.initContainers.filter(item, item.name != "pushed")}]
"""


def test_a_gate_that_other_admission_pushed_back_is_the_first_again(asked: Asked, control_plane: ControlPlane) -> None:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    group, named = "admissionregistration.k8s.io/v1beta1", {"metadata": {"name": "zz-pushes"}}
    chosen = {"matchLabels": {"kubernetes.io/metadata.name": asked.places["enabled"]}}
    spec = {
        "reinvocationPolicy": "Never",
        "matchConstraints": {"resourceRules": [rule], "namespaceSelector": chosen},
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": PUSHES}}],
    }
    pushing = [
        {"apiVersion": group, "kind": "MutatingAdmissionPolicy", **named, "spec": spec},
        {"apiVersion": group, "kind": "MutatingAdmissionPolicyBinding", **named, "spec": {"policyName": "zz-pushes"}},
    ]
    kubectl = control_plane.kubectl
    kubectl.apply(*pushing)
    try:
        wait_until(
            lambda: "pushed" in gates(asked.stored("with its own init containers")), "the other was in force", 30
        )
        assert gates(asked.stored("with its own init containers")) == [GATE_CONTAINER, "pushed", "own-1", "own-2"]
    finally:
        kubectl("delete", "--filename=-", stdin="\n---\n".join(map(json.dumps, pushing)))


def test_pods_of_the_release_s_own_namespace_never_wait(asked: Asked, control_plane: ControlPlane) -> None:
    api = control_plane.api
    item = pod("enabled", serviceAccountName="default")
    wait_until(
        lambda: api.healthy("/api/v1/namespaces/kube-system/serviceaccounts/default"), "there was an account", 30
    )
    assert gates(api.create("/api/v1/namespaces/kube-system/pods?dryRun=All", item)) == []


def test_without_the_policy_nobody_gets_in_ungated(asked: Asked, control_plane: ControlPlane) -> None:
    kubectl = control_plane.kubectl
    kind = "mutatingadmissionpolicybinding"
    binding = kubectl.get(kind, "weft-gate-pods")
    kubectl("delete", kind, "weft-gate-pods")
    wait_until(lambda: "pods.gate.weft.dev" in asked.refusal(), "it was refused for want of an operator", 30)
    assert gates(asked.stored("not labelled")) == [], "who is outside the mesh is not asked about"
    metadata = {"name": "weft-gate-pods", "labels": binding["metadata"]["labels"]}
    kubectl.apply({**binding, "metadata": metadata})
    wait_until(asked.is_gated, "the policy was in force again", 30)
