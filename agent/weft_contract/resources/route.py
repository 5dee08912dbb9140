"""Routes: Gateway API HTTPRoute, GRPCRoute (as HTTP matches) and TCPRoute attached to Services, resolved and checked."""

from typing import Literal

from weft_contract.resources.shape import Shape
from weft_contract.resources.text import TextMatch


class RouteParent(Shape, frozen=True, kw_only=True):
    """A Service that the route is attached to."""

    service: str
    """`namespace/name`."""
    port: int | None = None
    """None: every port."""
    consumer_namespace: str | None = None
    """Set for a consumer route: only clients of this namespace take it (GEP-1294)."""


class NamedMatch(Shape, frozen=True, kw_only=True):
    """A comparison of one header field or query parameter."""

    name: str
    """Header names in lower case."""
    match: TextMatch


class HttpMatch(Shape, frozen=True, kw_only=True):
    """All parts must match; an absent part matches all."""

    path: TextMatch | None = None
    """`prefix` compares whole segments, as PathPrefix does."""
    method: str | None = None
    headers: tuple[NamedMatch, ...] = ()
    query: tuple[NamedMatch, ...] = ()


class HeaderModifier(Shape, frozen=True, kw_only=True):
    """Changes of header fields: `set`, then `add`, then `remove`."""

    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


class PathModifier(Shape, frozen=True, kw_only=True):
    """Replacement of the whole path, or of the prefix that the rule's match consumed."""

    kind: Literal["full", "prefix"]
    value: str


class Redirect(Shape, frozen=True, kw_only=True):
    """Answer with a redirect; absent parts are taken from the request."""

    status: int = 302
    scheme: str | None = None
    hostname: str | None = None
    port: int | None = None
    path: PathModifier | None = None


class Rewrite(Shape, frozen=True, kw_only=True):
    """Change host or path before forwarding."""

    hostname: str | None = None
    path: PathModifier | None = None


class Filters(Shape, frozen=True, kw_only=True):
    """What is done to a request and its response; at most one of each, as the Gateway API allows."""

    request_headers: HeaderModifier | None = None
    response_headers: HeaderModifier | None = None
    redirect: Redirect | None = None
    rewrite: Rewrite | None = None


class Backend(Shape, frozen=True, kw_only=True):
    """A weighted destination. A backend that does not resolve keeps its weight and answers 500, as the Gateway API says."""

    service: str
    """`namespace/name`."""
    port: int
    weight: int = 1
    filters: Filters = Filters()
    invalid: str | None = None
    """Why it does not resolve; None: it does."""


class HttpRule(Shape, frozen=True, kw_only=True):
    """One rule of an HTTP route."""

    matches: tuple[HttpMatch, ...] = (HttpMatch(),)
    filters: Filters = Filters()
    backends: tuple[Backend, ...] = ()
    """Empty and no redirect: the Service and port that was called, so that a route may filter alone (GEP-1294 consumers)."""
    name: str = ""
    request_timeout_s: float | None = None
    """Whole exchange, retries included; None: no limit."""
    backend_timeout_s: float | None = None
    """One attempt."""


class TcpRule(Shape, frozen=True, kw_only=True):
    """Weighted destinations for connections."""

    backends: tuple[Backend, ...] = ()
    name: str = ""


class Route(Shape, frozen=True, kw_only=True, tag_field="kind", tag="Route"):
    """One route object. Key: `kind/namespace/name` in lower case, as `httproute/shop/web`."""

    origin: Literal["HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute"]
    namespace: str
    name: str
    parents: tuple[RouteParent, ...]
    created_unix_s: float = 0.0
    """Creation time: of two routes that match alike the older wins, then the name."""
    http: tuple[HttpRule, ...] = ()
    tcp: tuple[TcpRule, ...] = ()
    invalid: str | None = None
    """Set where the object is broken: requests that it would take are refused with this reason."""
