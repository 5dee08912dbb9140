"""Which nodes have to know which Services, routes and peers: by the namespaces of the pods that run on them.

Theory: what a pod may call depends on its namespace alone, so everything shared has an *audience*: the namespaces whose
pods are told of it, or everybody. A node knows what any of its members' namespaces is told; a node without members needs
nothing of it. Services outside the mesh are told of only where a route leads to them: others are reached past the mesh,
by the cluster's own means. Leaving something out is never a way around a policy, because those hold at the destination.

An audience is wider than asked for rather than narrower: an annotation that cannot be read counts as absent, and
whoever may take a route is told of everything behind it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from weft_contract.labels import EXPORT_TO
from weft_contract.objects.annotations import AnnotationError, export_to
from weft_contract.objects.metadata import Metadata
from weft_contract.resources import Route

Audience: TypeAlias = frozenset[str] | None
"""Namespaces whose pods are told; None: every namespace that has a member."""
EVERYBODY: Final[Audience] = None
NOBODY: Final[Audience] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Audiences of what nodes share; what is not in here has none."""

    services: Mapping[str, Audience]
    """By Service key; its endpoints have the same."""
    routes: Mapping[str, Audience]
    """By resource key."""


def exported_to(metadata: Metadata, default: Audience = EVERYBODY) -> Audience:
    """Return the audience that a Service or Namespace asks for.

    Args:
        metadata: of the object.
        default: where it asks for none, or for something that cannot be read.
    """
    value = metadata.annotations.get(EXPORT_TO)
    if value is None:
        return default
    try:
        return export_to(value, metadata.namespace or metadata.name)
    except AnnotationError:
        return default


def union(first: Audience, second: Audience) -> Audience:
    """Return who is in either audience."""
    return EVERYBODY if first is None or second is None else first | second


def reach(visible: Mapping[str, Audience], routes: Mapping[str, Route]) -> Reach:
    """Find the audience of every Service and route.

    Args:
        visible: what Services of the mesh's namespaces ask for, by key.
        routes: by resource key. Where a route is taken, its backends are known too, and their routes in turn.
    """
    services = dict(visible)
    audiences: dict[str, Audience] = dict.fromkeys(routes, NOBODY)
    waiting = set(routes)
    attached = _by_parent(routes)
    while waiting:
        key = waiting.pop()
        audience = audiences[key] = _of_route(routes[key], services)
        for backend in backends(routes[key]):
            wider = union(services.get(backend, NOBODY), audience)
            if wider != services.get(backend, NOBODY):
                services[backend] = wider
                waiting |= attached.get(backend, set())
    return Reach(
        services={key: audience for key, audience in services.items() if audience != NOBODY},
        routes={key: audience for key, audience in audiences.items() if audience != NOBODY},
    )


def _by_parent(routes: Mapping[str, Route]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for key, route in routes.items():
        for parent in route.parents:
            found.setdefault(parent.service, set()).add(key)
    return found


def _of_route(route: Route, services: Mapping[str, Audience]) -> Audience:
    """Return who may take a route: callers of its parents, for a consumer route those of its namespace."""
    found: Audience = NOBODY
    for parent in route.parents:
        callers = services.get(parent.service, NOBODY)
        consumer = parent.consumer_namespace
        if consumer is None:
            found = union(found, callers)
        elif callers is None or consumer in callers:
            found = union(found, frozenset({consumer}))
    return found


def backends(route: Route) -> Iterator[str]:
    """Yield the keys of the Services that a route leads to."""
    for rule in route.http:
        yield from (backend.service for backend in rule.backends if backend.invalid is None)
    for stream in route.tcp:
        yield from (backend.service for backend in stream.backends if backend.invalid is None)


def is_told(audience: Audience, namespaces: Iterable[str]) -> bool:
    """Whether a node with members of these namespaces is among an audience."""
    return any(True for _ in namespaces) if audience is None else not audience.isdisjoint(namespaces)
