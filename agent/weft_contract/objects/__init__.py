"""What users write: our own kinds, Gateway API routes, and the parts of Kubernetes objects that the mesh reads.

Belongs here: one module per kind or family, the table of kinds, decoding, and the checks of single objects (`check`).
Does not belong here: anything that needs two objects at once, which is the compiler's, and the resources that agents
enforce, which are in `weft_contract.resources` under some of the same names (import the room, not the class).
"""

from weft_contract.objects.authorization import AuthorizationPolicy
from weft_contract.objects.backend_traffic import XBackendTrafficPolicy
from weft_contract.objects.check import RegexError, problems
from weft_contract.objects.cluster import Namespace, Node, ServiceAccount
from weft_contract.objects.decode import Header, Skipped, decode_object, read_header
from weft_contract.objects.grpc_route import GRPCRoute
from weft_contract.objects.http_route import HTTPRoute
from weft_contract.objects.kinds import KINDS, LATER, KindInfo, Object, OwnObject, RouteObject, WorkloadObject
from weft_contract.objects.mesh import DEFAULT_TRUST_DOMAIN, MESH_NAME, Mesh
from weft_contract.objects.metadata import Metadata, OwnerReference
from weft_contract.objects.peer_authentication import PeerAuthentication
from weft_contract.objects.pod import Container, Pod, Probe
from weft_contract.objects.rate_limit import RateLimitPolicy
from weft_contract.objects.reference_grant import ReferenceGrant
from weft_contract.objects.route import BackendReference, ParentReference, RouteFilter
from weft_contract.objects.salvage import salvage
from weft_contract.objects.service import EndpointSlice, Service, ServicePort
from weft_contract.objects.stream_route import TCPRoute, TLSRoute
from weft_contract.objects.target import ROOT_NAMESPACE, TargetReference, WorkloadSelector
from weft_contract.objects.workload import DaemonSet, Deployment, Job, PodTemplate, ReplicaSet, StatefulSet

__all__ = [
    "DEFAULT_TRUST_DOMAIN",
    "KINDS",
    "LATER",
    "MESH_NAME",
    "ROOT_NAMESPACE",
    "AuthorizationPolicy",
    "BackendReference",
    "Container",
    "DaemonSet",
    "Deployment",
    "EndpointSlice",
    "GRPCRoute",
    "HTTPRoute",
    "Header",
    "Job",
    "KindInfo",
    "Mesh",
    "Metadata",
    "Namespace",
    "Node",
    "Object",
    "OwnObject",
    "OwnerReference",
    "ParentReference",
    "PeerAuthentication",
    "Pod",
    "PodTemplate",
    "Probe",
    "RateLimitPolicy",
    "ReferenceGrant",
    "RegexError",
    "ReplicaSet",
    "RouteFilter",
    "RouteObject",
    "Service",
    "ServiceAccount",
    "ServicePort",
    "Skipped",
    "StatefulSet",
    "TCPRoute",
    "TLSRoute",
    "TargetReference",
    "WorkloadObject",
    "WorkloadSelector",
    "XBackendTrafficPolicy",
    "decode_object",
    "problems",
    "read_header",
    "salvage",
]
