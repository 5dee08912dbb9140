"""The charts against a real API server, by Helm 3 and 4: installed, changed, rolled back, removed; the same text every time."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from weft_testing.cluster.api import Kubectl
from weft_testing.cluster.control_plane import ControlPlane
from weft_testing.cluster.helm import CHARTS, Helm, HelmError, Major
from weft_testing.cluster.programs import KUBERNETES_VERSION

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

EVERYTHING = (
    "--set=networkPolicy.enabled=true,monitoring.podMonitor.enabled=true,monitoring.prometheusRule.enabled=true",
    "--set=monitoring.dashboards.enabled=true,agent.workers=2,agent.limits.max_connections=1000",
    "--set=imagePullSecrets[0].name=registry,commonLabels.team=mesh,operator.issuerSecret=issuer",
)
BY_POLICY = "--set=webhooks.gate.by=Policy"
SPREAD = (
    "ClusterRole", "ClusterRoleBinding", "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding",
    "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration",
)  # fmt: skip
POLICIES = tuple(f"admissionregistration.k8s.io/{version}/MutatingAdmissionPolicy" for version in ("v1", "v1beta1"))
"""As Helm knows kinds of a live cluster, and `helm template` by --api-versions."""
FOREIGN_KINDS = ("PodMonitor", "PrometheusRule")


@pytest.fixture(params=[3, 4], ids=["helm3", "helm4"])
def either_helm(
    request: pytest.FixtureRequest,
    control_plane: ControlPlane,
    programs: Callable[..., dict[str, Path]],
    tmp_path: Path,
) -> Helm:
    major = cast("Major", request.param)
    programs(f"helm{major}")
    return Helm(control_plane.kubeconfig, tmp_path / "helm", major)


def template(either_helm: Helm, *more: str, chart: str = "weft", release: str = "weft") -> str:
    version = KUBERNETES_VERSION.removeprefix("v")
    return either_helm(
        "template", release, str(CHARTS / chart), "--namespace=weft-system", f"--kube-version={version}", *more
    )


def documents(text: str) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(text) if each]


def named(items: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    return next(each for each in items if each["kind"] == kind and each["metadata"]["name"] == name)


def test_templates_are_the_same_twice_and_lint_finds_nothing(either_helm: Helm) -> None:
    for more in ((), EVERYTHING, (BY_POLICY,)):
        assert template(either_helm, *more) == template(either_helm, *more)
    for chart in ("weft", "weft-crds"):
        either_helm("lint", "--strict", str(CHARTS / chart), f"--kube-version={KUBERNETES_VERSION.removeprefix('v')}")


def test_names_of_the_whole_cluster_carry_the_release(either_helm: Helm) -> None:
    for more, count in ((), 8), ((BY_POLICY,), 11):
        items = documents(template(either_helm, *EVERYTHING, *more, release="blue"))
        assert len([each for each in items if each["kind"] in SPREAD]) == count
        assert all(each["metadata"]["name"].startswith("blue-weft") for each in items)
        assert all(each["metadata"].get("namespace") == "weft-system" for each in items if each["kind"] not in SPREAD)


def test_every_container_is_hardened(either_helm: Helm) -> None:
    items = documents(template(either_helm))
    for item in items:
        spec = item["spec"]["template"]["spec"] if item["kind"] in ("DaemonSet", "Deployment") else item.get("spec", {})
        for container in spec.get("containers", ()):
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"]["drop"] == ["ALL"]
            assert spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
            assert ("add" in context["capabilities"]) == (item["kind"] == "DaemonSet")
            assert (spec["securityContext"].get("runAsNonRoot") is True) == (item["kind"] != "DaemonSet")
    agent = named(items, "DaemonSet", "weft-agent")["spec"]["template"]["spec"]
    assert not agent.get("hostNetwork")
    assert not agent.get("hostPID")
    assert not agent["containers"][0]["securityContext"]["privileged"]
    assert named(items, "Deployment", "weft-operator")["spec"]["replicas"] == 2
    assert named(items, "PodDisruptionBudget", "weft-operator")["spec"]["maxUnavailable"] == 1


def test_the_policy_chooses_the_pods_that_the_webhook_is_asked_about(either_helm: Helm) -> None:
    webhook = named(documents(template(either_helm)), "MutatingWebhookConfiguration", "weft")["webhooks"]
    items = documents(template(either_helm, BY_POLICY))
    for name, asked in zip(("pods", "namespaces"), webhook, strict=True):
        binding = named(items, "MutatingAdmissionPolicyBinding", f"weft-gate-{name}")["spec"]
        assert asked["name"] == f"{name}.gate.weft.dev"
        for selector in ("namespaceSelector", "objectSelector"):
            assert binding["matchResources"][selector] == asked[selector]
    policy = named(items, "MutatingAdmissionPolicy", "weft-gate")["spec"]
    (rule,) = policy["matchConstraints"]["resourceRules"]
    assert [rule] == webhook[0]["rules"]
    assert policy["failurePolicy"] == webhook[0]["failurePolicy"] == "Fail"


def test_a_dead_operator_holds_up_the_pods_of_the_mesh_alone(either_helm: Helm) -> None:
    items = documents(template(either_helm))
    gate = named(items, "MutatingWebhookConfiguration", "weft")["webhooks"]
    assert [each["failurePolicy"] for each in gate] == ["Fail", "Fail"]
    for webhook in gate:
        outside = webhook["namespaceSelector"]["matchExpressions"][0]
        assert outside["operator"] == "NotIn"
        assert {"kube-system", "weft-system"} <= set(outside["values"])
        chosen = webhook["namespaceSelector"]["matchExpressions"] + webhook["objectSelector"]["matchExpressions"]
        assert {"key": "weft.dev/mesh", "operator": "In", "values": ["enabled"]} in chosen
    objects = named(items, "ValidatingWebhookConfiguration", "weft")["webhooks"]
    assert {each["failurePolicy"] for each in objects} == {"Ignore"}


def gates(text: str) -> set[tuple[str, str]]:
    """Return API versions and kinds of what puts the capture gate into pods."""
    return {(each["apiVersion"], each["kind"]) for each in documents(text) if each["kind"].startswith("Mutating")}


@pytest.mark.parametrize(
    ("by", "known", "version", "expected"),
    [
        ("Auto", (), "1.35.4", ""),
        ("Auto", POLICIES[1:], "1.35.4", "v1beta1"),
        ("Auto", POLICIES, "1.36.0", "v1"),
        ("Auto", POLICIES[:1], "1.37.0", "v1"),
        ("Webhook", POLICIES, "1.36.0", ""),
        ("Policy", (), "1.35.4", "v1beta1"),
        ("Policy", (), "1.36.0-eks-1", "v1"),
        ("Policy", POLICIES[1:], "1.36.0", "v1beta1"),
    ],
)
def test_the_gate_is_put_in_by_what_the_cluster_has(
    either_helm: Helm, by: str, known: tuple[str, ...], version: str, expected: str
) -> None:
    text = template(
        either_helm,
        f"--set=webhooks.gate.by={by}",
        f"--kube-version={version}",
        *(f"--api-versions={each}" for each in known),
    )
    group = "admissionregistration.k8s.io"
    kinds = ("MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding")
    webhook = {(f"{group}/v1", "MutatingWebhookConfiguration")}
    assert gates(text) == webhook | ({(f"{group}/{expected}", kind) for kind in kinds} if expected else set())
    for asked in named(documents(text), "MutatingWebhookConfiguration", "weft")["webhooks"]:
        conditions = [each["name"] for each in asked.get("matchConditions", ())]
        assert ("without-gate" in conditions) == bool(expected), "behind the policy it is asked about what has no gate"


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("operator.replicass=3", "replicass"),
        ("agent.backend=ebpf", "backend"),
        ("webhooks.gate.failurePolicy=Maybe", "failurePolicy"),
        ("webhooks.gate.by=Both", "by"),
        ("operator.replicas=0", "replicas"),
        ("agent.image.digest=sha256:1", "digest"),
    ],
)
def test_a_wrong_value_is_refused_by_name(either_helm: Helm, setting: str, told: str) -> None:
    with pytest.raises(HelmError, match=told):
        template(either_helm, f"--set={setting}")


def test_an_image_by_digest(either_helm: Helm) -> None:
    digest = f"sha256:{'ab' * 32}"
    items = documents(template(either_helm, f"--set=agent.image.digest={digest},agent.image.repository=r.example/a"))
    agent = named(items, "DaemonSet", "weft-agent")["spec"]["template"]["spec"]["containers"][0]
    assert agent["image"] == f"r.example/a@{digest}"
    operator = named(items, "Deployment", "weft-operator")["spec"]["template"]["spec"]["containers"][0]
    assert f"--gate-image=r.example/a@{digest}" in operator["args"]


def test_the_definitions_are_the_generated_ones_and_stay(either_helm: Helm) -> None:
    items = documents(template(either_helm, chart="weft-crds"))
    generated = [yaml.safe_load(path.read_text()) for path in sorted((CHARTS.parent / "crds").glob("*.yaml"))]
    assert [each["spec"] for each in items] == [each["spec"] for each in generated]
    assert all(each["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for each in items)
    let_go = documents(template(either_helm, "--set=keep=false", chart="weft-crds"))
    assert not any("helm.sh/resource-policy" in each["metadata"].get("annotations", {}) for each in let_go)


def test_install_upgrade_rollback_uninstall(either_helm: Helm, kubectl: Kubectl) -> None:
    place = ("--namespace=weft-system",)
    kubectl("create", "namespace", "weft-system")
    try:
        either_helm("install", "weft-crds", str(CHARTS / "weft-crds"), *place)
        said = either_helm("install", "weft", str(CHARTS / "weft"), *place)
        assert "kubectl label namespace NAME weft.dev/mesh=enabled" in said
        known = f"--api-versions={POLICIES[1]}"
        rendered = documents(either_helm("template", "weft", str(CHARTS / "weft"), *place, "--no-hooks", known))
        differs = kubectl.run("diff", "--filename=-", stdin=yaml.safe_dump_all(rendered))
        assert (differs.returncode, differs.stdout) == (0, "")
        _with_bundle(kubectl)
        either_helm("upgrade", "weft", str(CHARTS / "weft"), *place, "--set=operator.replicas=3")
        assert kubectl.get(*place, "deployment", "weft-operator")["spec"]["replicas"] == 3
        either_helm("rollback", "weft", "1", *place)
        assert kubectl.get(*place, "deployment", "weft-operator")["spec"]["replicas"] == 2
        webhook = kubectl.get("validatingwebhookconfiguration", "weft")["webhooks"][0]
        assert webhook["clientConfig"]["caBundle"] == _BUNDLE, "what the operator wrote outlives an upgrade"
        _gate_changes_hands(either_helm, kubectl, place)
        either_helm("uninstall", "weft", *place)
        left = kubectl(
            "get", "all,sa,role,rolebinding,pdb", *place, "--selector=app.kubernetes.io/instance=weft", "-o=name"
        )
        spread = kubectl(
            "get", ",".join(SPREAD),
            "--selector=app.kubernetes.io/instance=weft", "-o=name",
        )  # fmt: skip
        assert left + spread == ""
        either_helm("uninstall", "weft-crds", *place)
        kept = kubectl("get", "crd", "--selector=app.kubernetes.io/component=crds", "-o=name")
        assert "authorizationpolicies.weft.dev" in kept
    finally:
        kubectl.run("delete", "namespace", "weft-system", "--wait")
        kubectl.run("delete", "crd", "--selector=app.kubernetes.io/component=crds", "--wait")


def _gate_changes_hands(either_helm: Helm, kubectl: Kubectl, place: tuple[str, ...]) -> None:
    """As when a cluster comes to have the policy's kind, or is rolled back."""

    def installed() -> str:
        return kubectl("get", ",".join(SPREAD[2:5]), "--selector=app.kubernetes.io/instance=weft", "-o=name")

    webhook = "mutatingwebhookconfiguration.admissionregistration.k8s.io/weft\n"
    policy = (
        "mutatingadmissionpolicy.admissionregistration.k8s.io/weft-gate\n"
        "mutatingadmissionpolicybinding.admissionregistration.k8s.io/weft-gate-namespaces\n"
        "mutatingadmissionpolicybinding.admissionregistration.k8s.io/weft-gate-pods\n"
        f"{webhook}"
    )
    assert installed() == policy
    either_helm("upgrade", "weft", str(CHARTS / "weft"), *place, "--set=webhooks.gate.by=Webhook")
    assert installed() == webhook
    either_helm("upgrade", "weft", str(CHARTS / "weft"), *place, "--set=webhooks.gate.by=Auto")
    assert installed() == policy
    either_helm("rollback", "weft", *place)
    assert installed() == webhook


_BUNDLE = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCi0tLS0tRU5EIENFUlRJRklDQVRFLS0tLS0K"


def _with_bundle(kubectl: Kubectl) -> None:
    """Write a caBundle as the operator does: by replacing what it read."""
    item = kubectl.get("validatingwebhookconfiguration", "weft")
    for webhook in item["webhooks"]:
        webhook["clientConfig"]["caBundle"] = _BUNDLE
    kubectl("replace", "--filename=-", stdin=json.dumps(item))
