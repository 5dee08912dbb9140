"""The door of all checks: one function that knows which rules belong to which object."""

from collections.abc import Iterator
from dataclasses import replace
from typing import assert_never

from weft_contract.objects.authorization import AuthorizationPolicy
from weft_contract.objects.backend_traffic import XBackendTrafficPolicy
from weft_contract.objects.check.authorization import authorization_problems
from weft_contract.objects.check.backend_traffic import backend_traffic_problems
from weft_contract.objects.check.foreign import namespace_problems, pod_problems, service_problems, template_problems
from weft_contract.objects.check.policies import mesh_problems, peer_authentication_problems, rate_limit_problems
from weft_contract.objects.check.route import (
    grpc_route_problems,
    http_route_problems,
    tcp_route_problems,
    tls_route_problems,
)
from weft_contract.objects.check.text import RegexError
from weft_contract.objects.cluster import Namespace, Node, ServiceAccount
from weft_contract.objects.grpc_route import GRPCRoute
from weft_contract.objects.http_route import HTTPRoute
from weft_contract.objects.kinds import Object
from weft_contract.objects.mesh import Mesh
from weft_contract.objects.peer_authentication import PeerAuthentication
from weft_contract.objects.pod import Pod
from weft_contract.objects.rate_limit import RateLimitPolicy
from weft_contract.objects.reference_grant import ReferenceGrant
from weft_contract.objects.service import EndpointSlice, Service
from weft_contract.objects.stream_route import TCPRoute, TLSRoute
from weft_contract.objects.workload import DaemonSet, Deployment, Job, ReplicaSet, StatefulSet
from weft_contract.problems import Problem


def problems(item: Object, regex: RegexError, *, source: str = "") -> list[Problem]:
    """Return everything wrong with one object that its shape did not say.

    Args:
        item: a decoded object.
        regex: compiles an RE2 expression; returns what is wrong with it, or None.
        source: where the object came from (`web.yaml#2`).

    Returns:
        Problems in document order. Those with `warning` leave the object usable as it is.
    """
    subject = f"{item.kind} {item.metadata.key}"
    return [replace(problem, source=source, subject=subject) for problem in _problems(item, regex)]


def _problems(item: Object, regex: RegexError) -> Iterator[Problem]:
    match item:
        case AuthorizationPolicy():
            return authorization_problems(item)
        case PeerAuthentication():
            return peer_authentication_problems(item)
        case RateLimitPolicy():
            return rate_limit_problems(item)
        case Mesh():
            return mesh_problems(item)
        case HTTPRoute():
            return http_route_problems(item, regex)
        case GRPCRoute():
            return grpc_route_problems(item, regex)
        case TCPRoute():
            return tcp_route_problems(item)
        case TLSRoute():
            return tls_route_problems(item)
        case XBackendTrafficPolicy():
            return backend_traffic_problems(item)
        case Pod():
            return pod_problems(item)
        case Namespace():
            return namespace_problems(item)
        case Service():
            return service_problems(item)
        case ReferenceGrant() | Node() | ServiceAccount() | EndpointSlice():
            return iter(())
        case Deployment() | ReplicaSet() | StatefulSet() | DaemonSet() | Job():
            return template_problems(item.spec.template.metadata)
        case _:
            assert_never(item)
