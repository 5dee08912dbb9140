"""The routers of one Service port for one consumer namespace: requests and connections to outcomes.

Theory: which routes count is settled once per router. A client's own namespace may have routes for the Service (consumer
routes); if it has any, they replace the producer's for its clients (GEP-1294). Of several kinds only one applies, gRPC
before HTTP before TLS before TCP. With routes attached a request that none of their matches takes is refused, it does not
fall through; without any the Service itself is meant.

A request costs one look-up on (method, path) unless some match asks for headers or query; what is remembered is the match,
never the backend, so weights hold request by request.

Source: GEP-1294 (route presence, namespace boundaries, route types), Gateway API v1 HTTPRouteRule.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from weft_core.errors import NoRouteError
from weft_core.facts import RequestFacts
from weft_core.memo import MemoBudget
from weft_core.routing.compile import CompiledRoute, Entry
from weft_core.routing.outcome import Forward, Outcome, Refused, TcpOutcome
from weft_core.routing.weights import Weighted

KIND_ORDER: Final = ("GRPCRoute", "HTTPRoute", "TLSRoute", "TCPRoute")
"""Of routes of several kinds on one Service port the first kind applies."""
HTTP_KINDS: Final = frozenset({"GRPCRoute", "HTTPRoute"})


def select_routes(
    routes: Iterable[CompiledRoute], service: str, port: int, consumer_namespace: str
) -> tuple[CompiledRoute, ...]:
    """Return the routes that apply to clients of a namespace who call a Service port.

    Args:
        routes: candidates.
        service: `namespace/name` of the called Service.
        port: its port.
        consumer_namespace: the client's namespace.
    """
    consumer: list[CompiledRoute] = []
    producer: list[CompiledRoute] = []
    for route in routes:
        parents = [p for p in route.route.parents if p.service == service and p.port in {None, port}]
        if any(parent.consumer_namespace == consumer_namespace for parent in parents):
            consumer.append(route)
        elif any(parent.consumer_namespace is None for parent in parents):
            producer.append(route)
    found = consumer or producer
    kind = next((kind for kind in KIND_ORDER if any(route.route.origin == kind for route in found)), None)
    return tuple(route for route in found if route.route.origin == kind)


class HttpRouter:
    """Routes requests to one Service port.

    Args:
        service: `namespace/name` of the called Service.
        port: its port.
        routes: what `select_routes` returned.
        budget: bound of remembered matches.
        called: what becomes of requests where no route is attached; None: they go to the Service as they are.
    """

    __slots__ = ("_always", "_budget", "_entries", "_memo", "_missed", "needs_headers", "needs_query")

    def __init__(
        self,
        service: str,
        port: int,
        routes: Iterable[CompiledRoute],
        budget: MemoBudget | None = None,
        called: Forward | None = None,
    ) -> None:
        routes = tuple(routes)
        entries = sorted(
            (entry for route in routes for entry in route.entries), key=lambda entry: (entry.match.rank, entry.order)
        )
        self._entries = tuple((entry.match, _outcomes(entry, service, port)) for entry in entries)
        missed = Refused(NoRouteError, f"no rule of {_names(routes)} takes the request to {service}:{port}")
        self._missed: Weighted[Outcome] = Weighted([], missed)
        self._always: Weighted[Outcome] | None = None if routes else Weighted([], called or Forward(service, port))
        self.needs_headers = any(match.headers for match, _ in self._entries)
        """Whether `RequestFacts.headers` must be filled."""
        self.needs_query = any(match.query for match, _ in self._entries)
        """Whether `RequestFacts.query` must be filled."""
        self._memo: dict[tuple[bytes, bytes], Weighted[Outcome]] = {}
        self._budget = budget if budget is not None else MemoBudget()

    def route(self, request: RequestFacts, rng_u32: int) -> Outcome:
        """Route a request.

        Args:
            request: the request.
            rng_u32: uniform over 0 … 2^32 - 1; chooses among weighted backends.
        """
        if self._always is not None:
            return self._always.choose(rng_u32)
        key = (request.method, request.path)
        found = self._memo.get(key)
        if found is None:
            found = self._first(request)
            if not self.needs_headers and not self.needs_query:
                self._budget.put(self._memo, key, found, len(key[0]) + len(key[1]))
        return found.choose(rng_u32)

    def cached(self, method: bytes, path: bytes, rng_u32: int) -> Outcome | None:
        """Route such a request if its match is known already, without the cost of building facts."""
        found = self._always or self._memo.get((method, path))
        return found.choose(rng_u32) if found is not None else None

    def outcomes(self, request: RequestFacts) -> tuple[tuple[Outcome, float], ...]:
        """Return everything that `route` may answer and with which probability: what explains a route is the router."""
        return (self._always or self._first(request)).shares

    def _first(self, request: RequestFacts) -> Weighted[Outcome]:
        for match, outcomes in self._entries:
            if match.takes(request):
                return outcomes
        return self._missed


class TcpRouter:
    """Routes opaque connections to one Service port.

    Args:
        service: `namespace/name` of the called Service.
        port: its port.
        routes: what `select_routes` returned; HTTP routes say nothing about opaque connections.
    """

    __slots__ = ("_outcomes",)

    def __init__(self, service: str, port: int, routes: Iterable[CompiledRoute]) -> None:
        entries = [e for route in routes if route.route.origin not in HTTP_KINDS for e in route.entries]
        oldest = min(entries, key=lambda entry: entry.order, default=None)
        self._outcomes: Weighted[Outcome] = Weighted([], Forward(service, port))
        if oldest is not None:
            self._outcomes = _outcomes(oldest, service, port)

    def route(self, rng_u32: int) -> TcpOutcome:
        """Route a connection; `rng_u32` as in `HttpRouter.route`."""
        outcome = self._outcomes.choose(rng_u32)
        assert isinstance(outcome, Forward | Refused), "TCP rules have no redirects"
        return outcome

    def outcomes(self) -> tuple[tuple[Outcome, float], ...]:
        """Return everything that `route` may answer and with which probability."""
        return self._outcomes.shares


def _outcomes(entry: Entry, service: str, port: int) -> Weighted[Outcome]:
    if entry.outcomes is not None:
        return entry.outcomes
    return Weighted([], replace(entry.called, service=service, port=port))


def _names(routes: tuple[CompiledRoute, ...]) -> str:
    names = [route.name for route in routes[:3]]
    return ", ".join(names) + (f" and {len(routes) - 3} more" if len(routes) > 3 else "")
