"""The control plane: up and down, restarts, what an operator needs of an API server, and nothing left behind by anyone."""

import http.server
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from base64 import b64encode, urlsafe_b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from weft_testing.cluster import records
from weft_testing.cluster.api import APPLY, Api, Kubectl, KubectlError, Object
from weft_testing.cluster.binaries import need
from weft_testing.cluster.components import API_SERVER, CONTROLLER_MANAGER, ETCD
from weft_testing.cluster.control_plane import GUARD, PYTHON_VARIABLES, ControlPlane, python_command
from weft_testing.cluster.crds import Channel, remove_gateway_api
from weft_testing.cluster.fixtures import own_cluster_name
from weft_testing.cluster.network import namespaces
from weft_testing.cluster.pki import Authority
from weft_testing.cluster.processes import Process, own_processes, wait_until
from weft_testing.cluster.programs import API_SERVER_ONLY, CONTROL_PLANE
from weft_testing.cluster.requirements import skip_or_fail, why_no_nodes

pytestmark = [pytest.mark.cluster]

Programs = Callable[..., dict[str, Path]]
AUDIENCE = "weft-operator.weft-system.svc"
WIDGETS = "/apis/weft.test/v1/namespaces/{}/widgets"


@pytest.fixture
def network_programs(programs: Programs) -> None:
    """What a control plane in namespaces of its own needs."""
    if os.geteuid() != 0:
        skip_or_fail("network namespaces need root")
    programs(*CONTROL_PLANE)


def anything_left(name: str) -> list[str]:
    """Return what a cluster has on the machine."""
    left = [str(path) for path in [records.cluster_directory(name)] if path.exists()]
    left += namespaces(name)
    left += [f"process {process.pid}" for process in own_processes(name, ())]
    left += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f".{name}." in line]
    return left


def root_network() -> str:
    """Return everything about the network that the tests run in."""
    commands = ("ip -o link", "ip rule", "ip -6 rule", "ip route show table all", "nft list ruleset")
    return "\n".join(
        subprocess.run(command.split(), capture_output=True, text=True, check=True).stdout for command in commands
    )


def test_up_and_down_twice_under_one_name(programs: Programs) -> None:
    programs(*API_SERVER_ONLY)
    name = own_cluster_name("twice")
    for _ in range(2):
        begun = time.monotonic()
        with ControlPlane.up(name, on_loopback=True) as plane:
            took_s = time.monotonic() - begun
            assert "default" in plane.kubectl("get", "namespaces")
            assert anything_left(name)
        assert not anything_left(name)
        assert took_s < 30, "about 5 s on an idle machine"


def test_one_name_is_one_cluster(control_plane: ControlPlane) -> None:
    with pytest.raises(records.RecordError, match="is up"):
        ControlPlane.up(control_plane.name, on_loopback=True)
    assert control_plane.api.healthy("/readyz")


def test_version_is_the_released_one(kubectl: Kubectl) -> None:
    server = json.loads(kubectl("version", "--output=json"))["serverVersion"]
    assert (server["gitVersion"], server["major"], server["minor"]) == ("v1.35.4", "1", "35")


def test_an_api_server_that_is_killed_comes_back_with_everything(control_plane: ControlPlane, namespace: str) -> None:
    collection = f"/api/v1/namespaces/{namespace}/configmaps"
    control_plane.api.create(collection, {"metadata": {"name": "kept"}, "data": {"a": "b"}})
    control_plane.kill(API_SERVER)
    assert not control_plane.api.healthy("/livez")
    control_plane.start(API_SERVER)
    assert control_plane.api.get(f"{collection}/kept")["data"] == {"a": "b"}
    assert control_plane.seconds[API_SERVER] < 30


def test_etcd_and_the_controller_manager_can_be_restarted(control_plane: ControlPlane, namespace: str) -> None:
    collection = f"/api/v1/namespaces/{namespace}/configmaps"
    control_plane.api.create(collection, {"metadata": {"name": "kept"}})
    control_plane.restart(ETCD)
    control_plane.restart(CONTROLLER_MANAGER)
    api = control_plane.api
    wait_until(lambda: api.healthy(f"{collection}/kept"), "the API server had found etcd again", 30)


def test_a_namespace_goes_away_with_what_is_in_it(control_plane: ControlPlane) -> None:
    api = control_plane.api
    api.create("/api/v1/namespaces", {"metadata": {"name": "goes"}})
    api.create("/api/v1/namespaces/goes/configmaps", {"metadata": {"name": "in-it"}})
    api.delete("/api/v1/namespaces/goes")
    wait_until(lambda: api.send("GET", "/api/v1/namespaces/goes")[0] == 404, "the namespace was gone", 30)


@pytest.fixture(scope="module")
def widgets(control_plane: ControlPlane) -> None:
    """A kind with rules in CEL: between fields, and between old and new."""
    rules = [
        {"rule": "self.min <= self.max", "message": "min must not exceed max"},
        {"rule": "!has(oldSelf.name) || self.name == oldSelf.name", "message": "name is immutable"},
    ]
    spec = {
        "type": "object",
        "required": ["min"],
        "properties": {
            "min": {"type": "integer"},
            "max": {"type": "integer", "default": 5},
            "name": {"type": "string", "maxLength": 50},
        },
        "x-kubernetes-validations": rules,
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
    }
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.weft.test"},
        "spec": {
            "group": "weft.test",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
            "versions": [version],
        },
    }
    control_plane.kubectl.apply(definition)
    control_plane.kubectl("wait", "--for=condition=Established", "crd/widgets.weft.test", "--timeout=30s")


def widget(called: str, **spec: object) -> Object:
    return {"apiVersion": "weft.test/v1", "kind": "Widget", "metadata": {"name": called}, "spec": spec}


def test_rules_in_cel_are_enforced(control_plane: ControlPlane, widgets: None, namespace: str) -> None:
    api, path = control_plane.api, WIDGETS.format(namespace)
    made = api.create(path, widget("a", min=1, name="x"))
    assert made["spec"]["max"] == 5, "the default was filled in"
    status, answer = api.send("POST", path, widget("b", min=7, max=2))
    assert (status, "min must not exceed max" in answer["message"]) == (422, True)
    status, answer = api.send("PATCH", f"{path}/a?fieldManager=t&force=true", widget("a", min=1, name="y"), APPLY)
    assert (status, "name is immutable" in answer["message"]) == (422, True)
    api.patch(f"{path}/a?fieldManager=t&force=true", widget("a", min=2, name="x"), APPLY)
    assert {field["manager"] for field in api.get(f"{path}/a")["metadata"]["managedFields"]} >= {"t"}


@pytest.fixture
def bound_pod(control_plane: ControlPlane, namespace: str) -> Iterator[Object]:
    """A pod that is bound to a node which nobody runs."""
    api = control_plane.api
    api.create("/api/v1/nodes", {"metadata": {"name": "paper"}})
    spec = {"serviceAccountName": "default", "containers": [{"name": "c", "image": "none"}]}
    pods = f"/api/v1/namespaces/{namespace}/pods"
    pod = api.create(pods, {"metadata": {"name": "p"}, "spec": spec})
    target = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "paper"}}
    api.create(f"{pods}/p/binding", {"apiVersion": "v1", "kind": "Binding", **target})
    yield pod
    api.delete("/api/v1/nodes/paper")


def request_token(api: Api, pod: Object) -> str:
    bound = {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": pod["metadata"]["uid"]}
    spec = {"audiences": [AUDIENCE], "expirationSeconds": 600, "boundObjectRef": bound}
    account = f"/api/v1/namespaces/{pod['metadata']['namespace']}/serviceaccounts/default/token"
    answer = api.create(account, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec})
    token: str = answer["status"]["token"]
    return token


def review(api: Api, token: str, audience: str = AUDIENCE) -> Object:
    spec = {"token": token, "audiences": [audience]}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
    status: Object = api.create("/apis/authentication.k8s.io/v1/tokenreviews", body)["status"]
    return status


def test_a_token_names_its_pod_and_its_node(control_plane: ControlPlane, bound_pod: Object) -> None:
    token = request_token(control_plane.api, bound_pod)
    claims = json.loads(urlsafe_b64decode(token.split(".")[1] + "=="))["kubernetes.io"]
    assert claims["node"]["name"] == "paper"
    status = review(control_plane.api, token)
    extra = status["user"]["extra"]
    assert status["authenticated"]
    assert status["audiences"] == [AUDIENCE]
    assert extra["authentication.kubernetes.io/node-name"] == ["paper"]
    assert extra["authentication.kubernetes.io/pod-uid"] == [bound_pod["metadata"]["uid"]]


def test_a_token_for_others_is_not_for_us(control_plane: ControlPlane, bound_pod: Object) -> None:
    token = request_token(control_plane.api, bound_pod)
    assert not review(control_plane.api, token, "somebody-else").get("authenticated", False)
    as_pod = control_plane.api.with_token(token, control_plane.setting.pki / "ca.crt")
    assert as_pod.send("GET", "/api/v1/namespaces")[0] == 401, "the API server is not its audience"


def test_kubectl_says_what_went_wrong(kubectl: Kubectl) -> None:
    with pytest.raises(KubectlError, match=r"namespaces \"nowhere\" not found"):
        kubectl("get", "namespace", "nowhere")


@pytest.mark.slow
def test_gateway_api_in_both_channels(
    control_plane: ControlPlane, gateway_api: Callable[[Channel], None], namespace: str
) -> None:
    gateway_api("standard")
    api = control_plane.api
    routes = f"/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes"
    parents = [{"group": "", "kind": "Service", "name": "s", "port": 80}]
    rule: Object = {"backendRefs": [{"name": "s", "port": 80}]}
    made = api.create(routes, gateway_route("standard", parents, rule))
    assert made["spec"]["rules"][0]["backendRefs"][0]["weight"] == 1
    assert api.send("GET", "/apis/gateway.networking.x-k8s.io/v1alpha1")[0] == 404
    gateway_api("experimental")
    retried = {**rule, "retry": {"attempts": 2, "codes": [503]}}
    made = api.create(routes, gateway_route("experimental", parents, retried))
    assert made["spec"]["rules"][0]["retry"]["attempts"] == 2
    remove_gateway_api(control_plane.kubectl)
    assert api.send("GET", routes)[0] == 404


def gateway_route(name: str, parents: list[Object], rule: Object) -> Object:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name},
        "spec": {"parentRefs": parents, "rules": [rule]},
    }


@contextmanager
def webhook(directory: Path) -> Iterator[tuple[str, bytes]]:
    """Serve admission reviews that refuse everything labelled `refused`; give URL and authority."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]
            refused = "refused" in asked["object"]["metadata"].get("labels", {})
            response = {"uid": asked["uid"], "allowed": not refused, "status": {"message": "said the webhook"}}
            body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the overridden parameter
            """Stay silent."""

    authority = Authority.make(directory)
    authority.issue("webhook", "webhook", names=["127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "webhook.crt", directory / "webhook.key")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.server_address[1]}/", authority.certificate_pem
        finally:
            server.shutdown()
            thread.join()


def test_a_webhook_in_the_test_process_is_asked(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    api = control_plane.api
    configurations = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    with webhook(tmp_path) as (url, authority):
        hook = {
            "name": "w.weft.test",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": "Fail",
            "clientConfig": {"url": url, "caBundle": b64encode(authority).decode()},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "rules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE"]}
            ],
        }
        api.create(configurations, {"metadata": {"name": "w"}, "webhooks": [hook]})
        try:
            path = f"/api/v1/namespaces/{namespace}/configmaps?dryRun=All"
            bad = {"metadata": {"name": "bad", "labels": {"refused": "yes"}}}
            wait_until(lambda: api.send("POST", path, bad)[0] == 400, "the webhook was in force", 15)
            assert "said the webhook" in api.send("POST", path, bad)[1]["message"]
            api.create(path, {"metadata": {"name": "good"}})
        finally:
            api.delete(f"{configurations}/w")


@pytest.mark.slow
def test_in_namespaces_of_its_own_it_touches_nothing_outside(network_programs: None) -> None:
    before, name = root_network(), own_cluster_name("apart")
    with ControlPlane.up(name) as plane:
        assert root_network() == before
        assert "default" in plane.kubectl("get", "namespaces"), "by the door, from outside"
        inside = subprocess.run(
            [
                *plane.enter,
                str(plane.programs["kubectl"]),
                f"--kubeconfig={plane.inner_kubeconfig}",
                "get",
                "namespaces",
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "default" in inside.stdout
        assert sum(plane.seconds.values()) < 30, plane.seconds
    assert not anything_left(name)
    assert root_network() == before


@pytest.mark.slow
def test_two_side_by_side_do_not_meet(network_programs: None, control_plane: ControlPlane) -> None:
    with ControlPlane.up(own_cluster_name("one")) as one, ControlPlane.up(own_cluster_name("two")) as two:
        planes = (control_plane, one, two)
        for number, plane in enumerate(planes):
            plane.api.create("/api/v1/namespaces", {"metadata": {"name": f"only-in-{number}"}})
        for number, plane in enumerate(planes):
            names = plane.kubectl("get", "namespaces", "--output=name").split()
            assert [each for each in names if "only-in-" in each] == [f"namespace/only-in-{number}"]
        assert len({plane.record.index for plane in planes}) == 3
        one.down()
        assert two.api.healthy("/readyz")
    control_plane.api.delete("/api/v1/namespaces/only-in-0")


OWNER = """
import sys
from weft_testing.cluster.control_plane import ControlPlane
plane = ControlPlane.up(sys.argv[1], on_loopback=sys.argv[2] == "loopback")
print("up", flush=True)
sys.stdin.read()
"""


@contextmanager
def owner(name: str, place: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that has brought a control plane up."""
    command = [sys.executable, "-c", OWNER, name, place]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | PYTHON_VARIABLES
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            yield process
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.parametrize("place", ["loopback", "network"])
def test_a_killed_owner_leaves_nothing(place: str, programs: Programs, request: pytest.FixtureRequest) -> None:
    if place == "network":
        request.getfixturevalue("network_programs")
    programs(*API_SERVER_ONLY)
    name = own_cluster_name("orphan")
    with owner(name, place) as process:
        assert anything_left(name)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        wait_until(lambda: not anything_left(name), "the guard had cleared up", 30)


@pytest.mark.slow
def test_where_the_guard_is_killed_too_the_next_run_sweeps(programs: Programs) -> None:
    programs(*API_SERVER_ONLY)
    name, other = own_cluster_name("orphan"), own_cluster_name("next")
    with owner(name, "loopback") as process:
        (guard,) = [each for each in own_processes(name, ()) if is_guard(each)]
        guard.end(signal.SIGKILL, 10)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    assert anything_left(name)
    with ControlPlane.up(other, on_loopback=True):
        assert not anything_left(name)
    assert not anything_left(other)


def is_guard(process: Process) -> bool:
    return f"weft_testing.cluster.{GUARD}".encode() in Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")


@pytest.mark.slow
def test_the_command_line_brings_one_up_that_stays(programs: Programs) -> None:
    programs(*API_SERVER_ONLY)
    name = own_cluster_name("cli")

    def cli(*arguments: str) -> str:
        return subprocess.run(
            python_command("weft_testing.cluster", *arguments),
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
            env=os.environ | PYTHON_VARIABLES,
        ).stdout

    try:
        printed = cli("up", "--name", name, "--nodes", "0")
        kubeconfig = printed.partition("KUBECONFIG=")[2].split()[0]
        assert Path(kubeconfig).is_file()
        assert "default" in cli("kubectl", "--name", name, "get", "namespaces", "--output", "name")
        assert name in cli("status")
    finally:
        cli("down", "--name", name)
    assert not anything_left(name)
    assert "no cluster" in cli("down", "--name", name)


def test_assets_of_whoever_has_them_are_used(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = programs(*API_SERVER_ONLY)
    for name in ("kube-apiserver", "etcd"):
        (tmp_path / name).symlink_to(built[name])
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    found = need(*API_SERVER_ONLY)
    assert {name for name, path in found.items() if path.parent == tmp_path} == {"kube-apiserver", "etcd"}
    with ControlPlane.up(own_cluster_name("assets"), on_loopback=True) as plane:
        process = plane.process(API_SERVER)
        assert process is not None
        assert Path(f"/proc/{process.pid}/cmdline").read_bytes().startswith(str(tmp_path).encode())


def test_nodes_are_refused_with_the_reason_where_there_can_be_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert why_no_nodes() == "nodes need root"
