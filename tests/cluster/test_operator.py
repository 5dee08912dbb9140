"""The operator against a real API server: conditions, columns, refusals, the gate, two replicas, faults."""

import json
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from weft_contract.gate import GATE_CONTAINER
from weft_contract.labels import MESH_LABEL
from weft_testing import objects
from weft_testing.cluster.api import Kubectl, Object
from weft_testing.cluster.binaries import Say
from weft_testing.cluster.components import API_SERVER
from weft_testing.cluster.control_plane import ControlPlane
from weft_testing.cluster.crds import Channel, gateway_api_files
from weft_testing.cluster.helm import CHARTS, Helm
from weft_testing.cluster.operator_process import (
    NAMESPACE,
    OperatorProcess,
    mesh_kinds,
    token_kubeconfig,
    webhook_configurations,
)
from weft_testing.cluster.processes import wait_until
from weft_testing.cluster.programs import KUBERNETES_VERSION

pytestmark = [pytest.mark.cluster]
REPOSITORY = Path(__file__).parents[2]
EXAMPLES = REPOSITORY / "manifests" / "examples"
RIGHTS = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
GROUP = "/apis/weft.dev/v1alpha1"


@pytest.fixture(scope="module")
def installed(control_plane: ControlPlane, gateway_api: Callable[[Channel], None]) -> Iterator[None]:
    """Gateway API, our CRDs, and the namespace of the mesh."""
    gateway_api("standard")
    with mesh_kinds(control_plane.kubectl):
        yield


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("operator")


@pytest.fixture(scope="module")
def operator(installed: None, control_plane: ControlPlane, directory: Path) -> Iterator[OperatorProcess]:
    """A replica that leads."""
    with OperatorProcess(directory, control_plane.kubeconfig) as started:
        started.wait_ready()
        wait_until(lambda: started.leads, "it led", 30, log=started.log)
        yield started


@pytest.fixture
def backend_traffic(kubectl: Kubectl) -> Iterator[None]:
    """Takes the experimental kind away again, whether the test came to install it or not."""
    yield
    kubectl("delete", "--ignore-not-found", f"--filename={backend_traffic_file()}")


def backend_traffic_file() -> Path:
    return next(path for path in gateway_api_files("experimental") if "xbackendtrafficpolicies" in path.name)


def apply_backend_traffic(kubectl: Kubectl) -> None:
    """Install the experimental kind, and wait until it is served."""
    file = f"--filename={backend_traffic_file()}"
    kubectl("apply", "--server-side", file)
    kubectl("wait", "--for=condition=Established", "--timeout=30s", file)


@pytest.fixture
def shop(control_plane: ControlPlane, namespace: str) -> str:
    """A namespace in the mesh."""
    control_plane.kubectl("label", "namespace", namespace, f"{MESH_LABEL}=enabled")
    return namespace


def policy(namespace: str, name: str = "web", **spec: object) -> Object:
    rules = [{"to": [{"operation": {"paths": ["/foo"]}}]}]
    return {
        "apiVersion": "weft.dev/v1alpha1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"rules": rules, **spec},
    }


def conditions(item: Object) -> dict[str, tuple[str, str, int]]:
    found = item.get("status", {}).get("conditions", [])
    return {each["type"]: (each["status"], each["reason"], each["observedGeneration"]) for each in found}


def wait_condition(kubectl: Kubectl, kind: str, key: tuple[str, str], want: dict[str, tuple[str, str, int]]) -> Object:
    namespace, name = key
    found: list[Object] = []

    def holds() -> bool:
        found[:] = [kubectl.get(kind, name, "-n", namespace)]
        return conditions(found[0]).items() >= want.items()

    wait_until(holds, f"{kind} {name} was {want}", 20)
    return found[0]


@pytest.fixture
def account(
    installed: None, control_plane: ControlPlane, programs: Callable[..., dict[str, Path]], tmp_path: Path
) -> Iterator[Path]:
    """A kubeconfig with the operator's rights, out of the chart."""
    programs("helm4")
    helm = Helm(control_plane.kubeconfig, tmp_path / "helm", 4)
    version = f"--kube-version={KUBERNETES_VERSION.removeprefix('v')}"
    text = helm("template", "weft", str(CHARTS / "weft"), f"--namespace={NAMESPACE}", version)
    rights: list[dict[str, Any]] = [each for each in yaml.safe_load_all(text) if each and each["kind"] in RIGHTS]
    control_plane.kubectl.apply(*rights)
    yield token_kubeconfig(tmp_path, control_plane, "weft-operator")
    for item in rights:
        if item["kind"].startswith("Cluster"):
            control_plane.kubectl("delete", item["kind"], item["metadata"]["name"])


def test_the_rights_of_the_chart_are_enough(account: Path, kubectl: Kubectl, shop: str, tmp_path: Path) -> None:
    """First in this file: the Lease that the chart lets it hold is free."""
    with OperatorProcess(tmp_path, account, "with-rights") as operator:
        operator.wait_ready()
        wait_until(lambda: operator.leads, "it led", 30, log=operator.log)
        kubectl.apply(*webhook_configurations(operator.port("webhook"), [shop]))
        wait_until(lambda: len(operator.logged("caBundle written")) == 2, "both bundles were written", 30)
        kubectl.apply(policy(shop, targetRefs=[{"group": "", "kind": "Service", "name": "nowhere"}]))
        wait_until(lambda: bool(operator.logged("status written")), "its status was written", 20, log=operator.log)
        wait_until(lambda: shop in kubectl("get", "events.events.k8s.io", "-A"), "an Event was written", 20)
        text = operator.log.read_text()
        assert "orbidden" not in text, text[-3000:]
        assert operator.get("health", "/healthz/live") == (200, "ok\n")
        assert kubectl.get("configmap", "weft-roots", "-n", NAMESPACE)["data"]["roots.pem"]
        assert operator.stop() == 0


def test_a_backend_traffic_policy_is_told_that_it_is_not_carried_out(
    account: Path, backend_traffic: None, kubectl: Kubectl, shop: str, tmp_path: Path
) -> None:
    """Second in this file, for the same reason, and with the chart's rights; its kind comes while the operator runs."""

    def entries() -> list[Object]:
        status = kubectl.get("xbackendtrafficpolicies", "web", "-n", shop).get("status", {})
        found: list[Object] = status.get("ancestors", [])
        return found

    with OperatorProcess(tmp_path, account, "with-rights") as operator:
        operator.wait_ready()
        wait_until(lambda: operator.leads, "it led", 30, log=operator.log)
        apply_backend_traffic(kubectl)
        service: Object = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": shop}}
        kubectl.apply(
            {**service, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}},
            objects.backend_traffic("web", "web", namespace=shop, retryConstraint={}),
        )
        wait_until(lambda: bool(entries()), "its status was written", 40, log=operator.log)
        (ours,) = entries()
        assert ours["ancestorRef"] == {"group": "", "kind": "Service", "namespace": shop, "name": "web"}
        (accepted,) = ours["conditions"]
        assert (accepted["type"], accepted["status"], accepted["reason"]) == ("Accepted", "False", "UnsupportedValue")
        assert accepted["observedGeneration"] == 1
        assert "spec.retryConstraint is not supported yet" in accepted["message"]
        theirs = {**ours, "controllerName": "example.com/gateway"}
        change = json.dumps([{"op": "add", "path": "/status/ancestors/0", "value": theirs}])
        kubectl("patch", "xbtrafficpolicy", "web", "-n", shop, "--subresource=status", "--type=json", f"-p={change}")
        kubectl("label", "namespace", shop, f"{MESH_LABEL}-")
        wait_until(lambda: entries() == [theirs], "its own entry, and that alone, was gone", 20, log=operator.log)
        text = operator.log.read_text()
        assert "orbidden" not in text, text[-3000:]


def test_a_policy_gets_conditions_and_columns(operator: OperatorProcess, kubectl: Kubectl, shop: str) -> None:
    kubectl.apply(policy(shop, selector={"matchLabels": {"app": "web"}}))
    wanted = {"Accepted": ("True", "Accepted", 1), "Programmed": ("True", "NoPods", 1)}
    wait_condition(kubectl, "authorizationpolicies", (shop, "web"), wanted)
    header, line = kubectl("get", "wauthz", "-n", shop).splitlines()
    assert header.split() == ["NAME", "TARGET", "ACCEPTED", "PROGRAMMED", "AGE"]
    assert line.split()[:4] == ["web", "app=web", "True", "0/0"]
    explained = kubectl("explain", "authorizationpolicies.spec.rules.to.operation.paths")
    assert "DESCRIPTION" in explained


def test_of_two_for_the_same_pods_the_one_without_effect_names_the_other(
    operator: OperatorProcess, kubectl: Kubectl, shop: str
) -> None:
    def authentication(name: str, **labels: str) -> Object:
        spec = {"selector": {"matchLabels": labels}, "mtls": {"mode": "STRICT"}}
        metadata = {"name": name, "namespace": shop}
        return {"apiVersion": "weft.dev/v1alpha1", "kind": "PeerAuthentication", "metadata": metadata, "spec": spec}

    kubectl.apply(authentication("a", app="web"))
    kubectl.apply(authentication("b", app="web", version="2"))
    wanted = {"Accepted": ("False", "Conflicted", 1)}
    found = wait_condition(kubectl, "peerauthentications", (shop, "b"), wanted)
    assert found["status"]["conflicts"] == f"{shop}/a"
    assert "CONFLICTS" in kubectl("get", "peerauthentications", "-n", shop, "-o", "wide")
    kubectl("delete", "peerauthentication", "a", "-n", shop)
    found = wait_condition(kubectl, "peerauthentications", (shop, "b"), {"Accepted": ("True", "Accepted", 1)})
    assert "conflicts" not in found["status"]


def test_a_member_without_an_agent_is_named_as_missing(
    operator: OperatorProcess, control_plane: ControlPlane, kubectl: Kubectl, shop: str
) -> None:
    api = control_plane.api
    api.create("/api/v1/nodes", {"metadata": {"name": f"paper-{shop}"}})
    try:
        run_pod(control_plane, shop, "web", f"paper-{shop}")
        kubectl.apply(policy(shop, selector={"matchLabels": {"app": "web"}}))
        found = wait_condition(kubectl, "authorizationpolicies", (shop, "web"), {"Programmed": ("False", "Pending", 1)})
        message = next(each["message"] for each in found["status"]["conditions"] if each["type"] == "Programmed")
        assert message == f"in force at 0 of 1 nodes; waiting for paper-{shop}"
        assert (found["status"]["nodes"], found["status"]["pods"]) == ("0/1", 1)
    finally:
        api.delete(f"/api/v1/nodes/paper-{shop}")


def run_pod(control_plane: ControlPlane, namespace: str, name: str, node: str, **more: object) -> None:
    """Make a pod that seems to run: nobody runs the node, so what a kubelet would say is written here."""
    api, pods = control_plane.api, f"/api/v1/namespaces/{namespace}/pods"
    spec = {"nodeName": node, "containers": [{"name": "c", "image": "none"}], **more}
    api.create(pods, {"metadata": {"name": name, "labels": {"app": name}}, "spec": spec})
    status = {
        "phase": "Running",
        "podIP": "10.9.8.7",
        "podIPs": [{"ip": "10.9.8.7"}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    api.patch(f"{pods}/{name}/status", {"status": status})


def test_a_route_gets_the_status_of_its_parent(operator: OperatorProcess, kubectl: Kubectl, shop: str) -> None:
    ports = [{"name": "http", "port": 80}]
    services = [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": shop}, "spec": {"ports": ports}}
        for name in ("web", "web-v1", "web-v2")
    ]
    parent = {"group": "", "kind": "Service", "name": "web", "port": 80}
    backends = [{"name": "web-v1", "port": 80, "weight": 90}, {"name": "web-v2", "port": 80, "weight": 10}]
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "web", "namespace": shop},
        "spec": {"parentRefs": [parent], "rules": [{"backendRefs": backends}]},
    }
    kubectl.apply(*services, route)

    def parents() -> list[Object]:
        found: list[Object] = kubectl.get("httproutes", "web", "-n", shop).get("status", {}).get("parents", [])
        return found

    wait_until(lambda: len(parents()) == 1, "the route had a parent's status", 20)
    (entry,) = parents()
    assert entry["parentRef"] == parent, "Flagger compares it with the spec"
    assert entry["controllerName"] == "weft.dev/mesh"
    assert {each["type"]: each["status"] for each in entry["conditions"]}.items() >= {
        "Accepted": "True",
        "ResolvedRefs": "True",
    }.items()
    assert all(each["observedGeneration"] == 1 for each in entry["conditions"])


def test_the_examples_are_accepted_as_they_are(operator: OperatorProcess, kubectl: Kubectl) -> None:
    files = [f"--filename={EXAMPLES / name}" for name in ("foo-at-10-qps.yaml", "canary.yaml")]
    kubectl("apply", *files)
    try:
        wait_condition(
            kubectl, "authorizationpolicies", ("backend", "web-foo-at-10"), {"Accepted": ("True", "Accepted", 1)}
        )

        def accepted() -> bool:
            parents = kubectl.get("httproutes", "web", "-n", "canary").get("status", {}).get("parents", [])
            return [(each["type"], each["status"]) for parent in parents for each in parent["conditions"]] >= [
                ("Accepted", "True"),
                ("ResolvedRefs", "True"),
            ]

        wait_until(accepted, "the route was accepted", 20)
        shown = kubectl("get", "mesh", "-A").splitlines()
        assert any(line.split()[:2] == ["backend", "authorizationpolicy.weft.dev/web-foo-at-10"] for line in shown), (
            shown
        )
        assert kubectl.run("apply", *files).stdout.count("unchanged") > 10, "nothing of them was written by us"
    finally:
        kubectl("delete", "--wait=false", *files)


def test_what_goes_wrong_is_told_by_events(
    operator: OperatorProcess, control_plane: ControlPlane, kubectl: Kubectl, shop: str
) -> None:
    target = {"group": "", "kind": "Service", "name": "nowhere"}
    kubectl.apply(policy(shop, targetRefs=[target]))
    metadata = {"name": "annotated", "namespace": shop, "annotations": {"retry.weft.dev/http": "5xx"}}
    kubectl.apply({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 80}]}})
    run_pod(control_plane, shop, "on-node", "nowhere", hostNetwork=True)
    run_pod(control_plane, shop, "ungated", "nowhere")

    def told() -> set[tuple[str, str]]:
        items = kubectl.get("events.events.k8s.io", "-n", shop)["items"]
        return {(each["regarding"]["name"], each["reason"]) for each in items}

    wait_until(lambda: ("web", "Rejected") in told(), "the missing target was told", 20)
    wait_until(lambda: ("on-node", "NotInMesh") in told(), "the pod on the node's network was told", 40)
    wait_until(lambda: ("ungated", "NoCaptureGate") in told(), "the pod without a gate was told", 40)
    wait_until(lambda: ("annotated", "NotCounted") in told(), "the Service's annotation was told", 40)


@pytest.fixture
def webhooks(operator: OperatorProcess, kubectl: Kubectl, shop: str) -> str:
    """A namespace of the mesh whose objects are asked about; the leader has written the bundles."""
    kubectl.apply(*webhook_configurations(operator.port("webhook"), [shop]))

    def bundled() -> bool:
        found = kubectl.get("validatingwebhookconfigurations", "weft")["webhooks"]
        return all("caBundle" in each["clientConfig"] for each in found)

    wait_until(bundled, "the leader had written the caBundle", 70)
    return shop


def test_a_wrong_object_is_refused_with_a_remedy(webhooks: str, control_plane: ControlPlane, kubectl: Kubectl) -> None:
    wrong = policy(webhooks, rules=[{"to": [{"operation": {"paths": ["/foo/{a"]}}]}])
    path = f"{GROUP}/namespaces/{webhooks}/authorizationpolicies"
    wait_until(lambda: control_plane.api.send("POST", f"{path}?dryRun=All", wrong)[0] == 422, "it was refused", 20)
    status, answer = control_plane.api.send("POST", path, wrong)
    assert status == 422, answer
    (cause,) = answer["details"]["causes"]
    assert cause["field"] == "spec.rules[0].to[0].operation.paths[0]"
    said = kubectl.run("apply", "-f", "-", stdin=json.dumps(wrong))
    assert said.returncode != 0
    assert "spec.rules[0].to[0].operation.paths[0]" in said.stderr
    kubectl.apply(policy(webhooks))


def test_a_pod_that_opted_in_gets_the_gate(webhooks: str, control_plane: ControlPlane) -> None:
    pods = f"/api/v1/namespaces/{webhooks}/pods?dryRun=All"
    spec = {"containers": [{"name": "c", "image": "none"}], "initContainers": [{"name": "own", "image": "none"}]}

    def gates(mesh: str) -> list[str]:
        pod = {"metadata": {"name": "p", "labels": {MESH_LABEL: mesh}}, "spec": spec}
        _, made = control_plane.api.send("POST", pods, pod)
        return [each["name"] for each in made.get("spec", {}).get("initContainers", [])]

    wait_until(lambda: gates("enabled") == [GATE_CONTAINER, "own"], "the gate was put in", 20)
    assert gates("disabled") == ["own"]


def test_roots_are_published_and_verify_the_servers(operator: OperatorProcess, control_plane: ControlPlane) -> None:
    def published() -> bool:
        return control_plane.api.send("GET", f"/api/v1/namespaces/{NAMESPACE}/configmaps/weft-roots")[0] == 200

    wait_until(published, "the roots were published", 20)
    roots = control_plane.api.get(f"/api/v1/namespaces/{NAMESPACE}/configmaps/weft-roots")["data"]["roots.pem"]
    assert roots.startswith("-----BEGIN CERTIFICATE-----")
    assert "PRIVATE" not in roots
    context = ssl.create_default_context(cadata=roots)
    for server, name in (("stream", "weft-operator"), ("webhook", f"weft-operator.{NAMESPACE}.svc")):
        with (
            socket.create_connection(("127.0.0.1", operator.port(server)), 10) as plain,
            context.wrap_socket(plain, server_hostname=name) as secure,
        ):
            assert secure.version() == "TLSv1.3"


def test_health_and_metrics(operator: OperatorProcess) -> None:
    assert operator.get("health", "/healthz/live") == (200, "ok\n")
    assert operator.get("health", "/healthz/ready") == (200, "ok\n")
    status, text = operator.get("metrics", "/metrics")
    assert status == 200
    assert 'weft_operator_objects{kind="Namespace"}' in text
    assert 'weft_operator_watch_failing{kind="Pod"} 0.0' in text
    assert "weft_operator_compile_seconds_bucket" in text
    assert 'weft_operator_certificate_not_after_seconds{certificate="server"}' in text


def test_it_writes_nothing_twice_and_touches_nothing_foreign(
    operator: OperatorProcess, kubectl: Kubectl, shop: str
) -> None:
    kubectl.apply(policy(shop))
    wait_condition(kubectl, "authorizationpolicies", (shop, "web"), {"Programmed": ("True", "NoPods", 1)})
    first = kubectl.get("authorizationpolicies", "web", "-n", shop)["metadata"]
    kubectl("annotate", "authorizationpolicies", "web", "-n", shop, "note=x")
    kubectl.apply(policy(shop, "other"))
    wait_condition(kubectl, "authorizationpolicies", (shop, "other"), {"Programmed": ("True", "NoPods", 1)})
    second = kubectl.get("authorizationpolicies", "web", "-n", shop)["metadata"]
    assert (first["generation"], second["generation"]) == (1, 1)
    assert "finalizers" not in second
    assert second["annotations"] == {"note": "x"}
    namespace = kubectl.get("namespace", shop)["metadata"]
    assert "annotations" not in namespace


@pytest.mark.slow
def test_a_restarted_api_server_is_healed_from(
    operator: OperatorProcess, control_plane: ControlPlane, shop: str
) -> None:
    control_plane.restart(API_SERVER)
    assert operator.get("health", "/healthz/live")[0] == 200, "an API server that is away is no reason to end"
    assert operator.is_ready()
    kubectl = control_plane.kubectl
    kubectl.apply(policy(shop))
    wanted = {"Accepted": ("True", "Accepted", 1), "Programmed": ("True", "NoPods", 1)}
    begun = time.monotonic()

    def told() -> bool:
        return conditions(kubectl.get("authorizationpolicies", "web", "-n", shop)).items() >= wanted.items()

    wait_until(told, "the policy made after the restart had its conditions", 60, log=operator.log)
    assert time.monotonic() - begun < 60
    assert operator.process.poll() is None


@pytest.mark.slow
def test_when_the_leader_is_killed_another_leads_within_20_s(
    operator: OperatorProcess, control_plane: ControlPlane, directory: Path, say: Say
) -> None:
    lease = ("--lease=of-two",)
    with (
        OperatorProcess(directory, control_plane.kubeconfig, "first", lease) as first,
        OperatorProcess(directory, control_plane.kubeconfig, "second", lease) as second,
    ):
        both = [first.wait_ready(), second.wait_ready()]
        wait_until(lambda: any(each.leads for each in both), "one led", 30)
        leader, other = both if first.leads else reversed(both)
        assert not other.leads
        begun = time.monotonic()
        leader.kill()
        wait_until(lambda: other.leads, "the other led", 20, log=other.log)
        say(f"the other replica led {time.monotonic() - begun:.1f} s after the leader was killed")
        assert other.is_ready(), "it served all the time"


@pytest.mark.slow
def test_a_leader_that_ends_in_order_hands_over_at_once(
    operator: OperatorProcess, control_plane: ControlPlane, directory: Path
) -> None:
    """At once: before its Lease would have lapsed, and because it was given back; kopf's end is not waited for."""
    lease = ("--lease=in-order",)
    with (
        OperatorProcess(directory, control_plane.kubeconfig, "third", lease) as first,
        OperatorProcess(directory, control_plane.kubeconfig, "fourth", lease) as second,
    ):
        both = [first.wait_ready(), second.wait_ready()]
        wait_until(lambda: any(each.leads for each in both), "one led", 30)
        leader, other = both if first.leads else reversed(both)
        begun = time.monotonic()
        leader.process.send_signal(signal.SIGTERM)
        wait_until(lambda: other.leads, "the other led", 10, log=other.log)
        assert time.monotonic() - begun < 6
        assert leader.process.wait(20) == 0
        assert leader.logged("ended")


@pytest.mark.slow
def test_a_kind_that_is_installed_later_is_found(
    control_plane: ControlPlane, installed: None, directory: Path, shop: str
) -> None:
    kubectl = control_plane.kubectl
    routes = "grpcroutes.gateway.networking.k8s.io"
    definition = kubectl.get("crd", routes)
    kubectl("delete", "crd", routes)
    try:
        with OperatorProcess(directory, control_plane.kubeconfig, "late", ("--lease=late",)) as started:
            started.wait_ready()
            assert any(
                each["kind"] == "GRPCRoute"
                for each in started.logged("a kind is not installed; it is looked for again")
            )
            metadata = {"name": routes, "annotations": definition["metadata"]["annotations"]}
            kubectl.apply({**{key: definition[key] for key in ("apiVersion", "kind", "spec")}, "metadata": metadata})
            wait_until(
                lambda: 'weft_operator_lists_total{kind="GRPCRoute"} 1.0' in started.get("metrics", "/metrics")[1],
                "the kind was listed",
                30,
            )
    finally:
        metadata = {"name": routes, "annotations": definition["metadata"]["annotations"]}
        kubectl.apply({**{key: definition[key] for key in ("apiVersion", "kind", "spec")}, "metadata": metadata})
