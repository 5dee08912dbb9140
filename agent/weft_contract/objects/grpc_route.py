"""GRPCRoute of the Gateway API: calls of a Service, told apart by gRPC service, method and header."""

from typing import Annotated, Literal

from msgspec import Meta, field

from weft_contract.objects.http_route import ValueMatch
from weft_contract.objects.metadata import Metadata
from weft_contract.objects.route import FilteredBackends, GatewayVersion, Parents, RouteFilters, RuleName, Unsupported
from weft_contract.objects.shape import Own


class GrpcMethodMatch(Own, frozen=True, kw_only=True):
    """Service and method; at least one of them."""

    type: Literal["Exact", "RegularExpression"] = "Exact"
    service: Annotated[str, Meta(max_length=1024)] | None = None
    method: Annotated[str, Meta(max_length=1024)] | None = None


class GrpcRouteMatch(Own, frozen=True, kw_only=True):
    """All given parts have to match."""

    method: GrpcMethodMatch | None = None
    headers: Annotated[tuple[ValueMatch, ...], Meta(max_length=16)] = ()


class GrpcRouteRule(Own, frozen=True, kw_only=True):
    """One rule."""

    name: RuleName | None = None
    matches: Annotated[tuple[GrpcRouteMatch, ...], Meta(max_length=64)] = ()
    filters: RouteFilters = ()
    backend_refs: FilteredBackends = ()
    session_persistence: Unsupported | None = None


class GrpcRouteSpec(Own, frozen=True, kw_only=True):
    """What a GRPCRoute is to do."""

    parent_refs: Parents = ()
    use_default_gateways: str | None = None
    hostnames: Annotated[tuple[str, ...], Meta(max_length=16)] = ()
    rules: Annotated[tuple[GrpcRouteRule, ...], Meta(max_length=16)] = ()


class GRPCRoute(Own, frozen=True, kw_only=True):
    """A route for gRPC calls."""

    api_version: GatewayVersion = "gateway.networking.k8s.io/v1"
    kind: Literal["GRPCRoute"] = "GRPCRoute"
    metadata: Metadata
    spec: GrpcRouteSpec = GrpcRouteSpec()
    status: dict[str, object] = field(default_factory=dict)
