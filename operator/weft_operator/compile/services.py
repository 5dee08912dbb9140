"""Services and what stands behind each of their ports, from EndpointSlices where there are any, else from the pods.

Theory: an endpoint's identity is that of the member that has the address now, never what a slice says about a pod: the
address is where bytes go. On a port that the pod excluded from capture there is no identity, because no tunnel could end
there. Members whose address no Endpoints resource has with their identity (not ready, the other address family, no Service
at all) go to `Peers`, so that a call by pod IP is authenticated whatever became of the Service.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from weft_contract import objects
from weft_contract.labels import SLICE_SERVICE_LABEL, ZONE_LABEL
from weft_contract.objects.service import HEADLESS, EndpointConditions, SliceEndpoint
from weft_contract.problems import Problem
from weft_contract.resources import Endpoint, Endpoints, Peers, Service, ServicePort
from weft_contract.resources.workload import Protocol
from weft_operator.compile.members import ENDED, Member, Members, is_ready, owner_name, pod_addresses
from weft_operator.compile.pod_index import PodIndex
from weft_operator.compile.ports import in_ranges, opaque_ranges, service_protocol, target_port
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


def resolve_services(view: ClusterView, members: Members, index: PodIndex) -> Services:
    """Resolve every Service that has an address or endpoints of its own (`ExternalName` is a DNS alias, no Service)."""
    resolver = _Resolver(view, members, index)
    for key, item in view.services.items():
        if item.spec.type != "ExternalName":
            resolver.resolve(key, item)
    leads = {key: tuple(sorted(set(found), key=_lead_order)) for key, found in sorted(resolver.leads.items())}
    behind: dict[str, list[tuple[str, Lead]]] = {}
    for member_key, found in leads.items():
        for lead in found:
            behind.setdefault(lead.service, []).append((member_key, lead))
    return Services(
        services=resolver.services,
        endpoints=resolver.endpoints,
        leads=leads,
        behind={key: tuple(pairs) for key, pairs in behind.items()},
        problems=tuple(resolver.problems),
    )


def _lead_order(lead: Lead) -> tuple[int, str, int]:
    return lead.pod_port, lead.service, lead.service_port


def find_peers(members: Members, endpoints: Iterable[Endpoints], zones: Mapping[str, str]) -> dict[str, Peers]:
    """Collect the members' addresses that no Endpoints resource has with their identity, by namespace."""
    known = {endpoint.address for item in endpoints for endpoint in item.endpoints if endpoint.identity}
    found: dict[str, list[Endpoint]] = {}
    for address, member in sorted(members.by_address.items()):
        if address not in known:
            endpoint = _endpoint(
                address, 0, member.pod, member, zones, workload=f"{member.namespace}/{member.workload}"
            )
            found.setdefault(member.namespace, []).append(endpoint)
    return {
        name: Peers(namespace=name, endpoints=tuple(sorted(items, key=_endpoint_order)))
        for name, items in sorted(found.items())
    }


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


class _Resolver:
    """Walks the Services once and keeps what they lead to."""

    def __init__(self, view: ClusterView, members: Members, index: PodIndex) -> None:
        self._view, self._members, self._index = view, members, index
        self._zones = node_zones(view)
        self._workloads: dict[str, str] = {}
        self._slices: dict[str, list[objects.EndpointSlice]] = {}
        for item in view.slices.values():
            service = item.metadata.labels.get(SLICE_SERVICE_LABEL, "")
            self._slices.setdefault(f"{item.metadata.namespace}/{service}", []).append(item)
        self.services: dict[str, Service] = {}
        self.endpoints: dict[str, tuple[Endpoints, ...]] = {}
        self.leads: dict[str, list[Lead]] = {}
        self.problems: list[Problem] = []

    def resolve(self, key: str, service: objects.Service) -> None:
        """Resolve one Service."""
        opaque = opaque_ranges(service.metadata)
        ports = {port.port: port for port in reversed(service.spec.ports) if port.protocol == "TCP"}
        protocols = {number: service_protocol(port, opaque) for number, port in ports.items()}
        namespace, name = service.metadata.namespace, service.metadata.name
        self.services[key] = Service(
            namespace=namespace,
            name=name,
            addresses=_cluster_addresses(service),
            ports=tuple(
                ServicePort(port=number, name=ports[number].name, protocol=protocols[number])
                for number in sorted(ports)
            ),
        )
        pods = list(self._index.select(namespace, service.spec.selector)) if service.spec.selector else []
        found: list[Endpoints] = []
        for number in sorted(ports):
            self._lead(key, ports[number], pods, protocols[number])
            if key in self._slices:
                endpoints = self._from_slices(key, ports[number], protocols[number])
            else:
                endpoints = self._from_pods(ports[number], pods, service)
            unique = {(item.address, item.port): item for item in sorted(endpoints, key=lambda each: each.ready)}
            ordered = tuple(sorted(unique.values(), key=_endpoint_order))
            found.append(Endpoints(namespace=namespace, service=name, port=number, endpoints=ordered))
        self.endpoints[key] = tuple(found)

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
            self.problems.append(problem)

    def _note(self, pod_key: str, key: str, port: objects.ServicePort, target: int, protocol: Protocol) -> None:
        lead = Lead(service=key, service_port=port.port, port_name=port.name, pod_port=target, protocol=protocol)
        self.leads.setdefault(pod_key, []).append(lead)

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
        member = self._members.by_address.get(address)
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
        ready = usable(entry.conditions)
        address = _canonical(entry.addresses[0]) if entry.addresses else None
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


def usable(conditions: EndpointConditions) -> bool | None:
    """Read an endpoint's conditions: True ready, False serving while it terminates, None not to be used.

    Source: Kubernetes API, EndpointConditions: unknown `ready` is ready, unknown `serving` is what `ready` says.
    """
    if conditions.ready is None or conditions.ready:
        return True
    serving = bool(conditions.serving)
    return False if serving and conditions.terminating else None


def _canonical(text: str) -> str | None:
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
    found = {address for address in map(_canonical, texts) if address is not None}
    return tuple(sorted(found, key=lambda text: (ip_address(text).version, ip_address(text).packed)))
