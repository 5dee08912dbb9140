"""Which nodes have to know which Services, routes and peers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_contract.objects.metadata import Metadata
from weft_contract.resources import Backend, HttpRule, Route, RouteParent, TcpRule, resource_key
from weft_operator.compile import Compiled
from weft_operator.compile.reach import EVERYBODY, Audience, backends, exported_to, is_told, reach, union
from weft_testing import objects as o

SHOP, BILLING = frozenset({"shop"}), frozenset({"billing"})


def _route(
    name: str, parent: str, *lead: str, consumer: str | None = None, invalid: str | None = None, tcp: bool = False
) -> Route:
    ends = tuple(Backend(service=service, port=80, invalid=invalid) for service in lead)
    return Route(
        origin="TCPRoute" if tcp else "HTTPRoute",
        namespace="x",
        name=name,
        parents=(RouteParent(service=parent, consumer_namespace=consumer),),
        http=() if tcp else (HttpRule(backends=ends),),
        tcp=(TcpRule(backends=ends),) if tcp else (),
    )


def _reach(visible: dict[str, Audience], *routes: Route) -> tuple[dict[str, Audience], dict[str, Audience]]:
    found = reach(visible, {resource_key(route): route for route in routes})
    return dict(found.services), {key.rpartition("/")[2]: audience for key, audience in found.routes.items()}


def test_what_routes_lead_to_is_told_to_whoever_takes_them() -> None:
    services, routes = _reach(
        {"shop/web": EVERYBODY},
        _route("a", "shop/web", "legacy/api"),
        _route("b", "shop/web", "legacy/sql", tcp=True),
        _route("c", "shop/web", "gone/x", invalid="why"),
        _route("d", "legacy/other", "legacy/far"),
    )
    assert services == {"shop/web": EVERYBODY, "legacy/api": EVERYBODY, "legacy/sql": EVERYBODY}
    assert set(routes) == {"a", "b", "c"}


@pytest.mark.parametrize("names", [("a", "b", "c"), ("c", "b", "a")])
def test_routes_behind_routes_are_found_in_whatever_order(names: tuple[str, str, str]) -> None:
    first, second, third = names
    services, routes = _reach(
        {"shop/web": SHOP},
        _route(first, "shop/web", "legacy/one"),
        _route(second, "legacy/one", "legacy/two"),
        _route(third, "legacy/two", "shop/web"),
    )
    assert services == {"shop/web": SHOP, "legacy/one": SHOP, "legacy/two": SHOP}
    assert routes == dict.fromkeys(names, SHOP)


def test_a_consumer_route_is_for_its_own_namespace_only() -> None:
    services, routes = _reach({"shop/web": EVERYBODY}, _route("a", "shop/web", "legacy/api", consumer="billing"))
    assert (services["legacy/api"], routes) == (BILLING, {"a": BILLING})
    services, routes = _reach({"shop/web": SHOP}, _route("a", "shop/web", "legacy/api", consumer="billing"))
    assert (services, routes) == ({"shop/web": SHOP}, {})


def test_without_a_mesh_nothing_is_reached() -> None:
    assert _reach({}, _route("a", "shop/web", "legacy/api")) == ({}, {})


def test_nodes_without_members_are_told_of_nothing() -> None:
    assert not is_told(EVERYBODY, [])
    assert is_told(EVERYBODY, ["x"])
    assert is_told(SHOP, ["x", "shop"])
    assert not is_told(SHOP, ["x"])


def test_the_annotation_of_a_service_comes_before_its_namespaces() -> None:
    def asked(value: str | None, default: Audience) -> Audience:
        annotations = {} if value is None else {"weft.dev/exportTo": value}
        return exported_to(Metadata(name="web", namespace="shop", annotations=annotations), default)

    assert asked(None, BILLING) == BILLING
    assert asked(".", EVERYBODY) == SHOP
    assert asked("billing", EVERYBODY) == SHOP | BILLING
    assert asked("*", BILLING) is EVERYBODY
    assert asked("Not A Namespace", BILLING) == BILLING, "counts as absent, and is reported"
    namespace = Metadata(name="shop", annotations={"weft.dev/exportTo": "."})
    assert exported_to(namespace) == SHOP


_NAMES = st.sampled_from(["a/1", "a/2", "b/1", "c/1", "c/2"])
_AUDIENCES = st.one_of(st.none(), st.frozensets(st.sampled_from(["a", "b", "c"]), min_size=1))
_ROUTES = st.lists(
    st.tuples(_NAMES, st.lists(_NAMES, max_size=2), st.one_of(st.none(), st.sampled_from(["a", "b"]))), max_size=6
)


@given(st.dictionaries(_NAMES, _AUDIENCES, max_size=3), _ROUTES)
def test_whoever_may_take_a_route_knows_its_backends_and_nobody_else_is_told_more(
    visible: dict[str, Audience], drawn: list[tuple[str, list[str], str | None]]
) -> None:
    routes = {
        f"r{number}": _route(f"r{number}", parent, *lead, consumer=consumer)
        for number, (parent, lead, consumer) in enumerate(drawn)
    }
    found = reach(visible, routes)
    expected: dict[str, Audience] = dict(visible)
    for _ in range(len(routes) + 1):  # every namespace apart, until nothing is new
        for route in routes.values():
            callers = expected.get(route.parents[0].service, frozenset())
            consumer = route.parents[0].consumer_namespace
            if consumer is not None:
                callers = frozenset({consumer}) if callers is None or consumer in callers else frozenset()
            for backend in backends(route):
                expected[backend] = union(expected.get(backend, frozenset()), callers)
    assert dict(found.services) == {key: audience for key, audience in expected.items() if audience != frozenset()}


# -- in documents ----------------------------------------------------------------------------------------------------


def _keys(compiled: Compiled, node: str) -> set[str]:
    return {entry.key for entry in compiled.nodes[node].resources}


def _cluster(exported: str, **services: str) -> Compiled:
    """Two namespaces in the mesh, a node for each; `shop` has the annotation."""
    shop = o.namespace("shop")
    metadata = shop["metadata"]
    assert isinstance(metadata, dict)
    metadata["annotations"] = {"weft.dev/exportTo": exported} if exported else {}
    bodies = [shop, o.namespace("billing"), *(o.node(name, "172.16.0.1") for name in ("n1", "n2", "idle"))]
    bodies += [o.pod("web", "10.0.0.1"), o.pod("bill", "10.0.1.1", namespace="billing", node="n2")]
    bodies += [o.pod("loose", "10.0.0.9", labels={})]
    for name in ("web", "hidden"):
        annotations = {"weft.dev/exportTo": services[name]} if name in services else {}
        bodies.append(o.service(name, 80, annotations=annotations, selector={"app": "web"}))
    return o.compiled(*bodies, bundles={"cluster.local": ["root"]})


def test_without_annotations_nodes_with_members_know_all() -> None:
    compiled = _cluster("")
    everything = {"Service/shop/web", "Endpoints/shop/web:80", "Service/shop/hidden", "Peers/shop", "Peers/billing"}
    assert everything <= _keys(compiled, "n1")
    assert everything <= _keys(compiled, "n2")
    assert _keys(compiled, "idle") == {"Node/idle", "Telemetry/default", "TrustBundle/cluster.local"}


def test_a_namespace_that_keeps_to_itself_is_unknown_elsewhere() -> None:
    compiled = _cluster(".")
    assert {"Service/shop/web", "Endpoints/shop/web:80", "Peers/shop", "Peers/billing"} <= _keys(compiled, "n1")
    told = {key for key in _keys(compiled, "n2") if "shop" in key}
    assert told == set()


def test_pods_of_a_hidden_service_are_known_as_peers() -> None:
    compiled = _cluster("", web=".", hidden=".")
    assert "Service/shop/web" not in _keys(compiled, "n2")
    (peers,) = [entry.spec for entry in compiled.nodes["n2"].resources if entry.key == "Peers/shop"]
    assert [item.address for item in getattr(peers, "endpoints")] == ["10.0.0.1", "10.0.0.9"]  # noqa: B009 - a union
    compiled = _cluster("", hidden=".")
    (peers,) = [entry.spec for entry in compiled.nodes["n2"].resources if entry.key == "Peers/shop"]
    assert [item.address for item in getattr(peers, "endpoints")] == ["10.0.0.9"]  # noqa: B009 - a union


def test_a_service_may_be_exported_out_of_a_namespace_that_keeps_to_itself() -> None:
    compiled = _cluster(".", web="billing")
    assert {key for key in _keys(compiled, "n2") if "shop" in key} == {"Service/shop/web", "Endpoints/shop/web:80"}


def test_an_annotation_that_is_none_is_a_problem_and_hides_nothing() -> None:
    compiled = _cluster("", web="Shop!")
    assert "Service/shop/web" in _keys(compiled, "n2")
    assert any("is not a namespace" in problem.message for problem in compiled.problems)
