"""Which Services a node has to know."""

from weft_contract.resources import Backend, HttpRule, Route, RouteParent, TcpRule
from weft_operator.compile.reach import reachable_routes, reachable_services


def _route(name: str, parent: str, *rules: HttpRule, tcp: tuple[TcpRule, ...] = ()) -> Route:
    return Route(
        origin="HTTPRoute", namespace="x", name=name, parents=(RouteParent(service=parent),), http=rules, tcp=tcp
    )


def test_services_of_the_meshs_namespaces_and_what_their_routes_lead_to() -> None:
    lead = HttpRule(backends=(Backend(service="legacy/api", port=80), Backend(service="gone/x", port=1, invalid="why")))
    stream = TcpRule(backends=(Backend(service="legacy/sql", port=1),))
    routes = [_route("a", "shop/web", lead, tcp=(stream,)), _route("b", "legacy/other", lead)]
    keys = ["shop/web", "shop/db", "legacy/api", "legacy/sql", "legacy/other"]
    reached = reachable_services(keys, frozenset({"shop"}), routes)
    assert reached == {"shop/web", "shop/db", "legacy/api", "legacy/sql"}
    assert [route.name for route in reachable_routes(routes, reached)] == ["a"]


def test_without_a_mesh_nothing_is_reached() -> None:
    assert reachable_services(["shop/web"], frozenset(), []) == frozenset()
