"""Kinds, with their API versions, their plurals and the short names that people type."""

from dataclasses import dataclass
from typing import Final

from weft_contract.labels import API_VERSION, GATEWAY_EXPERIMENTAL_GROUP, GATEWAY_GROUP, GROUP
from weft_lab.model.objects import ConfigMap, Foreign, LabObject, Namespace, Node, Secret, ServiceAccount
from weft_lab.model.pod import Pod
from weft_lab.model.service import EndpointSlice, Service
from weft_lab.model.workload import DaemonSet, Deployment, Job, ReplicaSet, StatefulSet


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object."""

    name: str
    api_version: str
    plural: str
    short: tuple[str, ...]
    type: type[LabObject]
    namespaced: bool = True
    order: int = 5
    """Applied in this order, so that a set of files needs no order of its own."""

    @property
    def group(self) -> str:
        """API group; empty for the core."""
        return self.api_version.rpartition("/")[0]

    def resource(self, name: str) -> str:
        """Return the form that `kubectl` prints: `deployment.apps/web`."""
        group = f".{self.group}" if self.group else ""
        return f"{self.name.lower()}{group}/{name}"


_GATEWAY: Final = f"{GATEWAY_GROUP}/v1"
_EXPERIMENTAL: Final = f"{GATEWAY_EXPERIMENTAL_GROUP}/v1alpha1"

KINDS: Final = (
    Kind("Namespace", "v1", "namespaces", ("ns",), Namespace, namespaced=False, order=0),
    Kind("Node", "v1", "nodes", ("no",), Node, namespaced=False, order=1),
    Kind("ServiceAccount", "v1", "serviceaccounts", ("sa",), ServiceAccount, order=2),
    Kind("ConfigMap", "v1", "configmaps", ("cm",), ConfigMap, order=2),
    Kind("Secret", "v1", "secrets", (), Secret, order=2),
    Kind("Service", "v1", "services", ("svc",), Service, order=3),
    Kind("EndpointSlice", "discovery.k8s.io/v1", "endpointslices", (), EndpointSlice, order=3),
    Kind("Pod", "v1", "pods", ("po",), Pod),
    Kind("Deployment", "apps/v1", "deployments", ("deploy",), Deployment),
    Kind("ReplicaSet", "apps/v1", "replicasets", ("rs",), ReplicaSet),
    Kind("StatefulSet", "apps/v1", "statefulsets", ("sts",), StatefulSet),
    Kind("DaemonSet", "apps/v1", "daemonsets", ("ds",), DaemonSet),
    Kind("Job", "batch/v1", "jobs", (), Job),
    Kind("Mesh", API_VERSION, "meshes", (), Foreign, namespaced=False, order=4),
    Kind("AuthorizationPolicy", API_VERSION, "authorizationpolicies", ("ap",), Foreign, order=4),
    Kind("PeerAuthentication", API_VERSION, "peerauthentications", ("pa",), Foreign, order=4),
    Kind("RateLimitPolicy", API_VERSION, "ratelimitpolicies", ("rlp",), Foreign, order=4),
    Kind("HTTPRoute", _GATEWAY, "httproutes", (), Foreign, order=4),
    Kind("GRPCRoute", _GATEWAY, "grpcroutes", (), Foreign, order=4),
    Kind("TCPRoute", _GATEWAY, "tcproutes", (), Foreign, order=4),
    Kind("TLSRoute", _GATEWAY, "tlsroutes", (), Foreign, order=4),
    Kind("XBackendTrafficPolicy", _EXPERIMENTAL, "xbackendtrafficpolicies", ("xbtrafficpolicy",), Foreign, order=4),
    Kind("ReferenceGrant", _GATEWAY, "referencegrants", ("refgrant",), Foreign, order=4),
)

_BY_NAME: Final = {kind.name: kind for kind in KINDS}
_BY_WORD: Final = {
    word: kind
    for kind in KINDS
    for word in (kind.name.lower(), kind.plural, *kind.short, f"{kind.plural}.{kind.group}")
} | {"endpoints": _BY_NAME["EndpointSlice"], "ep": _BY_NAME["EndpointSlice"]}


def kind_named(name: str) -> Kind | None:
    """Return the kind with this exact name, or None."""
    return _BY_NAME.get(name)


def kind_for(word: str) -> Kind | None:
    """Return the kind that a word of a command line means: `po`, `pods`, `Pod`; None for an unknown word."""
    return _BY_WORD.get(word.lower())


def kind_of_document(api_version: str, name: str) -> Kind | None:
    """Return the kind of a document. Versions of Gateway API and of our own group are left to the compiler."""
    kind = _BY_NAME.get(name)
    if kind is None:
        return None
    if kind.type is Foreign:
        return kind if api_version.rpartition("/")[0] == kind.group else None
    return kind if api_version == kind.api_version else None


def is_mesh_group(api_version: str) -> bool:
    """Tell whether documents of an API version are the compiler's to read, word for word."""
    return api_version.rpartition("/")[0] in {GROUP, GATEWAY_GROUP}
