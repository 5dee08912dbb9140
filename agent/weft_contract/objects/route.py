"""What all Gateway API routes share: references to parents and backends, header and path changes, filters.

Everything here is strict: a field of a route is an order, and an order that would not be carried out has to be reported.
What the API defines and this release does not carry out yet is declared as `Unsupported`, so that it is seen.

Source: Gateway API v1.6, `apis/v1/{shared,httproute,grpcroute}_types.go`.
"""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from weft_contract.objects.shape import ObjectName, Own, Port

Unsupported: TypeAlias = dict[str, object]
"""A part of the API that is read and reported, not carried out."""
GatewayVersion: TypeAlias = Literal[
    "gateway.networking.k8s.io/v1",
    "gateway.networking.k8s.io/v1beta1",
    "gateway.networking.k8s.io/v1alpha3",
    "gateway.networking.k8s.io/v1alpha2",
]
"""The kinds kept their shape on the way to v1."""
MAX_BACKENDS = 16
MAX_FILTERS = 16


class ParentReference(Own, frozen=True, kw_only=True):
    """What a route attaches to. None is what the author left out; a status repeats the reference exactly."""

    group: str | None = None
    """None: `gateway.networking.k8s.io`. A Service is of the group `""`."""
    kind: str | None = None
    """None: `Gateway`."""
    namespace: str | None = None
    """None: the route's own. Another one makes it a consumer route."""
    name: ObjectName
    section_name: str | None = None
    """For a Service: the name of one of its ports."""
    port: Port | None = None


class BackendReference(Own, frozen=True, kw_only=True):
    """Where traffic is sent."""

    group: str | None = None
    """None: `""`."""
    kind: str | None = None
    """None: `Service`."""
    name: ObjectName
    namespace: str | None = None
    port: Port | None = None
    """Needed for a Service."""
    weight: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    """None: 1."""


class Header(Own, frozen=True, kw_only=True):
    """A header field."""

    name: Annotated[str, Meta(min_length=1, max_length=256)]
    value: Annotated[str, Meta(max_length=4096)]


class HeaderModifier(Own, frozen=True, kw_only=True):
    """Changes of header fields."""

    set: Annotated[tuple[Header, ...], Meta(max_length=16)] = ()
    add: Annotated[tuple[Header, ...], Meta(max_length=16)] = ()
    remove: Annotated[tuple[str, ...], Meta(max_length=16)] = ()


class PathModifier(Own, frozen=True, kw_only=True):
    """Replacement of a path or of the prefix that the match consumed."""

    type: Literal["ReplaceFullPath", "ReplacePrefixMatch"]
    replace_full_path: Annotated[str, Meta(max_length=1024)] | None = None
    replace_prefix_match: Annotated[str, Meta(max_length=1024)] | None = None


class RequestRedirect(Own, frozen=True, kw_only=True):
    """Answer with a redirect."""

    scheme: Literal["http", "https"] | None = None
    hostname: str | None = None
    path: PathModifier | None = None
    port: Port | None = None
    status_code: Literal[301, 302, 303, 307, 308] | None = None


class UrlRewrite(Own, frozen=True, kw_only=True):
    """Change host or path before forwarding."""

    hostname: str | None = None
    path: PathModifier | None = None


class RouteFilter(Own, frozen=True, kw_only=True):
    """One filter of an HTTPRoute or GRPCRoute; `type` says which of the other fields is set."""

    type: Literal[
        "RequestHeaderModifier",
        "ResponseHeaderModifier",
        "RequestRedirect",
        "URLRewrite",
        "RequestMirror",
        "CORS",
        "ExternalAuth",
        "ExtensionRef",
    ]
    request_header_modifier: HeaderModifier | None = None
    response_header_modifier: HeaderModifier | None = None
    request_redirect: RequestRedirect | None = None
    url_rewrite: UrlRewrite | None = None
    request_mirror: Unsupported | None = None
    cors: Unsupported | None = None
    external_auth: Unsupported | None = None
    extension_ref: Unsupported | None = None


RouteFilters: TypeAlias = Annotated[tuple[RouteFilter, ...], Meta(max_length=MAX_FILTERS)]


class FilteredBackend(BackendReference, frozen=True, kw_only=True):
    """A backend with filters of its own."""

    filters: RouteFilters = ()


Backends: TypeAlias = Annotated[tuple[BackendReference, ...], Meta(min_length=1, max_length=MAX_BACKENDS)]
FilteredBackends: TypeAlias = Annotated[tuple[FilteredBackend, ...], Meta(max_length=MAX_BACKENDS)]
Parents: TypeAlias = Annotated[tuple[ParentReference, ...], Meta(max_length=32)]
RuleName: TypeAlias = Annotated[str, Meta(min_length=1, max_length=253)]
