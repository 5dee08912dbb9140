"""Routes to resources: attached to Services, conflicts settled, broken ones refusing, with the verdict for each parent.

Theory: of several kinds of routes on one Service port only the most specific is applied (GEP-1294: GRPCRoute, HTTPRoute,
TLSRoute, TCPRoute); producer routes and each namespace's consumer routes are separate sets, because a client follows one
of them. A broken route keeps its parents and, where they can be trusted, its matches: requests it would take are refused instead
of taking the default way.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import msgspec

from weft_contract import objects
from weft_contract.objects import GRPCRoute, HTTPRoute, ReferenceGrant, RouteObject, TCPRoute
from weft_contract.problems import Problem
from weft_contract.resources import HttpRule, Route, RouteParent, Service, TcpRule, resource_key
from weft_core.routing import broken_route, compile_route
from weft_core.text import UncompilableError
from weft_operator.compile.references import (
    BackendResolver,
    ResolvedParent,
    heard,
    resolve_parent,
    service_parents,
    unheard_message,
)
from weft_operator.compile.results import ACCEPTED, RESOLVED, ObjectResult, ParentResult, Verdict
from weft_operator.compile.route_rules import grpc_rule, http_rule, stream_rule
from weft_operator.compile.services import is_headless
from weft_operator.compile.view import ClusterView, regex_error

SPECIFICITY: Final = ("GRPCRoute", "HTTPRoute", "TLSRoute", "TCPRoute")
Place: TypeAlias = tuple[str, int, str | None]
"""Service, port and consumer namespace: where routes meet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """All routes, resolved."""

    resources: tuple[Route, ...]
    results: tuple[ObjectResult, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Attached:
    """A route with what its Service parents came to, in the order written."""

    route: RouteObject
    parents: tuple[ResolvedParent | Verdict, ...]

    def places(self) -> Iterator[Place]:
        """Yield where it meets other routes."""
        for parent in self.parents:
            if isinstance(parent, ResolvedParent):
                for port in parent.ports:
                    yield parent.service, port, parent.consumer_namespace


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledRoute:
    """What one route comes to."""

    resource: Route | None
    """None: no parent has taken it."""
    result: ObjectResult


def compile_routes(view: ClusterView, services: Mapping[str, Service]) -> Routes:
    """Resolve every route that names a Service as its parent; the others are no business of the mesh."""
    attached = [attach(route, services, view) for route in view.routes.values() if service_parents(route)]
    kinds: dict[Place, str] = {}
    for item in attached:
        for place in item.places():
            kinds[place] = more_specific(kinds.get(place), item.route.kind)
    compiler = RouteCompiler(view, services, kinds)
    compiled = [compiler.compile(item) for item in attached]
    return Routes(
        resources=tuple(item.resource for item in compiled if item.resource is not None),
        results=tuple(item.result for item in compiled),
        problems=tuple(problem for item in compiled for problem in item.result.problems),
    )


def more_specific(first: str | None, second: str) -> str:
    """Return the kind of route that is applied where both are attached."""
    return second if first is None else min(first, second, key=SPECIFICITY.index)


def attach(route: RouteObject, services: Mapping[str, Service], view: ClusterView) -> Attached:
    """Resolve the parents of a route."""
    return Attached(route, tuple(_parents(route, services, view)))


def _parents(
    route: RouteObject, services: Mapping[str, Service], view: ClusterView
) -> Iterator[ResolvedParent | Verdict]:
    for reference in service_parents(route):
        found = resolve_parent(reference, route.metadata.namespace, services)
        if isinstance(found, ResolvedParent) and is_headless(view.services[found.service]):
            message = f"Service {found.service} is headless: it has no address that calls could be recognised by"
            yield Verdict(holds=False, reason="NoMatchingParent", message=message)
        elif isinstance(found, ResolvedParent):
            yield heard(found, route.kind, services)
        else:
            yield found


class RouteCompiler:
    """Turns attached routes into resources and results, one by one.

    Args:
        view: the cluster; read for grants, and for what is broken.
        services: all.
        kinds: the most specific kind of route at each place.
    """

    def __init__(self, view: ClusterView, services: Mapping[str, Service], kinds: Mapping[Place, str]) -> None:
        self._view, self._services, self._kinds = view, services, kinds
        self._grants: Mapping[str, ReferenceGrant] = {
            key: grant for key, grant in view.grants.items() if ("ReferenceGrant", key) not in view.broken
        }

    def compile(self, item: Attached) -> CompiledRoute:
        """Compile one route."""
        route, key = item.route, item.route.metadata.key
        resource = self._resource(route, self._view.broken.get((route.kind, key)))
        broken = resource.invalid
        resolved = _resolved(resource)
        taken: list[RouteParent] = []
        outcomes: list[ParentResult] = []
        for reference, parent in zip(service_parents(route), item.parents, strict=True):
            accepted, entries = self._attach(route, parent, broken)
            taken += [entry for entry in entries if entry not in taken]
            outcomes.append(ParentResult(parent=reference, accepted=accepted, resolved_refs=resolved))
        result = ObjectResult(
            kind=route.kind,
            namespace=route.metadata.namespace,
            name=route.metadata.name,
            generation=route.metadata.generation,
            source=self._view.source(route.kind, key),
            accepted=_best(outcomes),
            resolved_refs=resolved,
            parents=tuple(outcomes),
            resource=resource_key(resource) if taken else "",
            problems=(*self._warnings(route, outcomes), *self._unheard_warnings(route, item)),
        )
        return CompiledRoute(resource=_with_parents(resource, taken) if taken else None, result=result)

    def _resource(self, route: RouteObject, broken: str | None) -> Route:
        """Build the resource; of a broken route only what it takes, so that others on the same Service live on."""
        backends = BackendResolver(route=route, services=self._services, grants=self._grants)
        http: tuple[HttpRule, ...] = ()
        tcp: tuple[TcpRule, ...] = ()
        match route:
            case HTTPRoute() if broken is None or _matches_hold(route):
                http = tuple(http_rule(rule, backends) for rule in route.spec.rules)
            case GRPCRoute() if broken is None or _matches_hold(route):
                http = tuple(grpc_rule(rule, backends) for rule in route.spec.rules)
            case TCPRoute() if broken is None:
                tcp = tuple(stream_rule(rule, backends) for rule in route.spec.rules)
        if broken is not None:
            http = tuple(HttpRule(matches=rule.matches, name=rule.name) for rule in http)
        resource = Route(
            origin=route.kind,
            namespace=route.metadata.namespace,
            name=route.metadata.name,
            parents=(),
            created_unix_s=route.metadata.created_unix_s,
            http=http,
            tcp=tcp,
            invalid=broken,
        )
        try:
            compile_route(resource)
        except UncompilableError as exc:  # what the data plane cannot carry out refuses, and says so here first
            return broken_route(resource, str(exc))
        return resource

    def _attach(
        self, route: RouteObject, parent: ResolvedParent | Verdict, broken: str | None
    ) -> tuple[Verdict, list[RouteParent]]:
        """Return what a parent says and the places that the route takes there."""
        if isinstance(parent, Verdict):
            return parent, []
        consumer = parent.consumer_namespace
        own = [port for port in parent.ports if self._kinds[parent.service, port, consumer] == route.kind]
        if not own:
            winner = self._kinds[parent.service, parent.ports[0], consumer]
            message = f"a {winner} is attached to the same port of Service {parent.service} and is more specific"
            return Verdict(holds=False, reason="Conflicted", message=message), []
        whole = parent.every_port and len(own) == len(parent.ports)
        entries = [
            RouteParent(service=parent.service, port=port, consumer_namespace=consumer)
            for port in ([None] if whole else own)
        ]
        return (ACCEPTED if broken is None else _refusal(broken)), entries

    def _warnings(self, route: RouteObject, outcomes: list[ParentResult]) -> Iterator[Problem]:
        broken = self._view.broken.get((route.kind, route.metadata.key))  # has been reported as an error already
        for outcome in outcomes:
            if not outcome.accepted.holds and outcome.accepted.message != broken:
                message = f"{outcome.accepted.message.removeprefix('spec.parentRefs: ')} ({outcome.accepted.reason})"
                yield self._problem(route, "$.spec.parentRefs", message)
        if outcomes and not outcomes[0].resolved_refs.holds:
            verdict = outcomes[0].resolved_refs
            yield self._problem(route, "$.spec.rules", f"{verdict.message} ({verdict.reason}); its share is refused")

    def _unheard_warnings(self, route: RouteObject, item: Attached) -> Iterator[Problem]:
        """Warn of the ports among those chosen on which the route has no effect."""
        for parent in item.parents:
            if isinstance(parent, ResolvedParent) and parent.unheard:
                message = unheard_message(route.kind, parent.service, parent.unheard)
                yield self._problem(route, "$.spec.parentRefs", message)

    def _problem(self, route: RouteObject, path: str, message: str) -> Problem:
        key = route.metadata.key
        source = self._view.source(route.kind, key)
        return Problem(path=path, message=message, source=source, subject=f"{route.kind} {key}", warning=True)


def _matches_hold(route: HTTPRoute | GRPCRoute) -> bool:
    """Whether a broken route's matches can be trusted: its rules were read, and what is wrong is not in a match.

    Where a document was broken in another way (a key given twice, a shape that is none) nothing of it is trusted, and the
    route refuses everything at its parents.
    """
    errors = [problem for problem in objects.problems(route, regex_error) if not problem.warning]
    return bool(errors) and not any(".matches[" in problem.path for problem in errors)


def _with_parents(resource: Route, parents: list[RouteParent]) -> Route:
    ordered = sorted(parents, key=lambda item: (item.service, item.port or 0, item.consumer_namespace or ""))
    return msgspec.structs.replace(resource, parents=tuple(ordered))


def _refusal(broken: str) -> Verdict:
    reason = "IncompatibleFilters" if "(IncompatibleFilters)" in broken else "UnsupportedValue"
    return Verdict(holds=False, reason=reason, message=broken)


def _resolved(resource: Route) -> Verdict:
    """Return the first reason why a backend does not resolve."""
    backends = [backend for rule in resource.http for backend in rule.backends]
    backends += [backend for rule in resource.tcp for backend in rule.backends]
    invalid = next((backend.invalid for backend in backends if backend.invalid is not None), None)
    if invalid is None:
        return RESOLVED
    reason, _, message = invalid.partition(": ")
    return Verdict(holds=False, reason=reason, message=message)


def _best(outcomes: list[ParentResult]) -> Verdict:
    """Return the route's own verdict: accepted where any parent took it, else what the first one said."""
    return next((outcome.accepted for outcome in outcomes if outcome.accepted.holds), outcomes[0].accepted)
