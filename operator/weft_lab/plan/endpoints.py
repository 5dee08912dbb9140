"""Endpoint slices from Services and pods, and the backends that kube-proxy makes of slices. Pure.

Source: Kubernetes EndpointSlice controller: ready = pod Ready (or publishNotReadyAddresses) and not terminating, serving
ignores termination, finished pods are left out; kube-proxy falls back to serving endpoints when none is ready (KEP-1669).
"""

from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import Final, Literal, NamedTuple

from weft_contract.codec import digest, encode
from weft_contract.labels import SLICE_SERVICE_LABEL, ZONE_LABEL
from weft_lab.model import EndpointSlice, Key, Metadata, Node, OwnerReference, Pod, Service
from weft_lab.model.check import container_port
from weft_lab.model.meta import has_labels
from weft_lab.model.service import (
    EndpointConditions,
    ServicePort,
    SliceEndpoint,
    SlicePort,
    TargetRef,
    TransportProtocol,
)
from weft_lab.plan.view import View

MANAGED_LABEL: Final = "endpointslice.kubernetes.io/managed-by"
MANAGER: Final = "weft-lab"

Ports = tuple[SlicePort, ...]


class Backend(NamedTuple):
    """Where a connection to a Service goes in the end."""

    address: str
    port: int


class ServiceRule(NamedTuple):
    """One address and port of a Service with its backends; none: connections are refused."""

    service: str
    address: str
    protocol: TransportProtocol
    port: int
    backends: tuple[Backend, ...]


def slices(view: View) -> dict[Key, EndpointSlice]:
    """Return the slices of all Services that have a selector."""
    nodes = {node.metadata.name: node for node in view.nodes()}
    pods = view.pods()
    made: dict[Key, EndpointSlice] = {}
    for service in view.services():
        if service.spec.selector and service.spec.type != "ExternalName":
            for item in _slices_of(service, pods, nodes):
                made[Key("EndpointSlice", item.metadata.namespace, item.metadata.name)] = item
    return made


def _slices_of(service: Service, pods: Iterable[Pod], nodes: dict[str, Node]) -> Iterator[EndpointSlice]:
    groups: dict[tuple[Literal["IPv4", "IPv6"], Ports], list[SliceEndpoint]] = {}
    for family in service.spec.ip_families:
        groups[family, _ports(service, None)] = []
    for pod in pods:
        if pod.metadata.namespace != service.metadata.namespace or pod.finished:
            continue
        if has_labels(pod.metadata.labels, service.spec.selector):
            for family in service.spec.ip_families:
                endpoint = _endpoint(service, pod, family, nodes.get(pod.spec.node_name))
                if endpoint is not None:
                    groups.setdefault((family, _ports(service, pod)), []).append(endpoint)
    for (family, ports), endpoints in groups.items():
        if endpoints or ports == _ports(service, None):
            yield _slice(service, family, ports, endpoints)


def _slice(
    service: Service, family: Literal["IPv4", "IPv6"], ports: Ports, endpoints: list[SliceEndpoint]
) -> EndpointSlice:
    name = service.metadata.name
    owner = OwnerReference(
        api_version="v1",
        kind="Service",
        name=name,
        uid=service.metadata.uid,
        controller=True,
        block_owner_deletion=True,
    )
    return EndpointSlice(
        metadata=Metadata(
            name=f"{name}-{family.lower()}-{digest(encode(ports))[:5]}",
            namespace=service.metadata.namespace,
            labels=service.metadata.labels | {SLICE_SERVICE_LABEL: name, MANAGED_LABEL: MANAGER},
            owner_references=(owner,),
        ),
        address_type=family,
        endpoints=tuple(sorted(endpoints, key=lambda item: item.addresses)),
        ports=ports,
    )


def _ports(service: Service, pod: Pod | None) -> Ports:
    """Return the Service's ports as this pod has them; a port whose name the pod lacks is left out."""
    found = (_port(port, pod) for port in service.spec.ports)
    return tuple(port for port in found if port is not None)


def _port(port: ServicePort, pod: Pod | None) -> SlicePort | None:
    number = target_port(port, pod)
    if number is None:
        return None
    return SlicePort(port=number, name=port.name, protocol=port.protocol, app_protocol=port.app_protocol)


def target_port(port: ServicePort, pod: Pod | None) -> int | None:
    """Return the pod's port that a Service port leads to; None where the pod does not declare the name."""
    if port.target_port is None:
        return port.port
    if isinstance(port.target_port, int):
        return port.target_port
    if port.target_port.isdecimal():
        return int(port.target_port)
    containers = (*pod.spec.containers, *pod.spec.init_containers) if pod else ()
    found = (container_port(container, port.target_port) for container in containers)
    return next((number for number in found if number is not None), None)


def _endpoint(service: Service, pod: Pod, family: str, node: Node | None) -> SliceEndpoint | None:
    addresses = tuple(text for text in pod.addresses if f"IPv{ip_address(text).version}" == family)
    if not addresses:
        return None
    terminating = pod.metadata.deletion_timestamp is not None
    serving = pod.status.condition("Ready") or service.spec.publish_not_ready_addresses
    named = pod.spec.hostname and pod.spec.subdomain == service.metadata.name
    return SliceEndpoint(
        addresses=addresses[:1],
        conditions=EndpointConditions(ready=serving and not terminating, serving=serving, terminating=terminating),
        hostname=pod.spec.hostname if named else None,
        node_name=pod.spec.node_name,
        zone=(node.metadata.labels.get(ZONE_LABEL) if node else None),
        target_ref=TargetRef(namespace=pod.metadata.namespace, name=pod.metadata.name, uid=pod.metadata.uid),
    )


def slices_of(view: View, service: Service) -> list[EndpointSlice]:
    """Return the slices in the view that belong to a Service, made by the lab or given by users."""
    return [
        item
        for key, item in view.of(EndpointSlice)
        if key.namespace == service.metadata.namespace
        and item.metadata.labels.get(SLICE_SERVICE_LABEL) == service.metadata.name
    ]


def service_rules(view: View) -> tuple[ServiceRule, ...]:
    """Return what each node has to translate: every cluster IP and port, with its backends, in a fixed order."""
    rules: list[ServiceRule] = []
    for service in view.services():
        name = f"{service.metadata.namespace}/{service.metadata.name}"
        mine = slices_of(view, service)
        for address in service.addresses:
            family = f"IPv{ip_address(address).version}"
            for port in service.spec.ports:
                found = _backends([item for item in mine if item.address_type == family], port)
                rules.append(ServiceRule(name, address, port.protocol, port.port, found))
    return tuple(rules)


def _backends(found: list[EndpointSlice], port: ServicePort) -> tuple[Backend, ...]:
    ready: set[Backend] = set()
    serving: set[Backend] = set()
    for item in found:
        numbers = [entry.port for entry in item.ports if (entry.name, entry.protocol) == (port.name, port.protocol)]
        for endpoint in item.endpoints:
            backends = {Backend(address, number) for address in endpoint.addresses for number in numbers}
            if endpoint.conditions.ready is not False:
                ready |= backends
            elif endpoint.conditions.serving:
                serving |= backends
    return tuple(sorted(ready or serving))
