"""How the parts of the control plane are started: their programs, arguments and health addresses. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from weft_testing.cluster.addresses import Addresses

ETCD: Final = "etcd"
API_SERVER: Final = "kube-apiserver"
CONTROLLER_MANAGER: Final = "kube-controller-manager"
SCHEDULER: Final = "kube-scheduler"
PROXY: Final = "kube-proxy"

PORTS: Final[Mapping[str, int]] = {
    ETCD: 2379,
    "etcd-peer": 2380,
    API_SERVER: 6443,
    CONTROLLER_MANAGER: 10257,
    SCHEDULER: 10259,
}
"""Their usual ports, free in a namespace of their own."""
ISSUER: Final = "https://kubernetes.default.svc.cluster.local"
_ETCD_QUOTA_BYTES: Final = 4 << 30
# The default of 20 requests a second costs four seconds when the controller manager starts.
_CLIENT_RATE: Final = ("--kube-api-qps=500", "--kube-api-burst=1000")
_MUTATING_POLICIES: Final = (
    "--feature-gates=MutatingAdmissionPolicy=true",
    "--runtime-config=admissionregistration.k8s.io/v1beta1=true",
)
"""On as of Kubernetes 1.36, there as v1; 1.34 and 1.35 have them for those who ask."""
_QUIET: Final = ("--leader-elect=false", "--profiling=false", "--bind-address=127.0.0.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where a control plane runs and keeps its things."""

    programs: Mapping[str, Path]
    directory: Path
    addresses: Addresses
    host: str
    """The address that the API server is known by."""
    ports: Mapping[str, int]
    on_loopback: bool

    @property
    def pki(self) -> Path:
        """The folder of certificates, keys and kubeconfigs."""
        return self.directory / "pki"

    @property
    def server(self) -> str:
        """The URL of the API server, for its neighbours."""
        return f"https://{self.host}:{self.ports[API_SERVER]}"


def etcd(setting: Setting) -> list[str]:
    """Return etcd's command: one member that never waits for a disk."""
    client, peer = (f"http://127.0.0.1:{setting.ports[name]}" for name in (ETCD, "etcd-peer"))
    return [
        str(setting.programs[ETCD]),
        f"--data-dir={setting.directory / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
        "--log-level=warn",
        f"--quota-backend-bytes={_ETCD_QUOTA_BYTES}",
    ]


def api_server(setting: Setting) -> list[str]:
    """Return the API server's command.

    The request header set keeps the controller manager from filling its log; the kubelet set makes logs, exec and
    port-forward work. On loopback it does not announce itself as a Service, because no endpoint may be a loopback address.
    """
    pki = setting.pki
    return [
        str(setting.programs[API_SERVER]),
        f"--etcd-servers=http://127.0.0.1:{setting.ports[ETCD]}",
        f"--bind-address={'127.0.0.1' if setting.on_loopback else '0.0.0.0'}",
        f"--secure-port={setting.ports[API_SERVER]}",
        f"--advertise-address={setting.host}",
        *(["--endpoint-reconciler-type=none"] if setting.on_loopback else []),
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        f"--client-ca-file={pki / 'ca.crt'}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--service-cluster-ip-range={','.join(setting.addresses.service_ranges)}",
        f"--service-account-issuer={ISSUER}",
        f"--api-audiences={ISSUER}",
        f"--service-account-key-file={pki / 'service-accounts.pub'}",
        f"--service-account-signing-key-file={pki / 'service-accounts.key'}",
        f"--kubelet-client-certificate={pki / 'apiserver-kubelet.crt'}",
        f"--kubelet-client-key={pki / 'apiserver-kubelet.key'}",
        f"--kubelet-certificate-authority={pki / 'ca.crt'}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--requestheader-client-ca-file={pki / 'ca.crt'}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={pki / 'front-proxy.crt'}",
        f"--proxy-client-key-file={pki / 'front-proxy.key'}",
        "--allow-privileged=true",
        *_MUTATING_POLICIES,
        "--profiling=false",
        "--max-requests-inflight=800",
        "--v=1",
    ]


def controller_manager(setting: Setting) -> list[str]:
    """Return the controller manager's command."""
    pki = setting.pki
    return [
        str(setting.programs[CONTROLLER_MANAGER]),
        *_as_client(pki / f"{CONTROLLER_MANAGER}.kubeconfig"),
        f"--secure-port={setting.ports[CONTROLLER_MANAGER]}",
        f"--service-account-private-key-file={pki / 'service-accounts.key'}",
        f"--root-ca-file={pki / 'ca.crt'}",
        f"--cluster-signing-cert-file={pki / 'ca.crt'}",
        f"--cluster-signing-key-file={pki / 'ca.key'}",
        "--use-service-account-credentials",
        "--allocate-node-cidrs",
        f"--cluster-cidr={','.join(setting.addresses.pod_ranges)}",
        "--node-cidr-mask-size-ipv6=64",
        f"--service-cluster-ip-range={','.join(setting.addresses.service_ranges)}",
        "--node-monitor-grace-period=20s",
        *_CLIENT_RATE,
        *_QUIET,
    ]


def scheduler(setting: Setting) -> list[str]:
    """Return the scheduler's command."""
    return [
        str(setting.programs[SCHEDULER]),
        *_as_client(setting.pki / f"{SCHEDULER}.kubeconfig"),
        f"--secure-port={setting.ports[SCHEDULER]}",
        *_CLIENT_RATE,
        *_QUIET,
    ]


def proxy_configuration(setting: Setting, node: str) -> dict[str, object]:
    """Return a kube-proxy's configuration.

    Args:
        setting: the control plane.
        node: must be the name of a Node that exists, or kube-proxy waits for half a minute.
    """
    untouched = {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"}
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": str(setting.pki / f"{PROXY}.kubeconfig")},
        "hostnameOverride": node,
        "clusterCIDR": ",".join(setting.addresses.pod_ranges),
        "conntrack": untouched,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
    }


def _as_client(kubeconfig: Path) -> list[str]:
    return [f"--{use}={kubeconfig}" for use in ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")]
