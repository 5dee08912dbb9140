"""Stage 2: Services, their endpoints, and what leads to which member."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from weft_contract import objects
from weft_contract.objects import EndpointSlice
from weft_contract.resources import Endpoints, Service
from weft_operator.compile import ClusterView
from weft_operator.compile.services import (
    Lead,
    ResolvedService,
    ServiceResolver,
    Services,
    behind_order,
    canonical_address,
    is_opaque,
    is_service,
    lead_order,
    node_zones,
    service_of_slice,
)
from weft_operator.live.changes import Changes, ProblemBook, of_kind
from weft_operator.live.members import MemberChanges, MemberStage


@dataclass(slots=True)
class ServiceChanges:
    """What changed of Services."""

    services: set[str] = field(default_factory=set)
    """Services that came, went, or whose object or resource changed."""
    endpoints: set[str] = field(default_factory=set)
    """Services with other endpoints; those that came and went are among them."""
    leads: set[str] = field(default_factory=set)
    """Members with other leads."""
    behind: set[str] = field(default_factory=set)
    """Services that lead elsewhere."""
    zones: set[str] = field(default_factory=set)
    """Nodes that changed their zone."""


class ServiceStage:
    """Keeps every Service resolved.

    Theory: what a Service comes to depends on its object, its slices, the pods its selector means, whoever has the
    addresses in its slices, and the zones of the nodes these are on. Each has an index that leads back to the Services:
    selectors by their first pair of labels (too many Services are looked at again rather than too few), addresses by
    slice. Resolving again what did not change gives an equal value, and goes no further.
    """

    def __init__(self, problems: ProblemBook) -> None:
        self.resources: dict[str, Service] = {}
        self.endpoints: dict[str, tuple[Endpoints, ...]] = {}
        self.leads: dict[str, tuple[Lead, ...]] = {}
        self.behind: dict[str, tuple[tuple[str, Lead], ...]] = {}
        self.zones: dict[str, str] = {}
        self._leads: dict[str, set[Lead]] = {}
        self._opaque: set[str] = set()
        self._resolved: dict[str, ResolvedService] = {}
        self._slices: dict[str, dict[str, EndpointSlice]] = {}
        self._selectors: dict[tuple[str, str, str], set[str]] = {}
        self._addresses: dict[str, dict[str, int]] = {}
        """Address to the Services whose slices have it, and how often."""
        self._problems = problems

    @property
    def services(self) -> Services:
        """All, for the compiler's functions; it changes with the stage."""
        return Services(
            services=self.resources,
            endpoints=self.endpoints,
            leads=self.leads,
            behind=self.behind,
            problems=(),
            opaque=self._opaque,
        )

    def update(
        self, view: ClusterView, members: MemberStage, changes: Changes, member_changes: MemberChanges
    ) -> ServiceChanges:
        """Follow changes of Services, slices, pods, addresses and zones."""
        found = ServiceChanges()
        found.zones = self._change_zones(view, changes)
        found.services |= self._change_selectors(changes)
        dirty = {*found.services, *self._change_slices(changes), *self._on_nodes(found.zones)}
        for old, new in member_changes.pods.values():
            for pod in (old, new) if old is not new else (new,):
                if pod is not None:
                    dirty.update(self._selecting(pod))
        for address in member_changes.addresses:
            dirty.update(self._addresses.get(address, ()))
        slices = {key: _sorted(self._slices.get(key, {})) for key in dirty}
        resolver = ServiceResolver(view, members.members, members.index, slices, self.zones)
        for key in dirty:
            item = view.services.get(key)
            self._replace(key, resolver.resolve(key, item) if item is not None and is_service(item) else None, found)
        for member_key in found.leads:
            self._sort_leads(member_key)
        return found

    def _change_zones(self, view: ClusterView, changes: Changes) -> set[str]:
        if not any(kind == "Node" for kind, _ in changes):
            return set()
        zones = node_zones(view)
        changed = {name for name in zones.keys() | self.zones.keys() if zones.get(name) != self.zones.get(name)}
        self.zones = zones
        return changed

    def _on_nodes(self, nodes: set[str]) -> Iterator[str]:
        if nodes:
            for key, resolved in self._resolved.items():
                if any(item.node in nodes for endpoints in resolved.endpoints for item in endpoints.endpoints):
                    yield key

    def _change_selectors(self, changes: Changes) -> set[str]:
        changed: set[str] = set()
        for key, old, new in of_kind(changes, objects.Service):
            changed.add(key)
            if old is not None and old.spec.selector:
                self._selectors[_first_pair(old)].discard(key)
            if new is not None and new.spec.selector:
                self._selectors.setdefault(_first_pair(new), set()).add(key)
        return changed

    def _selecting(self, pod: objects.Pod) -> Iterator[str]:
        for pair in pod.metadata.labels.items():
            yield from self._selectors.get((pod.metadata.namespace, *pair), ())

    def _change_slices(self, changes: Changes) -> set[str]:
        changed: set[str] = set()
        for key, old, new in of_kind(changes, EndpointSlice):
            if old is not None:
                service = service_of_slice(old)
                changed.add(service)
                del self._slices[service][key]
                if not self._slices[service]:
                    del self._slices[service]
                self._note_addresses(old, service, -1)
            if new is not None:
                service = service_of_slice(new)
                changed.add(service)
                self._slices.setdefault(service, {})[key] = new
                self._note_addresses(new, service, +1)
        return changed

    def _note_addresses(self, item: EndpointSlice, service: str, step: int) -> None:
        for entry in item.endpoints:
            address = canonical_address(entry.addresses[0]) if entry.addresses else None
            if address is None:
                continue
            services = self._addresses.setdefault(address, {})
            services[service] = services.get(service, 0) + step
            if not services[service]:
                del services[service]
                if not services:
                    del self._addresses[address]

    def _replace(self, key: str, new: ResolvedService | None, found: ServiceChanges) -> None:
        old = self._resolved.get(key)
        self._problems.put("services", key, new.problems if new is not None else ())
        if old == new:
            return
        if (old.resource if old else None) != (new.resource if new else None):
            found.services.add(key)
        if (old.endpoints if old else None) != (new.endpoints if new else None):
            found.endpoints.add(key)
        self._change_leads(key, old.leads if old else frozenset(), new.leads if new else frozenset(), found)
        if new is None:
            for table in (self._resolved, self.resources, self.endpoints, self.behind):
                table.pop(key, None)
        else:
            self._resolved[key] = new
            self.resources[key] = new.resource
            self.endpoints[key] = new.endpoints
            self.behind[key] = tuple(sorted(new.leads, key=behind_order))

    def _change_leads(
        self, key: str, old: frozenset[tuple[str, Lead]], new: frozenset[tuple[str, Lead]], found: ServiceChanges
    ) -> None:
        if old == new:
            return
        found.behind.add(key)
        for member_key, lead in old - new:
            self._leads[member_key].discard(lead)
            found.leads.add(member_key)
        for member_key, lead in new - old:
            self._leads.setdefault(member_key, set()).add(lead)
            found.leads.add(member_key)

    def _sort_leads(self, member_key: str) -> None:
        self._opaque.discard(member_key)
        if is_opaque(self._leads[member_key]):
            self._opaque.add(member_key)
        if self._leads[member_key]:
            self.leads[member_key] = tuple(sorted(self._leads[member_key], key=lead_order))
        else:
            del self._leads[member_key]
            self.leads.pop(member_key, None)


def _first_pair(service: objects.Service) -> tuple[str, str, str]:
    return service.metadata.namespace, *min(service.spec.selector.items())


def _sorted(slices: Mapping[str, EndpointSlice]) -> list[EndpointSlice]:
    return [slices[key] for key in sorted(slices)]


def told_endpoints(endpoints: Iterable[Endpoints]) -> Iterator[str]:
    """Yield the addresses that come with an identity."""
    for item in endpoints:
        for endpoint in item.endpoints:
            if endpoint.identity:
                yield endpoint.address
