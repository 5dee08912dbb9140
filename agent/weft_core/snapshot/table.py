"""The state one generation of configuration means: what every decision of a worker is taken from, swapped as one reference.

Theory: a snapshot is immutable but for routers, which are made on first use and kept. Tables that a change did not touch are
the very same objects in the next snapshot, so a holder can tell by identity whether anything changed for it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from weft_contract.identity import SpiffeId
from weft_contract.resources.document import Resource
from weft_contract.resources.node import Node, Telemetry, TrustBundle
from weft_contract.resources.workload import InboundPort, Protocol, Workload
from weft_core.errors import InvalidBackendError, NoEndpointsError
from weft_core.policy import InboundPolicy
from weft_core.routing import (
    CompiledRoute,
    Forward,
    HttpRouter,
    Refused,
    ServiceEntry,
    ServiceTable,
    TcpRouter,
    select_routes,
)

DEFAULT_TELEMETRY: Final = Telemetry()
NO_NODE: Final = Node(name="", trust_domain="")
"""Before any configuration came: no workload is known, so nothing can be decided and everything is refused."""


@dataclass(frozen=True, slots=True, eq=False)
class WorkloadTable:
    """One pod of this node: who it is and what decides about what arrives at it."""

    key: str
    """`namespace/name`."""
    workload: Workload
    identity: SpiffeId
    addresses: tuple[str, ...]
    """In the form connection facts have."""
    policy: InboundPolicy
    ports: Mapping[int, InboundPort]

    def protocol(self, port: int) -> Protocol:
        """Return what a port of the pod speaks; `auto` where nothing declares it."""
        found = self.ports.get(port)
        return found.protocol if found is not None else "auto"

    def services(self, port: int) -> tuple[str, ...]:
        """Return the Services that lead to a port of the pod."""
        found = self.ports.get(port)
        return found.services if found is not None else ()


@dataclass(frozen=True, slots=True, eq=False)
class ServiceRoutes:
    """All routes attached to one Service."""

    routes: tuple[CompiledRoute, ...]
    consumers: frozenset[str]
    """Namespaces with routes of their own for it."""


@dataclass(frozen=True, slots=True, eq=False)
class Routers:
    """Routers by called Service, port and namespace of the client (empty: one without routes of its own)."""

    by_service: Mapping[str, ServiceRoutes] = field(default_factory=dict)
    http: dict[tuple[str, int, str], HttpRouter] = field(default_factory=dict)
    tcp: dict[tuple[str, int, str], TcpRouter] = field(default_factory=dict)

    def key(self, service: str, port: int, namespace: str) -> tuple[str, int, str]:
        """Return the key of the router for a client's namespace."""
        attached = self.by_service.get(service)
        own = attached is not None and namespace in attached.consumers
        return service, port, namespace if own else ""

    def routes(self, key: tuple[str, int, str]) -> tuple[CompiledRoute, ...]:
        """Return the routes that the router of this key follows."""
        attached = self.by_service.get(key[0])
        return select_routes(attached.routes, *key) if attached is not None else ()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Snapshot:
    """One generation of configuration, compiled."""

    generation: int = 0
    node: Node = NO_NODE
    telemetry: Telemetry = DEFAULT_TELEMETRY
    bundles: Mapping[str, TrustBundle] = field(default_factory=dict)
    """By trust domain."""
    services: ServiceTable = field(default_factory=ServiceTable)
    resources: Mapping[str, Resource] = field(default_factory=dict)
    """What is in force, by resource key: for a refused resource its last good version."""
    workloads: Mapping[str, WorkloadTable] = field(default_factory=dict)
    """By `namespace/name`."""
    local_addresses: Mapping[str, WorkloadTable | None] = field(default_factory=dict)
    """By pod address; None where two pods claim one."""
    routers: Routers = field(default_factory=Routers)

    def workload(self, key: str) -> WorkloadTable | None:
        """Return a pod of this node by `namespace/name`."""
        return self.workloads.get(key)

    def local(self, address: str) -> WorkloadTable | None:
        """Return the enrolled pod of this node that has an address.

        An address that two pods claim (one of them is going) is nobody's: traffic then takes the wire, where the network
        namespace it arrives in tells who it is for.
        """
        return self.local_addresses.get(address)

    def router(self, service: str, port: int, consumer_namespace: str) -> HttpRouter:
        """Return the router for requests of a namespace's clients to a Service port.

        Args:
            service: `namespace/name`, from `services.lookup`.
            port: the Service's port.
            consumer_namespace: namespace of the client.
        """
        key = self.routers.key(service, port, consumer_namespace)
        found = self.routers.http.get(key)
        if found is None:
            found = HttpRouter(service, port, self.routers.routes(key), called=self._called(service, port))
            self.routers.http[key] = found
        return found

    def tcp_router(self, service: str, port: int, consumer_namespace: str) -> TcpRouter:
        """Return the router for opaque connections; arguments as for `router`."""
        key = self.routers.key(service, port, consumer_namespace)
        found = self.routers.tcp.get(key)
        if found is None:
            found = self.routers.tcp[key] = TcpRouter(service, port, self.routers.routes(key))
        return found

    def _called(self, service: str, port: int) -> Forward:
        """Return what becomes of a request that goes to a Service which has no routes."""
        entry = self.services.backend(service, port)
        if entry is None:
            return Forward(service, port)
        said = entry.service
        return Forward(
            service, port, request_timeout_s=said.request_timeout_s, backend_timeout_s=said.backend_timeout_s
        )

    def backend(self, forward: Forward) -> ServiceEntry | Refused:
        """Return what stands behind the backend that a router chose.

        Returns:
            The Service port, or a refusal of this share alone: 500 where it does not exist, 503 where it is empty.
        """
        entry = self.services.backend(forward.service, forward.port)
        if entry is None:
            message = f"backend {forward.service}:{forward.port} does not exist"
            return Refused(InvalidBackendError, message, forward.route, forward.rule)
        if not entry.endpoints:
            message = f"{forward.service}:{forward.port} has no endpoints"
            return Refused(NoEndpointsError, message, forward.route, forward.rule)
        return entry

    def each_workload(self) -> Iterator[WorkloadTable]:
        """Iterate over the pods of this node."""
        return iter(self.workloads.values())
