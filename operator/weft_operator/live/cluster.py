"""Every object of the cluster, changed in place, as the view that the compiler's functions read."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import cast

from weft_contract import objects
from weft_contract.objects import Object, RouteObject
from weft_operator.compile import ClusterView, Held
from weft_operator.compile.annotated_limits import annotated_limit, annotated_limit_key
from weft_operator.compile.view import ObjectKey
from weft_operator.live.changes import Change, ProblemBook

ROUTE_KINDS = frozenset({"HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute"})
COMPILED_KINDS = frozenset(
    {"Mesh", "Namespace", "Node", "Pod", "Service", "EndpointSlice", "ReferenceGrant", *ROUTE_KINDS}
    | {"AuthorizationPolicy", "PeerAuthentication", "RateLimitPolicy", "XBackendTrafficPolicy"}
)
"""The kinds whose objects the compiler reads in a cluster. Owners of pods are not: see `members.owner_name`."""


class Cluster:
    """All objects by kind and key. `view` is one view whose mappings change under it; they are not sorted."""

    def __init__(self, problems: ProblemBook) -> None:
        self._problems = problems
        self._tables: dict[str, dict[str, Object]] = {kind: {} for kind in COMPILED_KINDS}
        self._routes: dict[ObjectKey, RouteObject] = {}
        self._broken: dict[ObjectKey, str] = {}
        table = self._tables
        self.view = ClusterView(  # each table holds what its name says: `put` is the only writer
            namespaces=cast("Mapping[str, objects.Namespace]", table["Namespace"]),
            nodes=cast("Mapping[str, objects.Node]", table["Node"]),
            pods=cast("Mapping[str, objects.Pod]", table["Pod"]),
            services=cast("Mapping[str, objects.Service]", table["Service"]),
            slices=cast("Mapping[str, objects.EndpointSlice]", table["EndpointSlice"]),
            routes=self._routes,
            grants=cast("Mapping[str, objects.ReferenceGrant]", table["ReferenceGrant"]),
            authorization=cast("Mapping[str, objects.AuthorizationPolicy]", table["AuthorizationPolicy"]),
            peer_authentication=cast("Mapping[str, objects.PeerAuthentication]", table["PeerAuthentication"]),
            rate_limits=cast("Mapping[str, objects.RateLimitPolicy]", table["RateLimitPolicy"]),
            backend_traffic=cast("Mapping[str, objects.XBackendTrafficPolicy]", table["XBackendTrafficPolicy"]),
            broken=self._broken,
        )

    def apply(self, changes: Mapping[ObjectKey, Held | None]) -> dict[ObjectKey, Change]:
        """Take over changes and return those that are any."""
        found: dict[ObjectKey, Change] = {}
        for place, held in chain(changes.items(), _annotated(changes)):
            change = self._apply_one(place, held)
            if change is not None:
                found[place] = change
        return found

    def _apply_one(self, place: ObjectKey, held: Held | None) -> Change | None:
        kind, key = place
        old = self._tables[kind].get(key)
        broken = held.broken if held is not None else None
        new = held.item if held is not None else None
        self._problems.put("objects", f"{kind} {key}", held.problems if held is not None else ())
        if old == new and broken == self._broken.get(place):
            return None
        self._put(place, new, broken)
        if kind == "Mesh" and key == objects.MESH_NAME:
            self.view = replace(self.view, mesh=new if isinstance(new, objects.Mesh) else None)
        return Change(old, new)

    def _put(self, place: ObjectKey, new: Object | None, broken: str | None) -> None:
        kind, key = place
        if new is None:
            self._tables[kind].pop(key, None)
            self._routes.pop(place, None)
        else:
            self._tables[kind][key] = new
            if isinstance(new, RouteObject):
                self._routes[place] = new
        if broken is None:
            self._broken.pop(place, None)
        else:
            self._broken[place] = broken

    def set_bundles(self, bundles: Mapping[str, tuple[str, ...]]) -> bool:
        """Replace the roots of every trust domain; say whether that changes anything."""
        canonical = {domain: tuple(sorted(set(roots))) for domain, roots in sorted(bundles.items())}
        if canonical == self.view.bundles:
            return False
        self.view = replace(self.view, bundles=canonical)
        return True


def _annotated(changes: Mapping[ObjectKey, Held | None]) -> Iterator[tuple[ObjectKey, Held | None]]:
    """Yield the policies that annotations of changed Services stand for, None where there is none."""
    for (kind, key), held in changes.items():
        if kind == "Service":
            item = held.item if held is not None else None
            policy = annotated_limit(item) if isinstance(item, objects.Service) else None
            place = ("RateLimitPolicy", annotated_limit_key(key))
            yield place, Held(policy, "", (), None) if policy is not None else None
