"""The command line against a real API server: as administrator, as a user with few rights, and with nobody there."""

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from weft_testing.cluster.api import MERGE, Object
from weft_testing.cluster.control_plane import ControlPlane
from weft_testing.cluster.operator_process import definitions
from weft_testing.lab import REPOSITORY, Ran, run_weft

pytestmark = [pytest.mark.cluster]


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """The control plane with our CRDs and two pods that run on a node that exists as an object alone."""
    with definitions(control_plane.kubectl):
        yield from _with_objects(control_plane)


def _with_objects(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    api = control_plane.api
    about = {"operatingSystem": "linux", "kernelVersion": "6.1.0"}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "cli-node"}}
    api.create("/api/v1/nodes", node)
    info = dict.fromkeys(("machineID", "systemUUID", "bootID", "osImage", "containerRuntimeVersion"), "-")
    info |= dict.fromkeys(("kubeletVersion", "kubeProxyVersion", "architecture"), "-") | about
    addresses = [{"type": "InternalIP", "address": "172.20.0.9"}]
    api.patch("/api/v1/nodes/cli-node/status", {"status": {"nodeInfo": info, "addresses": addresses}}, MERGE)
    namespace = {"kind": "Namespace", "metadata": {"name": "cli", "labels": {"weft.dev/mesh": "enabled"}}}
    api.create("/api/v1/namespaces", {"apiVersion": "v1", **namespace})
    for name, address in (("web", "10.9.0.1"), ("api", "10.9.0.2")):
        _running_pod(control_plane, name, address)
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    control_plane.kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "api", "namespace": "cli"},
            "spec": {"selector": {"app": "api"}, "ports": ports},
        },
        {
            "apiVersion": "weft.dev/v1alpha1",
            "kind": "AuthorizationPolicy",
            "metadata": {"name": "foo", "namespace": "cli"},
            "spec": {
                "selector": {"matchLabels": {"app": "api"}},
                "rules": [{"to": [{"operation": {"paths": ["/foo"]}}]}],
            },
        },
    )
    yield control_plane
    api.delete("/api/v1/namespaces/cli")
    api.delete("/api/v1/nodes/cli-node")


def _running_pod(plane: ControlPlane, name: str, address: str) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
    plane.api.create("/api/v1/namespaces/cli/serviceaccounts", account)
    spec = {"nodeName": "cli-node", "serviceAccountName": name, "containers": [{"name": "m", "image": "none"}]}
    metadata = {"name": name, "labels": {"app": name}}
    path = "/api/v1/namespaces/cli/pods"
    plane.api.create(path, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
    status["conditions"] = [{"type": "Ready", "status": "True"}]
    plane.api.patch(f"{path}/{name}/status", {"status": status}, MERGE)


def _weft(plane: ControlPlane, *words: str) -> Ran:
    return run_weft(*words, KUBECONFIG=str(plane.kubeconfig))


@pytest.fixture
def reader(plane: ControlPlane, tmp_path: Path) -> Path:
    """A kubeconfig of a service account that may read what the role `view` may, and nothing more."""
    api = plane.api
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader"}}
    api.send("POST", "/api/v1/namespaces/cli/serviceaccounts", account)
    group = "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", "name": "reader", "namespace": "cli"}
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "cli-reader"},
        "subjects": [subject],
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "view"},
    }
    api.send("POST", f"/apis/{group}/v1/clusterrolebindings", binding)
    request: Object = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = api.create("/api/v1/namespaces/cli/serviceaccounts/reader/token", request)["status"]["token"]
    admin = json.loads(plane.kubeconfig.read_text())
    content = {**admin, "users": [{"name": admin["users"][0]["name"], "user": {"token": token}}]}
    path = tmp_path / "reader.kubeconfig"
    path.write_text(yaml.safe_dump(content))
    return path


def test_before_an_installation(plane: ControlPlane) -> None:
    ran = _weft(plane, "check", "--pre")
    assert ran.status == 0, ran.out + ran.err
    assert "Kubernetes: v1." in ran.out
    assert "may create customresourcedefinitions.apiextensions.k8s.io" in ran.out


def test_a_cluster_without_an_installation_is_told_so(plane: ControlPlane) -> None:
    ran = _weft(plane, "check")
    assert ran.status == 1
    assert "no operator runs" in ran.out
    ran = _weft(plane, "status", "-o", "json")
    assert ran.status == 1
    (node,) = (node for node in json.loads(ran.out)["nodes"] if node["node"] == "cli-node")
    assert (node["members"], node["message"]) == (2, "no agent runs here, so 2 pods of the mesh cannot start")


@pytest.mark.parametrize(("path", "status"), [("/foo", 0), ("/bar", 1)])
def test_a_call_is_explained_from_the_clusters_objects(plane: ControlPlane, path: str, status: int) -> None:
    ran = _weft(plane, "explain", "cli/web", "cli/api", "--path", path, "-o", "json")
    assert ran.status == status, ran.out + ran.err
    answer = json.loads(ran.out)
    assert answer["identity"] == "spiffe://cluster.local/ns/cli/sa/web"
    (landing,) = answer["legs"][0]["landings"]
    assert (landing["pod"], landing["policy"]) == ("cli/api", "cli/foo")


def test_few_rights_are_enough_and_what_is_missing_is_named(plane: ControlPlane, reader: Path) -> None:
    ran = run_weft("explain", "cli/web", "cli/api", "--kubeconfig", str(reader))
    assert "AuthorizationPolicy" not in ran.out
    assert "may not be listed" in ran.err, ran.out + ran.err
    assert "weft.dev" in ran.err
    ran = run_weft("status", "--kubeconfig", str(reader))
    assert "cli-node" in ran.out, ran.out + ran.err
    assert "not shown, because this user may not read it" in ran.err
    ran = run_weft("check", "--pre", "--kubeconfig", str(reader))
    assert ran.status == 1
    assert "this user may not create" in ran.out


def test_a_wrong_token_a_wrong_root_and_nobody_there(plane: ControlPlane, tmp_path: Path) -> None:
    admin = json.loads(plane.kubeconfig.read_text())
    cluster, user = admin["clusters"][0]["cluster"], admin["users"][0]["user"]

    def ask(**changes: object) -> Ran:
        content = {
            **admin,
            "clusters": [{**admin["clusters"][0], "cluster": {**cluster, **changes.get("cluster", {})}}],  # type: ignore[dict-item] # a part of a kubeconfig
            "users": [{**admin["users"][0], "user": changes.get("user", user)}],
        }
        path = tmp_path / "changed.kubeconfig"
        path.write_text(yaml.safe_dump(content))
        return run_weft("status", "--kubeconfig", str(path))

    ran = ask(user={"token": "wrong"})
    assert (ran.status, "sign in again" in ran.err) == (1, True), ran.err
    ran = ask(cluster={"server": "https://127.0.0.1:1"})
    assert (ran.status, "does not answer" in ran.err) == (3, True), ran.err
    other = b64encode((REPOSITORY / "LICENSE").read_bytes()).decode()
    ran = ask(cluster={"certificate-authority-data": other})
    assert ran.status == 3, ran.err
    ran = ask(user={"exec": {"command": "aws"}})
    assert (ran.status, "not supported" in ran.err) == (3, True), ran.err
