"""Routes compiled once each: ranked matches with what they lead to; routers of many Services share them."""

from dataclasses import dataclass
from typing import Final, TypeAlias

import msgspec

from weft_contract.resources.document import resource_key
from weft_contract.resources.route import Backend, Filters, HttpMatch, HttpRule, Redirect, Route
from weft_core.errors import InvalidBackendError
from weft_core.routing.edits import check_host, compile_path, compile_request, compile_response
from weft_core.routing.matching import CompiledMatch, compile_match
from weft_core.routing.outcome import Forward, Outcome, RedirectTo, Refused
from weft_core.routing.weights import Weighted
from weft_core.text import UncompilableError

REDIRECT_STATUSES: Final = frozenset({301, 302, 303, 307, 308})

Order: TypeAlias = tuple[float, str, int, int]
"""Creation time, `namespace/name`, rule, match: breaks ties of rank."""


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One match of one rule, and what it leads to."""

    match: CompiledMatch
    order: Order
    outcomes: Weighted[Outcome] | None
    """None: the Service and port that was called, as `called` says."""
    called: Forward
    """What happens to a request that goes to the called Service; service and port are the router's to fill in."""


@dataclass(frozen=True, slots=True, eq=False)
class CompiledRoute:
    """One route object. A TCP or TLS route has one entry that takes everything: it has nothing to match on."""

    key: str
    """Resource key, `Route/httproute/shop/web`."""
    name: str
    """`HTTPRoute/shop/web`."""
    route: Route
    entries: tuple[Entry, ...]


def compile_route(route: Route) -> CompiledRoute:
    """Compile a route.

    Args:
        route: the resource; with `invalid` its matches stand and refuse (without rules: everything).

    Raises:
        UncompilableError: naming the rule that cannot be compiled.
    """
    name = f"{route.origin}/{route.namespace}/{route.name}"
    rules = route.http
    if route.origin in {"TCPRoute", "TLSRoute"}:
        # The first rule takes all: later ones could never be reached.
        rules = tuple(HttpRule(backends=rule.backends, name=rule.name) for rule in route.tcp[:1])
    rules = rules or (HttpRule(),)  # the Gateway API's default: one rule that takes everything
    entries = [entry for index, rule in enumerate(rules) for entry in _entries(route, name, index, rule)]
    return CompiledRoute(resource_key(route), name, route, tuple(entries))


def broken_route(route: Route, reason: str) -> Route:
    """Give the route that stands for one that cannot be compiled: it takes everything and refuses it."""
    return msgspec.structs.replace(route, http=(), tcp=(), invalid=reason)


def _entries(route: Route, name: str, index: int, rule: HttpRule) -> list[Entry]:
    label = rule.name or f"rules[{index}]"
    made = []
    try:
        for position, match in enumerate(rule.matches or (HttpMatch(),)):
            compiled = compile_match(match)
            order = (route.created_unix_s, f"{route.namespace}/{route.name}", index, position)
            maker = _Maker(name, label, rule, compiled.path.prefix)
            made.append(maker.entry(compiled, order, route.invalid))
    except UncompilableError as exc:
        raise UncompilableError(f"{name} {label}: {exc}") from exc
    return made


class _Maker:
    """Makes what one match of one rule leads to."""

    def __init__(self, route: str, label: str, rule: HttpRule, prefix: bytes | None) -> None:
        self._route = route
        self._label = label
        self._rule = rule
        self._prefix = prefix

    def entry(self, match: CompiledMatch, order: Order, invalid: str | None) -> Entry:
        rule = self._rule
        if invalid is not None:
            refused = self._refused(f"is refused because the route is invalid: {invalid}")
            return Entry(match, order, Weighted([], refused), Forward("", 0, self._route, self._label))
        called = self._forward("", 0, (rule.filters,))
        if rule.filters.redirect is not None:
            return Entry(match, order, Weighted([], self._redirect(rule.filters.redirect, (rule.filters,))), called)
        if not rule.backends:
            return Entry(match, order, None, called)
        chosen = [(self._backend(backend), backend.weight) for backend in rule.backends]
        return Entry(match, order, Weighted(chosen, self._refused("has no backend with a weight above 0")), called)

    def _refused(self, why: str) -> Refused:
        return Refused(InvalidBackendError, f"{self._route} {self._label} {why}", self._route, self._label)

    def _backend(self, backend: Backend) -> Outcome:
        filters = (self._rule.filters, backend.filters)
        if backend.invalid is not None:
            return self._refused(f"backend {backend.service}:{backend.port} does not resolve: {backend.invalid}")
        if backend.filters.redirect is not None:
            return self._redirect(backend.filters.redirect, filters)
        return self._forward(backend.service, backend.port, filters)

    def _forward(self, service: str, port: int, filters: tuple[Filters, ...]) -> Forward:
        return Forward(
            service=service,
            port=port,
            route=self._route,
            rule=self._label,
            edits=compile_request(filters, self._prefix),
            response_edits=compile_response(filters),
            request_timeout_s=self._rule.request_timeout_s or None,
            backend_timeout_s=self._rule.backend_timeout_s or None,
        )

    def _redirect(self, redirect: Redirect, filters: tuple[Filters, ...]) -> RedirectTo:
        if redirect.status not in REDIRECT_STATUSES:
            raise UncompilableError(f"{redirect.status} is not a redirect status")
        if redirect.scheme not in {None, "http", "https"}:
            raise UncompilableError(f"redirect scheme {redirect.scheme!r:.40} is neither http nor https")
        if redirect.hostname is not None:
            check_host(redirect.hostname)
        if redirect.port is not None and not 1 <= redirect.port <= 65535:
            raise UncompilableError(f"redirect port {redirect.port} is not in 1-65535")
        path = compile_path(redirect.path, self._prefix) if redirect.path is not None else None
        return RedirectTo(redirect, path, self._route, self._label, compile_response(filters))
