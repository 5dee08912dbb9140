"""Snapshots: incremental equals whole, the last good version stays, one bad resource harms no other."""

import time

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft_contract.resources import (
    Backend,
    InboundPort,
    Node,
    RateLimitPolicy,
    Resource,
    RouteParent,
    Telemetry,
    resource_key,
)
from weft_core.decision import Allowed, Decision, Denied
from weft_core.errors import InvalidBackendError, NoEndpointsError
from weft_core.facts import ConnectionFacts
from weft_core.routing import Forward, Refused
from weft_core.snapshot import Snapshot, SnapshotBuilder, WorkloadTable
from weft_testing.decisions import facts, identity, policy, rate, request, rule, source, to
from weft_testing.node_resources import BUNDLE, NODE, large, members, workload
from weft_testing.routes import endpoint, endpoints, http_route, leads, match, service, tcp_route

replace = msgspec.structs.replace

WEB = workload("web", "10.1.0.5", "fd00::5", policies=("shop/p",))
ALLOW = policy("ALLOW", rule(to("/a")))
SERVICE = service("web", "10.96.0.1")
ROUTE = http_route(leads(match("/a"), to="shop/v1"))
ALL: tuple[Resource, ...] = (NODE, BUNDLE, WEB, ALLOW, SERVICE, endpoints("web", endpoint("10.1.0.5")), ROUTE)


def built(*resources: Resource) -> SnapshotBuilder:
    builder = SnapshotBuilder()
    _, refusals = builder.apply(resources, whole=True)
    assert refusals == []
    return builder


def table(snapshot: Snapshot, key: str = "shop/web") -> WorkloadTable:
    found = snapshot.workload(key)
    assert found is not None
    return found


def decide(snapshot: Snapshot, line: str = "GET /a", connection: ConnectionFacts | None = None) -> Decision:
    admitted = table(snapshot).policy.admit(connection or facts(identity()))
    return admitted if isinstance(admitted, Denied) else admitted.request(request(line))


def routed(snapshot: Snapshot, line: str = "GET /a", namespace: str = "shop") -> object:
    outcome = snapshot.router("shop/web", 80, namespace).route(request(line), 0)
    return outcome.service if isinstance(outcome, Forward) else outcome


# -- what a snapshot holds ----------------------------------------------------------------------------------------


def test_everything_is_where_it_should_be() -> None:
    snapshot = built(*ALL, Telemetry(access_log="all")).snapshot
    assert (snapshot.generation, snapshot.node, snapshot.telemetry.access_log) == (1, NODE, "all")
    assert snapshot.bundles == {"cluster.local": BUNDLE}
    assert snapshot.local("10.1.0.5") is snapshot.local("fd00::5") is snapshot.workload("shop/web")
    assert snapshot.local("10.1.0.6") is None
    assert table(snapshot).identity.service_account == "web"
    assert snapshot.services.lookup("10.96.0.1", 80) is snapshot.services.backend("shop/web", 80)
    assert isinstance(decide(snapshot), Allowed)
    assert isinstance(decide(snapshot, "GET /b"), Denied)
    assert routed(snapshot) == "shop/v1"
    assert list(snapshot.each_workload()) == [table(snapshot)]
    assert set(snapshot.resources) == {resource_key(item) for item in (*ALL, Telemetry())}


def test_without_configuration_nothing_is_known() -> None:
    snapshot = SnapshotBuilder().snapshot
    assert (snapshot.generation, snapshot.node.name) == (0, "")
    assert snapshot.local("10.1.0.5") is None
    assert snapshot.services.lookup("10.96.0.1", 80) is None


def test_protocols_of_ports() -> None:
    ports = (InboundPort(port=80, protocol="http", services=("shop/web",)), InboundPort(port=90))
    found = table(built(NODE, replace(WEB, policies=(), ports=ports)).snapshot)
    assert [found.protocol(port) for port in (80, 90, 100)] == ["http", "auto", "auto"]
    assert [found.services(port) for port in (80, 100)] == [("shop/web",), ()]


def test_the_generation_can_be_given() -> None:
    builder = SnapshotBuilder()
    assert builder.apply(ALL, whole=True, generation=41)[0].generation == 41
    assert builder.apply((), ())[0].generation == 42


def test_an_address_of_two_pods_is_nobodys() -> None:
    snapshot = built(NODE, workload("old", "10.1.0.5"), workload("new", "10.1.0.5", "10.1.0.6")).snapshot
    assert snapshot.local("10.1.0.5") is None
    assert snapshot.local("10.1.0.6") is snapshot.workload("shop/new")
    assert built(NODE, workload("one", "10.1.0.5", "10.1.0.5")).snapshot.local("10.1.0.5") is not None


# -- changes ------------------------------------------------------------------------------------------------------


def test_unchanged_tables_are_the_same_objects() -> None:
    builder = built(*ALL, workload("other", "10.1.0.7"))
    before = builder.snapshot
    router = before.router("shop/web", 80, "shop")
    after, _ = builder.apply([endpoints("web", endpoint("10.1.0.5"), endpoint("10.1.0.6"))])
    assert after is not before
    assert table(after) is table(before)
    assert after.router("shop/web", 80, "shop") is router
    again, _ = builder.apply([ALLOW, WEB, SERVICE, ROUTE])
    assert table(again) is table(before)
    assert again.services is after.services
    changed, _ = builder.apply([policy("ALLOW", rule(to("/b")))])
    assert table(changed) is not table(before)
    assert table(changed, "shop/other") is table(before, "shop/other")
    assert changed.router("shop/web", 80, "shop") is router


def test_a_policy_change_reaches_the_pods_that_list_it() -> None:
    builder = built(*ALL)
    snapshot, _ = builder.apply([policy("ALLOW", rule(to("/b")))])
    assert isinstance(decide(snapshot, "GET /b"), Allowed)
    assert isinstance(decide(snapshot, "GET /a"), Denied)


def test_a_policy_that_is_removed_but_listed_denies() -> None:
    builder = built(*ALL)
    snapshot, _ = builder.apply([], ["AuthorizationPolicy/shop/p"])
    decision = decide(snapshot)
    assert isinstance(decision, Denied)
    assert decision.reason == "policy_invalid"
    snapshot, _ = builder.apply([replace(WEB, policies=())])
    assert isinstance(decide(snapshot, "GET /b"), Allowed)


def test_limits_reach_pods_too() -> None:
    limited = replace(WEB, policies=(), rate_limits=("shop/l",))
    builder = built(NODE, limited, RateLimitPolicy(namespace="shop", name="l", total=rate(1, 1)))
    decision = decide(builder.snapshot)
    assert isinstance(decision, Allowed)
    assert decision.limits[0].limit.burst == 1
    snapshot, _ = builder.apply([RateLimitPolicy(namespace="shop", name="l", total=rate(1, 9))])
    decision = decide(snapshot)
    assert isinstance(decision, Allowed)
    assert decision.limits[0].limit.burst == 9
    assert decision.limits[0].key == "limit/shop/l#total@*"


def test_a_new_trust_domain_of_the_node_reaches_every_pod() -> None:
    builder = built(*ALL[:3], policy("ALLOW", rule(source(namespaces=("shop",)))))
    assert isinstance(decide(builder.snapshot), Allowed)
    snapshot, _ = builder.apply([replace(NODE, trust_domain="other.example")])
    assert isinstance(decide(snapshot), Denied)


def test_a_route_change_reaches_old_and_new_parents() -> None:
    builder = built(*ALL, service("db", "10.96.0.2"))
    assert routed(builder.snapshot) == "shop/v1"
    moved = replace(ROUTE, parents=(RouteParent(service="shop/db"),))
    snapshot, _ = builder.apply([moved])
    assert routed(snapshot) == "shop/web"
    outcome = snapshot.router("shop/db", 80, "shop").route(request("GET /a"), 0)
    assert isinstance(outcome, Forward)
    assert outcome.service == "shop/v1"
    assert routed(builder.apply([ROUTE])[0]) == "shop/v1"
    assert routed(builder.apply([], [resource_key(ROUTE)])[0]) == "shop/web"


def test_a_service_says_how_long_requests_without_a_route_may_last() -> None:
    patient = replace(SERVICE, request_timeout_s=3.0, backend_timeout_s=1.0)
    builder = built(NODE, WEB, ALLOW, SERVICE)
    before = builder.snapshot.router("shop/web", 80, "shop").route(request("GET /a"), 0)
    builder.apply([patient])
    after = builder.snapshot.router("shop/web", 80, "shop").route(request("GET /a"), 0)
    assert isinstance(before, Forward)
    assert isinstance(after, Forward)
    assert (before.request_timeout_s, before.backend_timeout_s) == (None, None)
    assert (after.request_timeout_s, after.backend_timeout_s) == (3.0, 1.0)
    builder.apply([ROUTE])
    routed_by = builder.snapshot.router("shop/web", 80, "shop").route(request("GET /a"), 0)
    assert isinstance(routed_by, Forward)
    assert (routed_by.route, routed_by.request_timeout_s) == ("HTTPRoute/shop/r", None), "a route's own timeouts hold"


def test_consumer_namespaces_have_routers_of_their_own_only_where_they_have_routes() -> None:
    mine = RouteParent(service="shop/web", consumer_namespace="client")
    consumer = http_route(leads(to="shop/mine"), name="c", namespace="client", parents=(mine,))
    builder = built(*ALL, consumer)
    snapshot = builder.snapshot
    assert routed(snapshot, namespace="client") == "shop/mine"
    assert routed(snapshot, namespace="shop") == "shop/v1"
    assert snapshot.router("shop/web", 80, "a") is snapshot.router("shop/web", 80, "b")
    snapshot, _ = builder.apply([], [resource_key(consumer)])
    assert routed(snapshot, namespace="client") == "shop/v1"


def test_tcp_routers() -> None:
    tcp = tcp_route(Backend(service="shop/v2", port=1), parents=(RouteParent(service="shop/db"),))
    builder = built(*ALL, tcp)
    router = builder.snapshot.tcp_router("shop/db", 5432, "any")
    assert router.route(0) == Forward("shop/v2", 1, "TCPRoute/shop/t", "rules[0]")
    assert builder.snapshot.tcp_router("shop/db", 5432, "other") is router
    assert builder.snapshot.tcp_router("shop/web", 80, "shop").route(0) == Forward("shop/web", 80)


def test_a_removed_workload_is_unknown() -> None:
    snapshot, _ = built(*ALL).apply([], ["Workload/shop/web"])
    assert snapshot.workload("shop/web") is None
    assert snapshot.local("10.1.0.5") is None


def test_whole_means_that_the_rest_is_gone() -> None:
    builder = built(*ALL)
    snapshot, refusals = builder.apply([NODE, SERVICE], whole=True)
    assert refusals == []
    assert set(snapshot.resources) == {"Node/n1", "Service/shop/web"}
    assert snapshot.bundles == {}
    assert snapshot.workload("shop/web") is None
    assert routed(snapshot) == "shop/web"


def test_what_is_removed_and_upserted_stays_and_unknown_removals_are_nothing() -> None:
    builder = built(*ALL)
    snapshot, refusals = builder.apply([SERVICE], ["Service/shop/web", "Service/shop/never"])
    assert refusals == []
    assert snapshot.services.lookup("10.96.0.1", 80) is not None


def test_telemetry_falls_back_to_its_defaults() -> None:
    builder = built(*ALL, Telemetry(access_log="all"))
    snapshot, _ = builder.apply([], ["Telemetry/default"])
    assert snapshot.telemetry == Telemetry()


# -- shares of backends -------------------------------------------------------------------------------------------


def test_an_empty_or_missing_backend_refuses_its_share_alone() -> None:
    shared = leads(
        to=(
            Backend(service="shop/web", port=80, weight=1),
            Backend(service="shop/empty", port=80, weight=1),
            Backend(service="shop/gone", port=80, weight=2),
        )
    )
    snapshot = built(*ALL[:-1], service("empty", "10.96.0.9"), http_route(shared)).snapshot
    kinds = []
    for quarter in range(4):
        outcome = snapshot.router("shop/web", 80, "shop").route(request(), quarter << 30)
        assert isinstance(outcome, Forward)
        found = snapshot.backend(outcome)
        kinds.append(found.kind if isinstance(found, Refused) else found.key)
    assert kinds == ["shop/web", NoEndpointsError, InvalidBackendError, InvalidBackendError]
    refused = snapshot.backend(Forward("shop/empty", 80, "HTTPRoute/shop/r", "rules[0]"))
    assert isinstance(refused, Refused)
    assert (refused.error.http_status, refused.route) == (503, "HTTPRoute/shop/r")


# -- last good ----------------------------------------------------------------------------------------------------

BROKEN: list[tuple[Resource, Resource, str]] = [
    (ALLOW, policy("ALLOW", rule(source(blocks=("nonsense",)))), "neither CIDR nor address"),
    (
        RateLimitPolicy(namespace="shop", name="l", total=rate(1, 1)),
        RateLimitPolicy(namespace="shop", name="l", total=rate(-1, 1)),
        "not above 0",
    ),
    (ROUTE, http_route(leads(match("~("), to="shop/v1")), "is not RE2"),
    (SERVICE, service("web", "nonsense"), "is not an IP address"),
    (
        endpoints("web", endpoint("10.1.0.5")),
        endpoints("web", replace(endpoint("10.1.0.5"), identity="x")),
        "does not begin with spiffe://",
    ),
    (WEB, replace(WEB, identity="spiffe://cluster.local/ns/Shop/sa/web"), "not an RFC 1123 label"),
    (WEB, replace(WEB, addresses=("nonsense",)), "is not an IP address"),
    (NODE, replace(NODE, trust_domain="Cluster"), "must be 1-255 characters"),
    (BUNDLE, replace(BUNDLE, roots=()), "trusts nobody"),
    (Telemetry(), Telemetry(access_log_sampling_percent=101.0), "is not a percentage"),
]


@pytest.mark.parametrize(
    ("good", "bad", "why"), BROKEN, ids=[f"{type(b[0]).__name__}-{i}" for i, b in enumerate(BROKEN)]
)
@pytest.mark.parametrize("whole", [True, False])
def test_the_last_good_version_stays_and_the_rest_goes_on(good: Resource, bad: Resource, why: str, whole: bool) -> None:
    key = resource_key(good)
    rest = {resource_key(item): item for item in ALL if resource_key(item) != key}
    builder = built(*rest.values(), good)
    before = builder.snapshot
    news = service("news", "10.96.0.77")
    snapshot, refusals = builder.apply([*(rest.values() if whole else ()), bad, news], whole=whole)
    assert [refused for refused, _ in refusals] == [key]
    assert why in refusals[0][1]
    assert snapshot.resources[key] == good
    assert snapshot.services.lookup("10.96.0.77", 80) is not None, "one bad resource harms no other"
    assert (snapshot.node, snapshot.bundles) == (before.node, before.bundles)
    assert isinstance(decide(snapshot), Allowed)
    better, refusals = builder.apply([good])
    assert refusals == []
    assert better.resources[key] == good


def test_a_policy_without_a_good_version_refuses() -> None:
    builder = SnapshotBuilder()
    snapshot, refusals = builder.apply([NODE, WEB, policy("ALLOW", rule(source(blocks=("x",))))], whole=True)
    assert [key for key, _ in refusals] == ["AuthorizationPolicy/shop/p"]
    decision = decide(snapshot)
    assert isinstance(decision, Denied)
    assert decision.reason == "policy_invalid"
    assert "neither CIDR nor address" in decision.message
    again, refusals = builder.apply([policy("ALLOW", rule(source(blocks=("x",))))])
    assert len(refusals) == 1, "it is said each time"
    assert isinstance(decide(again), Denied)
    assert isinstance(decide(builder.apply([ALLOW])[0]), Allowed)


def test_a_route_without_a_good_version_refuses() -> None:
    snapshot, refusals = SnapshotBuilder().apply([NODE, SERVICE, http_route(leads(match("~(")))], whole=True)
    assert [key for key, _ in refusals] == ["Route/httproute/shop/r"]
    outcome = routed(snapshot)
    assert isinstance(outcome, Refused)
    assert "is not RE2" in outcome.message


def test_a_workload_without_a_good_version_is_not_known() -> None:
    snapshot, refusals = SnapshotBuilder().apply([NODE, replace(WEB, identity="x")], whole=True)
    assert len(refusals) == 1
    assert snapshot.workload("shop/web") is None


def test_an_invalid_policy_is_taken_over_and_denies() -> None:
    snapshot, refusals = built(*ALL).apply([policy("ALLOW", invalid="unknown field")])
    assert refusals == []
    assert isinstance(decide(snapshot), Denied)


def test_there_is_one_node() -> None:
    builder = built(*ALL)
    snapshot, refusals = builder.apply([Node(name="n0", trust_domain="evil.example")])
    assert refusals == [("Node/n0", "there is a Node already: Node/n1")]
    assert snapshot.node == NODE
    snapshot, refusals = builder.apply([], ["Node/n1"])
    assert refusals == [("Node/n1", "the Node is gone; the last one stays in force")]
    assert snapshot.node == NODE
    assert snapshot.workload("shop/web") is not None
    renamed = Node(name="n2", trust_domain="cluster.local")
    snapshot, refusals = builder.apply([renamed], ["Node/n1"])
    assert refusals == []
    assert snapshot.node == renamed
    snapshot, refusals = builder.apply([SERVICE], whole=True)
    assert (snapshot.node, len(refusals)) == (renamed, 1)


def test_pods_wait_for_the_node() -> None:
    builder = SnapshotBuilder()
    snapshot, _ = builder.apply([WEB, ALLOW])
    assert snapshot.local("10.1.0.5") is None
    snapshot, _ = builder.apply([NODE])
    assert snapshot.local("10.1.0.5") is not None


def test_a_failure_inside_leaves_the_builder_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    builder = built(*ALL)
    before = builder.snapshot

    def broken(*_: object) -> object:
        raise RuntimeError("a bug of ours")

    with monkeypatch.context() as patch:
        patch.setattr("weft_core.snapshot.builder.change_services", broken)
        with pytest.raises(RuntimeError):
            builder.apply([service("web", "10.96.0.2"), policy("ALLOW", rule(to("/z")))])
    assert builder.snapshot is before
    snapshot, _ = builder.apply([])
    assert isinstance(decide(snapshot), Allowed)
    assert snapshot.services.lookup("10.96.0.2", 80) is None


# -- the law: however it came, the state is the same ---------------------------------------------------------------


def world() -> list[Resource]:
    consumer = RouteParent(service="shop/web", consumer_namespace="shop")
    resources: list[Resource] = [
        NODE, replace(NODE, addresses=("192.168.0.9",)), BUNDLE, WEB, replace(WEB, policies=("shop/p", "shop/q")),
        workload("other", "10.1.0.5"), workload("other", "10.1.0.8", policies=("shop/q",)),
        ALLOW, policy("ALLOW", rule()), policy("ALLOW", rule(source(blocks=("x",)))), policy("DENY", rule(to("/a")), name="q"),
        SERVICE, service("web", "10.96.0.2", ports=(80, 81)), service("web", "bad"), service("db", "10.96.0.1"),
        endpoints("web", endpoint("10.1.0.5")), endpoints("web", endpoint("10.1.0.6", account="web")),
        ROUTE, http_route(leads(to="shop/v2")), http_route(leads(match("~("))),
        http_route(leads(to="shop/c"), parents=(consumer,)),
        http_route(leads(match("/a/b"), to="shop/v3"), name="s", created=5.0),
    ]  # fmt: skip
    return resources


steps = st.lists(
    st.tuples(st.lists(st.sampled_from(world()), max_size=4), st.lists(st.sampled_from(world()), max_size=2)),
    max_size=6,
)


def observed(snapshot: Snapshot) -> object:
    """What traffic would see."""
    decisions: list[str] = []
    for key in ("shop/web", "shop/other"):
        pod = snapshot.workload(key)
        if pod is not None:
            admitted = pod.policy.admit(facts(identity()))
            assert not isinstance(admitted, Denied)
            decisions += [type(admitted.request(request(line))).__name__ for line in ("GET /a", "GET /b")]
    routes = [
        (outcome.service, outcome.route) if isinstance(outcome, Forward) else type(outcome).__name__
        for namespace in ("shop", "client")
        for line in ("GET /a", "GET /a/b", "GET /b")
        for outcome in [snapshot.router("shop/web", 80, namespace).route(request(line), 0)]
    ]
    addresses = ["10.96.0.1", "10.96.0.2", "10.1.0.5", "10.1.0.8"]
    local = [getattr(snapshot.local(address), "key", None) for address in addresses]
    found = [
        (type(e).__name__, getattr(e, "endpoints", None)) for e in (snapshot.services.lookup(a, 80) for a in addresses)
    ]
    pods = [snapshot.services.endpoint_at(address, 8080) is not None for address in addresses]
    return decisions, routes, local, found, pods, snapshot.node, dict(snapshot.bundles)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_step_by_step_leads_where_the_whole_leads(batches: list[tuple[list[Resource], list[Resource]]]) -> None:
    builder = SnapshotBuilder()
    snapshot = builder.snapshot
    for upserts, removes in batches:
        snapshot, _ = builder.apply(upserts, [resource_key(item) for item in removes])
        observed(snapshot)  # fills every memory, so that a stale one would show later
    fresh, refusals = SnapshotBuilder().apply(snapshot.resources.values(), whole=True)
    assert refusals == [], "what is in force can always be taken over"
    assert observed(snapshot) == observed(fresh)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(world()), max_size=8), st.randoms(use_true_random=False))
def test_apply_never_raises_and_order_does_not_matter(resources: list[Resource], rng: object) -> None:
    unique = list({resource_key(item): item for item in resources}.values())
    one, refusals = SnapshotBuilder().apply(unique, whole=True)
    rng.shuffle(unique)  # type: ignore[attr-defined] # hypothesis types its Random as object
    other, again = SnapshotBuilder().apply(unique, whole=True)
    assert observed(one) == observed(other)
    assert sorted(refusals) == sorted(again)


# -- size ---------------------------------------------------------------------------------------------------------


def test_five_thousand_services_are_taken_over_fast_and_changed_faster() -> None:
    resources = large()
    builder = SnapshotBuilder()
    start = time.process_time()
    snapshot, refusals = builder.apply(resources, whole=True)
    whole_s = time.process_time() - start
    assert refusals == []
    assert len(snapshot.services.services) == 5000
    spent = []
    for index in range(5):
        start = time.process_time()
        builder.apply([members(index, 3)])
        spent.append(time.process_time() - start)
    assert whole_s <= 2.0, f"{whole_s:.2f} s of CPU from nothing"
    assert min(spent) <= 0.005, f"{min(spent) * 1000:.1f} ms of CPU for one change"
