"""Which documents are objects of ours: a table from group and kind to struct, and what is said of all others."""

import difflib
from dataclasses import dataclass
from typing import Final, TypeAlias, get_args, get_type_hints

from weft_contract.labels import API_VERSION, GATEWAY_GROUP, GROUP
from weft_contract.objects.authorization import AuthorizationPolicy
from weft_contract.objects.backend_traffic import XBackendTrafficPolicy
from weft_contract.objects.cluster import Namespace, Node, ServiceAccount
from weft_contract.objects.grpc_route import GRPCRoute
from weft_contract.objects.http_route import HTTPRoute
from weft_contract.objects.mesh import Mesh
from weft_contract.objects.peer_authentication import PeerAuthentication
from weft_contract.objects.pod import Pod
from weft_contract.objects.rate_limit import RateLimitPolicy
from weft_contract.objects.reference_grant import ReferenceGrant
from weft_contract.objects.service import EndpointSlice, Service
from weft_contract.objects.shape import Own
from weft_contract.objects.stream_route import TCPRoute, TLSRoute
from weft_contract.objects.workload import DaemonSet, Deployment, Job, ReplicaSet, StatefulSet

OwnObject: TypeAlias = Mesh | AuthorizationPolicy | PeerAuthentication | RateLimitPolicy
RouteObject: TypeAlias = HTTPRoute | GRPCRoute | TCPRoute | TLSRoute
WorkloadObject: TypeAlias = Deployment | ReplicaSet | StatefulSet | DaemonSet | Job
ForeignObject: TypeAlias = Namespace | Node | ServiceAccount | Pod | Service | EndpointSlice | WorkloadObject
Object: TypeAlias = OwnObject | RouteObject | ReferenceGrant | XBackendTrafficPolicy | ForeignObject
"""Every object the mesh reads, told apart by its type."""

LATER: Final = frozenset({
    "RequestAuthentication", "TrafficPolicy", "FaultInjection", "EgressPolicy", "ServiceEntry", "WorkloadEntry",
    "Telemetry", "CachePolicy", "RequestFilter", "TrafficRecording",
})  # fmt: skip
"""Kinds of the design that this release does not have yet."""

_CLUSTER_SCOPED: Final = frozenset({"Namespace", "Node", "Mesh"})

_NOTES: Final = {
    (GATEWAY_GROUP, "UDPRoute"): "the mesh does not carry UDP",
    (GATEWAY_GROUP, "Gateway"): "the mesh has no gateways yet; routes attach to Services",
    (GATEWAY_GROUP, "BackendTLSPolicy"): "not carried out by the mesh: between pods it authenticates by itself",
}
_TWINS: Final = frozenset({"security.istio.io", "policy.linkerd.io"})


@dataclass(frozen=True, slots=True)
class KindInfo:
    """How documents of one kind are read."""

    python_type: type[Object]
    versions: tuple[str, ...]
    """Values of `apiVersion` that have this shape, newest first."""
    namespaced: bool
    strict: bool
    """Whether nulls and unknown fields are problems."""


def _info(python_type: type[Object]) -> KindInfo:
    name = python_type.__name__
    return KindInfo(
        python_type=python_type,
        versions=get_args(get_type_hints(python_type)["api_version"]),
        namespaced=name not in _CLUSTER_SCOPED,
        strict=issubclass(python_type, Own),
    )


KINDS: Final[dict[tuple[str, str], KindInfo]] = {
    (info.versions[0].rpartition("/")[0], python_type.__name__): info
    for python_type in get_args(Object)
    for info in (_info(python_type),)
}
"""By group (empty for the core) and kind."""


def nearest_own_kind(kind: str) -> str:
    """Return what to write instead of an unknown kind of our group."""
    own = sorted(name for group, name in KINDS if group == GROUP)
    near = difflib.get_close_matches(kind, own, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"kinds of {API_VERSION}: {', '.join(own)}"


def skip_note(group: str, kind: str) -> str:
    """Return why a document of somebody else's kind is left alone."""
    if group in _TWINS and (GROUP, kind) in KINDS:
        return f"{group} is another mesh's; the same kind in {API_VERSION} would be carried out"
    return _NOTES.get((group, kind), "the mesh does not use this kind")
