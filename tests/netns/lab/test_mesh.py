"""The lab with agents: what it gives them is enough for the real mesh, from capture to policy to restart."""

import json
import os
import signal
from collections.abc import Iterator

import pytest

from weft_lab.client import Client
from weft_lab.machine.namespaces import run
from weft_lab.machine.processes import end
from weft_lab.names import node_namespace
from weft_testing.lab import REPOSITORY, LiveLab

pytestmark = pytest.mark.netns

GET = ("python", "-m", "weft_lab.demo", "get")


@pytest.fixture(scope="module")
def lab(mesh: LiveLab) -> Iterator[LiveLab]:
    mesh.ok("apply", "-f", str(REPOSITORY / "manifests" / "examples" / "demo.yaml"))
    mesh.ok("wait", "all", "--timeout", "60s", timeout_s=90)
    yield mesh
    mesh.ok("delete", "namespace", "demo", "--grace-period", "0")


def test_status_says_that_everything_is_in_force(lab: LiveLab) -> None:
    found = Client(lab.name).status()
    assert [node.agent.state for node in found.nodes] == ["ready", "ready"]
    assert all(node.agent.current for node in found.nodes)
    assert found.ready_pods == found.pods == 5
    assert lab.weft("status").status == 0


def test_policy_holds_between_pods(lab: LiveLab) -> None:
    assert lab.exec("deploy/web", *GET, "http://api/anything", namespace="demo").out.startswith("HTTP 200")
    assert lab.exec("client", *GET, "http://web/", namespace="demo").out.startswith("HTTP 200")
    assert lab.exec("client", *GET, "http://api/", namespace="demo").out.startswith("HTTP 403")


def test_nodes_speak_plaintext_and_are_refused_where_mtls_is_strict(lab: LiveLab) -> None:
    web = json.loads(lab.ok("get", "pods", "-n", "demo", "-l", "app=web", "-o", "json"))["items"][0]["status"]["podIP"]
    ran = lab.weft(
        "node-exec",
        "node-1",
        "--",
        "curl",
        "-sS",
        "-m",
        "5",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        f"http://{web}:8080/other",
    )
    assert ran.out != "200", ran.out + ran.err


def test_the_agent_finds_pods_by_their_annotation(lab: LiveLab) -> None:
    metadata = lab.document("pod", "client", "demo")["metadata"]
    assert isinstance(metadata, dict)
    name = metadata["annotations"]["weft.dev/netns"]
    assert os.path.exists(f"/run/netns/{name}")
    node = lab.document("pod", "client", "demo")["spec"]
    assert isinstance(node, dict)
    ran = lab.weft("node-exec", node["nodeName"], "--", "python", "-m", "weft_agent", "status")
    assert "pod demo/client: captured" in ran.out, ran.out + ran.err


def test_a_changed_policy_is_in_force_when_apply_returns(lab: LiveLab) -> None:
    policy = """
apiVersion: weft.dev/v1alpha1
kind: AuthorizationPolicy
metadata: {name: web, namespace: demo}
spec:
  targetRefs: [{kind: Service, name: web}]
  action: DENY
  rules: [{to: [{operation: {paths: ["/secret"]}}]}]
"""
    assert lab.exec("client", *GET, "http://web/secret", namespace="demo").out.startswith("HTTP 200")
    lab.ok("apply", "--wait", "-f", "-", text=policy)
    assert lab.exec("client", *GET, "http://web/secret", namespace="demo").out.startswith("HTTP 403")
    lab.ok("delete", "authorizationpolicy", "web", "-n", "demo")


def test_a_broken_policy_is_refused_and_the_old_state_stays(lab: LiveLab) -> None:
    ran = lab.weft(
        "apply",
        "-f",
        "-",
        text="{apiVersion: weft.dev/v1alpha1, kind: AuthorizationPolicy, metadata: {name: x, namespace: demo}, "
        "spec: {acton: DENY}}",
    )
    assert ran.status == 1
    assert "acton" in ran.err
    assert lab.exec("client", *GET, "http://web/", namespace="demo").out.startswith("HTTP 200")


def test_an_agent_that_was_killed_whole_is_started_again_and_serves(lab: LiveLab) -> None:
    client = Client(lab.name)
    old = client.status().nodes[0].agent
    assert old.pid
    for pid in run(["ip", "netns", "pids", node_namespace(lab.name, "node-1")]).split():
        end(int(pid), signal.SIGKILL, 5)
    lab.ok("wait", "all", "--timeout", "30s")
    for _ in range(100):
        new = client.status().nodes[0].agent
        if new.restarts > old.restarts and new.state == "ready":
            break
        client.watch(2**53, 0.2)
    else:
        raise AssertionError(lab.dump())
    assert new.pid != old.pid
    assert lab.exec("client", *GET, "http://web/", namespace="demo").out.startswith("HTTP 200")


def test_a_meshed_pod_does_not_start_before_it_is_captured(lab: LiveLab) -> None:
    """The first thing it does is a request: it must leave by the mesh, and be known there."""
    text = """
apiVersion: v1
kind: Pod
metadata: {name: eager, namespace: demo}
spec:
  restartPolicy: Never
  serviceAccountName: web
  containers:
  - {name: m, image: weft.dev/demo, args: [get, "http://api/first"]}
"""
    lab.apply(text)
    lab.ok("wait", "pod/eager", "-n", "demo", "--timeout", "20s")
    assert lab.ok("logs", "eager", "-n", "demo").startswith("HTTP 200")
    lab.ok("delete", "pod", "eager", "-n", "demo")


def test_unmeshed_pods_are_left_alone(lab: LiveLab) -> None:
    text = (
        "{apiVersion: v1, kind: Pod, metadata: {name: outsider}, "
        "spec: {containers: [{name: m, image: weft.dev/demo, args: [client]}]}}"
    )
    lab.apply(text)
    lab.ok("wait", "pod/outsider", "--timeout", "20s")
    assert "3A99" not in lab.exec("outsider", "cat", "/proc/net/tcp").out, "nothing listens for captured connections"
    ran = lab.exec("outsider", *GET, "http://web.demo/")
    assert not ran.out.startswith("HTTP 200"), "demo is STRICT"
    lab.ok("delete", "pod", "outsider", "--now")


def test_grpc_probes_reach_a_server_that_speaks_http2(mesh: LiveLab) -> None:
    """A tiny gRPC health server made of h2, probed through the node as a kubelet would."""
    code = (
        "import socket, h2.connection, h2.config, h2.events\n"
        "s = socket.create_server(('', 50051))\n"
        "while True:\n"
        "  k, _ = s.accept()\n"
        "  c = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False)); c.initiate_connection()\n"
        "  k.sendall(c.data_to_send())\n"
        "  while d := k.recv(65536):\n"
        "    for e in c.receive_data(d):\n"
        "      if isinstance(e, h2.events.StreamEnded):\n"
        "        c.send_headers(e.stream_id, [(':status', '200'), ('content-type', 'application/grpc')])\n"
        "        c.send_data(e.stream_id, b'\\0\\0\\0\\0\\2\\x08\\1')\n"
        "        c.send_headers(e.stream_id, [('grpc-status', '0')], end_stream=True)\n"
        "    k.sendall(c.data_to_send())\n"
    )
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "health"},
        "spec": {
            "containers": [
                {
                    "name": "m",
                    "image": "weft.dev/demo",
                    "command": ["python", "-c", code],
                    "readinessProbe": {"grpc": {"port": 50051}, "periodSeconds": 1},
                }
            ]
        },
    }
    mesh.apply(json.dumps(body))
    mesh.ok("wait", "pod/health", "--timeout", "20s")
    mesh.ok("delete", "pod", "health", "--now")
