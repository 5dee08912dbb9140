"""Nodes: ready, with pods, DNS, Services and probes; crashed, unplugged, rebooted; loaded with images; gone without trace."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from weft_testing.cluster import cgroups, records
from weft_testing.cluster.addresses import owner_of
from weft_testing.cluster.api import Kubectl, KubectlError, Object
from weft_testing.cluster.binaries import need
from weft_testing.cluster.catalog import PROBE_IMAGE, probe_image
from weft_testing.cluster.cluster import Cluster
from weft_testing.cluster.control_plane import PYTHON_VARIABLES
from weft_testing.cluster.fixtures import fresh_namespace, own_cluster_name
from weft_testing.cluster.images import Image, Written
from weft_testing.cluster.network import namespaces
from weft_testing.cluster.node import PARTS, Node
from weft_testing.cluster.node_files import CONTAINERD, KUBELET, PROXY
from weft_testing.cluster.processes import own_processes, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

WAIT_S = 60.0


def container(**more: object) -> Object:
    return {"name": "c", "image": PROBE_IMAGE, "command": ["probe", "serve", ":8080"], **more}


def pod(
    name: str, node: str = "", *, labels: Object | None = None, spec: Object | None = None, **more: object
) -> Object:
    wanted = {"terminationGracePeriodSeconds": 1, "containers": [container(**more)], **(spec or {})}
    if node:
        wanted["nodeSelector"] = {"kubernetes.io/hostname": node}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels or {"app": name}},
        "spec": wanted,
    }


class Within:
    """kubectl in one namespace, with what these tests ask for again and again."""

    def __init__(self, kubectl: Kubectl, namespace: str) -> None:
        self._kubectl = kubectl
        self.flags = (f"--namespace={namespace}",)

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        return self._kubectl(*self.flags, *arguments, stdin=stdin)

    def apply(self, *objects: Object) -> None:
        self("apply", "--server-side", "--filename=-", stdin="\n".join(json.dumps(each) for each in objects))

    def ready(self, *pods: str) -> None:
        self("wait", "--for=condition=Ready", f"--timeout={WAIT_S:.0f}s", *(f"pod/{name}" for name in pods))

    def on(self, name: str, *command: str) -> str:
        return self("exec", name, "--", *command)

    def get(self, *arguments: str) -> Object:
        content: Object = json.loads(self("get", *arguments, "--output=json"))
        return content


@pytest.fixture
def k(cluster: Cluster, cluster_namespace: str) -> Within:
    return Within(cluster.kubectl, cluster_namespace)


@pytest.fixture(scope="module")
def shared(cluster: Cluster) -> Iterator[Within]:
    """A pod on each node and a dual-stack Service before both; the tests that use it change nothing."""
    with fresh_namespace(cluster.control_plane.api) as name:
        within = Within(cluster.kubectl, name)
        ready = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
        pods = [pod(f"web-{node}", node, labels={"app": "web"}, readinessProbe=ready) for node in cluster.nodes]
        service: Object = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web"},
            "spec": {
                "ipFamilyPolicy": "RequireDualStack",
                "selector": {"app": "web"},
                "ports": [{"port": 80, "targetPort": 8080}],
            },
        }
        within.apply(service, *pods)
        within.ready(*(f"web-{node}" for node in cluster.nodes))
        yield within


def test_nodes_are_ready_with_what_they_were_given(cluster: Cluster) -> None:
    for node in cluster.nodes.values():
        found = cluster.control_plane.api.get(f"/api/v1/nodes/{node.name}")
        internal = [each["address"] for each in found["status"]["addresses"] if each["type"] == "InternalIP"]
        assert internal[0] == node.addresses[0]
        assert found["spec"]["podCIDRs"] == list(cluster.record.addresses.node_pods(node.number))
        assert found["status"]["nodeInfo"]["kubeletVersion"] == "v1.35.4"
        assert all(node.process(part) is not None for part in PARTS)


def test_a_pod_runs_on_each_node_with_an_address_of_each_family(cluster: Cluster, shared: Within) -> None:
    for node in cluster.nodes.values():
        found = shared.get("pod", f"web-{node.name}")
        assert found["spec"]["nodeName"] == node.name
        ranges = cluster.record.addresses.node_pods(node.number)
        addresses = [each["ip"] for each in found["status"]["podIPs"]]
        assert [address.split("." if "." in address else ":")[:2] for address in addresses] == [
            text.split("." if "." in text else ":")[:2] for text in ranges
        ]


def test_pods_reach_each_other_directly_in_both_families(cluster: Cluster, shared: Within) -> None:
    for source in cluster.nodes:
        for target in cluster.nodes:
            for each in shared.get("pod", f"web-{target}")["status"]["podIPs"]:
                host = f"[{each['ip']}]" if ":" in each["ip"] else each["ip"]
                assert f"web-{target} from" in shared.on(f"web-{source}", "probe", "get", f"http://{host}:8080/")


def answered(within: Within, node: str, host: str) -> bool:
    """Whether a Service is there; a pod is Ready a moment before kube-proxy and DNS have heard of it."""
    try:
        return "200 " in within.on(f"web-{node}", "probe", "get", f"http://{host}/")
    except KubectlError:
        return False


def test_services_answer_by_name_and_by_address_of_each_family(cluster: Cluster, shared: Within) -> None:
    ips = shared.get("service", "web")["spec"]["clusterIPs"]
    assert [":" in ip for ip in ips] == [False, True]
    hosts = ["web", *(f"[{ip}]" if ":" in ip else ip for ip in ips)]
    for node in cluster.nodes:
        for host in hosts:
            wait_until(partial(answered, shared, node, host), f"{host} was known on {node}", WAIT_S)
            answers = shared.on(f"web-{node}", "probe", "get", *[f"http://{host}/"] * 8)
            assert answers.count("200 ") == 8
    assert sorted(shared.on("web-n1", "probe", "lookup", "web").split()) == sorted(ips)


def test_services_answer_the_control_plane_too(cluster: Cluster, shared: Within) -> None:
    """By kube-proxy beside the API server, which admission webhooks that are Services need."""
    ip = shared.get("service", "web")["spec"]["clusterIP"]
    probe = need("probe")["probe"]
    done = subprocess.run(
        [*cluster.control_plane.enter, str(probe), "get", f"http://{ip}/"], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("200 "), done.stderr


def test_logs_exec_and_port_forward_work(cluster: Cluster, shared: Within) -> None:
    assert (
        shared("exec", "--stdin", "web-n2", "--", "cat", stdin="by way of the API server") == "by way of the API server"
    )
    assert shared("logs", "web-n1") == ""
    command = cluster.kubectl.command(*shared.flags, "port-forward", "pod/web-n2", ":8080")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as forward:
        assert forward.stdout is not None
        port = forward.stdout.readline().partition("127.0.0.1:")[2].split()[0]
        answer = subprocess.run(
            [str(need("probe")["probe"]), "get", f"http://127.0.0.1:{port}/"],
            capture_output=True,
            text=True,
            check=True,
        )
        forward.terminate()
    assert "web-n2 from" in answer.stdout


def test_probes_decide_about_readiness_and_restarts(k: Within) -> None:
    fails = {"exec": {"command": ["test", "-f", "/tmp/alive"]}, "periodSeconds": 1, "failureThreshold": 1}
    k.apply(
        pod("never", readinessProbe={"tcpSocket": {"port": 9}, "periodSeconds": 1}),
        pod("dies", livenessProbe=fails),
        pod("fine", readinessProbe={"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}),
    )
    k.ready("fine")
    wait_until(lambda: restarts(k, "dies") > 0, "the liveness probe had killed it", WAIT_S)
    (status,) = k.get("pod", "never")["status"]["containerStatuses"]
    assert (status["ready"], restarts(k, "fine")) == (False, 0)


def restarts(k: Within, name: str) -> int:
    return sum(each["restartCount"] for each in k.get("pod", name)["status"].get("containerStatuses", ()))


def test_a_mounted_token_names_the_node(cluster: Cluster, k: Within) -> None:
    source = {"serviceAccountToken": {"audience": "weft", "expirationSeconds": 600, "path": "token"}}
    volumes = [{"name": "t", "projected": {"sources": [source]}}]
    mounts = [{"name": "t", "mountPath": "/token"}]
    k.apply(pod("p", "n2", spec={"volumes": volumes}, volumeMounts=mounts))
    k.ready("p")
    spec = {"token": k.on("p", "cat", "/token/token"), "audiences": ["weft"]}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
    status = cluster.control_plane.api.create("/apis/authentication.k8s.io/v1/tokenreviews", body)["status"]
    assert status["user"]["extra"]["authentication.kubernetes.io/node-name"] == ["n2"]


def test_an_agent_of_the_node_sees_its_processes_and_namespaces(cluster: Cluster, k: Within, shared: Within) -> None:
    """What a DaemonSet without full privileges needs: /proc, /run/netns, cgroups that name the pod."""
    capabilities = {"drop": ["ALL"], "add": ["NET_ADMIN", "SYS_ADMIN", "NET_RAW", "SYS_PTRACE", "DAC_READ_SEARCH"]}
    paths = {"proc": "/proc", "netns": "/run/netns"}
    volumes = [{"name": name, "hostPath": {"path": path}} for name, path in paths.items()]
    mounts = [{"name": name, "mountPath": f"/host/{name}", "readOnly": True} for name in paths]
    mounts[1]["mountPropagation"] = "HostToContainer"
    privileges = {"capabilities": capabilities}
    k.apply(pod("agent", "n1", spec={"volumes": volumes}, volumeMounts=mounts, securityContext=privileges))
    k.ready("agent")
    uid = shared.get("pod", "web-n1")["metadata"]["uid"]
    elsewhere = shared.get("pod", "web-n2")["metadata"]["uid"]
    groups = k.on("agent", "sh", "-c", "cat /host/proc/[0-9]*/cgroup 2>/dev/null || true")  # some end meanwhile
    assert f"pod{uid}" in groups
    assert f"pod{elsewhere}" not in groups, "another node's processes are not in this node's /proc"
    assert "cni-" in k.on("agent", "ls", "/host/netns")


def test_hostpaths_belong_to_one_node_and_not_to_the_machine(cluster: Cluster, k: Within) -> None:
    paths = {"var": "/var/lib/weft-test", "run": "/run/weft-test"}
    volumes = [{"name": name, "hostPath": {"path": path, "type": "DirectoryOrCreate"}} for name, path in paths.items()]
    mounts = [{"name": name, "mountPath": f"/host/{name}"} for name in paths]
    for node in cluster.nodes:
        k.apply(pod(node, node, spec={"volumes": volumes}, volumeMounts=mounts))
    k.ready(*cluster.nodes)
    for folder in paths:
        k.on("n1", "touch", f"/host/{folder}/from-n1")
        assert k.on("n2", "ls", f"/host/{folder}") == ""
    assert not any(Path(path).exists() for path in paths.values())


def test_an_image_of_ours_is_loaded_into_every_node(cluster: Cluster, k: Within) -> None:
    base = probe_image(need("probe"))
    image = Image(
        name="weft.test/own:v1",
        files={**base.files, "etc/own": Written(b"made here")},
        entrypoint=["/bin/sh", "-c", 'cat /etc/own; echo " by $(id -u) in $(pwd) with $WHAT"; exec probe wait'],
        environment={**base.environment, "WHAT": "nothing"},
        user="65534",
        working_directory="/etc",
    )
    cluster.load_image(image)
    for node in cluster.nodes:
        own = {"name": "c", "image": image.name}
        k.apply(pod(node, node, spec={"containers": [own]}))
    k.ready(*cluster.nodes)
    for node in cluster.nodes:
        assert k("logs", node) == "made here by 65534 in /etc with nothing\n"


@pytest.mark.parametrize("part", [KUBELET, CONTAINERD, PROXY])
def test_a_killed_program_comes_back_and_pods_run_on(cluster: Cluster, shared: Within, part: str) -> None:
    node = cluster.nodes["n1"]
    before = node.process(part)
    count = restarts(shared, "web-n1")
    node.kill(part)
    wait_until(lambda: node.process(part) not in (None, before), f"{part} was back", 15)
    node.wait_ready()
    assert "web-n1 from" in shared.on("web-n1", "probe", "get", "http://127.0.0.1:8080/")
    assert restarts(shared, "web-n1") == count


def test_a_stopped_program_stays_down_until_it_is_started(cluster: Cluster) -> None:
    node = cluster.nodes["n2"]
    node.stop(PROXY)
    assert node.process(PROXY) is None
    node.kill(KUBELET)
    wait_until(lambda: node.process(KUBELET) is not None, "the kubelet was back", 15)
    assert node.process(PROXY) is None
    node.start(PROXY)
    wait_until(lambda: node.process(PROXY) is not None, "kube-proxy was back", 15)


def test_an_unplugged_node_is_not_ready_and_comes_back(cluster: Cluster) -> None:
    node = cluster.nodes["n2"]
    node.set_link(up=False)
    try:
        assert node.wait_not_ready(90) > 1
    finally:
        node.set_link(up=True)
    assert node.wait_ready() < 30


def test_a_node_that_crashed_reboots_with_its_disk(cluster: Cluster, k: Within) -> None:
    node = cluster.nodes["n1"]
    paths = {"disk": "/var/lib/weft-crash", "memory": "/run/weft-crash"}
    volumes = [{"name": name, "hostPath": {"path": path, "type": "DirectoryOrCreate"}} for name, path in paths.items()]
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in paths]
    k.apply(pod("p", "n1", spec={"volumes": volumes}, volumeMounts=mounts))
    k.ready("p")
    for name in paths:
        k.on("p", "touch", f"/{name}/mark")
    inits = [each.pid for each in own_processes(cluster.name, [])]
    node.crash()
    assert node.process(KUBELET) is None
    assert not [branch for branch in branches(cluster.name) if branch.endswith(".n1")]
    assert len(own_processes(cluster.name, [])) < len(inits)
    node.boot()
    # Until the kubelet has spoken, its last word stands: wait for the restarted container, not for Ready alone.
    wait_until(lambda: restarts(k, "p") > 0, "the pod was started again", WAIT_S)
    node.wait_ready()
    k.ready("p")
    assert k.on("p", "ls", "/disk") == "mark\n"
    assert k.on("p", "ls", "/memory") == ""


def branches(cluster: str) -> list[str]:
    return [path.name for root in cgroups.hierarchies() for path in root.iterdir() if owner_of(path.name) == cluster]


def left_of(name: str) -> list[str]:
    """Return what a cluster has on the machine."""
    left = [str(path) for path in [records.cluster_directory(name)] if path.exists()]
    left += [*namespaces(name), *branches(name)]
    left += [f"process {process.pid}" for process in own_processes(name, ())]
    left += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f".{name}." in line]
    return left


def test_down_leaves_nothing_of_nodes_that_are_up_or_have_crashed(cluster: Cluster) -> None:
    """Beside the shared cluster, whose nodes must not notice."""
    name = own_cluster_name("gone")
    begun = time.monotonic()
    with Cluster.up(name, nodes=2) as second:
        took_s = time.monotonic() - begun
        assert took_s < 90, "12 s on an idle machine"
        second.nodes["n2"].crash()
    assert not left_of(name)
    second.down()
    assert all(node.is_ready() for node in cluster.nodes.values())


OWNER = """
import sys
from weft_testing.cluster.cluster import Cluster
Cluster.up(sys.argv[1], nodes=1)
print("up", flush=True)
sys.stdin.read()
"""


def test_nothing_is_left_of_a_killed_owners_nodes(cluster: Cluster) -> None:
    name = own_cluster_name("orphan")
    command = [sys.executable, "-c", OWNER, name]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | PYTHON_VARIABLES
    ) as owner:
        try:
            assert owner.stdout is not None
            assert owner.stdout.readline() == "up\n"
            assert left_of(name)
        finally:
            owner.send_signal(signal.SIGKILL)
            owner.wait(10)
    wait_until(lambda: not left_of(name), "the guard had cleared up", 30)


def test_another_process_may_use_and_end_a_cluster_that_stays(cluster: Cluster) -> None:
    attached = Cluster.attach(cluster.name)
    assert list(attached.nodes) == list(cluster.nodes)
    attached.wait_ready()
    node: Node = attached.nodes["n1"]
    assert node.run("hostname") == "n1\n"
    assert "containerd.sock" in node.run("ls", "/run/containerd")
