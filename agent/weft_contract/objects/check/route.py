"""Rules of routes that their shapes cannot say: parents, backends, matches, timeouts, and what is not supported yet."""

import re
from collections.abc import Iterator
from typing import Final, TypeAlias

from weft_contract.labels import GATEWAY_GROUP
from weft_contract.objects.check.filters import BACKEND_FILTERS, GRPC_FILTERS, HTTP_FILTERS, filter_problems
from weft_contract.objects.check.text import RegexError, canonical_problems, header_name_problems
from weft_contract.objects.duration import DurationError, seconds
from weft_contract.objects.grpc_route import GrpcMethodMatch, GRPCRoute, GrpcRouteRule
from weft_contract.objects.http_route import HTTPRoute, HttpRouteRule, HttpTimeouts, PathMatch, ValueMatch
from weft_contract.objects.route import BackendReference, FilteredBackend, ParentReference
from weft_contract.objects.stream_route import TCPRoute, TLSRoute
from weft_contract.problems import Problem

_NamedRule: TypeAlias = tuple[str | None, str]
_GRPC_SERVICE: Final = re.compile(r"\.?[A-Za-z_][A-Za-z_0-9]*(\.[A-Za-z_][A-Za-z_0-9]*)*")
_GRPC_METHOD: Final = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")


def is_service_parent(parent: ParentReference) -> bool:
    """Whether a parent is a Service, and so the route is the mesh's business.

    A Service without `group` is taken for one, because the group that the API would fill in has no Services.
    """
    return parent.kind == "Service" and parent.group in (None, "", GATEWAY_GROUP)


def http_route_problems(route: HTTPRoute, regex: RegexError) -> Iterator[Problem]:
    """Yield everything wrong with an HTTPRoute."""
    yield from _spec_problems(route)
    yield from _name_problems([(rule.name, f"$.spec.rules[{i}]") for i, rule in enumerate(route.spec.rules)])
    for index, rule in enumerate(route.spec.rules):
        yield from _http_rule_problems(rule, f"$.spec.rules[{index}]", regex)


def grpc_route_problems(route: GRPCRoute, regex: RegexError) -> Iterator[Problem]:
    """Yield everything wrong with a GRPCRoute."""
    yield from _spec_problems(route)
    yield from _name_problems([(rule.name, f"$.spec.rules[{i}]") for i, rule in enumerate(route.spec.rules)])
    for index, rule in enumerate(route.spec.rules):
        yield from _grpc_rule_problems(rule, f"$.spec.rules[{index}]", regex)


def tcp_route_problems(route: TCPRoute) -> Iterator[Problem]:
    """Yield everything wrong with a TCPRoute."""
    yield from _parent_problems(route.spec.parent_refs)
    if len(route.spec.rules) != 1:
        message = f"a TCPRoute has one rule, this one has {len(route.spec.rules)}"
        yield Problem(path="$.spec.rules", message=message, remedy="use a route for each rule")
    for index, rule in enumerate(route.spec.rules):
        yield from _backend_problems(rule.backend_refs, f"$.spec.rules[{index}].backendRefs")


def tls_route_problems(route: TLSRoute) -> Iterator[Problem]:
    """Yield everything wrong with a TLSRoute."""
    yield from _parent_problems(route.spec.parent_refs)
    if any(is_service_parent(parent) for parent in route.spec.parent_refs):
        message = "TLSRoute is not supported yet in this release (UnsupportedValue)"
        yield Problem(path="$.kind", message=message, remedy="use a TCPRoute, which does not look at server names")


def _spec_problems(route: HTTPRoute | GRPCRoute) -> Iterator[Problem]:
    yield from _parent_problems(route.spec.parent_refs)
    if route.spec.hostnames and any(is_service_parent(parent) for parent in route.spec.parent_refs):
        message = "hostnames have no effect in the mesh: a route is found by the Service that was called"
        yield Problem(path="$.spec.hostnames", message=message, remedy="match the host header", warning=True)


def _parent_problems(parents: tuple[ParentReference, ...]) -> Iterator[Problem]:
    seen: set[ParentReference] = set()
    for index, parent in enumerate(parents):
        path = f"$.spec.parentRefs[{index}]"
        if is_service_parent(parent) and parent.group != "":
            message = f"a Service is of the group '', not {parent.group or GATEWAY_GROUP!r}"
            yield Problem(path=path, message=message, remedy="add group: ''", warning=True)
        if parent in seen:
            yield Problem(path=path, message=f"parent {parent.name} is there twice", remedy="take one out")
        seen.add(parent)


def _name_problems(names: list[_NamedRule]) -> Iterator[Problem]:
    seen: set[str] = set()
    for name, path in names:
        if name is not None and name in seen:
            yield Problem(path=f"{path}.name", message=f"rule name {name!r} is there twice", remedy="rename one")
        seen.add(name or "")


def _http_rule_problems(rule: HttpRouteRule, path: str, regex: RegexError) -> Iterator[Problem]:
    for index, match in enumerate(rule.matches):
        where = f"{path}.matches[{index}]"
        if match.path is not None:
            yield from _path_problems(match.path, f"{where}.path", regex)
        yield from _value_problems(match.headers, f"{where}.headers", regex, header=True)
        yield from _value_problems(match.query_params, f"{where}.queryParams", regex, header=False)
    yield from filter_problems(rule.filters, f"{path}.filters", HTTP_FILTERS)
    yield from _redirect_problems(rule, path)
    yield from _backend_problems(rule.backend_refs, f"{path}.backendRefs")
    yield from _backend_filter_problems(rule.backend_refs, f"{path}.backendRefs", BACKEND_FILTERS)
    if rule.timeouts is not None:
        yield from _timeout_problems(rule.timeouts, f"{path}.timeouts")
    for name, value in (("retry", rule.retry), ("sessionPersistence", rule.session_persistence)):
        yield from _not_yet(value, f"{path}.{name}", name)


def _not_yet(value: object, path: str, name: str) -> Iterator[Problem]:
    if value is not None:
        message = f"{name} is not supported yet in this release (UnsupportedValue)"
        yield Problem(path=path, message=message, remedy="take it out")


def _path_problems(match: PathMatch, path: str, regex: RegexError) -> Iterator[Problem]:
    if match.type == "RegularExpression":
        yield from _regex_problems(match.value, f"{path}.value", regex)
        return
    if not match.value.startswith("/"):
        yield Problem(path=f"{path}.value", message=f"{match.value!r:.120} does not begin with /")
    yield from canonical_problems(match.value, f"{path}.value")


def _regex_problems(value: str, path: str, regex: RegexError) -> Iterator[Problem]:
    error = regex(value)
    if error is not None:
        yield Problem(path=path, message=f"not an RE2 expression: {error}", remedy="RE2 has no lookaround, no \\1")


def _value_problems(
    matches: tuple[ValueMatch, ...], path: str, regex: RegexError, *, header: bool
) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, match in enumerate(matches):
        where = f"{path}[{index}]"
        name = match.name.lower() if header else match.name
        if header:
            yield from header_name_problems(match.name, f"{where}.name")
        if match.type == "RegularExpression":
            yield from _regex_problems(match.value, f"{where}.value", regex)
        if name in seen:
            message = f"{match.name!r:.80} is there twice and only the first counts, as the Gateway API says"
            yield Problem(path=where, message=message, warning=True)
        seen.add(name)


def _redirect_problems(rule: HttpRouteRule, path: str) -> Iterator[Problem]:
    redirects = any(item.request_redirect is not None for item in rule.filters)
    if redirects and rule.backend_refs:
        message = "a rule that redirects has no backends"
        yield Problem(path=f"{path}.backendRefs", message=message, remedy="take backendRefs out")
    prefixes = [match.path is None or match.path.type == "PathPrefix" for match in rule.matches]
    for index, item in enumerate(rule.filters):
        target = item.request_redirect or item.url_rewrite
        if target and target.path and target.path.type == "ReplacePrefixMatch" and not all(prefixes):
            message = "ReplacePrefixMatch needs matches of type PathPrefix alone"
            yield Problem(path=f"{path}.filters[{index}]", message=message, remedy="match by PathPrefix")


def _backend_problems(backends: tuple[BackendReference, ...], path: str) -> Iterator[Problem]:
    for index, backend in enumerate(backends):
        service = (backend.group or "", backend.kind or "Service") == ("", "Service")
        if service and backend.port is None:
            message = f"backend {backend.name} is a Service and has no port"
            yield Problem(path=f"{path}[{index}]", message=message, remedy="add port")
    if backends and all(backend.weight == 0 for backend in backends):
        yield Problem(path=path, message="all weights are 0: everything is refused", warning=True)


def _backend_filter_problems(
    backends: tuple[FilteredBackend, ...], path: str, supported: frozenset[str]
) -> Iterator[Problem]:
    for index, backend in enumerate(backends):
        yield from filter_problems(backend.filters, f"{path}[{index}].filters", supported)


def _timeout_problems(timeouts: HttpTimeouts, path: str) -> Iterator[Problem]:
    durations: dict[str, float] = {}
    for name, text in (("request", timeouts.request), ("backendRequest", timeouts.backend_request)):
        if text is None:
            continue
        try:
            durations[name] = seconds(text)
        except DurationError as exc:
            yield Problem(path=f"{path}.{name}", message=str(exc))
    if 0 < durations.get("request", 0) < durations.get("backendRequest", 0):
        message = "backendRequest is longer than request, which contains it"
        yield Problem(path=f"{path}.backendRequest", message=message, remedy="make it shorter")


def _grpc_rule_problems(rule: GrpcRouteRule, path: str, regex: RegexError) -> Iterator[Problem]:
    for index, match in enumerate(rule.matches):
        where = f"{path}.matches[{index}]"
        if match.method is not None:
            yield from _method_problems(match.method, f"{where}.method", regex)
        yield from _value_problems(match.headers, f"{where}.headers", regex, header=True)
    yield from filter_problems(rule.filters, f"{path}.filters", GRPC_FILTERS)
    yield from _backend_problems(rule.backend_refs, f"{path}.backendRefs")
    yield from _backend_filter_problems(rule.backend_refs, f"{path}.backendRefs", GRPC_FILTERS)
    yield from _not_yet(rule.session_persistence, f"{path}.sessionPersistence", "sessionPersistence")


def _method_problems(match: GrpcMethodMatch, path: str, regex: RegexError) -> Iterator[Problem]:
    if not match.service and not match.method:
        yield Problem(path=path, message="neither service nor method is given", remedy="add service")
    for name, value, grammar in (("service", match.service, _GRPC_SERVICE), ("method", match.method, _GRPC_METHOD)):
        if not value:
            continue
        if match.type == "RegularExpression":
            yield from _regex_problems(value, f"{path}.{name}", regex)
        elif not grammar.fullmatch(value):
            yield Problem(path=f"{path}.{name}", message=f"{value!r:.120} is not a gRPC {name}")
