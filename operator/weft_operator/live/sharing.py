"""Stage 6: who is told of which Service, route and namespace, and which members are nobody's endpoints."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from weft_contract import objects
from weft_contract.resources import Endpoint, Route
from weft_operator.compile import ClusterView
from weft_operator.compile.cluster import covers, namespace_audience
from weft_operator.compile.members import Member
from weft_operator.compile.reach import Audience, Reach, exported_to, reach
from weft_operator.compile.services import peer_of, peers_resource
from weft_operator.live.changes import Changes, of_kind
from weft_operator.live.members import MemberChanges, MemberStage
from weft_operator.live.services import ServiceChanges, ServiceStage, told_endpoints
from weft_operator.live.shelves import Shelves


@dataclass(slots=True)
class SharingChanges:
    """What changed of audiences."""

    services: set[str] = field(default_factory=set)
    """Services that others are told of now."""
    routes: set[str] = field(default_factory=set)
    """Keys of route resources that others are told of now."""


class AudienceStage:
    """Keeps the audiences of namespaces, Services and routes."""

    def __init__(self) -> None:
        self.wide: dict[str, Audience] = {}
        """Namespace of the mesh to who is told of what it holds."""
        self.visible: dict[str, Audience] = {}
        """Service of the mesh to who is told of it, routes apart."""
        self.reach = Reach(services={}, routes={})
        self._in_namespace: dict[str, set[str]] = {}

    def update(
        self,
        view: ClusterView,
        changes: Changes,
        members: MemberChanges,
        stages: tuple[MemberStage, ServiceStage],
        service_changes: ServiceChanges,
        routes: tuple[Mapping[str, Route], set[str]],
    ) -> SharingChanges:
        """Follow changes of namespaces, Services and routes.

        Args:
            view: the cluster.
            changes: of objects.
            members: what changed of members.
            stages: members and Services as they are now.
            service_changes: what changed of Services.
            routes: all route resources, and the keys of those that changed.
        """
        member_stage, services = stages
        dirty = set(service_changes.services)
        names = set(members.namespaces) | {name for name, _, _ in of_kind(changes, objects.Namespace)}
        joined = member_stage.namespaces if names else frozenset()
        for name in names:
            if name in joined:
                self.wide[name] = namespace_audience(view.namespaces.get(name))
            else:
                self.wide.pop(name, None)
            dirty |= self._in_namespace.get(name, set())
        before = dict(self.visible) if dirty else self.visible
        for key in dirty:
            self._judge(key, view, services)
        if before == self.visible and not routes[1]:
            return SharingChanges()
        old, self.reach = self.reach, reach(self.visible, routes[0])
        return SharingChanges(
            services=_different(old.services, self.reach.services),
            routes=_different(old.routes, self.reach.routes),
        )

    def _judge(self, key: str, view: ClusterView, services: ServiceStage) -> None:
        namespace = key.partition("/")[0]
        self.visible.pop(key, None)
        if key not in services.resources:
            self._in_namespace.get(namespace, set()).discard(key)
            return
        self._in_namespace.setdefault(namespace, set()).add(key)
        if namespace in self.wide:
            self.visible[key] = exported_to(view.services[key].metadata, self.wide[namespace])

    def in_namespace(self, namespace: str) -> frozenset[str]:
        """Return the Services of a namespace."""
        return frozenset(self._in_namespace.get(namespace, ()))

    def covers(self, key: str) -> bool:
        """Whether whoever is told of a Service's namespace is told of the Service."""
        return key in self.visible and covers(self.visible[key], self.wide[key.partition("/")[0]])


def _different(old: Mapping[str, Audience], new: Mapping[str, Audience]) -> set[str]:
    missing: frozenset[str] = frozenset()
    return {key for key in old.keys() | new.keys() if old.get(key, missing) != new.get(key, missing)}


class PeerStage:
    """Keeps the members' addresses that nobody learns of as a Service's, by namespace.

    Theory: whether an address is such depends on the member that has it and on the endpoints of those Services of its own
    namespace that everybody learns of who learns of the namespace; these are counted by address.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], int] = {}
        self._told: dict[str, frozenset[str]] = {}
        """Service to the addresses that it makes known."""
        self._peers: dict[str, dict[str, Endpoint]] = {}
        self._at: dict[str, str] = {}
        """Address to the namespace it is a peer of."""

    def update(
        self,
        dirty_services: set[str],
        dirty_addresses: set[str],
        services: ServiceStage,
        by_address: Mapping[str, Member],
        audiences: AudienceStage,
        shelves: Shelves,
    ) -> None:
        """Follow changes of Services, addresses and audiences.

        Args:
            dirty_services: with other endpoints or another audience.
            dirty_addresses: with another owner, or one whose facts changed.
            services: as they are now.
            by_address: members as they are now.
            audiences: as they are now.
            shelves: where the peers go.
        """
        dirty = set(dirty_addresses)
        for key in dirty_services:
            told = told_endpoints(services.endpoints.get(key, ())) if audiences.covers(key) else ()
            dirty |= self._change_known(key, frozenset(told))
        changed: set[str] = set()
        for address in dirty:
            changed |= self._judge(address, by_address.get(address), services.zones)
        for namespace in changed:
            if namespace in self._peers:
                shelves.put(peers_resource(namespace, self._peers[namespace].values()))
                shelves.place(f"Peers/{namespace}", audiences.wide[namespace])
            else:
                shelves.drop(f"Peers/{namespace}")

    def place_again(self, namespaces: set[str], audiences: AudienceStage, shelves: Shelves) -> None:
        """Let others be told of the peers of namespaces whose audience may have changed."""
        for namespace in namespaces & self._peers.keys():
            shelves.place(f"Peers/{namespace}", audiences.wide[namespace])

    def _change_known(self, key: str, told: frozenset[str]) -> frozenset[str]:
        namespace = key.partition("/")[0]
        before = self._told.pop(key, frozenset())
        if told:
            self._told[key] = told
        for address in told - before:
            self._known[namespace, address] = self._known.get((namespace, address), 0) + 1
        for address in before - told:
            self._known[namespace, address] -= 1
            if not self._known[namespace, address]:
                del self._known[namespace, address]
        return before ^ told

    def _judge(self, address: str, member: Member | None, zones: Mapping[str, str]) -> set[str]:
        """Judge an address again; return the namespaces whose peers change."""
        wanted: Endpoint | None = None
        if member is not None and (member.namespace, address) not in self._known:
            wanted = peer_of(address, member, zones)
        place = self._at.get(address)
        present = self._peers[place].get(address) if place is not None else None
        if wanted == present and (member is None or wanted is None or place == member.namespace):
            return set()
        changed: set[str] = set()
        if place is not None:
            del self._at[address]
            del self._peers[place][address]
            if not self._peers[place]:
                del self._peers[place]
            changed.add(place)
        if member is not None and wanted is not None:
            self._at[address] = member.namespace
            self._peers.setdefault(member.namespace, {})[address] = wanted
            changed.add(member.namespace)
        return changed
