"""Services and what stands behind each of their ports, from EndpointSlices where there are any, else from the pods.

Theory: an endpoint's identity is that of the member that has the address now, never what a slice says about a pod: the
address is where bytes go. On a port that the pod excluded from capture there is no identity, because no tunnel could end
there. Members whose address no Endpoints resource has with their identity (not ready, the other address family, no Service
at all) go to `Peers`, so that a call by pod IP is authenticated whatever became of the Service.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from weft_contract import objects
from weft_contract.labels import BACKEND_TIMEOUT, REQUEST_TIMEOUT, SLICE_SERVICE_LABEL, ZONE_LABEL
from weft_contract.objects.service import HEADLESS, SliceEndpoint
from weft_contract.problems import Problem
from weft_contract.resources import Endpoint, Endpoints, Peers, Service, ServicePort
from weft_contract.resources.workload import Protocol
from weft_operator.compile.members import ENDED, Member, Members, is_ready, owner_name, pod_addresses
from weft_operator.compile.pod_index import PodFinder
from weft_operator.compile.ports import annotated_timeout_s, in_ranges, opaque_ranges, service_protocol, target_port
from weft_operator.compile.view import ClusterView


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """One Service port that leads to one port of a member."""

    service: str
    """`namespace/name`."""
    service_port: int
    port_name: str
    pod_port: int
    protocol: Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedService:
    """What one Service comes to."""

    resource: Service
    endpoints: tuple[Endpoints, ...]
    """One per port, by port."""
    leads: frozenset[tuple[str, Lead]]
    """Member keys with what of the Service leads to them."""
    problems: tuple[Problem, ...]


OPAQUE_PROTOCOLS: Final = frozenset({"tcp", "tls"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """All Services of the cluster, resolved."""

    services: Mapping[str, Service]
    endpoints: Mapping[str, tuple[Endpoints, ...]]
    """By Service, one per port."""
    leads: Mapping[str, tuple[Lead, ...]]
    """By member key: what leads to it."""
    behind: Mapping[str, tuple[tuple[str, Lead], ...]]
    """By Service: member keys with what leads to them."""
    problems: tuple[Problem, ...]
    opaque: Set[str] = frozenset()
    """Keys of the members that a port declared as TCP or TLS leads to: few, whatever the mesh."""


def is_opaque(leads: Iterable[Lead]) -> bool:
    """Whether any of these ports was declared as TCP or TLS."""
    return any(lead.protocol in OPAQUE_PROTOCOLS for lead in leads)


def resolve_services(view: ClusterView, members: Members, index: PodFinder) -> Services:
    """Resolve every Service that has an address or endpoints of its own."""
    resolver = ServiceResolver(view, members, index, slices_by_service(view.slices.values()), node_zones(view))
    found = {key: resolver.resolve(key, item) for key, item in view.services.items() if is_service(item)}
    leads: dict[str, list[Lead]] = {}
    for resolved in found.values():
        for member_key, lead in resolved.leads:
            leads.setdefault(member_key, []).append(lead)
    return Services(
        services={key: resolved.resource for key, resolved in found.items()},
        endpoints={key: resolved.endpoints for key, resolved in found.items()},
        leads={key: tuple(sorted(leads[key], key=lead_order)) for key in sorted(leads)},
        behind={key: tuple(sorted(resolved.leads, key=behind_order)) for key, resolved in found.items()},
        opaque=frozenset(key for key, found_leads in leads.items() if is_opaque(found_leads)),
        problems=tuple(problem for resolved in found.values() for problem in resolved.problems),
    )


def is_service(item: objects.Service) -> bool:
    """Whether it is a Service and not only a DNS alias (`ExternalName`)."""
    return item.spec.type != "ExternalName"


def slices_by_service(slices: Iterable[objects.EndpointSlice]) -> dict[str, list[objects.EndpointSlice]]:
    """Group EndpointSlices by the Service they belong to."""
    found: dict[str, list[objects.EndpointSlice]] = {}
    for item in slices:
        found.setdefault(service_of_slice(item), []).append(item)
    return found


def service_of_slice(item: objects.EndpointSlice) -> str:
    """Return the key of the Service that an EndpointSlice belongs to."""
    return f"{item.metadata.namespace}/{item.metadata.labels.get(SLICE_SERVICE_LABEL, '')}"


def lead_order(lead: Lead) -> tuple[int, str, int]:
    """Sort the leads of one member."""
    return lead.pod_port, lead.service, lead.service_port


def behind_order(pair: tuple[str, Lead]) -> tuple[str, int, str, int]:
    """Sort what one Service leads to."""
    return pair[0], *lead_order(pair[1])


def peer_of(address: str, member: Member, zones: Mapping[str, str]) -> Endpoint:
    """Return a member as somebody who is called by one of its addresses, on whatever port."""
    return _endpoint(address, 0, member.pod, member, zones, workload=f"{member.namespace}/{member.workload}")


def peers_resource(namespace: str, endpoints: Iterable[Endpoint]) -> Peers:
    """Return the peers of a namespace as a resource."""
    return Peers(namespace=namespace, endpoints=tuple(sorted(endpoints, key=_endpoint_order)))


def find_peers(members: Members, endpoints: Iterable[Endpoints], zones: Mapping[str, str]) -> dict[str, Peers]:
    """Collect the members' addresses that nobody learns of as a Service's, by namespace.

    Args:
        members: all.
        endpoints: of the Services that whoever is told of their namespace is told of. Only those of a member's own
            namespace count, because another's may be unknown where the member's is known.
        zones: by node.
    """
    known = {
        (item.namespace, endpoint.address) for item in endpoints for endpoint in item.endpoints if endpoint.identity
    }
    found: dict[str, list[Endpoint]] = {}
    for address, member in members.by_address.items():
        if (member.namespace, address) not in known:
            found.setdefault(member.namespace, []).append(peer_of(address, member, zones))
    return {name: peers_resource(name, found[name]) for name in sorted(found)}


def node_zones(view: ClusterView) -> dict[str, str]:
    """Return the zone of each node that has one."""
    zones = ((name, node.metadata.labels.get(ZONE_LABEL, "")) for name, node in view.nodes.items())
    return {name: zone for name, zone in zones if zone}


def _endpoint_order(endpoint: Endpoint) -> tuple[int, bytes, int]:
    address = ip_address(endpoint.address)
    return address.version, address.packed, endpoint.port


def _endpoint(
    address: str,
    port: int,
    pod: objects.Pod | None,
    member: Member | None,
    zones: Mapping[str, str],
    *,
    workload: str,
    ready: bool = True,
) -> Endpoint:
    node = pod.spec.node_name if pod is not None else ""
    return Endpoint(
        address=address,
        port=port,
        identity=member.identity if member is not None else "",
        node=node,
        workload=workload,
        zone=zones.get(node, ""),
        ready=ready,
    )


class ServiceResolver:
    """Resolves Services one by one.

    Args:
        view: the cluster; read for sources and the owners of pods.
        members: all.
        index: all pods.
        slices: by Service key, in the order of their own keys.
        zones: by node.
    """

    def __init__(
        self,
        view: ClusterView,
        members: Members,
        index: PodFinder,
        slices: Mapping[str, Sequence[objects.EndpointSlice]],
        zones: Mapping[str, str],
    ) -> None:
        self._view, self._members, self._index = view, members, index
        self._zones, self._slices = zones, slices
        self._workloads: dict[str, str] = {}
        self._leads: set[tuple[str, Lead]] = set()
        self._problems: list[Problem] = []

    def resolve(self, key: str, service: objects.Service) -> ResolvedService:
        """Resolve one Service."""
        self._leads, self._problems = set(), []
        opaque = opaque_ranges(service.metadata)
        ports = {port.port: port for port in reversed(service.spec.ports) if port.protocol == "TCP"}
        protocols = {number: service_protocol(port, opaque) for number, port in ports.items()}
        namespace, name = service.metadata.namespace, service.metadata.name
        resource = Service(
            namespace=namespace,
            name=name,
            addresses=_cluster_addresses(service),
            ports=tuple(
                ServicePort(port=number, name=ports[number].name, protocol=protocols[number])
                for number in sorted(ports)
            ),
            request_timeout_s=annotated_timeout_s(service.metadata, REQUEST_TIMEOUT),
            backend_timeout_s=annotated_timeout_s(service.metadata, BACKEND_TIMEOUT),
        )
        pods = list(self._index.select(namespace, service.spec.selector)) if service.spec.selector else []
        found: list[Endpoints] = []
        for number in sorted(ports):
            self._lead(key, ports[number], pods, protocols[number])
            if self._slices.get(key):
                endpoints = self._from_slices(key, ports[number], protocols[number])
            else:
                endpoints = self._from_pods(ports[number], pods, service)
            unique = {(item.address, item.port): item for item in sorted(endpoints, key=lambda each: each.ready)}
            ordered = tuple(sorted(unique.values(), key=_endpoint_order))
            found.append(Endpoints(namespace=namespace, service=name, port=number, endpoints=ordered))
        return ResolvedService(
            resource=resource,
            endpoints=tuple(found),
            leads=frozenset(self._leads),
            problems=tuple(self._problems),
        )

    def _lead(self, key: str, port: objects.ServicePort, pods: list[objects.Pod], protocol: Protocol) -> None:
        targets = {pod.metadata.key: target_port(pod, port) for pod in pods}
        for pod_key, target in targets.items():
            if target is not None and pod_key in self._members.by_key:
                self._note(pod_key, key, port, target, protocol)
        if targets and not any(targets.values()):
            message = f"no container of its pods has a port named {port.target_port!r}"
            problem = Problem(
                path="$.spec.ports",
                message=message,
                remedy="name a container port so, or give its number",
                source=self._view.source("Service", key),
                subject=f"Service {key}",
                warning=True,
            )
            self._problems.append(problem)

    def _note(self, pod_key: str, key: str, port: objects.ServicePort, target: int, protocol: Protocol) -> None:
        lead = Lead(service=key, service_port=port.port, port_name=port.name, pod_port=target, protocol=protocol)
        self._leads.add((pod_key, lead))

    def _from_pods(
        self, port: objects.ServicePort, pods: list[objects.Pod], service: objects.Service
    ) -> Iterator[Endpoint]:
        """Do what the endpoint controller of Kubernetes does, for where there is none."""
        families = {ip_address(address).version for address in _cluster_addresses(service)} or {4, 6}
        publish_all = service.spec.publish_not_ready_addresses
        for pod in pods:
            target = target_port(pod, port)
            if target is None or pod.status.phase in ENDED or not (publish_all or is_ready(pod)):
                continue
            for address in pod_addresses(pod):
                own = pod.spec.host_network or self._members.owners.get(address) is pod
                if own and ip_address(address).version in families:
                    ready = publish_all or not pod.metadata.deletion_timestamp
                    yield self._of_pod(address, target, pod, ready=ready)

    def _of_pod(self, address: str, port: int, pod: objects.Pod, *, ready: bool) -> Endpoint:
        member = None if pod.spec.host_network else self._members.by_address.get(address)
        if member is not None and in_ranges(port, member.uncaptured):
            member = None  # nobody of the mesh answers there: reached as any stranger
        return _endpoint(address, port, pod, member, self._zones, workload=self._workload(pod), ready=ready)

    def _workload(self, pod: objects.Pod) -> str:
        key = pod.metadata.key
        if key not in self._workloads:
            self._workloads[key] = f"{pod.metadata.namespace}/{owner_name(pod, self._view.replica_sets)}"
        return self._workloads[key]

    def _from_slices(self, key: str, port: objects.ServicePort, protocol: Protocol) -> Iterator[Endpoint]:
        for item in self._slices[key]:
            numbers = [
                entry.port
                for entry in item.ports
                if entry.port is not None and entry.name == port.name and entry.protocol == "TCP"
            ]
            for number in numbers:
                for entry in item.endpoints:
                    yield from self._of_slice(key, port, protocol, entry, number)

    def _of_slice(
        self,
        key: str,
        port: objects.ServicePort,
        protocol: Protocol,
        entry: SliceEndpoint,
        number: int,
    ) -> Iterator[Endpoint]:
        ready = entry.conditions.usable
        address = canonical_address(entry.addresses[0]) if entry.addresses else None
        if address is None:
            return
        member = self._members.by_address.get(address)
        if member is not None:
            self._note(member.key, key, port, number, protocol)
        if ready is None:
            return
        owner = self._members.owners.get(address)
        if owner is not None:
            yield self._of_pod(address, number, owner, ready=ready)
        else:
            zone = entry.zone or self._zones.get(entry.node_name, "")
            yield Endpoint(address=address, port=number, node=entry.node_name, zone=zone, ready=ready)


def canonical_address(text: str) -> str | None:
    """Return an address in canonical text; None where it is none."""
    try:
        return str(ip_address(text))
    except ValueError:
        return None


def is_headless(item: objects.Service) -> bool:
    """Whether a Service was made without an address of its own; one that only waits for it is not headless."""
    return HEADLESS in (item.spec.cluster_ip, *item.spec.cluster_ips)


def _cluster_addresses(item: objects.Service) -> tuple[str, ...]:
    """Return the Service's own addresses, IPv4 before IPv6; none for a headless one."""
    texts = {item.spec.cluster_ip, *item.spec.cluster_ips} - {"", HEADLESS}
    found = {address for address in map(canonical_address, texts) if address is not None}
    return tuple(sorted(found, key=lambda text: (ip_address(text).version, ip_address(text).packed)))
