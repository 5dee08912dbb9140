"""Which Services a node has to know: the one place that decides, so that it can be narrowed later.

For now every node knows the Services of every namespace in the mesh, and those that routes lead to from there. Services
of other namespaces are reached past the mesh, by the cluster's own means.
"""

from collections.abc import Iterable, Iterator

from weft_contract.resources import Route


def reachable_services(keys: Iterable[str], namespaces: frozenset[str], routes: Iterable[Route]) -> frozenset[str]:
    """Return the keys of the Services that nodes are told about.

    Args:
        keys: all Services.
        namespaces: those in the mesh.
        routes: all routes; the backends of a reachable Service's routes are reachable too.
    """
    reached = {key for key in keys if key.partition("/")[0] in namespaces}
    for route in routes:
        if any(parent.service in reached for parent in route.parents):
            reached |= set(_backends(route))
    return frozenset(reached)


def _backends(route: Route) -> Iterator[str]:
    for rule in route.http:
        yield from (backend.service for backend in rule.backends if backend.invalid is None)
    for stream in route.tcp:
        yield from (backend.service for backend in stream.backends if backend.invalid is None)


def reachable_routes(routes: Iterable[Route], services: frozenset[str]) -> Iterator[Route]:
    """Yield the routes that are attached to a reachable Service."""
    for route in routes:
        if any(parent.service in services for parent in route.parents):
            yield route
