"""Rules of routes to resources: matches, filters, timeouts, weighted backends."""

from weft_contract.objects import RouteFilter
from weft_contract.objects import route as spec
from weft_contract.objects.duration import seconds
from weft_contract.objects.grpc_route import GrpcMethodMatch, GrpcRouteMatch, GrpcRouteRule
from weft_contract.objects.http_route import HttpRouteMatch, HttpRouteRule, PathMatch, ValueMatch
from weft_contract.objects.stream_route import StreamRule
from weft_contract.resources import Backend, HttpMatch, HttpRule, TcpRule, TextMatch
from weft_contract.resources.route import Filters, HeaderModifier, NamedMatch, PathModifier, Redirect, Rewrite
from weft_operator.compile.references import BackendResolver

DEFAULT_REDIRECT_STATUS = 302


def http_rule(rule: HttpRouteRule, backends: BackendResolver) -> HttpRule:
    """Turn a rule of an HTTPRoute into its resource."""
    timeouts = rule.timeouts
    return HttpRule(
        matches=tuple(_http_match(match) for match in rule.matches or (HttpRouteMatch(),)),
        filters=_filters(rule.filters),
        backends=tuple(_filtered_backend(item, backends) for item in rule.backend_refs),
        name=rule.name or "",
        request_timeout_s=_timeout(timeouts.request) if timeouts else None,
        backend_timeout_s=_timeout(timeouts.backend_request) if timeouts else None,
    )


def grpc_rule(rule: GrpcRouteRule, backends: BackendResolver) -> HttpRule:
    """Turn a rule of a GRPCRoute into its resource: a call of a method is a request for `/service/method`."""
    return HttpRule(
        matches=tuple(_grpc_match(match) for match in rule.matches) or (HttpMatch(),),
        filters=_filters(rule.filters),
        backends=tuple(_filtered_backend(item, backends) for item in rule.backend_refs),
        name=rule.name or "",
    )


def stream_rule(rule: StreamRule, backends: BackendResolver) -> TcpRule:
    """Turn the rule of a TCPRoute into its resource."""
    return TcpRule(
        backends=tuple(_backend(item, backends, Filters()) for item in rule.backend_refs), name=rule.name or ""
    )


def _http_match(match: HttpRouteMatch) -> HttpMatch:
    return HttpMatch(
        path=_path(match.path or PathMatch()),
        method=match.method,
        headers=_named(match.headers, lower=True),
        query=_named(match.query_params, lower=False),
    )


def _path(match: PathMatch) -> TextMatch:
    """Return the comparison of a path; a trailing slash of a prefix does not count, as the Gateway API says."""
    match match.type:
        case "Exact":
            return TextMatch(value=match.value)
        case "RegularExpression":
            return TextMatch(kind="regex", value=match.value)
        case "PathPrefix":
            return TextMatch(kind="prefix", value=match.value.rstrip("/") or "/")


def _named(matches: tuple[ValueMatch, ...], *, lower: bool) -> tuple[NamedMatch, ...]:
    """Return the comparisons; of several for one name only the first counts, as the Gateway API says."""
    found: dict[str, NamedMatch] = {}
    for item in matches:
        name = item.name.lower() if lower else item.name
        kind = "regex" if item.type == "RegularExpression" else "exact"
        found.setdefault(name, NamedMatch(name=name, match=_text(kind, item.value)))
    return tuple(found.values())


def _text(kind: str, value: str) -> TextMatch:
    return TextMatch(kind="regex", value=value) if kind == "regex" else TextMatch(value=value)


def _grpc_match(match: GrpcRouteMatch) -> HttpMatch:
    path = _grpc_path(match.method) if match.method is not None else None
    return HttpMatch(path=path, headers=_named(match.headers, lower=True))


def _grpc_path(match: GrpcMethodMatch) -> TextMatch | None:
    if match.type == "Exact":
        if match.service and match.method:
            return TextMatch(value=f"/{match.service}/{match.method}")
        if match.service:
            return TextMatch(kind="prefix", value=f"/{match.service}")
        return TextMatch(kind="regex", value=f"/[^/]+/{match.method}")
    service = f"(?:{match.service})" if match.service else "[^/]+"
    method = f"(?:{match.method})" if match.method else "[^/]+"
    return TextMatch(kind="regex", value=f"/{service}/{method}")


def _timeout(text: str | None) -> float | None:
    """Return a duration in seconds; zero means no limit, as GEP-1742 says."""
    return (seconds(text) or None) if text is not None else None


def _filtered_backend(item: spec.FilteredBackend, backends: BackendResolver) -> Backend:
    return _backend(item, backends, _filters(item.filters))


def _backend(item: spec.BackendReference, backends: BackendResolver, filters: Filters) -> Backend:
    verdict = backends.resolve(item)
    return Backend(
        service=backends.key(item),
        port=item.port or 0,
        weight=1 if item.weight is None else item.weight,
        filters=filters,
        invalid=f"{verdict.reason}: {verdict.message}" if verdict is not None else None,
    )


def _filters(filters: tuple[RouteFilter, ...]) -> Filters:
    """Collect filters, of which each type is there at most once."""
    request = response = redirect = rewrite = None
    for item in filters:
        request = item.request_header_modifier or request
        response = item.response_header_modifier or response
        redirect = item.request_redirect or redirect
        rewrite = item.url_rewrite or rewrite
    return Filters(
        request_headers=_modifier(request),
        response_headers=_modifier(response),
        redirect=_redirect(redirect),
        rewrite=Rewrite(hostname=rewrite.hostname, path=_path_modifier(rewrite.path)) if rewrite else None,
    )


def _modifier(modifier: spec.HeaderModifier | None) -> HeaderModifier | None:
    """Return header changes; names in lower case, which HTTP/2 needs and HTTP/1 does not mind."""
    if modifier is None:
        return None
    return HeaderModifier(
        set=tuple((header.name.lower(), header.value) for header in modifier.set),
        add=tuple((header.name.lower(), header.value) for header in modifier.add),
        remove=tuple(name.lower() for name in modifier.remove),
    )


def _redirect(redirect: spec.RequestRedirect | None) -> Redirect | None:
    if redirect is None:
        return None
    return Redirect(
        status=redirect.status_code or DEFAULT_REDIRECT_STATUS,
        scheme=redirect.scheme,
        hostname=redirect.hostname,
        port=redirect.port,
        path=_path_modifier(redirect.path),
    )


def _path_modifier(modifier: spec.PathModifier | None) -> PathModifier | None:
    if modifier is None:
        return None
    if modifier.type == "ReplaceFullPath":
        return PathModifier(kind="full", value=modifier.replace_full_path or "")
    return PathModifier(kind="prefix", value=modifier.replace_prefix_match or "")
