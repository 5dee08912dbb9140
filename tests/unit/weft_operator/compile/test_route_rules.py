"""Rules of routes to resources."""

from typing import Any

import pytest

from weft_contract.objects import GRPCRoute, HTTPRoute, TCPRoute, decode_object
from weft_contract.resources import Backend, HttpMatch, HttpRule, Service, ServicePort, TcpRule, TextMatch
from weft_contract.resources.route import Filters, HeaderModifier, NamedMatch, PathModifier, Redirect, Rewrite
from weft_operator.compile.references import BackendResolver
from weft_operator.compile.route_rules import grpc_rule, http_rule, stream_rule
from weft_testing import objects as o

_SERVICES = {"shop/web": Service(namespace="shop", name="web", ports=(ServicePort(port=80),))}
_ANY = TextMatch(kind="prefix", value="/")


def _http(rule: dict[str, Any]) -> HttpRule:
    item = decode_object(o.route("r", [o.parent("web")], [rule]), "x")
    assert isinstance(item, HTTPRoute)
    return http_rule(item.spec.rules[0], BackendResolver(route=item, services=_SERVICES, grants={}))


def _grpc(rule: dict[str, Any]) -> HttpRule:
    item = decode_object(o.route("r", [o.parent("web")], [rule], kind="GRPCRoute"), "x")
    assert isinstance(item, GRPCRoute)
    return grpc_rule(item.spec.rules[0], BackendResolver(route=item, services=_SERVICES, grants={}))


def test_a_rule_without_matches_takes_everything() -> None:
    assert _http({}) == HttpRule(matches=(HttpMatch(path=_ANY),))
    assert _grpc({}) == HttpRule(matches=(HttpMatch(),))


@pytest.mark.parametrize(
    ("path", "match"),
    [
        ({"type": "Exact", "value": "/a"}, TextMatch(value="/a")),
        ({"type": "Exact", "value": "/a/"}, TextMatch(value="/a/")),
        ({"type": "PathPrefix", "value": "/a"}, TextMatch(kind="prefix", value="/a")),
        ({"type": "PathPrefix", "value": "/a/"}, TextMatch(kind="prefix", value="/a")),
        ({"type": "PathPrefix", "value": "/"}, _ANY),
        ({"value": "/b"}, TextMatch(kind="prefix", value="/b")),
        ({}, _ANY),
        ({"type": "RegularExpression", "value": "/a.*"}, TextMatch(kind="regex", value="/a.*")),
    ],
)
def test_paths(path: dict[str, str], match: TextMatch) -> None:
    assert _http({"matches": [{"path": path}]}).matches == (HttpMatch(path=match),)


def test_the_other_parts_of_a_match() -> None:
    headers = [
        {"name": "X-A", "value": "b"},
        {"name": "x-a", "value": "ignored"},
        {"name": "c", "type": "RegularExpression", "value": "d.*"},
    ]
    query = [{"name": "Q", "value": "1"}, {"name": "q", "value": "2"}, {"name": "Q", "value": "ignored"}]
    rule = _http(
        {"name": "n", "matches": [{"method": "GET", "headers": headers, "queryParams": query}, {"method": "PUT"}]}
    )
    assert rule.matches == (
        HttpMatch(
            path=_ANY,
            method="GET",
            headers=(
                NamedMatch(name="x-a", match=TextMatch(value="b")),
                NamedMatch(name="c", match=TextMatch(kind="regex", value="d.*")),
            ),
            query=(NamedMatch(name="Q", match=TextMatch(value="1")), NamedMatch(name="q", match=TextMatch(value="2"))),
        ),
        HttpMatch(path=_ANY, method="PUT"),
    )
    assert rule.name == "n"


@pytest.mark.parametrize(
    ("timeouts", "expected"),
    [
        (None, (None, None)),
        ({}, (None, None)),
        ({"request": "10s"}, (10.0, None)),
        ({"request": "0s", "backendRequest": "500ms"}, (None, 0.5)),
        ({"request": "1m", "backendRequest": "1m"}, (60.0, 60.0)),
    ],
)
def test_timeouts(timeouts: dict[str, str] | None, expected: tuple[float | None, float | None]) -> None:
    rule = _http({} if timeouts is None else {"timeouts": timeouts})
    assert (rule.request_timeout_s, rule.backend_timeout_s) == expected


def test_header_filters() -> None:
    change = {"set": [{"name": "X-A", "value": "b"}], "add": [{"name": "X-B", "value": "c"}], "remove": ["X-C"]}
    expected = HeaderModifier(set=(("x-a", "b"),), add=(("x-b", "c"),), remove=("x-c",))
    request = {"type": "RequestHeaderModifier", "requestHeaderModifier": change}
    response = {"type": "ResponseHeaderModifier", "responseHeaderModifier": change}
    both = Filters(request_headers=expected, response_headers=expected)
    assert _http({"filters": [request, response]}).filters == both
    assert _grpc({"filters": [response, request]}).filters == both


@pytest.mark.parametrize(
    ("redirect", "expected"),
    [
        ({}, Redirect()),
        (
            {"scheme": "https", "hostname": "a.example", "port": 8443, "statusCode": 301},
            Redirect(status=301, scheme="https", hostname="a.example", port=8443),
        ),
        (
            {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/b"}},
            Redirect(path=PathModifier(kind="full", value="/b")),
        ),
    ],
)
def test_redirects(redirect: dict[str, Any], expected: Redirect) -> None:
    rule = _http({"filters": [{"type": "RequestRedirect", "requestRedirect": redirect}]})
    assert rule.filters == Filters(redirect=expected)


@pytest.mark.parametrize(
    ("rewrite", "expected"),
    [
        ({"hostname": "a.example"}, Rewrite(hostname="a.example")),
        (
            {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/b"}},
            Rewrite(path=PathModifier(kind="prefix", value="/b")),
        ),
        (
            {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": ""}},
            Rewrite(path=PathModifier(kind="prefix", value="")),
        ),
    ],
)
def test_rewrites(rewrite: dict[str, Any], expected: Rewrite) -> None:
    assert _http({"filters": [{"type": "URLRewrite", "urlRewrite": rewrite}]}).filters == Filters(rewrite=expected)


def test_backends_with_weights_filters_and_what_does_not_resolve() -> None:
    change = {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"remove": ["a"]}}
    rule = _http(
        {
            "backendRefs": [
                {"name": "web", "port": 80, "weight": 90},
                {"name": "web", "port": 80, "filters": [change]},
                {"name": "gone", "port": 80, "weight": 0},
            ]
        }
    )
    assert rule.backends == (
        Backend(service="shop/web", port=80, weight=90),
        Backend(service="shop/web", port=80, filters=Filters(response_headers=HeaderModifier(remove=("a",)))),
        Backend(service="shop/gone", port=80, weight=0, invalid="BackendNotFound: Service shop/gone is not there"),
    )


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ({"service": "foo.Bar", "method": "Get"}, TextMatch(value="/foo.Bar/Get")),
        ({"service": "foo.Bar"}, TextMatch(kind="prefix", value="/foo.Bar")),
        ({"method": "Get"}, TextMatch(kind="regex", value="/[^/]+/Get")),
        (
            {"type": "RegularExpression", "service": "a|b", "method": "c"},
            TextMatch(kind="regex", value="/(?:a|b)/(?:c)"),
        ),
        ({"type": "RegularExpression", "service": "a.*"}, TextMatch(kind="regex", value="/(?:a.*)/[^/]+")),
        ({"type": "RegularExpression", "method": "G.*"}, TextMatch(kind="regex", value="/[^/]+/(?:G.*)")),
    ],
)
def test_grpc_methods(method: dict[str, str], path: TextMatch) -> None:
    headers = [{"name": "X-A", "value": "b"}]
    rule = _grpc({"matches": [{"method": method, "headers": headers}], "backendRefs": [{"name": "web", "port": 80}]})
    assert rule.matches == (HttpMatch(path=path, headers=(NamedMatch(name="x-a", match=TextMatch(value="b")),)),)
    assert rule.backends == (Backend(service="shop/web", port=80),)


def test_streams() -> None:
    item = decode_object(
        o.route("r", [], [{"name": "n", "backendRefs": [{"name": "web", "port": 80, "weight": 3}]}], kind="TCPRoute"),
        "x",
    )
    assert isinstance(item, TCPRoute)
    rule = stream_rule(item.spec.rules[0], BackendResolver(route=item, services=_SERVICES, grants={}))
    assert rule == TcpRule(backends=(Backend(service="shop/web", port=80, weight=3),), name="n")
