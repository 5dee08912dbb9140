"""The live compiler equals compiling from nothing, whatever happened before; and it does little where little changed."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weft_operator.compile.view import ObjectKey
from weft_testing import objects as o
from weft_testing.live import Twin, held

_HTTP: o.Doc = {"containerPort": 8080, "name": "http"}


def _namespace(name: str, mesh: str | None, exported: str = "") -> o.Doc:
    body = o.namespace(name, mesh=mesh)
    metadata = body["metadata"]
    assert isinstance(metadata, dict)
    metadata["annotations"] = {"weft.dev/exportTo": exported} if exported else {}
    return body


def _endpoint(address: str, node: str = "n1", **conditions: bool) -> o.Doc:
    return {"addresses": [address], "nodeName": node, "conditions": conditions or {"ready": True}}


def _rule(*namespaces: str, path: str = "") -> o.Doc:
    to = [{"operation": {"paths": [path]}}] if path else []
    return {"from": [{"source": {"namespaces": list(namespaces)}}], **({"to": to} if to else {})}


def _grant(to: str) -> o.Doc:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "ReferenceGrant",
        "metadata": {"name": "g", "namespace": "old"},
        "spec": {
            "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "shop"}],
            "to": [{"group": "", "kind": to}],
        },
    }


_PORTS: list[o.Doc] = [{"name": "http", "port": 8080}]
_LEGACY: list[o.Doc] = [{"backendRefs": [{"name": "legacy", "namespace": "old", "port": 80}]}]

# Every object with the shapes it may take; each list is one object.
VARIANTS: list[list[o.Doc]] = [
    [o.namespace("shop"), _namespace("shop", "enabled", "."), o.namespace("shop", mesh=None)],
    [o.namespace("other"), o.namespace("other", mesh="disabled"), _namespace("other", "enabled", "shop")],
    [o.namespace("old", mesh=None), o.namespace("old")],
    [o.namespace("weft-system")],
    [o.node("n1", "172.16.0.1", zone="z1"), o.node("n1", "172.16.0.1", zone="z2")],
    [o.node("n2", "172.16.0.2")],
    [
        o.pod("web", "10.0.0.1", ports=[_HTTP]),
        o.pod("web", "10.0.0.1", ports=[_HTTP], ready=False),
        o.pod("web", "10.0.0.9", ports=[_HTTP], node="n2"),
        o.pod("web", "10.0.0.1", ports=[_HTTP], labels={"app": "db", "tier": "back"}),
        o.pod("web", "10.0.0.1", annotations={"weft.dev/excludeInboundPorts": "8080"}, ports=[_HTTP]),
        o.pod("web", "10.0.0.1", spec={"hostNetwork": True}),
        o.pod("web", node="n1"),
    ],
    [
        o.pod("db", "10.0.0.2", node="n2", account="db"),
        o.pod("db", "10.0.0.1", node="n2", account="db"),  # claims what web may have
        o.pod("db", "10.0.0.2", node="n3", labels={"app": "db", "weft.dev/mesh": "disabled"}),
    ],
    [
        o.pod("api", "10.0.1.1", namespace="other", node="n2", account="api"),
        o.pod("api", "10.0.1.1", namespace="other"),
    ],
    [o.pod("legacy", "10.0.2.1", namespace="old", node="n1")],
    [o.pod("sys", "10.0.3.1", namespace="weft-system", node="n2")],
    [
        o.service("web", {"port": 80, "targetPort": "http", "name": "http"}),
        o.service("web", {"port": 80, "targetPort": "http", "name": "tcp"}, {"port": 81, "name": "http"}),
        o.service("web", {"port": 80, "name": "http"}, annotations={"weft.dev/exportTo": "other"}),
        o.service("web", {"port": 80, "name": "http"}, addresses=[]),
        o.service("web", {"port": 80, "name": "http"}, annotations={"ratelimit.weft.dev/requestsPerSecond": "3"}),
        o.service(
            "web",
            {"port": 80, "targetPort": "http", "name": "http"},
            annotations={"ratelimit.weft.dev/requestsPerSecond": "4", "ratelimit.weft.dev/burst": "9"},
        ),
        o.service("web", {"port": 80}, spec={"type": "ExternalName"}),
    ],
    [
        o.service("db", {"port": 5432, "name": "tcp"}, addresses=["10.96.0.11"]),
        o.service("db", {"port": 5432, "name": "mysql"}, selector={"tier": "back"}, addresses=["10.96.0.11"]),
    ],
    [o.service("api", 80, namespace="other", addresses=["10.96.0.12"])],
    [o.service("legacy", 80, namespace="old", addresses=["10.96.0.13"])],
    [
        o.endpoint_slice("web", [_endpoint("10.0.0.1")], _PORTS),
        o.endpoint_slice("web", [_endpoint("10.0.0.1"), _endpoint("10.0.0.2", "n2"), _endpoint("10.9.9.9")], _PORTS),
        o.endpoint_slice("web", [_endpoint("10.0.0.1", ready=False)], _PORTS),
        o.endpoint_slice("api", [_endpoint("10.0.1.1")], _PORTS, namespace="shop", name="web-abc"),
    ],
    [o.endpoint_slice("api", [_endpoint("10.0.0.2"), _endpoint("10.0.1.1")], _PORTS, namespace="other")],
    [
        o.policy("AuthorizationPolicy", "a", {"rules": [_rule("other", path="/x")]}),
        o.policy("AuthorizationPolicy", "a", {"selector": {"matchLabels": {"app": "db"}}, "rules": [_rule("x")]}),
        o.policy("AuthorizationPolicy", "a", {"rules": 3}),
        o.policy("AuthorizationPolicy", "a", {"targetRefs": [{"kind": "Service", "name": "web"}], "rules": [{}]}),
        o.policy(
            "AuthorizationPolicy",
            "a",
            {
                "targetRefs": [{"kind": "Service", "name": "web", "sectionName": "http"}],
                "selector": {"matchLabels": {"app": "db"}},
            },
        ),
    ],
    [
        o.policy("AuthorizationPolicy", "all", {"rules": [_rule("x", path="/y")]}, namespace="weft-system"),
        o.policy(
            "AuthorizationPolicy",
            "all",
            {"selector": {"matchLabels": {"app": "api"}}, "rules": [{"from": [{"source": {"principals": ["b.c/x"]}}]}]},
            namespace="weft-system",
        ),
    ],
    [
        o.policy("RateLimitPolicy", "r", {"total": {"requestsPerSecond": 3}}),
        o.policy(
            "RateLimitPolicy",
            "r",
            {"targetRefs": [{"kind": "Service", "name": "db"}], "total": {"requestsPerSecond": 9}},
        ),
    ],
    [
        o.policy("PeerAuthentication", "x", {"mtls": {"mode": "STRICT"}}),
        o.policy("PeerAuthentication", "x", {"selector": {"matchLabels": {"app": "web"}}, "mtls": {"mode": "DISABLE"}}),
        o.policy("PeerAuthentication", "x", {"mtls": {"mode": "no"}}),
    ],
    [
        o.policy("PeerAuthentication", "y", {"mtls": {"mode": "DISABLE"}}),
        o.policy("PeerAuthentication", "y", {"selector": {"matchLabels": {"app": "web", "version": "2"}}}),
    ],
    [o.policy("PeerAuthentication", "root", {"mtls": {"mode": "STRICT"}}, namespace="weft-system")],
    [
        o.route("r", [o.parent("web")], _LEGACY),
        o.route("r", [o.parent("web"), o.parent("db")], [{"backendRefs": [{"name": "db", "port": 5432}]}]),
        o.route("r", [o.parent("web", port=80)], [{"retry": {}}]),
        o.route("r", [o.parent("gone")], [{}]),
        o.route("r", [o.parent("x", kind="Gateway", group="gateway.networking.k8s.io")], [{}]),
    ],
    [o.route("s", [o.parent("web", namespace="shop")], [{}], namespace="other")],
    [
        o.backend_traffic("t", "web", "db", retryConstraint={}),
        o.backend_traffic("t", "web"),
        o.backend_traffic("t", "gone", sessionPersistence={}),
        o.backend_traffic("t", "web", future=1),
    ],
    [o.backend_traffic("u", "legacy", namespace="old", retryConstraint={})],
    [
        o.route("g", [o.parent("web", port=80)], [{}], kind="GRPCRoute"),
        o.route("g", [o.parent("legacy", namespace="old")], [{}], kind="GRPCRoute"),
    ],
    [_grant("Service"), _grant("Secret")],
    [
        o.policy("Mesh", "default", {"trustDomain": "a.example"}),
        o.policy("Mesh", "default", {"defaultMode": "STRICT", "telemetry": {"accessLog": "All"}}),
        o.policy("Mesh", "default", {"defaultMode": "x"}),
    ],
]
_KEYS: list[ObjectKey] = [held(variants[0]).key for variants in VARIANTS]
BUNDLES: list[dict[str, tuple[str, ...]]] = [{}, {"cluster.local": ("root",)}, {"a.example": ("two", "one")}]

_STEP = st.tuples(st.integers(0, len(VARIANTS) - 1), st.integers(-1, 6))
_ROUND = st.tuples(st.lists(_STEP, min_size=1, max_size=6), st.sampled_from([None, None, None, *BUNDLES]))


def _apply(twin: Twin, steps: list[tuple[int, int]], bundles: dict[str, tuple[str, ...]] | None) -> None:
    put: dict[ObjectKey, o.Doc] = {}
    drop: set[ObjectKey] = set()
    for index, variant in steps:
        key = _KEYS[index]
        put.pop(key, None)
        drop.discard(key)
        if variant < 0:
            drop.add(key)
        else:
            put[key] = VARIANTS[index][variant % len(VARIANTS[index])]
    twin.change(put.values(), drop, bundles)


@given(st.lists(_ROUND, min_size=1, max_size=12))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_history_ends_where_compiling_from_nothing_does(
    rounds: list[tuple[list[tuple[int, int]], dict[str, tuple[str, ...]] | None]],
) -> None:
    twin = Twin()
    twin.change([variants[0] for variants in VARIANTS])
    for steps, bundles in rounds:
        _apply(twin, steps, bundles)
    twin.check()


@pytest.mark.parametrize("seed", range(40))
def test_long_histories_are_right_at_every_step(seed: int) -> None:
    rng = random.Random(seed)
    twin = Twin()
    for _ in range(40):
        steps = [
            (rng.randrange(len(VARIANTS)), rng.choice([-1, 0, 0, 0, 1, 2, 3, 4, 5, 6]))
            for _ in range(rng.choice([1, 1, 1, 3, 20]))
        ]
        _apply(twin, steps, rng.choice(BUNDLES) if rng.random() < 0.1 else None)
        twin.check()


def test_nothing_new_is_no_difference() -> None:
    twin = Twin()
    assert twin.change([variants[0] for variants in VARIANTS], bundles=BUNDLES[1])
    assert not twin.change([variants[0] for variants in VARIANTS], bundles=BUNDLES[1])
    assert not twin.change(drop=[("Pod", "shop/never")])


def test_all_gone_leaves_nothing_behind() -> None:
    twin = Twin()
    twin.change([variants[0] for variants in VARIANTS])
    twin.change(drop=_KEYS)
    assert twin.contents() == {}
    assert twin.all_results() == []
    assert twin.engine.problems.all == {}
    twin.check()


def test_one_endpoint_is_one_resource_on_one_shelf() -> None:
    twin = Twin()
    twin.change([variants[0] for variants in VARIANTS])
    delta = twin.change([o.endpoint_slice("web", [_endpoint("10.9.9.9")], _PORTS)])
    assert {shelf: set(changed) for shelf, changed in delta.shelves.items()} == {
        "everybody": {"Endpoints/shop/web:80", "Peers/shop"}
    }
    assert delta.nodes == {}
    assert delta.results == {}


def test_a_broken_object_stops_nobody() -> None:
    twin = Twin()
    broken = [
        variants[2] for variants in VARIANTS if variants[0]["kind"] in ("AuthorizationPolicy", "Mesh") and variants[2:]
    ]
    twin.change([*(variants[0] for variants in VARIANTS), *broken])
    twin.check()
    twin.change([o.pod("new", "10.0.0.77")])
    assert any("Workload/shop/new" in held for held in twin.contents().values())
