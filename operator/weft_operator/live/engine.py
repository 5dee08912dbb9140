"""The live compiler: changes of objects in, differences of what nodes hold out. Pure, and equal to compiling from nothing.

Theory: a chain of stages. Each keeps its share of the result, follows what changed before it through indexes, calls the
same functions that `compile_cluster` calls, and tells the next stage what changed of its own. What was computed again and
is equal goes no further, so the work of a round is in proportion to what it changes, never to the cluster.

    objects ─► members ─► services ─► routes ────────────► audiences ─► peers ─► shelves
                   ├──────────┴─────► policies ─► modes ─► workloads ──────────────┘
                   └────────────────► backend traffic (verdicts alone)

After every round the shelves hold exactly what `compile_cluster` would put into the nodes' documents; the tests compare
the two after random histories. An engine is not safe for threads, and one that raised must not be used any more.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from weft_contract import objects
from weft_contract.resources import Resource, resource_key
from weft_operator.compile import ClusterView, Held, ObjectResult
from weft_operator.compile.cluster import always_given, mesh_result, node_problems, node_resource, roots_problems
from weft_operator.compile.members import Member
from weft_operator.compile.scopes import ScopeFinder
from weft_operator.compile.settings import Settings, read_settings
from weft_operator.compile.view import ObjectKey
from weft_operator.compile.workloads import compile_workload
from weft_operator.live.backend_traffic import BackendTrafficStage
from weft_operator.live.changes import Changes, ProblemBook, of_kind
from weft_operator.live.cluster import Cluster
from weft_operator.live.delta import Delta
from weft_operator.live.members import MemberChanges, MemberStage
from weft_operator.live.modes import ModeStage
from weft_operator.live.policies import PolicyChanges, PolicyStage
from weft_operator.live.routes import RouteChanges, RouteStage
from weft_operator.live.services import ServiceChanges, ServiceStage
from weft_operator.live.sharing import AudienceStage, PeerStage
from weft_operator.live.shelves import Shelves

MESH_KEY: ObjectKey = ("Mesh", objects.MESH_NAME)


@dataclass(frozen=True, slots=True)
class _Given:
    """What a node has on account of one member."""

    node: str
    keys: frozenset[str]


class Engine:
    """Compiles a cluster that changes."""

    def __init__(self) -> None:
        self.problems = ProblemBook()
        self._cluster = Cluster(self.problems)
        self._members = MemberStage(self.problems)
        self._services = ServiceStage(self.problems)
        self._routes = RouteStage(self.problems)
        self._policies = PolicyStage(self.problems)
        self._modes = ModeStage(self.problems)
        self._backend_traffic = BackendTrafficStage(self.problems)
        self._audiences = AudienceStage()
        self._peers = PeerStage()
        self._shelves = Shelves()
        self._settings: Settings | None = None
        self._given: dict[str, _Given] = {}
        self._endpoint_keys: dict[str, frozenset[str]] = {}
        self._namespaces: dict[str, Counter[str]] = {}
        """Node to the namespaces of its members."""
        self._always: frozenset[str] = frozenset()

    @property
    def view(self) -> ClusterView:
        """All objects as they are now. Its mappings change under it, in whatever thread `apply` runs in."""
        return self._cluster.view

    def apply(
        self,
        changed: Mapping[ObjectKey, Held | None],
        bundles: Mapping[str, tuple[str, ...]] | None = None,
    ) -> Delta:
        """Compile one round.

        Args:
            changed: objects that came or changed, and None for those that went. What is as it was is no change.
            bundles: PEM roots by trust domain; None: as before.

        Returns:
            What is different now.
        """
        changes = self._cluster.apply(changed)
        bundles_changed = bundles is not None and self._cluster.set_bundles(bundles)
        view = self._cluster.view
        before = self._settings
        settings = self._settings = read_settings(view) if before is None or MESH_KEY in changes else before
        members = self._members.update(view, changes, settings.trust_domain)
        services = self._services.update(view, self._members, changes, members)
        routes = self._routes.update(view, self._services.resources, changes, services.services)
        finder = ScopeFinder(view, self._members.members, self._services.services, self._members.index)
        domains = frozenset({settings.trust_domain, *view.bundles})
        policies = self._policies.update(view, finder, changes, members.members, services, domains)
        modes = self._modes.update(view, changes, self._members.by_key, members.members, settings.default_mode)
        told = self._backend_traffic.update(
            view, changes, self._members.namespaces, members.namespaces, services.services
        )
        if before != settings or bundles_changed:
            self._give_always(settings)
        self._share(changes, members, services, routes)
        self._put_policies(policies)
        dirty = {*members.members, *services.leads, *policies.members, *self._in(modes.namespaces)}
        self._give_workloads(dirty, policies)
        self._change_nodes(changes, members, everyone=before != settings)
        roots = roots_problems(view, settings, has_members=bool(self._members.by_key))
        self.problems.put("roots", "", tuple(roots))
        shelves, nodes = self._shelves.take()
        return Delta(
            shelves=shelves,
            nodes=nodes,
            results={**routes.results, **policies.results, **modes.results, **told, **self._mesh_result(changes)},
            problems=self.problems.take_changed(),
        )

    def _in(self, namespaces: set[str] | None) -> Iterable[str]:
        """Return the members of namespaces; None: all."""
        if namespaces is None:
            return self._members.by_key
        pods = (self._members.index.in_namespace(name) for name in namespaces)
        return [key for found in pods for key in found if key in self._members.by_key]

    def _mesh_result(self, changes: Changes) -> dict[ObjectKey, ObjectResult | None]:
        if MESH_KEY not in changes:
            return {}
        return {MESH_KEY: next(mesh_result(self._cluster.view), None)}

    def _give_always(self, settings: Settings) -> None:
        given = list(always_given(self._cluster.view, settings))
        keys = frozenset(map(resource_key, given))
        for resource in given:
            self._shelves.put(resource)
            self._shelves.place_always(resource_key(resource))
        for key in self._always - keys:
            self._shelves.drop(key)
        self._always = keys

    def _share(self, changes: Changes, members: MemberChanges, services: ServiceChanges, routes: RouteChanges) -> None:
        """Put Services, endpoints, routes and peers where they belong."""
        sharing = self._audiences.update(
            self._cluster.view,
            changes,
            members,
            (self._members, self._services),
            services,
            (self._routes.resources, routes.resources),
        )
        dirty = services.services | services.endpoints | sharing.services
        for key in dirty:
            self._share_service(key)
        for key in routes.resources | sharing.routes:
            self._share_route(key)
        changed = {name for name, _, _ in of_kind(changes, objects.Namespace)} | members.namespaces
        covering = {key for name in changed for key in self._audiences.in_namespace(name)}
        moved = self._addresses_on(services.zones)
        self._peers.update(
            dirty | covering,
            members.addresses | moved,
            self._services,
            self._members.by_address,
            self._audiences,
            self._shelves,
        )
        self._peers.place_again(changed & self._audiences.wide.keys(), self._audiences, self._shelves)

    def _addresses_on(self, nodes: set[str]) -> set[str]:
        if not nodes:
            return set()
        return {address for address, member in self._members.by_address.items() if member.node in nodes}

    def _share_service(self, key: str) -> None:
        resource = self._services.resources.get(key)
        reached = self._audiences.reach.services
        endpoints = self._services.endpoints.get(key, ()) if resource is not None and key in reached else ()
        keys = frozenset(map(resource_key, endpoints))
        for gone in self._endpoint_keys.pop(key, frozenset()) - keys:
            self._shelves.drop(gone)
        if resource is None or key not in reached:
            self._shelves.drop(f"Service/{key}")
            return
        self._endpoint_keys[key] = keys
        shared: tuple[Resource, ...] = (resource, *endpoints)
        for item in shared:
            self._shelves.put(item)
            self._shelves.place(resource_key(item), reached[key])

    def _share_route(self, key: str) -> None:
        resource = self._routes.resources.get(key)
        audience = self._audiences.reach.routes.get(key, frozenset())
        if resource is None or audience == frozenset():
            self._shelves.drop(key)
        else:
            self._shelves.put(resource)
            self._shelves.place(key, audience)

    def _put_policies(self, policies: PolicyChanges) -> None:
        for place in policies.resources:
            resource = self._policies.resource(place)
            if resource is not None:
                self._shelves.put(resource)

    def _give_workloads(self, dirty: set[str], policies: PolicyChanges) -> None:
        for key in dirty:
            member = self._members.by_key.get(key)
            old = self._given.pop(key, None)
            new = self._given_for(key, member) if member is not None else None
            if new is not None:
                self._given[key] = new
            if old == new:
                continue
            self._move(new, +1)
            self._move(old, -1)  # taken away last, so that nothing goes and comes
        self._shelves.sweep({f"Workload/{key}" for key in dirty if key not in self._members.by_key})
        gone = {place for place in policies.resources if self._policies.resource(place) is None}
        self._shelves.sweep({f"{kind}/{key}" for kind, key in gone})

    def _move(self, given: _Given | None, step: int) -> None:
        if given is not None:
            for name in given.keys:
                self._shelves.give(name, given.node, step)

    def _given_for(self, key: str, member: Member) -> _Given:
        """Compile a member's workload; return what its node has on its account."""
        at = self._policies.at.get(key, {})
        workload, problems = compile_workload(
            member,
            leads=self._services.leads.get(key, ()),
            modes=self._modes.look_up(member),
            policies={name: ports for (kind, name), ports in at.items() if kind == "AuthorizationPolicy"},
            rate_limits={name: ports for (kind, name), ports in at.items() if kind == "RateLimitPolicy"},
            source="",
        )
        self.problems.put("workloads", key, tuple(problems))
        self._shelves.put(workload)
        return _Given(member.node, frozenset({f"Workload/{key}", *(f"{kind}/{name}" for kind, name in at)}))

    def _change_nodes(self, changes: Changes, members: MemberChanges, *, everyone: bool) -> None:
        """Follow changes of nodes, and of whose members run where."""
        dirty = {name for name, _, _ in of_kind(changes, objects.Node)}
        for key, (old, new) in members.members.items():
            if new is None:
                self.problems.put("workloads", key, ())
            dirty |= self._count(old, -1) | self._count(new, +1)
        nodes = self._cluster.view.nodes
        for name in dirty | self._namespaces.keys() | nodes.keys() if everyone else dirty:
            self._change_node(name, renewed=everyone or ("Node", name) in changes)

    def _count(self, member: Member | None, step: int) -> set[str]:
        """Count a member at its node; return the node where that makes a difference."""
        if member is None:
            return set()
        counts = self._namespaces.setdefault(member.node, Counter())
        counts[member.namespace] += step
        if not counts[member.namespace]:
            del counts[member.namespace]
            if not counts:
                del self._namespaces[member.node]
        return {member.node}

    def _change_node(self, name: str, *, renewed: bool) -> None:
        assert self._settings is not None, "read by apply"
        item = self._cluster.view.nodes.get(name)
        used = name in self._namespaces
        key = f"Node/{name}"
        self.problems.put("nodes", name, tuple(node_problems(self._cluster.view, [name] if used else [])))
        if item is None and not used:
            self._shelves.drop(key)
            self._shelves.set_node(name, None)
            return
        known = self._shelves.has(key)
        if renewed or not known:
            self._shelves.put(node_resource(name, item, self._settings))
            if not known:
                self._shelves.give(key, name, +1)
        self._shelves.set_node(name, frozenset(self._namespaces.get(name, ())))
