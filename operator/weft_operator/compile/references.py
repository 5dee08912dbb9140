"""References from routes: do parents and backends exist, and may they be referred to.

Source: Gateway API: reasons `InvalidKind`, `BackendNotFound`, `RefNotPermitted`, `NoMatchingParent`. GEP-1294 lets a mesh
do without ReferenceGrants, since every Service is reachable anyway; we ask for them, so that one namespace cannot make
callers of its Service reach a third party's, and make one exception: a route may always send to its own parents.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from weft_contract.labels import GATEWAY_GROUP
from weft_contract.objects import BackendReference, ParentReference, ReferenceGrant, RouteObject
from weft_contract.objects.check.route import is_service_parent
from weft_contract.resources import Service
from weft_contract.resources.service import ServicePort
from weft_contract.resources.workload import Protocol
from weft_operator.compile.results import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedParent:
    """A Service that a route is attached to, and on which ports."""

    reference: ParentReference
    service: str
    """`namespace/name`."""
    ports: tuple[int, ...]
    """Sorted; what the reference selects."""
    every_port: bool
    """Whether the reference named no port."""
    consumer_namespace: str | None
    unheard: tuple[ServicePort, ...] = ()
    """Selected ports on which routes of this kind are not carried out, because of what the port is declared to speak."""


CARRIED_OUT: Final[Mapping[str, frozenset[Protocol]]] = {
    "HTTPRoute": frozenset({"auto", "http"}),
    "GRPCRoute": frozenset(),
    "TLSRoute": frozenset({"auto", "http", "http2", "grpc", "tcp", "tls"}),
    "TCPRoute": frozenset({"auto", "http", "http2", "grpc", "tcp", "tls"}),
}
"""Which protocols of a port agents apply a kind of route to. Requests of HTTP/2 are passed on as bytes in this release, so
they are not told apart; TLSRoute is refused by its own rules (`weft_contract.objects.check.route`)."""


def heard(parent: ResolvedParent, kind: str, services: Mapping[str, Service]) -> ResolvedParent | Verdict:
    """Leave a parent the ports on which a kind of route is carried out, so that no route is accepted and then ignored."""
    declared = {port.port: port for port in services[parent.service].ports}
    ports = tuple(port for port in parent.ports if declared[port].protocol in CARRIED_OUT[kind])
    unheard = tuple(declared[port] for port in parent.ports if port not in ports)
    if not ports:
        message = f"spec.parentRefs: {unheard_message(kind, parent.service, unheard)}"
        return Verdict(holds=False, reason="UnsupportedValue", message=message)
    return replace(parent, ports=ports, every_port=parent.every_port and not unheard, unheard=unheard)


def unheard_message(kind: str, service: str, ports: tuple[ServicePort, ...]) -> str:
    """Say why a kind of route has no effect on ports of a Service, and what happens to their traffic instead."""
    if not CARRIED_OUT[kind]:
        why = "this release does not look into HTTP/2 requests"
        return f"{kind} is not supported yet: {why}; calls go to Service {service} as without it"
    listed = ", ".join(f"port {port.port} (declared {port.protocol})" for port in ports)
    why = "no request of it is looked at; declare it http, or nothing, if it is HTTP/1.1"
    return f"{kind} has no effect on {listed} of Service {service}: {why}"


def resolve_parent(
    reference: ParentReference, namespace: str, services: Mapping[str, Service]
) -> ResolvedParent | Verdict:
    """Find the Service and ports a parent reference means.

    Args:
        reference: a reference to a Service.
        namespace: the route's.
        services: all Services.

    Returns:
        The parent, or why there is none.
    """
    parent_namespace = reference.namespace or namespace
    key = f"{parent_namespace}/{reference.name}"
    service = services.get(key)
    if service is None:
        return Verdict(holds=False, reason="NoMatchingParent", message=f"Service {key} is not there")
    ports = tuple(
        port.port
        for port in service.ports
        if reference.port in (None, port.port) and reference.section_name in (None, "", port.name)
    )
    if not ports:
        wanted = f"port {reference.port}" if reference.port is not None else f"port name {reference.section_name!r}"
        return Verdict(holds=False, reason="NoMatchingParent", message=f"Service {key} has no TCP {wanted}")
    return ResolvedParent(
        reference=reference,
        service=key,
        ports=ports,
        every_port=reference.port is None and not reference.section_name,
        consumer_namespace=namespace if parent_namespace != namespace else None,
    )


def service_parents(route: RouteObject) -> tuple[ParentReference, ...]:
    """Return the parents of a route that are the mesh's business."""
    return tuple(parent for parent in route.spec.parent_refs if is_service_parent(parent))


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendResolver:
    """Resolves the backends of one route."""

    route: RouteObject
    services: Mapping[str, Service]
    grants: Mapping[str, ReferenceGrant]

    def resolve(self, reference: BackendReference) -> Verdict | None:
        """Say why a backend does not resolve; None: it does."""
        if (reference.group or "", reference.kind or "Service") != ("", "Service"):
            what = f"{reference.group or ''}/{reference.kind or 'Service'}".lstrip("/")
            message = f"backend {reference.name} is of kind {what:.120}, only Services can be backends"
            return Verdict(holds=False, reason="InvalidKind", message=message)
        key = self.key(reference)
        if not self._permitted(reference, key):
            message = f"no ReferenceGrant of its namespace lets {self.route.kind} of "
            message += f"{self.route.metadata.namespace} refer to Service {key}"
            return Verdict(holds=False, reason="RefNotPermitted", message=message)
        service = self.services.get(key)
        if service is None:
            return Verdict(holds=False, reason="BackendNotFound", message=f"Service {key} is not there")
        if reference.port not in {port.port for port in service.ports}:
            message = f"Service {key} has no TCP port {reference.port}"
            return Verdict(holds=False, reason="BackendNotFound", message=message)
        return None

    def key(self, reference: BackendReference) -> str:
        """Return `namespace/name` of the Service a reference means."""
        return f"{reference.namespace or self.route.metadata.namespace}/{reference.name}"

    def _permitted(self, reference: BackendReference, key: str) -> bool:
        own = self.route.metadata.namespace
        target = reference.namespace or own
        if target == own or any(f"{p.namespace or own}/{p.name}" == key for p in service_parents(self.route)):
            return True
        return any(
            grant.metadata.namespace == target and self._grants(grant, reference.name) for grant in self.grants.values()
        )

    def _grants(self, grant: ReferenceGrant, name: str) -> bool:
        wanted = (GATEWAY_GROUP, self.route.kind, self.route.metadata.namespace)
        allowed = any((item.group, item.kind, item.namespace) == wanted for item in grant.spec.from_)
        covered = any(
            (item.group, item.kind) == ("", "Service") and item.name in (None, name) for item in grant.spec.to
        )
        return allowed and covered
