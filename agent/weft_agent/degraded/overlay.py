"""The overlay: held endpoints, corrected by what EndpointSlices show now. Pure; what it returns lies on the held resources.

Theory of operation. For each port of a held Service that has slices, the endpoints are those that the slices show as usable,
each as `held.endpoint_there` knows it; whoever is not known for certain is left out and counted. A Service that no slice was
seen of keeps what is held: there nothing was read, and what was not read takes nothing away.

An endpoint with an identity that no longer gets the Service's traffic does not become a stranger by that: a call by its pod
IP would else leave in plain TCP. It moves to the `Peers` of its namespace, as when the operator compiles a pod that is not
ready.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

import msgspec

from weft_agent.degraded.held import NOBODY_ASKED, Held, OwnPods, endpoint_order, endpoint_there
from weft_agent.degraded.place import Place
from weft_agent.degraded.seen import SeenSlice, TargetReference
from weft_agent.degraded.stranger import Asked
from weft_contract.codec import digest, encode
from weft_contract.resources import Endpoint, Endpoints, Peers, Resource, Service
from weft_contract.resources.document import resource_key

Entries = Mapping[str, tuple[str, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """What differs from what is held."""

    entries: Entries = field(default_factory=dict)
    """Hash and canonical JSON by resource key."""
    services: int = 0
    """Services whose endpoints differ."""
    gone: int = 0
    """Held endpoints that get no traffic."""
    added: int = 0
    """Endpoints that are not held and get traffic."""
    unknown: int = 0
    """Endpoints that slices show and that are left out: who answers there is not known for certain."""
    strangers: frozenset[TargetReference] = frozenset()
    """Pods behind endpoints that are known by their objects, or could be."""


@dataclass(slots=True)
class _Tally:
    """One Service port, worked out."""

    resource: Endpoints
    gone: list[Endpoint]
    added: int
    unknown: int
    strangers: set[TargetReference]


def work_out(
    held: Held, slices: Mapping[str, Sequence[SeenSlice]], own: OwnPods, asked: Asked = NOBODY_ASKED
) -> Overlay:
    """Return the overlay.

    Args:
        held: what the operator said last.
        slices: all of each Service, by `namespace/name`; a Service without any is left as it is.
        own: this node's pods.
        asked: pods of other nodes, of those that an earlier overlay named as strangers.
    """
    tallies = list(_tallies(held, slices, own, asked))
    changed: list[Resource] = [each.resource for each in tallies]
    changed += _peers(held, tallies)
    entries = {resource_key(item): _entry(item) for item in changed if not _is_held(held, item)}
    differing = (each.resource for each in tallies if resource_key(each.resource) in entries)
    return Overlay(
        entries=entries,
        services=len({(item.namespace, item.service) for item in differing}),
        gone=sum(len(each.gone) for each in tallies),
        added=sum(each.added for each in tallies),
        unknown=sum(each.unknown for each in tallies),
        strangers=frozenset(target for each in tallies for target in each.strangers),
    )


def _entry(item: Resource) -> tuple[str, bytes]:
    data = encode(item)
    return digest(data), data


def _is_held(held: Held, item: Resource) -> bool:
    return isinstance(item, Endpoints) and held.endpoints[resource_key(item)] == item


def _tallies(held: Held, slices: Mapping[str, Sequence[SeenSlice]], own: OwnPods, asked: Asked) -> Iterator[_Tally]:
    for resource in held.endpoints.values():
        key = f"{resource.namespace}/{resource.service}"
        service = held.services.get(key)
        if service is not None and slices.get(key):
            yield _tally(resource, _shown(service, resource.port, slices[key]), held, own, asked)


def _tally(resource: Endpoints, shown: Iterable[Place], held: Held, own: OwnPods, asked: Asked) -> _Tally:
    known = {(item.address, item.port): item for item in resource.endpoints}
    found: dict[tuple[str, int], Endpoint] = {}
    unknown = 0
    strangers: set[TargetReference] = set()
    for place in shown:
        endpoint = endpoint_there(place, known.get((place.address, place.port)), held, own, asked)
        if place.pod is not None and place.node != own.node and (endpoint is None or place.pod.uid in asked.pods):
            strangers.add(place.pod)
        if endpoint is None:
            unknown += 1
        else:
            found[endpoint.address, endpoint.port] = endpoint
    ordered = tuple(sorted(found.values(), key=endpoint_order))
    return _Tally(
        resource=msgspec.structs.replace(resource, endpoints=ordered),
        gone=[item for place, item in known.items() if place not in found],
        added=len(found.keys() - known.keys()),
        unknown=unknown,
        strangers=strangers,
    )


def _shown(service: Service, port: int, slices: Iterable[SeenSlice]) -> Iterable[Place]:
    """Return the usable places behind a Service port; one that is ready in any slice is ready."""
    name = next((item.name for item in service.ports if item.port == port), None)
    found: dict[tuple[str, int], Place] = {}
    for item in slices:
        numbers = [
            entry.port
            for entry in item.ports
            if entry.port is not None and entry.name == name and entry.protocol == "TCP"
        ]
        for place in (place for number in numbers for place in _places(item, number)):
            before = found.get((place.address, place.port))
            if before is None or not before.ready:
                found[place.address, place.port] = place
    return found.values()


def _places(item: SeenSlice, number: int) -> Iterator[Place]:
    for entry in item.endpoints:
        usable = entry.conditions.usable
        address = _canonical(entry.addresses[0]) if entry.addresses else None
        if address is not None and usable is not None:
            yield Place(
                address=address, port=number, node=entry.node_name, ready=usable, zone=entry.zone, pod=entry.pod
            )


def _canonical(text: str) -> str | None:
    """Return an address as the compiler writes it; None: it is none (a name, in slices of type FQDN)."""
    try:
        return str(ip_address(text))
    except ValueError:
        return None


def _peers(held: Held, tallies: Sequence[_Tally]) -> Iterator[Peers]:
    """Yield the peers of namespaces in which somebody with an identity is no longer an endpoint of anything."""
    now = {**held.endpoints, **{resource_key(each.resource): each.resource for each in tallies}}
    told = {(item.namespace, each.address) for item in now.values() for each in item.endpoints if each.identity}
    more: dict[str, dict[str, Endpoint]] = {}
    for each in tallies:
        namespace = each.resource.namespace
        for endpoint in each.gone:
            if endpoint.identity and (namespace, endpoint.address) not in told:
                more.setdefault(namespace, {})[endpoint.address] = endpoint
    for namespace, lost in more.items():
        before = held.peers.get(namespace, Peers(namespace=namespace)).endpoints
        for endpoint in before:
            lost.pop(endpoint.address, None)
        if lost:
            moved = (msgspec.structs.replace(item, port=0, ready=True) for item in lost.values())
            yield Peers(namespace=namespace, endpoints=tuple(sorted((*before, *moved), key=endpoint_order)))
