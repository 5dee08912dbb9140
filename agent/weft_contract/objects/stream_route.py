"""TCPRoute and TLSRoute of the Gateway API: whole connections of a Service."""

from typing import Annotated, Literal

from msgspec import Meta, field

from weft_contract.objects.metadata import Metadata
from weft_contract.objects.route import Backends, GatewayVersion, Parents, RuleName
from weft_contract.objects.shape import Own


class StreamRule(Own, frozen=True, kw_only=True):
    """The one rule such a route has."""

    name: RuleName | None = None
    backend_refs: Backends


StreamRules = Annotated[tuple[StreamRule, ...], Meta(min_length=1, max_length=16)]


class TcpRouteSpec(Own, frozen=True, kw_only=True):
    """What a TCPRoute is to do."""

    parent_refs: Parents = ()
    use_default_gateways: str | None = None
    rules: StreamRules = ()


class TCPRoute(Own, frozen=True, kw_only=True):
    """A route for connections."""

    api_version: GatewayVersion = "gateway.networking.k8s.io/v1"
    kind: Literal["TCPRoute"] = "TCPRoute"
    metadata: Metadata
    spec: TcpRouteSpec = TcpRouteSpec()
    status: dict[str, object] = field(default_factory=dict)


class TlsRouteSpec(Own, frozen=True, kw_only=True):
    """What a TLSRoute is to do."""

    parent_refs: Parents = ()
    use_default_gateways: str | None = None
    hostnames: Annotated[tuple[str, ...], Meta(max_length=1024)] = ()
    rules: StreamRules = ()


class TLSRoute(Own, frozen=True, kw_only=True):
    """A route for connections that carry the application's own TLS, told apart by server name."""

    api_version: GatewayVersion = "gateway.networking.k8s.io/v1"
    kind: Literal["TLSRoute"] = "TLSRoute"
    metadata: Metadata
    spec: TlsRouteSpec = TlsRouteSpec()
    status: dict[str, object] = field(default_factory=dict)
