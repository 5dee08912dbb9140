"""What a node holds of Services while the operator is away, and what that says of who lives at an address.

Pure. Theory. An address gets an identity from what the operator said of it, from this node's own pods, or from the pod object
behind it (`stranger`), never from its surroundings: that every other endpoint of a Service has one identity proves nothing of a
new one.

- An address that any Endpoints or Peers resource has with one identity, and no other, is that of the pod the operator saw
  there. Should another pod have it by now, the tunnel to it fails, because it cannot prove the identity: wrong is refused,
  never weaker.
- That nobody of the mesh answers at an address cannot be proved so: plain TCP goes only where the operator said so of this
  very Service port, address and port.
- An endpoint on another node than the one the operator saw there is another pod.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

import msgspec

from weft_agent.degraded.place import Place
from weft_agent.degraded.stranger import Asked, stranger_there
from weft_contract.codec import decode_resource
from weft_contract.problems import ContractError
from weft_contract.resources import Endpoint, Endpoints, Peers, Service, Workload
from weft_contract.resources.document import resource_key
from weft_core.routing import Network, check_network
from weft_core.text import UncompilableError

KINDS = ("Service/", "Endpoints/", "Peers/")
NOBODY_ASKED = Asked()


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The network resources of one configuration."""

    services: Mapping[str, Service]
    """By `namespace/name`."""
    endpoints: Mapping[str, Endpoints]
    """By resource key."""
    peers: Mapping[str, Peers]
    """By namespace."""
    claims: Mapping[str, tuple[Endpoint, ...]]
    """What Endpoints and Peers say of an address."""
    plain: frozenset[tuple[str, int]]
    """Workloads (`namespace/owner`) with ports on which a pod of theirs has no identity: perhaps excluded from capture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPods:
    """The pods of this node that workers know, which the agent sees for itself."""

    node: str
    zone: str
    by_address: Mapping[str, Workload]


def read_held(entries: Mapping[str, tuple[str, bytes]]) -> Held:
    """Decode the network resources among entries.

    Where one cannot be used, workers have put in its place what refuses; nothing of its namespace is held then, so that
    nothing is laid over that.
    """
    found: list[Network] = []
    spoiled: set[str] = set()
    for key, (_, body) in entries.items():
        if key.startswith(KINDS):
            try:
                resource = decode_resource(body)
                if isinstance(resource, Service | Endpoints | Peers):
                    check_network(resource)
                    found.append(resource)
            except (ContractError, UncompilableError):
                spoiled.add(key.split("/")[1])
    kept = [item for item in found if item.namespace not in spoiled]
    return hold(
        {f"{item.namespace}/{item.name}": item for item in kept if isinstance(item, Service)},
        {resource_key(item): item for item in kept if isinstance(item, Endpoints)},
        {item.namespace: item for item in kept if isinstance(item, Peers)},
    )


def hold(services: Mapping[str, Service], endpoints: Mapping[str, Endpoints], peers: Mapping[str, Peers]) -> Held:
    """Put resources together."""
    claims: dict[str, list[Endpoint]] = {}
    plain: set[tuple[str, int]] = set()
    for found in (*(item.endpoints for item in endpoints.values()), *(item.endpoints for item in peers.values())):
        for endpoint in found:
            claims.setdefault(endpoint.address, []).append(endpoint)
            if not endpoint.identity and endpoint.workload:
                plain.add((endpoint.workload, endpoint.port))
    return Held(
        services=services,
        endpoints=endpoints,
        peers=peers,
        claims={address: tuple(each) for address, each in claims.items()},
        plain=frozenset(plain),
    )


def own_pods(node: str, zone: str, workloads: Iterable[Workload]) -> OwnPods:
    """Index this node's pods."""
    found = {address: workload for workload in workloads for address in workload.addresses}
    return OwnPods(node=node, zone=zone, by_address=found)


def endpoint_there(
    place: Place, known: Endpoint | None, held: Held, own: OwnPods, asked: Asked = NOBODY_ASKED
) -> Endpoint | None:
    """Return who answers at a place; None: that is not known for certain.

    Args:
        place: where a slice shows somebody.
        known: what the Service port's held Endpoints say of it.
        held: everything that is held.
        own: this node's pods.
        asked: pods of other nodes.
    """
    workload = own.by_address.get(place.address)
    here = _own(place, workload, own) if workload is not None else None
    if here is not None and here.identity:
        return here  # seen by the agent itself, so younger than what is held
    if known is not None and not _moved(known, place):
        return msgspec.structs.replace(known, ready=place.ready)
    if workload is not None:
        return here
    if place.node == own.node:
        return None  # the agent sees its own node's pods, and knows none of the mesh there
    return _claimed(place, held) or stranger_there(place, asked)


def _moved(known: Endpoint, place: Place) -> bool:
    return bool(known.node and place.node and known.node != place.node)


def _own(place: Place, workload: Workload, own: OwnPods) -> Endpoint | None:
    """Say of an own pod what the operator would: no tunnel ends on a port that the pod excluded from capture."""
    if place.node not in ("", own.node):
        return None  # the slice means another pod
    return Endpoint(
        address=place.address,
        port=place.port,
        identity=workload.identity if workload.capture.takes_inbound(place.port) else "",
        node=own.node,
        workload=f"{workload.namespace}/{workload.workload or workload.name}",
        zone=own.zone,
        ready=place.ready,
    )


def _claimed(place: Place, held: Held) -> Endpoint | None:
    claims = held.claims.get(place.address, ())
    found = [claim for claim in claims if claim.identity]
    if len({claim.identity for claim in found}) != 1 or any(_moved(claim, place) for claim in claims):
        return None
    if any(not claim.identity and claim.port == place.port for claim in claims):
        return None
    if any((claim.workload, place.port) in held.plain for claim in found):
        return None
    return msgspec.structs.replace(found[0], port=place.port, ready=place.ready)


def endpoint_order(endpoint: Endpoint) -> tuple[int, bytes, int]:
    """Sort as the compiler does."""
    address = ip_address(endpoint.address)
    return address.version, address.packed, endpoint.port
