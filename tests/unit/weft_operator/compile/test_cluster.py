"""compile_cluster as a whole: documents, sharing, results, and the property that order does not matter."""

from hypothesis import given, settings
from hypothesis import strategies as st

from weft_contract.codec import digest, encode
from weft_contract.resources import Node, TrustBundle
from weft_operator.compile import Compiled, compile_cluster, read_view
from weft_testing import objects as o

_BODIES: list[o.Doc] = [
    o.namespace("shop"),
    o.namespace("other"),
    o.node("n1", "172.16.0.1", zone="z1"),
    o.node("n2", "172.16.0.2"),
    o.pod("web", "10.0.0.1", "fd00::1", ports=[{"containerPort": 8080, "name": "http"}]),
    o.pod("db", "10.0.0.2", node="n2", annotations={"weft.dev/netns": "x"}),
    o.pod("api", "10.0.1.1", namespace="other", node="n2", account="api"),
    o.service("web", {"port": 80, "targetPort": "http"}),
    o.service("db", 5432, 5433, addresses=["10.96.0.11"]),
    o.service("api", 80, namespace="other", addresses=["10.96.0.12"]),
    o.policy("AuthorizationPolicy", "a", {"rules": [{"from": [{"source": {"namespaces": ["other"]}}]}]}),
    o.policy(
        "AuthorizationPolicy",
        "b",
        {"targetRefs": [{"kind": "Service", "name": "web"}], "action": "DENY", "rules": [{}]},
    ),
    o.policy("AuthorizationPolicy", "broken", {"rules": 3}),
    o.policy("PeerAuthentication", "x", {"mtls": {"mode": "STRICT"}}),
    o.policy("PeerAuthentication", "y", {"mtls": {"mode": "DISABLE"}}),
    o.policy("RateLimitPolicy", "r", {"total": {"requestsPerSecond": 3}}),
    o.route("r", [o.parent("web")], [{"backendRefs": [{"name": "db", "port": 5432}]}]),
    o.route("s", [o.parent("web", namespace="shop")], [{}], namespace="other"),
    o.policy("Mesh", "default", {"trustDomain": "cluster.local"}),
]


def _entries(compiled: Compiled, node: str) -> dict[str, object]:
    return {entry.key: entry.spec for entry in compiled.nodes[node].resources}


@given(st.permutations(_BODIES))
@settings(max_examples=40, deadline=None)
def test_same_input_in_any_order_gives_the_same_bytes(bodies: list[o.Doc]) -> None:
    expected = o.compiled(*_BODIES)
    found = o.compiled(*bodies)
    assert [found.document_bytes(node) for node in found.nodes] == [
        expected.document_bytes(node) for node in expected.nodes
    ]
    assert [(item.kind, item.key, item.accepted, item.nodes) for item in found.results] == [
        (item.kind, item.key, item.accepted, item.nodes) for item in expected.results
    ]


@given(st.sets(st.integers(0, len(_BODIES) - 1)))
@settings(max_examples=60, deadline=None)
def test_any_part_of_a_cluster_compiles_and_its_bytes_are_canonical(chosen: set[int]) -> None:
    compiled = o.compiled(*(_BODIES[index] for index in sorted(chosen)))
    for node, document in compiled.nodes.items():
        assert compiled.document_bytes(node) == encode(document)
        keys = [entry.key for entry in document.resources]
        assert keys == sorted(set(keys))
        for entry in document.resources:
            assert entry.hash == digest(encode(entry.spec))


def test_values_that_are_written_out_as_the_default_change_nothing() -> None:
    mesh = {"trustDomain": "cluster.local", "defaultMode": "PERMISSIVE", "telemetry": {"accessLogSamplingPercent": 100}}
    short, long = o.compiled(*_BODIES[:-1]), o.compiled(*_BODIES[:-1], o.policy("Mesh", "default", mesh))
    assert short.document_bytes("n1") == long.document_bytes("n1")


def test_resources_are_encoded_once_and_shared() -> None:
    compiled = o.compiled(*_BODIES)
    first, second = (
        {entry.key: entry for entry in compiled.nodes[node].resources if not entry.key.startswith("Node/")}
        for node in ("n1", "n2")
    )
    shared = first.keys() & second.keys()
    assert {"Service/shop/web", "Endpoints/shop/web:80", "Telemetry/default"} <= shared
    assert all(first[key] is second[key] for key in shared)
    assert set(compiled.encoded) == set(first) | set(second) | {"Node/n1", "Node/n2"}


def test_a_node_has_its_own_pods_only() -> None:
    compiled = o.compiled(*_BODIES)
    assert {key for key in _entries(compiled, "n1") if key.startswith("Workload/")} == {"Workload/shop/web"}
    assert {key for key in _entries(compiled, "n2") if key.startswith("Workload/")} == {
        "Workload/shop/db",
        "Workload/other/api",
    }
    assert "AuthorizationPolicy/shop/b" not in _entries(compiled, "n2")


def test_a_node_that_only_a_pod_names_has_a_document_and_a_warning() -> None:
    compiled = o.compiled(o.namespace("shop"), o.pod("web", "10.0.0.1", node="plain-host"))
    assert list(compiled.nodes) == ["plain-host"]
    (problem,) = compiled.problems
    assert problem.warning
    assert "its addresses are not known" in problem.message


def test_a_node_has_its_facts() -> None:
    node = o.node("n1", "172.16.0.1", zone="z1")
    status = {
        "addresses": [
            {"type": "InternalIP", "address": "FD77::1"},
            {"type": "Hostname", "address": "n1"},
            {"type": "ExternalIP", "address": "nonsense"},
        ]
    }
    compiled = o.compiled(node | {"status": status})
    assert _entries(compiled, "n1")["Node/n1"] == Node(
        name="n1", trust_domain="cluster.local", addresses=("fd77::1",), zone="z1"
    )


def test_roots_are_given_to_every_node_and_missing_ones_are_reported() -> None:
    compiled = o.compiled(*_BODIES, bundles={"b.example": ["two", "one"], "cluster.local": ["root"]})
    for node in ("n1", "n2"):
        entries = _entries(compiled, node)
        assert entries["TrustBundle/b.example"] == TrustBundle(trust_domain="b.example", roots=("one", "two"))
        assert "TrustBundle/cluster.local" in entries
    compiled = o.compiled(*_BODIES, bundles={"b.example": ["one"]})
    assert any("no roots for trust domain cluster.local" in problem.message for problem in compiled.problems)


def test_an_empty_cluster_compiles_to_nothing() -> None:
    compiled = compile_cluster(read_view([]))
    assert (dict(compiled.nodes), compiled.problems, compiled.results) == ({}, (), ())


def test_results_are_sorted_and_of_every_policy_and_route() -> None:
    compiled = o.compiled(*_BODIES)
    assert [(item.kind, item.key) for item in compiled.results] == [
        ("AuthorizationPolicy", "shop/a"),
        ("AuthorizationPolicy", "shop/b"),
        ("AuthorizationPolicy", "shop/broken"),
        ("HTTPRoute", "other/s"),
        ("HTTPRoute", "shop/r"),
        ("Mesh", "default"),
        ("PeerAuthentication", "shop/x"),
        ("PeerAuthentication", "shop/y"),
        ("RateLimitPolicy", "shop/r"),
    ]
    routes = {item.name: item.nodes for item in compiled.results if item.kind == "HTTPRoute"}
    assert routes == {"r": ("n1", "n2"), "s": ("n2",)}, "s is a consumer route, and its namespace is on n2 only"


def test_a_broken_mesh_is_a_verdict() -> None:
    compiled = o.compiled(o.policy("Mesh", "default", {"defaultMode": "x"}))
    (result,) = compiled.results
    assert (result.accepted.holds, result.accepted.reason) == (False, "Invalid")
    assert "mode STRICT" in result.accepted.message
