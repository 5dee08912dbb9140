"""Routes: attached, conflicts settled, broken ones refusing, a verdict for each parent."""

from typing import Any

import pytest

from weft_contract.resources import HttpMatch, Route, RouteParent, TextMatch
from weft_contract.resources.route import Filters
from weft_operator.compile.members import find_members
from weft_operator.compile.pod_index import PodIndex
from weft_operator.compile.results import ObjectResult
from weft_operator.compile.routes import Routes, compile_routes
from weft_operator.compile.services import resolve_services
from weft_testing import objects as o

_BODIES = [
    o.namespace("shop"),
    o.namespace("client"),
    o.service("web", {"port": 80, "name": "http"}, {"port": 81, "name": "admin"}),
    o.service("sql", {"port": 5432, "name": "tcp-sql"}, addresses=["10.96.0.11"]),
    o.service("headless", 80, addresses=[]),
]
_RULE: o.Doc = {"backendRefs": [{"name": "web", "port": 80}]}


def _routes(*bodies: o.Doc) -> Routes:
    view = o.view_of(*_BODIES, *bodies)
    members = find_members(view, "cluster.local")
    services = resolve_services(view, members, PodIndex(view.pods.values()))
    return compile_routes(view, services.services)


def _one(*bodies: o.Doc) -> tuple[Route | None, ObjectResult]:
    routes = _routes(*bodies)
    (result,) = routes.results
    return (routes.resources[0] if routes.resources else None), result


def test_a_producer_route() -> None:
    resource, result = _one(o.route("r", [o.parent("web")], [_RULE], created="2026-01-01T00:00:00Z"))
    assert resource is not None
    assert resource.parents == (RouteParent(service="shop/web"),)
    assert (resource.origin, resource.created_unix_s, resource.invalid) == ("HTTPRoute", 1767225600.0, None)
    assert (result.accepted.holds, result.accepted.reason) == (True, "Accepted")
    assert result.resolved_refs is not None
    assert (result.resolved_refs.holds, result.resource) == (True, "Route/httproute/shop/r")
    assert result.problems == ()


def test_a_consumer_route_without_backends_only_filters() -> None:
    change = {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [{"name": "a", "value": "b"}]}}
    resource, result = _one(
        o.route("r", [o.parent("web", namespace="shop")], [{"filters": [change]}], namespace="client")
    )
    assert resource is not None
    assert resource.parents == (RouteParent(service="shop/web", consumer_namespace="client"),)
    assert resource.http[0].backends == ()
    assert result.accepted.holds


@pytest.mark.parametrize(
    ("parents", "expected"),
    [
        ([o.parent("web", port=80)], [RouteParent(service="shop/web", port=80)]),
        ([o.parent("web", sectionName="admin")], [RouteParent(service="shop/web", port=81)]),
        (
            [o.parent("web", port=81), o.parent("web", port=80)],
            [RouteParent(service="shop/web", port=80), RouteParent(service="shop/web", port=81)],
        ),
        ([o.parent("web"), {"name": "gateway"}], [RouteParent(service="shop/web")]),
    ],
)
def test_parents_name_ports_or_all_of_them(parents: list[o.Doc], expected: list[RouteParent]) -> None:
    resource, _ = _one(o.route("r", parents, [_RULE]))
    assert resource is not None
    assert list(resource.parents) == expected


def test_results_repeat_the_parent_exactly_as_written() -> None:
    _, result = _one(o.route("r", [o.parent("web", port=80), {"kind": "Service", "name": "gone"}], [_RULE]))
    assert [(item.parent.group, item.parent.namespace, item.parent.port) for item in result.parents] == [
        ("", None, 80),
        (None, None, None),
    ]
    assert [item.accepted.reason for item in result.parents] == ["Accepted", "NoMatchingParent"]
    assert result.accepted.holds


@pytest.mark.parametrize("parent", [o.parent("gone"), o.parent("web", port=82), o.parent("headless")])
def test_a_route_without_a_parent_is_told_and_becomes_nothing(parent: o.Doc) -> None:
    resource, result = _one(o.route("r", [parent], [_RULE]))
    assert resource is None
    assert (result.accepted.holds, result.accepted.reason, result.resource) == (False, "NoMatchingParent", "")
    assert result.problems[0].warning


def test_a_service_that_waits_for_its_address_can_be_a_parent() -> None:
    fresh = o.service("fresh", 80, addresses=[], spec={"clusterIP": "", "clusterIPs": []})
    resource, result = _one(
        fresh, o.route("r", [o.parent("fresh")], [{"backendRefs": [{"name": "fresh", "port": 80}]}])
    )
    assert resource is not None
    assert result.accepted.holds


def test_routes_of_gateways_are_no_business_of_the_mesh() -> None:
    assert _routes(o.route("r", [{"name": "gateway"}], [_RULE])).results == ()


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"backendRefs": [{"name": "gone", "port": 80}, {"name": "web", "port": 80}]}, "BackendNotFound"),
        ({"backendRefs": [{"name": "api", "namespace": "client", "port": 80}]}, "RefNotPermitted"),
        ({"backendRefs": [{"kind": "X", "group": "y", "name": "z"}]}, "InvalidKind"),
    ],
)
def test_backends_that_do_not_resolve_keep_the_route_and_fail_resolved_refs(rule: o.Doc, reason: str) -> None:
    resource, result = _one(o.route("r", [o.parent("web")], [rule]))
    assert resource is not None
    assert resource.invalid is None
    assert resource.http[0].backends[0].invalid is not None
    assert resource.http[0].backends[0].invalid.startswith(reason)
    assert result.accepted.holds
    assert result.resolved_refs is not None
    assert (result.resolved_refs.holds, result.resolved_refs.reason) == (False, reason)
    assert reason in result.problems[0].message


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"filters": [{"type": "RequestMirror", "requestMirror": {}}], **_RULE}, "UnsupportedValue"),
        ({"retry": {"attempts": 3}, **_RULE}, "UnsupportedValue"),
        ({"unknown": 1}, "UnsupportedValue"),
        ({"matches": [{"path": {"type": "RegularExpression", "value": "("}}]}, "UnsupportedValue"),
        (
            {
                "filters": [
                    {"type": "RequestRedirect", "requestRedirect": {}},
                    {"type": "URLRewrite", "urlRewrite": {"hostname": "a"}},
                ]
            },
            "IncompatibleFilters",
        ),
    ],
)
def test_a_broken_route_keeps_its_parents_and_refuses(rule: o.Doc, reason: str) -> None:
    resource, result = _one(o.route("r", [o.parent("web")], [_RULE, rule]))
    assert resource is not None
    assert resource.invalid
    assert resource.parents == (RouteParent(service="shop/web"),)
    assert not any(item.backends or item.filters != Filters() for item in resource.http)
    assert (result.accepted.holds, result.accepted.reason) == (False, reason)


def test_a_broken_route_takes_what_it_would_and_nothing_else() -> None:
    match: o.Doc = {"path": {"type": "Exact", "value": "/a"}}
    resource, _ = _one(o.route("r", [o.parent("web")], [{"matches": [match], "retry": {}, **_RULE}]))
    assert resource is not None
    assert [item.matches for item in resource.http] == [(HttpMatch(path=TextMatch(value="/a")),)]


@pytest.mark.parametrize(
    "rules",
    [
        [{"matches": [{"path": {"value": "no-slash"}}]}, {"matches": [{"path": {"value": "/a"}}]}],
        [{"matches": [{"path": {"value": "/a"}}], "unknown": 1}],
        [{"matches": "all"}],
    ],
)
def test_a_route_whose_matches_cannot_be_trusted_refuses_everything(rules: list[o.Doc]) -> None:
    resource, _ = _one(o.route("r", [o.parent("web")], rules))
    assert resource is not None
    assert resource.invalid
    assert resource.http == ()


def test_tls_routes_are_not_carried_out_yet_and_refuse() -> None:
    resource, result = _one(o.route("r", [o.parent("web")], [_RULE], kind="TLSRoute", hostnames=["a.example"]))
    assert resource is not None
    assert "TLSRoute is not supported yet" in str(resource.invalid)
    assert result.accepted.reason == "UnsupportedValue"


def _parents_of(routes: Routes) -> dict[str, tuple[RouteParent, ...]]:
    return {item.origin: item.parents for item in routes.resources}


def test_of_two_kinds_on_one_port_the_more_specific_is_applied() -> None:
    bodies = [
        o.route("h", [o.parent("web", port=80)], [_RULE]),
        o.route("t", [o.parent("web", port=80)], [_RULE], kind="TCPRoute"),
        o.route("s", [o.parent("web", port=81)], [_RULE], kind="TCPRoute"),
    ]
    for ordered in (bodies, bodies[::-1]):
        routes = _routes(*ordered)
        assert {(item.name, item.parents) for item in routes.resources} == {
            ("h", (RouteParent(service="shop/web", port=80),)),
            ("s", (RouteParent(service="shop/web", port=81),)),
        }
        reasons = {item.name: item.accepted.reason for item in routes.results}
        assert reasons == {"h": "Accepted", "s": "Accepted", "t": "Conflicted"}


def test_grpc_routes_are_not_accepted_and_take_nothing_away_from_others() -> None:
    routes = _routes(
        o.route("g", [o.parent("web", port=80)], [_RULE], kind="GRPCRoute"), o.route("h", [o.parent("web")], [_RULE])
    )
    assert _parents_of(routes) == {"HTTPRoute": (RouteParent(service="shop/web"),)}
    verdicts = {item.kind: item.accepted for item in routes.results}
    assert (verdicts["GRPCRoute"].holds, verdicts["GRPCRoute"].reason) == (False, "UnsupportedValue")
    assert "GRPCRoute is not supported yet" in verdicts["GRPCRoute"].message
    assert [problem.subject for problem in routes.problems] == ["GRPCRoute shop/g"]


def test_producers_and_consumers_do_not_conflict() -> None:
    routes = _routes(
        o.route("h", [o.parent("web")], [_RULE], kind="TCPRoute"),
        o.route("c", [o.parent("web", namespace="shop")], [{}], namespace="client"),
    )
    assert [item.accepted.holds for item in routes.results] == [True, True]


def test_routes_of_one_kind_share_a_port() -> None:
    routes = _routes(o.route("a", [o.parent("web")], [_RULE]), o.route("b", [o.parent("web")], [_RULE]))
    assert len(routes.resources) == 2


def test_http_routes_on_ports_whose_requests_are_not_looked_at_are_not_accepted() -> None:
    resource, result = _one(o.route("r", [o.parent("sql")], [_RULE]))
    assert resource is None
    assert (result.accepted.holds, result.accepted.reason) == (False, "UnsupportedValue")
    assert "spec.parentRefs: HTTPRoute has no effect on port" in result.accepted.message
    assert "declared tcp" in result.problems[0].message
    _, result = _one(o.route("r", [o.parent("sql")], [_RULE], kind="TCPRoute"))
    assert result.problems == ()


def test_a_tcp_route() -> None:
    resource, _ = _one(
        o.route("r", [o.parent("sql")], [{"backendRefs": [{"name": "web", "port": 81}]}], kind="TCPRoute")
    )
    assert resource is not None
    assert resource.tcp[0].backends[0].service == "shop/web"
    assert resource.http == ()


def test_a_broken_grant_grants_nothing() -> None:
    grant: dict[str, Any] = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "ReferenceGrant",
        "metadata": {"name": "g", "namespace": "client"},
        "spec": {
            "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "shop"}],
            "to": [{"group": "", "kind": "Service"}],
        },
    }
    api = o.service("api", 80, namespace="client", addresses=["10.96.0.12"])
    route = o.route("r", [o.parent("web")], [{"backendRefs": [{"name": "api", "namespace": "client", "port": 80}]}])
    resource, _ = _one(api, route, grant)
    assert resource is not None
    assert resource.http[0].backends[0].invalid is None
    grant["spec"]["extra"] = 1
    resource, _ = _one(api, route, grant)
    assert resource is not None
    assert "RefNotPermitted" in str(resource.http[0].backends[0].invalid)
