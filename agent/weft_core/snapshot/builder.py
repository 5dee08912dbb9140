"""From one snapshot to the next: takes resources as they come, compiles what they touch, keeps the last good of each.

Theory: each resource is checked alone first. One that cannot be taken over leaves its last good version in force and is
named with the reason; without a last good version a policy, limit or route is replaced by one that refuses. Then what is in
force is compared with what was, and only tables that a difference reaches are made anew:

    Service, Endpoints, Peers          the Service's entries, the addresses; of a Service its routers, too
    Route                              routers of its parents, old and new
    AuthorizationPolicy, RateLimit…    pods that list it
    Workload                           itself
    Node                               every pod (trust domain)

Nothing of the builder changes before the new snapshot is complete, so a failure inside leaves the old state whole.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeAlias

from weft_contract.identity import parse_spiffe_id
from weft_contract.resources.document import Resource, resource_key
from weft_contract.resources.node import Node, Telemetry, TrustBundle
from weft_contract.resources.route import Route
from weft_contract.resources.workload import Workload
from weft_core.policy import CompiledLimit, CompiledPolicy, assemble_inbound
from weft_core.routing import CompiledRoute, canonical_address, change_services
from weft_core.snapshot.checks import Compiled, compile_resource, stand_in
from weft_core.snapshot.table import DEFAULT_TELEMETRY, NO_NODE, Routers, ServiceRoutes, Snapshot, WorkloadTable

Refusals: TypeAlias = list[tuple[str, str]]
"""Resource key and why its new version was not taken over."""


class SnapshotBuilder:
    """Holds the resources in force and makes each next snapshot."""

    def __init__(self) -> None:
        self._resources: dict[str, Resource] = {}
        self._compiled: dict[str, Compiled] = {}
        self.snapshot = Snapshot()
        """The last one made."""

    def apply(
        self,
        upserts: Iterable[Resource],
        removes: Iterable[str] = (),
        whole: bool = False,
        *,
        generation: int | None = None,
    ) -> tuple[Snapshot, Refusals]:
        """Take over changes.

        Args:
            upserts: resources that are new or changed (unchanged ones cost a comparison).
            removes: keys of resources that are gone; one that is upserted too stays.
            whole: everything that is not upserted is gone.
            generation: number of the snapshot; None: one more than the last.

        Returns:
            The new snapshot, and the resources whose new version was refused, with the reason.
        """
        named = {resource_key(resource): resource for resource in upserts}
        leaving = self._resources if whole else removes
        gone = dict.fromkeys(key for key in leaving if key not in named and key in self._resources)
        after, compiled = dict(self._resources), dict(self._compiled)
        refusals: Refusals = []
        changed = dict(gone)
        for key in gone:
            del after[key]
            compiled.pop(key, None)
        for key, resource in named.items():
            self._take(key, resource, after, compiled, changed, refusals)
        _keep_one_node(self._resources, after, changed, refusals)
        snapshot = _next(self.snapshot, self._resources, after, compiled, list(changed))
        snapshot = replace(snapshot, generation=self.snapshot.generation + 1 if generation is None else generation)
        self._resources, self._compiled, self.snapshot = after, compiled, snapshot
        return snapshot, refusals

    def _take(
        self,
        key: str,
        resource: Resource,
        after: dict[str, Resource],
        compiled: dict[str, Compiled],
        changed: dict[str, None],
        refusals: Refusals,
    ) -> None:
        """Check one resource and put it, or what stands for it, in force."""
        old = self._resources.get(key)
        if old is not None and old == resource:
            return
        try:
            made = compile_resource(resource)
        except Exception as exc:  # one resource must never stop the others, whatever is wrong with it or with us
            reason = str(exc) or type(exc).__name__
            refusals.append((key, reason))
            substitute = stand_in(resource, reason) if old is None else None
            if substitute is None:
                return
            resource, made = substitute, compile_resource(substitute)
        after[key] = resource
        changed[key] = None
        if made is not None:
            compiled[key] = made


def _keep_one_node(
    before: Mapping[str, Resource], after: dict[str, Resource], changed: dict[str, None], refusals: Refusals
) -> None:
    """Hold the law that a snapshot has one Node: a second is refused, and the last is not taken away."""
    if not any(key.startswith("Node/") for key in changed):
        return
    old = [key for key in before if key.startswith("Node/")]
    new = sorted(key for key in after if key.startswith("Node/"))
    if not new and old:
        after[old[0]] = before[old[0]]
        changed.pop(old[0], None)
        refusals.append((old[0], "the Node is gone; the last one stays in force"))
    keep = next((key for key in old if key in new), new[0] if new else "")
    for key in new:
        if key != keep:
            del after[key]
            changed.pop(key, None)
            refusals.append((key, f"there is a Node already: {keep}"))


def _next(
    last: Snapshot,
    before: Mapping[str, Resource],
    after: Mapping[str, Resource],
    compiled: Mapping[str, Compiled],
    changed: list[str],
) -> Snapshot:
    kinds = {key.partition("/")[0] for key in changed}
    node, telemetry, bundles = last.node, last.telemetry, last.bundles
    if "Node" in kinds:
        node = next((item for item in after.values() if isinstance(item, Node)), NO_NODE)
    if "Telemetry" in kinds:
        found = after.get("Telemetry/default")
        telemetry = found if isinstance(found, Telemetry) else DEFAULT_TELEMETRY
    if "TrustBundle" in kinds:
        bundles = {item.trust_domain: item for item in after.values() if isinstance(item, TrustBundle)}
    services = last.services
    if kinds & {"Service", "Endpoints", "Peers"}:
        services = change_services(services, before, after, _of(changed, "Service", "Endpoints", "Peers"))
    workloads, local = last.workloads, last.local_addresses
    if kinds & {"Workload", "AuthorizationPolicy", "RateLimitPolicy", "Node"}:
        workloads = _workloads(last, after, compiled, changed, node)
        local = _local_addresses(workloads)
    return replace(
        last,
        node=node,
        telemetry=telemetry,
        bundles=bundles,
        services=services,
        resources=after,
        workloads=workloads,
        local_addresses=local,
        routers=_next_routers(last.routers, before, compiled, changed),
    )


def _of(changed: list[str], *kinds: str) -> list[str]:
    return [key for key in changed if key.partition("/")[0] in kinds]


def _workloads(
    last: Snapshot,
    after: Mapping[str, Resource],
    compiled: Mapping[str, Compiled],
    changed: list[str],
    node: Node,
) -> dict[str, WorkloadTable]:
    """Make the tables of pods that something reaches; keep the others."""
    if node is NO_NODE:
        return {}
    stale = set(changed)
    policies = {k.partition("/")[2]: c for k, c in compiled.items() if isinstance(c, CompiledPolicy)}
    limits = {k.partition("/")[2]: c for k, c in compiled.items() if isinstance(c, CompiledLimit)}
    made: dict[str, WorkloadTable] = {}
    for resource in after.values():
        if not isinstance(resource, Workload):
            continue
        key = f"{resource.namespace}/{resource.name}"
        old = last.workloads.get(key)
        reached = (
            old is None
            or node is not last.node
            or f"Workload/{key}" in stale
            or any(f"AuthorizationPolicy/{policy}" in stale for policy in resource.policies)
            or any(f"RateLimitPolicy/{limit}" in stale for limit in resource.rate_limits)
        )
        made[key] = _workload(key, resource, policies, limits, node) if reached or old is None else old
    return made


def _workload(
    key: str,
    workload: Workload,
    policies: Mapping[str, CompiledPolicy],
    limits: Mapping[str, CompiledLimit],
    node: Node,
) -> WorkloadTable:
    return WorkloadTable(
        key=key,
        workload=workload,
        identity=parse_spiffe_id(workload.identity),
        addresses=tuple(canonical_address(address) for address in workload.addresses),
        policy=assemble_inbound(workload, policies, limits, node),
        ports={port.port: port for port in workload.ports},
    )


def _local_addresses(workloads: Mapping[str, WorkloadTable]) -> dict[str, WorkloadTable | None]:
    local: dict[str, WorkloadTable | None] = {}
    for table in workloads.values():
        for address in dict.fromkeys(table.addresses):
            local[address] = None if address in local else table
    return local


def _next_routers(
    last: Routers, before: Mapping[str, Resource], compiled: Mapping[str, Compiled], changed: list[str]
) -> Routers:
    """Forget the routers of Services that changed, since a Service says how long its requests may last; attach routes."""
    services = {key.partition("/")[2] for key in _of(changed, "Service")}
    if services:
        last = _without(last, services)
    routes = _of(changed, "Route")
    return _routers(last, before, compiled, routes) if routes else last


def _without(last: Routers, services: set[str]) -> Routers:
    return Routers(
        last.by_service,
        {key: router for key, router in last.http.items() if key[0] not in services},
        {key: router for key, router in last.tcp.items() if key[0] not in services},
    )


def _routers(
    last: Routers, before: Mapping[str, Resource], compiled: Mapping[str, Compiled], changed: list[str]
) -> Routers:
    """Attach changed routes anew and forget the routers of their parents, old and new."""
    replaced = frozenset(changed)
    stale: set[str] = set()
    attached: dict[str, list[CompiledRoute]] = {}
    for key in changed:
        old, new = before.get(key), compiled.get(key)
        if isinstance(old, Route):
            stale |= {parent.service for parent in old.parents}
        if isinstance(new, CompiledRoute):
            for service in {parent.service for parent in new.route.parents}:
                attached.setdefault(service, []).append(new)
    by_service = dict(last.by_service)
    for service in stale | attached.keys():
        known = by_service.pop(service, None)
        kept = [route for route in known.routes if route.key not in replaced] if known is not None else []
        routes = kept + attached.get(service, [])
        if routes:
            by_service[service] = ServiceRoutes(tuple(routes), _consumers(routes, service))
    return replace(_without(last, stale | attached.keys()), by_service=by_service)


def _consumers(routes: list[CompiledRoute], service: str) -> frozenset[str]:
    parents = [parent for route in routes for parent in route.route.parents if parent.service == service]
    return frozenset(parent.consumer_namespace for parent in parents if parent.consumer_namespace is not None)
