"""What a node's programs are configured with: containerd, CNI, kubelet, kube-proxy. Pure: text and JSON, no writing.

Theory. Each setting that is not a default is there because a node without it does not work on a small, shared, root-only
machine: there may be no capability to lower an OOM score (then runc dies with a message about a pipe), no AppArmor, no
systemd, cgroup version 1, no disk to evict from, low limits on open files, and several kubelets side by side.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from weft_testing.cluster.addresses import Addresses

Cni = Literal["bridge", "ptp"]

CONTAINERD: Final = "containerd"
KUBELET: Final = "kubelet"
PROXY: Final = "kube-proxy"
SOCKET: Final = "/run/containerd/containerd.sock"
PAUSE_IMAGE: Final = "registry.k8s.io/pause:3.10"
CLUSTER_DOMAIN: Final = "cluster.local"
_MAX_OPEN_FILES: Final = 20000
_MTU: Final = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlan:
    """One node as it is to be."""

    name: str
    number: int
    cni: Cni
    addresses: Addresses
    directory: Path
    """Its own folder; what is in it outlives a crash of the node, as a disk would."""
    pki: Path
    cni_folder: Path
    """Where the CNI plugins are installed."""
    cgroup: str
    """Its branch, as the kubelet's `cgroupRoot`."""

    @property
    def hosts(self) -> tuple[str, str]:
        """Its addresses."""
        return self.addresses.node(self.number)

    def log(self, part: str) -> Path:
        """Return the file that has the output of one of its programs."""
        return self.directory / f"{part}.log"

    def files(self) -> dict[Path, str]:
        """Return everything that has to be written before the node boots."""
        return {
            self.directory / "containerd.toml": containerd_toml(self),
            self.directory / "kubelet.json": json.dumps(kubelet_configuration(self), indent=1),
            self.directory / "cni" / "10-weft.conflist": json.dumps(cni_configuration(self), indent=1),
            self.directory / "resolv.conf": "",
        }

    def commands(self, kubelet: Path, proxy: Path) -> dict[str, list[str]]:
        """Return how the node's programs are started, by their part."""
        return {
            CONTAINERD: ["containerd", f"--config={self.directory / 'containerd.toml'}"],
            KUBELET: [
                str(kubelet),
                f"--config={self.directory / 'kubelet.json'}",
                f"--kubeconfig={self.pki / f'node-{self.name}.kubeconfig'}",
                f"--hostname-override={self.name}",
                f"--node-ip={','.join(self.hosts)}",
                "--root-dir=/var/lib/kubelet",
                "--v=2",
            ],
            PROXY: [str(proxy), f"--config={self.directory / 'kube-proxy.json'}"],
        }


def containerd_toml(plan: NodePlan) -> str:
    """Return containerd's configuration."""
    return f"""version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plan.cni_folder}"
    conf_dir = "{plan.directory / "cni"}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""


def kubelet_configuration(plan: NodePlan) -> dict[str, object]:
    """Return the kubelet's configuration.

    `localStorageCapacityIsolation` stays on: without it the kubelet's summary of statistics fails.
    """
    certificate = plan.pki / f"node-{plan.name}"
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": plan.cgroup,
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "maxOpenFiles": _MAX_OPEN_FILES,
        "enforceNodeAllocatable": [],
        "evictionHard": {},
        "imageGCHighThresholdPercent": 100,
        "tlsCertFile": f"{certificate}.crt",
        "tlsPrivateKeyFile": f"{certificate}.key",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(plan.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "clusterDNS": [plan.addresses.dns_service],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": str(plan.directory / "resolv.conf"),
        "address": plan.hosts[0],
        "healthzBindAddress": "127.0.0.1",
        "nodeStatusUpdateFrequency": "5s",
    }


def cni_configuration(plan: NodePlan) -> dict[str, object]:
    """Return the pod network of a node: a bridge that lets a pod reach itself through a Service, or a routed pair."""
    kinds: dict[Cni, dict[str, object]] = {
        "bridge": {"type": "bridge", "bridge": "cni0", "isGateway": True, "hairpinMode": True},
        "ptp": {"type": "ptp"},
    }
    ranges = [[{"subnet": subnet}] for subnet in plan.addresses.node_pods(plan.number)]
    addresses = {"type": "host-local", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}
    return {
        "cniVersion": "1.0.0",
        "name": "weft",
        "plugins": [
            {**kinds[plan.cni], "ipMasq": False, "mtu": _MTU, "ipam": addresses},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def node_object(plan: NodePlan) -> dict[str, object]:
    """Return the Node to create before the kubelet starts: else pod ranges are handed out in order of registration."""
    ranges = plan.addresses.node_pods(plan.number)
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": plan.name, "labels": {"kubernetes.io/hostname": plan.name}},
        "spec": {"podCIDR": ranges[0], "podCIDRs": list(ranges)},
    }
