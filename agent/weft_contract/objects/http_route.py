"""HTTPRoute of the Gateway API: requests of a Service, told apart by path, method, header and query."""

from typing import Annotated, Literal

from msgspec import Meta, field

from weft_contract.objects.metadata import Metadata
from weft_contract.objects.route import FilteredBackends, GatewayVersion, Parents, RouteFilters, RuleName, Unsupported
from weft_contract.objects.shape import Own

HttpMethod = Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]


class PathMatch(Own, frozen=True, kw_only=True):
    """How the path is compared."""

    type: Literal["Exact", "PathPrefix", "RegularExpression"] = "PathPrefix"
    value: Annotated[str, Meta(max_length=1024)] = "/"


class ValueMatch(Own, frozen=True, kw_only=True):
    """How a header field or query parameter is compared."""

    type: Literal["Exact", "RegularExpression"] = "Exact"
    name: Annotated[str, Meta(min_length=1, max_length=256)]
    value: Annotated[str, Meta(max_length=4096)]


class HttpRouteMatch(Own, frozen=True, kw_only=True):
    """All given parts have to match."""

    path: PathMatch | None = None
    headers: Annotated[tuple[ValueMatch, ...], Meta(max_length=16)] = ()
    query_params: Annotated[tuple[ValueMatch, ...], Meta(max_length=16)] = ()
    method: HttpMethod | None = None


class HttpTimeouts(Own, frozen=True, kw_only=True):
    """Durations as GEP-2257 writes them."""

    request: str | None = None
    backend_request: str | None = None


class HttpRouteRule(Own, frozen=True, kw_only=True):
    """One rule."""

    name: RuleName | None = None
    matches: Annotated[tuple[HttpRouteMatch, ...], Meta(max_length=64)] = ()
    filters: RouteFilters = ()
    backend_refs: FilteredBackends = ()
    timeouts: HttpTimeouts | None = None
    retry: Unsupported | None = None
    session_persistence: Unsupported | None = None


class HttpRouteSpec(Own, frozen=True, kw_only=True):
    """What an HTTPRoute is to do."""

    parent_refs: Parents = ()
    use_default_gateways: str | None = None
    hostnames: Annotated[tuple[str, ...], Meta(max_length=16)] = ()
    """Without meaning in a mesh: routes are found by the Service that was called (GEP-1294)."""
    rules: Annotated[tuple[HttpRouteRule, ...], Meta(max_length=16)] = ()


class HTTPRoute(Own, frozen=True, kw_only=True):
    """A route for HTTP requests."""

    api_version: GatewayVersion = "gateway.networking.k8s.io/v1"
    kind: Literal["HTTPRoute"] = "HTTPRoute"
    metadata: Metadata
    spec: HttpRouteSpec = HttpRouteSpec()
    status: dict[str, object] = field(default_factory=dict)
