"""Stage 3: routes, at the Services they are attached to."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from weft_contract.objects import ReferenceGrant, RouteObject
from weft_contract.resources import Route, Service
from weft_operator.compile import ClusterView, ObjectResult
from weft_operator.compile.references import BackendResolver, service_parents
from weft_operator.compile.routes import Attached, CompiledRoute, Place, RouteCompiler, attach, more_specific
from weft_operator.compile.view import ObjectKey
from weft_operator.live.changes import Changes, ProblemBook, of_kind


@dataclass(slots=True)
class RouteChanges:
    """What changed of routes."""

    resources: set[str] = field(default_factory=set)
    """Keys of route resources that came, went or changed."""
    results: dict[ObjectKey, ObjectResult | None] = field(default_factory=dict)


class RouteStage:
    """Keeps every route compiled.

    Theory: a route depends on its object, on the Services it names as parents or backends (there or not), on the grants,
    and on the most specific kind of route at each place where it is attached. Only the last ties routes to each other.
    """

    def __init__(self, problems: ProblemBook) -> None:
        self.resources: dict[str, Route] = {}
        """By resource key."""
        self._compiled: dict[ObjectKey, CompiledRoute] = {}
        self._attached: dict[ObjectKey, Attached] = {}
        self._named: dict[str, set[ObjectKey]] = {}
        """Service to the routes that name it."""
        self._names: dict[ObjectKey, frozenset[str]] = {}
        self._places: dict[Place, dict[ObjectKey, str]] = {}
        self._kinds: dict[Place, str] = {}
        self._problems = problems

    def update(
        self, view: ClusterView, services: Mapping[str, Service], changes: Changes, changed_services: Iterable[str]
    ) -> RouteChanges:
        """Follow changes of routes, grants and Services."""
        dirty = {place for place, change in changes.items() if isinstance(change.old or change.new, RouteObject)}
        for key in changed_services:
            dirty |= self._named.get(key, set())
        if any(True for _ in of_kind(changes, ReferenceGrant)):
            dirty |= self._attached.keys()
        touched: set[Place] = set()
        for place in dirty:
            touched.update(self._detach(place))
        for place in dirty:
            touched.update(self._attach(place, view, services))
        for where in touched:
            dirty |= self._settle(where)
        found = RouteChanges()
        compiler = RouteCompiler(view, services, self._kinds)
        for place in dirty:
            attached = self._attached.get(place)
            self._replace(place, compiler.compile(attached) if attached is not None else None, found)
        return found

    def _detach(self, place: ObjectKey) -> Iterator[Place]:
        for service in self._names.pop(place, frozenset()):
            self._named[service].discard(place)
            if not self._named[service]:
                del self._named[service]
        attached = self._attached.pop(place, None)
        for where in attached.places() if attached is not None else ():
            self._places[where].pop(place, None)
            yield where

    def _attach(self, place: ObjectKey, view: ClusterView, services: Mapping[str, Service]) -> Iterator[Place]:
        route = view.routes.get(place)
        if route is None or not service_parents(route):
            return
        attached = self._attached[place] = attach(route, services, view)
        names = self._names[place] = frozenset(_named_services(route, services))
        for service in names:
            self._named.setdefault(service, set()).add(place)
        for where in attached.places():
            self._places.setdefault(where, {})[place] = route.kind
            yield where

    def _settle(self, where: Place) -> set[ObjectKey]:
        """Judge again which kind of route holds at a place; return the routes that this concerns."""
        routes = self._places[where]
        winner: str | None = None
        for kind in routes.values():
            winner = more_specific(winner, kind)
        if winner is None:
            del self._places[where]
            self._kinds.pop(where, None)
            return set()
        if self._kinds.get(where) == winner:
            return set()
        self._kinds[where] = winner
        return set(routes)

    def _replace(self, place: ObjectKey, new: CompiledRoute | None, found: RouteChanges) -> None:
        old = self._compiled.get(place)
        if old == new:
            return
        if new is None:
            del self._compiled[place]
        else:
            self._compiled[place] = new
        self._problems.put("routes", f"{place[0]} {place[1]}", new.result.problems if new is not None else ())
        if (old.result if old else None) != (new.result if new else None):
            found.results[place] = new.result if new is not None else None
        before, after = _resource(old), _resource(new)
        if before != after:
            for key in before.keys() | after.keys():
                found.resources.add(key)
                self.resources.pop(key, None)
            self.resources.update(after)


def _resource(compiled: CompiledRoute | None) -> dict[str, Route]:
    """Return the resource by its key."""
    if compiled is None or compiled.resource is None:
        return {}
    return {compiled.result.resource: compiled.resource}


def _named_services(route: RouteObject, services: Mapping[str, Service]) -> Iterator[str]:
    """Yield the keys of all Services that a route names, whether they are there or not."""
    namespace = route.metadata.namespace
    for parent in service_parents(route):
        yield f"{parent.namespace or namespace}/{parent.name}"
    resolver = BackendResolver(route=route, services=services, grants={})
    for rule in route.spec.rules:
        yield from (resolver.key(backend) for backend in rule.backend_refs)
