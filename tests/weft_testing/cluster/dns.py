"""The cluster's DNS as Kubernetes objects: CoreDNS, with what it may read and where it is found. Pure."""

from typing import Final

from weft_testing.cluster.addresses import Addresses
from weft_testing.cluster.catalog import COREDNS_IMAGE
from weft_testing.cluster.node_files import CLUSTER_DOMAIN

Manifest = dict[str, object]

NAMESPACE: Final = "kube-system"
NAME: Final = "coredns"
_RBAC: Final = "rbac.authorization.k8s.io"
_LABELS: Final = {"k8s-app": "kube-dns"}
_READ_ONLY: Final = ["get", "list", "watch"]
_COREFILE: Final = f""".:53 {{
  errors
  health :8080
  ready :8181
  kubernetes {CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {{
    pods insecure
    ttl 5
  }}
  cache 5
  loadbalance
}}
"""


def dns_objects(addresses: Addresses, replicas: int) -> list[Manifest]:
    """Return the objects of the cluster's DNS, to be applied in this order."""
    role = f"system:{NAME}"
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata()},
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": role},
            "rules": [
                {
                    "apiGroups": [""],
                    "resources": ["endpoints", "services", "pods", "namespaces"],
                    "verbs": _READ_ONLY,
                },
                {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": _READ_ONLY},
            ],
        },
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": role},
            "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}],
        },
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(), "data": {"Corefile": _COREFILE}},
        _service(addresses),
        _deployment(replicas),
    ]


def _metadata(name: str = NAME) -> Manifest:
    return {"name": name, "namespace": NAMESPACE, "labels": _LABELS}


def _service(addresses: Addresses) -> Manifest:
    ports = [
        {"name": name, "port": 53, "protocol": protocol} for name, protocol in (("dns", "UDP"), ("dns-tcp", "TCP"))
    ]
    spec = {"clusterIP": addresses.dns_service, "selector": _LABELS, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata("kube-dns"), "spec": spec}


def _deployment(replicas: int) -> Manifest:
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": _LABELS},
    }
    container = {
        "name": NAME,
        "image": COREDNS_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "ports": [{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53, "protocol": "TCP"}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns"}],
    }
    pod = {
        "serviceAccountName": NAME,
        "dnsPolicy": "Default",
        "priorityClassName": "system-cluster-critical",
        "terminationGracePeriodSeconds": 1,
        "topologySpreadConstraints": [spread],
        "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": NAME}}],
    }
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": _LABELS},
        "template": {"metadata": {"labels": _LABELS}, "spec": pod},
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": _metadata(), "spec": spec}
