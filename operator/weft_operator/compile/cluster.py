"""compile_cluster: a view of all objects to the document of each node. Pure and deterministic: same view, same bytes.

Theory: a resource key means the same content on every node, so every resource is built, hashed and encoded once and
shared; a node's document is a choice among them. Whatever is wrong with one object ends in that object's result and in
the problems, and never stops another one.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address

from weft_contract import objects
from weft_contract.codec import digest, encode
from weft_contract.labels import REGION_LABEL, ZONE_LABEL
from weft_contract.problems import Problem
from weft_contract.resources import Endpoints, Node, NodeDocument, Resource, TrustBundle, resource_key
from weft_contract.resources.document import SCHEMA, Entry
from weft_operator.compile.backend_traffic import judge_backend_traffic
from weft_operator.compile.members import Members, find_members
from weft_operator.compile.peer_authentication import ModeTable
from weft_operator.compile.pod_index import PodIndex
from weft_operator.compile.policies import Policies, compile_policies
from weft_operator.compile.reach import EVERYBODY, Audience, exported_to, is_told, reach
from weft_operator.compile.results import ACCEPTED, ObjectResult, Verdict
from weft_operator.compile.routes import Routes, compile_routes
from weft_operator.compile.scopes import ScopeFinder
from weft_operator.compile.services import Services, find_peers, node_zones, resolve_services
from weft_operator.compile.settings import Settings, read_settings
from weft_operator.compile.view import ClusterView, sorted_problems
from weft_operator.compile.workloads import compile_workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """What a view compiles to."""

    nodes: Mapping[str, NodeDocument]
    """By node name, sorted."""
    problems: tuple[Problem, ...]
    """Of reading and compiling, sorted."""
    results: tuple[ObjectResult, ...]
    """What became of each policy and route, sorted by kind and key."""
    encoded: Mapping[str, bytes]
    """Canonical JSON of each entry by key, made once for all nodes."""

    def document_bytes(self, node: str) -> bytes:
        """Return the canonical bytes of a node's document, joined from the entries encoded already."""
        document = self.nodes[node]
        head = b'{"schema":%s,"node":%s,"resources":[' % (encode(document.schema), encode(document.node))
        return head + b",".join([self.encoded[entry.key] for entry in document.resources]) + b"]}"


def compile_cluster(view: ClusterView) -> Compiled:
    """Compile a view.

    Args:
        view: all objects, and the roots of every trust domain.

    Returns:
        The documents of all nodes: those with a Node object and those that a member runs on.
    """
    settings = read_settings(view)
    members = find_members(view, settings.trust_domain)
    index = PodIndex(view.pods.values())
    services = resolve_services(view, members, index)
    routes = compile_routes(view, services.services)
    finder = ScopeFinder(view, members, services, index)
    policies = compile_policies(view, finder, frozenset({settings.trust_domain, *view.bundles}))
    modes = ModeTable(view, settings.default_mode)
    assembler = _Assembler(view, settings)
    assembler.add_workloads(members, services, policies, modes)
    assembler.give_to_all(always_given(view, settings))
    for resource, audience in _shared(view, members, services, routes):
        assembler.share(resource, audience)
    nodes = assembler.documents()
    told = [judge_backend_traffic(policy, view, members.namespaces) for policy in view.backend_traffic.values()]
    results = [*routes.results, *policies.results, *modes.results(members), *told, *mesh_result(view)]
    problems = [
        *view.problems,
        *members.problems,
        *services.problems,
        *routes.problems,
        *policies.problems,
        *modes.problems,
        *(problem for result in told for problem in result.problems),
        *assembler.problems,
        *roots_problems(view, settings, has_members=bool(members.by_key)),
        *node_problems(view, {member.node for member in members.by_key.values()}),
    ]
    return Compiled(
        nodes=nodes,
        problems=sorted_problems(problems),
        results=tuple(_placed(result, assembler.holders) for result in sorted(results, key=_result_order)),
        encoded=assembler.encoded,
    )


def _result_order(result: ObjectResult) -> tuple[str, str]:
    return result.kind, result.key


def _placed(result: ObjectResult, holders: Mapping[str, tuple[str, ...]]) -> ObjectResult:
    """Add the nodes that have the object's resource; what became part of other resources knows its nodes already."""
    return replace(result, nodes=holders.get(result.resource, ())) if result.resource else result


def mesh_result(view: ClusterView) -> Iterator[ObjectResult]:
    """Yield what became of the Mesh object, if there is one."""
    if view.mesh is not None:
        broken = view.broken.get(("Mesh", objects.MESH_NAME))
        message = f"{broken}; its defaults hold, and mode STRICT" if broken else ""
        yield ObjectResult(
            kind="Mesh",
            namespace="",
            name=view.mesh.metadata.name,
            generation=view.mesh.metadata.generation,
            source=view.source("Mesh", objects.MESH_NAME),
            accepted=Verdict(holds=False, reason="Invalid", message=message) if broken else ACCEPTED,
        )


def always_given(view: ClusterView, settings: Settings) -> Iterator[Resource]:
    """Yield what every node is given, whatever runs on it."""
    yield settings.telemetry
    for domain, roots in view.bundles.items():
        yield TrustBundle(trust_domain=domain, roots=roots)


def namespace_audience(namespace: objects.Namespace | None) -> Audience:
    """Return who is told of what a namespace of the mesh holds, where nothing there says otherwise."""
    return exported_to(namespace.metadata) if namespace is not None else EVERYBODY


def covers(service: Audience, namespace: Audience) -> bool:
    """Whether whoever is told of a namespace is told of this Service of it."""
    return service is None or (namespace is not None and namespace <= service)


def _shared(
    view: ClusterView, members: Members, services: Services, routes: Routes
) -> Iterator[tuple[Resource, Audience]]:
    """Yield what nodes share, with who is told."""
    wide = {name: namespace_audience(view.namespaces.get(name)) for name in members.namespaces}
    visible = {
        key: exported_to(view.services[key].metadata, wide[item.namespace])
        for key, item in services.services.items()
        if item.namespace in wide
    }
    reached = reach(visible, {resource_key(route): route for route in routes.resources})
    told: list[Endpoints] = []
    for key in sorted(reached.services.keys() & services.services.keys()):
        audience = reached.services[key]
        yield services.services[key], audience
        for endpoints in services.endpoints[key]:
            yield endpoints, audience
        if key in visible and covers(visible[key], wide[services.services[key].namespace]):
            told += services.endpoints[key]
    for name, peers in find_peers(members, told, node_zones(view)).items():
        yield peers, wide[name]
    for route in routes.resources:
        if resource_key(route) in reached.routes:
            yield route, reached.routes[resource_key(route)]


class _Assembler:
    """Collects resources, encodes each once, and puts the documents together."""

    def __init__(self, view: ClusterView, settings: Settings) -> None:
        self._view, self._settings = view, settings
        self._entries: dict[str, Entry] = {}
        self._always: list[Entry] = []
        self._shared: list[tuple[Entry, Audience]] = []
        self._own: dict[str, dict[str, Entry]] = {name: {} for name in view.nodes}
        self._namespaces: dict[str, set[str]] = {}
        """Node to the namespaces of its members."""
        self.encoded: dict[str, bytes] = {}
        self.problems: list[Problem] = []
        self.holders: dict[str, tuple[str, ...]] = {}
        """Resource key to the nodes that have it."""

    def _entry(self, resource: Resource) -> Entry:
        key = resource_key(resource)
        entry = self._entries.get(key)
        if entry is None:
            entry = Entry(key=key, hash=digest(encode(resource)), spec=resource)
            self._entries[key] = entry
            self.encoded[key] = encode(entry)
        return entry

    def give_to_all(self, resources: Iterable[Resource]) -> None:
        """Add resources for every node."""
        self._always += [self._entry(resource) for resource in resources]

    def share(self, resource: Resource, audience: Audience) -> None:
        """Add a resource for the nodes that run members of its audience."""
        if any(is_told(audience, namespaces) for namespaces in self._namespaces.values()):
            self._shared.append((self._entry(resource), audience))

    def add_workloads(self, members: Members, services: Services, policies: Policies, modes: ModeTable) -> None:
        """Add every member to its node, with the policies that hold there."""
        for key, member in members.by_key.items():
            authorization = policies.authorization_at.get(key, {})
            rate_limits = policies.rate_limits_at.get(key, {})
            workload, problems = compile_workload(
                member,
                leads=services.leads.get(key, ()),
                modes=modes.look_up(member),
                policies=authorization,
                rate_limits=rate_limits,
                source=self._view.source("Pod", key),
            )
            self.problems += problems
            self._namespaces.setdefault(member.node, set()).add(member.namespace)
            self._give(member.node, workload)
            for name in authorization:
                self._give(member.node, policies.authorization[name])
            for name in rate_limits:
                self._give(member.node, policies.rate_limits[name])

    def _give(self, node: str, resource: Resource) -> None:
        entry = self._entry(resource)
        self._own.setdefault(node, {})[entry.key] = entry

    def documents(self) -> dict[str, NodeDocument]:
        """Put every node's document together."""
        documents: dict[str, NodeDocument] = {}
        told: dict[frozenset[str], list[Entry]] = {}
        holders: dict[str, list[str]] = {}
        for name in sorted(self._own):
            self._give(name, node_resource(name, self._view.nodes.get(name), self._settings))
            namespaces = frozenset(self._namespaces.get(name, ()))
            if namespaces not in told:
                told[namespaces] = [entry for entry, audience in self._shared if is_told(audience, namespaces)]
            resources = tuple(sorted([*self._always, *told[namespaces], *self._own[name].values()], key=_entry_key))
            for entry in resources:
                holders.setdefault(entry.key, []).append(name)
            documents[name] = NodeDocument(schema=SCHEMA, node=name, resources=resources)
        self.holders = {key: tuple(names) for key, names in holders.items()}
        return documents


def roots_problems(view: ClusterView, settings: Settings, *, has_members: bool) -> Iterator[Problem]:
    """Warn where peers cannot be verified for want of roots."""
    if has_members and view.bundles and settings.trust_domain not in view.bundles:
        message = f"there are no roots for trust domain {settings.trust_domain}, so no peer can be verified"
        yield Problem(path="$", message=message, subject="TrustBundle", warning=True)


def node_problems(view: ClusterView, used: Iterable[str]) -> Iterator[Problem]:
    """Warn of nodes that members run on and that are not there."""
    for name in sorted(set(used) - view.nodes.keys()):
        message = "there is no such Node object: its addresses are not known, so its probes are not recognised"
        yield Problem(path="$", message=message, subject=f"Node {name}", warning=True)


def node_resource(name: str, item: objects.Node | None, settings: Settings) -> Node:
    """Return the facts of a node; of one without an object only what all share."""
    if item is None:
        return Node(name=name, trust_domain=settings.trust_domain, cluster_domain=settings.cluster_domain)
    return Node(
        name=name,
        trust_domain=settings.trust_domain,
        cluster_domain=settings.cluster_domain,
        addresses=_node_addresses(item),
        zone=item.metadata.labels.get(ZONE_LABEL, ""),
        region=item.metadata.labels.get(REGION_LABEL, ""),
    )


def _entry_key(entry: Entry) -> str:
    return entry.key


def _node_addresses(node: objects.Node) -> tuple[str, ...]:
    """Return the addresses that a kubelet may send probes from, sorted, as canonical text."""
    texts = (item.address for item in node.status.addresses if item.type in ("InternalIP", "ExternalIP"))
    found = {address for address in map(_address, texts) if address is not None}
    return tuple(str(address) for address in sorted(found, key=lambda item: (item.version, item.packed)))


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
