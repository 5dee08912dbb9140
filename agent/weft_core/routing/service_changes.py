"""The next service table after a change: copies of three dictionaries, in which only what changed is made anew.

Theory: a change costs a copy of each dictionary (pointers only: under a millisecond for 20 000 endpoints) and work in
proportion to what it touches. Entries of untouched Services are the same objects as before, so whoever holds one can tell
by identity that nothing happened.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, TypeAlias, TypeVar

from weft_contract.identity import IdentityGrammarError, parse_spiffe_id
from weft_contract.resources.document import Resource, resource_key
from weft_contract.resources.service import Endpoint, Endpoints, Peers, Service, ServicePort
from weft_core.routing.services import Claim, ServiceEntry, ServiceTable
from weft_core.text import UncompilableError

Network: TypeAlias = Service | Endpoints | Peers
"""The resources a service table is made of."""

T = TypeVar("T")

ALGORITHMS: Final = frozenset({"LEAST_REQUEST", "ROUND_ROBIN", "RANDOM"})


@lru_cache(maxsize=4096)
def canonical_address(text: str) -> str:
    """Return the canonical text of an IP address, IPv4-mapped ones as IPv4: the form connection facts have.

    Raises:
        UncompilableError: not an IP address.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError as exc:
        raise UncompilableError(f"{text!r:.60} is not an IP address") from exc
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def check_network(resource: Network) -> None:
    """Check that a resource can go into a table.

    Raises:
        UncompilableError: an address, port, identity or algorithm that is none.
    """
    match resource:
        case Service():
            _check_service(resource)
        case Endpoints():
            for endpoint in resource.endpoints:
                _check_endpoint(endpoint, lowest_port=1)
        case Peers():
            for endpoint in resource.endpoints:
                _check_endpoint(endpoint, lowest_port=0)


def _check_service(service: Service) -> None:
    for address in service.addresses:
        canonical_address(address)
    numbers = [port.port for port in service.ports]
    for number in numbers:
        _check_port(number, lowest=1)
    if len(set(numbers)) != len(numbers):
        raise UncompilableError("a port is there twice")
    if service.traffic_policy is not None and service.traffic_policy not in ALGORITHMS:
        raise UncompilableError(f"{service.traffic_policy!r:.40} is not a way to balance")


def _check_endpoint(endpoint: Endpoint, *, lowest_port: int) -> None:
    canonical_address(endpoint.address)
    _check_port(endpoint.port, lowest=lowest_port)
    if endpoint.identity:
        try:
            parse_spiffe_id(endpoint.identity)
        except IdentityGrammarError as exc:
            raise UncompilableError(str(exc)) from exc


def _check_port(port: int, *, lowest: int) -> None:
    if not lowest <= port <= 65535:
        raise UncompilableError(f"port {port} is not in {lowest}-65535")


def change_services(
    table: ServiceTable, before: Mapping[str, Resource], after: Mapping[str, Resource], changed: Iterable[str]
) -> ServiceTable:
    """Return the table after a change; the one given stays as it is.

    Args:
        table: the table of `before`.
        before: resources by key, as they were.
        after: resources by key, as they are; each network resource has passed `check_network`.
        changed: keys that differ.
    """
    draft = _Draft(table)
    touched: dict[str, None] = {}
    for key in changed:
        for resource, gone in ((before.get(key), True), (after.get(key), False)):
            if isinstance(resource, Service | Endpoints | Peers):
                draft.change(resource, gone=gone)
                touched.setdefault(_owner(resource))
    for service in touched:
        draft.rebuild(service, after)
    return ServiceTable(draft.services, draft.addresses, draft.claims)


def _owner(resource: Network) -> str:
    match resource:
        case Service(namespace=namespace, name=name):
            return f"{namespace}/{name}"
        case Endpoints(namespace=namespace, service=service):
            return f"{namespace}/{service}"
        case Peers():
            return ""


class _Draft:
    """The dictionaries of the next table while it is made."""

    def __init__(self, table: ServiceTable) -> None:
        self.services = dict(table.services)
        self.addresses = dict(table.addresses)
        self.claims = dict(table.claims)

    def change(self, resource: Network, *, gone: bool) -> None:
        match resource:
            case Service():
                self._change_addresses(resource, gone)
            case Endpoints(port=port):
                self._change_claims(resource_key(resource), resource.endpoints, _owner(resource), port, gone)
            case Peers():
                self._change_claims(resource_key(resource), resource.endpoints, "", 0, gone)

    def _change_addresses(self, service: Service, gone: bool) -> None:
        key = _owner(service)
        for text in service.addresses:
            address = canonical_address(text)
            others = {other for other in self.addresses.get(address, ()) if other != key}
            _put(self.addresses, address, tuple(sorted(others if gone else {*others, key})))

    def _change_claims(self, origin: str, endpoints: tuple[Endpoint, ...], service: str, port: int, gone: bool) -> None:
        for endpoint in endpoints:
            address = canonical_address(endpoint.address)
            claims = self.claims.get(address, ())
            if gone:
                _put(self.claims, address, tuple(claim for claim in claims if claim.origin != origin))
            else:
                made = Claim(origin, endpoint, service, port)
                self.claims[address] = tuple(sorted((*claims, made), key=_claim_order)) if claims else (made,)

    def rebuild(self, key: str, after: Mapping[str, Resource]) -> None:
        """Make the entries of one Service anew, keeping those that did not change."""
        service = after.get(f"Service/{key}")
        if not isinstance(service, Service):
            self.services.pop(key, None)
            return
        old = self.services.get(key, {})
        made: dict[int, ServiceEntry] = {}
        for port in service.ports:
            entry = ServiceEntry(key, service, port, _endpoints(after, key, port))
            same = old.get(port.port)
            made[port.port] = same if same is not None and _same(same, entry) else entry
        self.services[key] = made


def _put(table: dict[str, tuple[T, ...]], key: str, value: tuple[T, ...]) -> None:
    if value:
        table[key] = value
    else:
        table.pop(key, None)


def _claim_order(claim: Claim) -> tuple[int, str]:
    return claim.endpoint.port, claim.origin


def _endpoints(after: Mapping[str, Resource], service: str, port: ServicePort) -> tuple[Endpoint, ...]:
    resource = after.get(f"Endpoints/{service}:{port.port}")
    return resource.endpoints if isinstance(resource, Endpoints) else ()


def _same(one: ServiceEntry, other: ServiceEntry) -> bool:
    """Say whether nothing changed, by identity of the resources: unchanged ones are kept by whoever holds them."""
    return one.service is other.service and one.endpoints is other.endpoints and one.port is other.port
