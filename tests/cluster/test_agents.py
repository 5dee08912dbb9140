"""Agents on real nodes: a kubelet's pods found and watched, gated, probed, left; never the wrong namespace or identity.

The configuration is compiled here, from what is in the API server at that moment, and only when a test says so: between two
such moments the operator is away.
"""

import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from weft_agent.capture import processes as scan
from weft_contract.gate import GATE_CONTAINER, POD_UID_VARIABLE
from weft_contract.labels import MESH_LABEL
from weft_operator.compile import compile_cluster, read_documents, read_view
from weft_testing import pki
from weft_testing.agent_process import until
from weft_testing.cluster.api import Kubectl, KubectlError, Object
from weft_testing.cluster.catalog import PROBE_IMAGE
from weft_testing.cluster.cluster import Cluster
from weft_testing.cluster.fixtures import fresh_namespace
from weft_testing.netns import REPOSITORY
from weft_testing.node_agent import NodeAgent, make_account

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

WAIT_S = 60.0
DOMAIN = "cluster.local"
PYTHON = os.path.realpath(sys.executable)
GATE = "import sys; sys.path.insert(0, '/agent'); from weft_agent.__main__ import main; sys.exit(main(['gate']))"
SYSTEM = {"usr": "/usr", "lib": "/lib", "lib64": "/lib64", "agent": str(REPOSITORY / "agent")}
"""Python as this machine has it, mounted into pods: no image is needed."""
STRICT = """
apiVersion: weft.dev/v1alpha1
kind: PeerAuthentication
metadata: {name: strict, namespace: NAMESPACE}
spec: {mtls: {mode: STRICT}}
---
apiVersion: weft.dev/v1alpha1
kind: AuthorizationPolicy
metadata: {name: nobody, namespace: NAMESPACE}
spec: {selector: {matchLabels: {closed: "true"}}}
"""
HEALTH = """
import socket, sys
sys.path.append("/site")
import h2.connection, h2.config, h2.events
listener = socket.create_server(("::", 9000), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    sock, _ = listener.accept()
    link = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    link.initiate_connection()
    sock.sendall(link.data_to_send())
    while data := sock.recv(65536):
        for event in link.receive_data(data):
            if isinstance(event, h2.events.StreamEnded):
                link.send_headers(event.stream_id, [(":status", "200"), ("content-type", "application/grpc")])
                link.send_data(event.stream_id, bytes([0, 0, 0, 0, 2, 8, 1]))
                link.send_headers(event.stream_id, [("grpc-status", "0")], end_stream=True)
        sock.sendall(link.data_to_send())
    sock.close()
"""


def gate() -> Object:
    """Return the gate as the webhook would put it, started from the machine's own Python."""
    return {
        "name": GATE_CONTAINER, "image": PROBE_IMAGE, "command": [PYTHON, "-I", "-S", "-c", GATE],
        "env": [{"name": POD_UID_VARIABLE, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}],
        "securityContext": {"runAsUser": 65532, "runAsNonRoot": True, "allowPrivilegeEscalation": False,
                            "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True},
        "volumeMounts": [{"name": name, "mountPath": f"/{name}", "readOnly": True} for name in SYSTEM],
    }  # fmt: skip


def pod(
    name: str,
    node: str,
    *,
    gated: bool = True,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    spec: Object | None = None,
    **container: object,
) -> Object:
    volumes = [{"name": each, "hostPath": {"path": path}} for each, path in SYSTEM.items()]
    main = {"name": "c", "image": PROBE_IMAGE, "command": ["probe", "serve", ":8080"], **container}
    wanted: Object = {
        "terminationGracePeriodSeconds": 1, "nodeSelector": {"kubernetes.io/hostname": node},
        "containers": [main], "volumes": volumes, **(spec or {}),
    }  # fmt: skip
    if gated:
        wanted["initContainers"] = [gate()]
    metadata = {"name": name, "labels": {"app": name, **(labels or {})}, "annotations": dict(annotations or {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": wanted}


class Meshed:
    """The cluster with an agent on each node, and a compiler that runs when it is told to."""

    def __init__(self, cluster: Cluster, namespace: str, stack: ExitStack) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.kubectl: Kubectl = cluster.kubectl
        self.account = make_account(cluster)
        self.identity = f"spiffe://{DOMAIN}/ns/{namespace}/sa/default"
        self._authority = pki.root()
        self._stack = stack
        self.agents = {name: self.start(name) for name in cluster.nodes}
        self("label", "namespace", namespace, f"{MESH_LABEL}=enabled")

    def start(self, node: str, *, watches: bool = True) -> NodeAgent:
        agent = NodeAgent(self.cluster, self.cluster.nodes[node], self.account if watches else None)
        self._stack.enter_context(agent)
        agent.configure()
        issued = self._authority.issue(uris=(self.identity,))
        path = agent.identity / f"{self.namespace}.default.pem"
        path.touch(mode=0o600)
        path.write_bytes(issued.key_pem + issued.chain_pem)
        agent.start()
        agent.until_ready(WAIT_S)
        return agent

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        return self.kubectl(f"--namespace={self.namespace}", *arguments, stdin=stdin)

    def apply(self, *objects: Object) -> None:
        self("apply", "--server-side", "--filename=-", stdin="\n".join(json.dumps(each) for each in objects))

    def ready(self, *pods: str, timeout_s: float = WAIT_S) -> None:
        self("wait", "--for=condition=Ready", f"--timeout={timeout_s:.0f}s", *(f"pod/{name}" for name in pods))

    def get(self, name: str) -> Object:
        found: Object = json.loads(self("get", "pod", name, "--output=json"))
        return found

    def address(self, name: str) -> str:
        return str(self.get(name)["status"]["podIP"])

    def fetch(self, client: str, url: str) -> str:
        """Return what a GET from a pod printed; its failure's text where it failed."""
        try:
            return self("exec", client, "--container=c", "--", "probe", "get", url)
        except KubectlError as exc:
            return str(exc)

    def compile(self, extra: str = "") -> None:
        """Be the operator for a moment."""
        kinds = "nodes,namespaces,pods,services,endpointslices"
        text = self.kubectl("get", kinds, "--all-namespaces", "--output=json")
        texts = [("cluster.yaml", text), ("policies.yaml", extra.replace("NAMESPACE", self.namespace))]
        view = read_view(read_documents(texts).documents, {DOMAIN: (self._authority.pem_text,)})
        compiled = compile_cluster(view)
        for name, agent in self.agents.items():
            agent.write_config(compiled.document_bytes(name))

    def until_state(self, node: str, name: str, state: str) -> None:
        until(lambda: self.agents[node].pod(name).get("state") == state, f"{name} is {state} on {node}", WAIT_S)

    def until_left(self, node: str, name: str) -> None:
        until(lambda: not self.agents[node].pod(name), f"{name} has left {node}", WAIT_S)

    def remove(self, *names: str) -> None:
        self("delete", "pod", "--ignore-not-found", "--wait=true", *names)


@pytest.fixture(scope="module")
def mesh(cluster: Cluster) -> Iterator[Meshed]:
    with ExitStack() as stack, fresh_namespace(cluster.control_plane.api) as name:
        yield Meshed(cluster, name, stack)


def test_cgroups_of_this_kubelet_name_the_pods(mesh: Meshed) -> None:
    mesh.apply(pod("plain", "n2", gated=False, labels={MESH_LABEL: "disabled"}))
    mesh.ready("plain")
    uid = mesh.get("plain")["metadata"]["uid"]
    text = mesh.cluster.nodes["n2"].run("sh", "-c", "cat /proc/[0-9]*/cgroup")
    assert uid in {scan.pod_of_cgroup(line) for line in text.splitlines()}
    mesh.remove("plain")


def test_a_new_pod_is_captured_waits_for_the_operator_and_its_like_does_not(mesh: Meshed) -> None:
    mesh.apply(pod("first", "n1", labels={"app": "web"}))
    mesh.until_state("n1", "first", "captured")
    assert mesh.get("first")["status"]["phase"] == "Pending", "its gate waits: nobody knows how to treat it"
    began = time.monotonic()
    mesh.compile()
    mesh.ready("first")
    opened_s = time.monotonic() - began
    began = time.monotonic()
    mesh.apply(pod("second", "n1", labels={"app": "web"}))
    mesh.ready("second")  # nothing was compiled
    alike_s = time.monotonic() - began
    waited = re.search(r"waited ([0-9.]+) s", mesh("logs", "second", f"--container={GATE_CONTAINER}"))
    sys.stdout.write(f"gate: opened {opened_s:.1f} s after compiling; a like pod ready in {alike_s:.1f} s, of which it "
                     f"waited {waited[1] if waited else '?'} s at the gate\n")  # fmt: skip
    assert mesh.agents["n1"].pod("second")["identity"] == mesh.identity
    netns = mesh.agents["n1"].pod("second")["netns"]
    assert netns.startswith("/run/netns/cni-")
    mesh.remove("second")
    mesh.until_left("n1", "second")
    assert not Path(f"{mesh.cluster.nodes['n1'].root}{netns}").exists()
    mesh.remove("first")
    mesh.until_left("n1", "first")


def test_pods_of_two_nodes_talk_by_mutual_tls_and_strangers_do_not_get_in(mesh: Meshed) -> None:
    stranger = {MESH_LABEL: "disabled"}
    excluded = {"weft.dev/excludeInboundPorts": "9090"}
    more = [{"name": "open", "image": PROBE_IMAGE, "command": ["probe", "serve", ":9090"]}]
    main = {"name": "c", "image": PROBE_IMAGE, "command": ["probe", "serve", ":8080"]}
    mesh.apply(
        pod("server", "n1", annotations=excluded, spec={"containers": [main, *more]}),
        pod("client", "n2"),
        pod("stranger", "n2", gated=False, labels=stranger),
    )
    for node, name in (("n1", "server"), ("n2", "client")):
        mesh.until_state(node, name, "captured")
    mesh.compile(STRICT)
    mesh.ready("server", "client", "stranger")
    mesh.compile(STRICT)
    server = mesh.address("server")
    until(lambda: "server from" in mesh.fetch("client", f"http://{server}:8080/"), "the client is let in", WAIT_S)
    answer = mesh.fetch("client", f"http://{server}:8080/")
    assert f"from {mesh.address('client')}" in answer, "the server sees its client's own address"
    assert mesh.agents["n2"].status()["connections"]["tunnels"] >= 1
    assert "server from" not in mesh.fetch("stranger", f"http://{server}:8080/")
    assert "server from" in mesh.fetch("stranger", f"http://{server}:9090/"), "an excluded port is left alone"
    mesh.remove("server", "client", "stranger")


@pytest.mark.parametrize("node", ["n1", "n2"])
def test_probes_of_every_kind_pass_under_strict_and_default_deny(mesh: Meshed, node: str) -> None:
    """Node n1 has a bridge and n2 point-to-point links, where kubelets have another source address."""
    site = str(next(Path(sys.prefix).glob("lib/python3*/site-packages")))
    health = {
        "name": "health", "image": PROBE_IMAGE, "command": [PYTHON, "-I", "-S", "-c", HEALTH],
        "volumeMounts": [{"name": name, "mountPath": f"/{name}"} for name in (*SYSTEM, "site")],
        "readinessProbe": {"grpc": {"port": 9000}, "periodSeconds": 1},
    }  # fmt: skip
    serve = {"image": PROBE_IMAGE}
    containers: list[Object] = [
        {"name": "c", "command": ["probe", "serve", ":8080"], **serve,
         "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}},
        {"name": "tcp", "command": ["probe", "serve", ":8081"], **serve,
         "readinessProbe": {"tcpSocket": {"port": 8081}, "periodSeconds": 1}},
        {"name": "exec", "command": ["probe", "wait"], **serve,
         "readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1}},
        health,
    ]  # fmt: skip
    volumes = [{"name": each, "hostPath": {"path": path}} for each, path in {**SYSTEM, "site": site}.items()]
    name = f"probed-{node}"
    mesh.apply(pod(name, node, labels={"closed": "true"}, spec={"containers": containers, "volumes": volumes}))
    mesh.until_state(node, name, "captured")
    mesh.compile(STRICT)
    mesh.ready(name)
    address = mesh.address(name)
    for port in (8080, 8081, 9000):
        said = mesh.cluster.nodes[node].run(
            "sh", "-c", f"curl --silent --max-time 5 http://{address}:{port}/other; echo status $?"
        )
        assert name not in said, "from the same address, what is no probe is refused"
    mesh.remove(name)


def test_a_pod_on_the_nodes_network_is_refused_loudly(mesh: Meshed) -> None:
    main = {"name": "c", "image": PROBE_IMAGE, "command": ["probe", "wait"]}
    spec: Object = {"hostNetwork": True, "containers": [main]}
    mesh.apply(pod("hosted", "n1", gated=False, labels={MESH_LABEL: "enabled"}, spec=spec))
    until(
        lambda: any("hosted" in text for text in mesh.agents["n1"].status()["warnings"]), "the refusal is told", WAIT_S
    )
    assert not mesh.agents["n1"].pod("hosted")
    assert "weft" not in mesh.cluster.nodes["n1"].run("nft", "list", "tables")
    mesh.remove("hosted")


def test_running_pods_join_and_leave_without_a_restart(mesh: Meshed) -> None:
    mesh.apply(pod("mover", "n2", gated=False, labels={MESH_LABEL: "disabled"}))
    mesh.ready("mover")
    for state, label in (("captured", "enabled"), ("", "disabled"), ("captured", "enabled")):
        mesh("label", "--overwrite", "pod", "mover", f"{MESH_LABEL}={label}")
        mesh.compile()
        if state:
            mesh.until_state("n2", "mover", state)
        else:
            mesh.until_left("n2", "mover")
    assert mesh.get("mover")["status"]["containerStatuses"][0]["restartCount"] == 0
    mesh.remove("mover")


def test_an_address_used_again_within_a_second_is_never_the_old_pods(mesh: Meshed) -> None:
    """The watch is off, so the agent still believes in the pod that is gone; the new one is not in the mesh."""
    mesh.agents["n1"].end()
    mesh.agents["n1"] = agent = mesh.start("n1", watches=False)
    mesh.apply(pod("old", "n1"), pod("peer", "n1"))
    until(
        lambda: mesh.get("old")["status"].get("podIP") and mesh.get("peer")["status"].get("podIP"), "addresses", WAIT_S
    )
    mesh.compile(STRICT)
    mesh.ready("old", "peer")
    address = mesh.address("old")
    assert "old from" in mesh.fetch("peer", f"http://{address}:8080/")
    mesh("delete", "pod", "old", "--grace-period=0", "--force", "--wait=true")
    node = mesh.cluster.nodes["n1"]
    until(
        lambda: not node.run("sh", "-c", f"ls /var/lib/cni/networks/*/{address} 2>/dev/null; true"),
        "it is free",
        WAIT_S,
    )
    before = address.rsplit(".", 1)
    node.run(
        "sh",
        "-c",
        f"for f in /var/lib/cni/networks/*/last_reserved_ip.0; do echo -n {before[0]}.{int(before[1]) - 1} > $f; done",
    )
    mesh.apply(pod("new", "n1", gated=False, labels={MESH_LABEL: "disabled"}))
    mesh.ready("new")
    assert mesh.address("new") == address, "the test needs the same address"
    until(lambda: agent.pod("old").get("state") in ("absent", "failed"), "the agent knows that its pod is gone", WAIT_S)
    assert "new from" not in mesh.fetch("peer", f"http://{address}:8080/"), (
        "what was meant for the old pod is not the new one's"
    )
    uid = mesh.get("new")["metadata"]["uid"]
    pid = next(pid for pid in scan.Processes(node.root / "proc").of_pod(uid))
    rules = node.run("nsenter", f"--net=/proc/{pid}/ns/net", "nft", "list", "tables")
    assert "weft" not in rules
    mesh.remove("new", "peer")
