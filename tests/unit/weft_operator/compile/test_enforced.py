"""What the compiler writes is what the data plane enforces: examples and cases, decided by the core's own tables."""

from pathlib import Path

import pytest

from weft_contract.identity import SpiffeId
from weft_core.decision import Allowed, Denied
from weft_core.facts import ConnectionFacts, RequestFacts
from weft_core.routing import Forward, Refused
from weft_core.snapshot import Snapshot, SnapshotBuilder, WorkloadTable
from weft_operator.compile import Compiled, compile_cluster, read_documents, read_view
from weft_testing import objects as o

_ROOT = Path(__file__).parents[4]
_FILES = sorted((Path(__file__).parent / "cases").glob("*/in.yaml")) + sorted(
    (_ROOT / "manifests/examples").glob("*.yaml")
)


def _snapshots(compiled: Compiled) -> dict[str, Snapshot]:
    snapshots: dict[str, Snapshot] = {}
    for node, document in compiled.nodes.items():
        snapshot, refused = SnapshotBuilder().apply([entry.spec for entry in document.resources], [], True)
        assert refused == []
        snapshots[node] = snapshot
    return snapshots


def _example(name: str) -> dict[str, Snapshot]:
    text = (_ROOT / "manifests" / "examples" / f"{name}.yaml").read_text()
    documents = o.scheduled(read_documents([(name, text)]).documents)
    return _snapshots(compile_cluster(read_view(documents)))


def _workload(snapshots: dict[str, Snapshot], workload: str) -> WorkloadTable:
    tables = [table for snapshot in snapshots.values() for table in snapshot.each_workload()]
    return next(table for table in tables if f"{table.workload.namespace}/{table.workload.workload}" == workload)


def _facts(account: str | None, port: int, destination: str) -> ConnectionFacts:
    namespace, _, name = (account or "").partition("/")
    return ConnectionFacts(
        source=SpiffeId("cluster.local", namespace, name) if account else None,
        source_address="10.9.9.9",
        destination_address=destination,
        destination_port=port,
        encrypted=account is not None,
    )


def _ask(table: WorkloadTable, account: str | None, port: int, method: str = "GET", path: str = "/") -> str:
    """Return what becomes of a request, in a word."""
    connection = table.policy.admit(_facts(account, port, table.addresses[0]))
    if isinstance(connection, Denied):
        return connection.reason
    decision = connection.request(RequestFacts(method=method.encode(), host=b"x", path=path.encode()))
    if isinstance(decision, Denied):
        return decision.reason
    assert isinstance(decision, Allowed)
    limits = [f"{ref.limit.requests_per_second:g}/{ref.limit.per}" for ref in decision.limits + decision.any_of]
    return " ".join(["allowed", *limits])


@pytest.mark.parametrize("path", _FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_data_plane_takes_every_resource(path: Path) -> None:
    documents = list(read_documents([(path.name, path.read_text())]).documents)
    if path.parent.name == "examples":
        documents = o.scheduled(documents)
    _snapshots(compile_cluster(read_view(documents, {"cluster.local": ["root"]})))


def test_web_may_call_api_only_on_foo_and_only_at_10_per_second() -> None:
    api = _workload(_example("foo-at-10-qps"), "backend/api")
    assert _ask(api, "shop/web", 8080, path="/foo") == "allowed 10/client"
    assert _ask(api, "shop/web", 8080, path="/bar") == "no_allow_rule_matched"
    assert _ask(api, "shop/batch", 8080, path="/foo") == "no_allow_rule_matched"
    assert _ask(api, None, 8080, path="/foo") == "no_allow_rule_matched"


def test_strict_refuses_plaintext() -> None:
    web = _workload(_example("strict"), "strict/web")
    assert _ask(web, "strict/default", 8080) == "allowed"
    assert _ask(web, None, 8080) == "mtls_required"


def test_default_deny_lets_front_read_from_store_on_its_port_alone() -> None:
    store = _workload(_example("default-deny"), "vault/store")
    assert _ask(store, "vault/front", 8080) == "allowed"
    assert _ask(store, "vault/front", 8080, method="POST") == "no_allow_rule_matched"
    assert _ask(store, "vault/default", 8080) == "no_allow_rule_matched"
    assert _ask(store, "vault/front", 9090) == "no_allow_rule_matched"


def test_a_policy_on_a_service_says_nothing_of_other_ports() -> None:
    api = _workload(_example("demo"), "demo/api")
    assert _ask(api, "demo/web", 8080) == "allowed 100/client"
    assert _ask(api, "demo/default", 8080) == "no_allow_rule_matched"
    assert _ask(api, "demo/default", 9090) == "allowed"


def test_tcp_is_authorised_by_identity_and_port() -> None:
    echo = _workload(_example("tcp"), "tcp/echo")

    def connect(account: str) -> bool:
        connection = echo.policy.admit(_facts(account, 7777, echo.addresses[0]))
        return not isinstance(connection, Denied) and isinstance(connection.tcp(), Allowed)

    assert connect("tcp/client")
    assert not connect("tcp/default")


def test_the_canary_takes_its_tenth() -> None:
    snapshot = _example("canary")["node-1"]
    router = snapshot.router("canary/web", 80, "canary")
    request = RequestFacts(method=b"GET", host=b"web", path=b"/")
    steps = 1000
    found = [router.route(request, (2 * step + 1) * 2**31 // steps) for step in range(steps)]
    services = [outcome.service for outcome in found if isinstance(outcome, Forward)]
    assert services.count("canary/web-v2") == steps // 10
    assert services.count("canary/web-v1") == steps - steps // 10
    asked = RequestFacts(method=b"GET", host=b"web", path=b"/", headers=[(b"x-canary", b"yes")])
    outcome = router.route(asked, 0)
    assert isinstance(outcome, Forward)
    assert outcome.service == "canary/web-v2"


def _broken(*bodies: o.Doc) -> dict[str, Snapshot]:
    base = [o.namespace("shop"), o.node("n1", "172.16.0.1"), o.pod("web", "10.0.0.1"), o.service("web", 80)]
    return _snapshots(o.compiled(*base, *bodies))


@pytest.mark.parametrize("kind", ["AuthorizationPolicy", "RateLimitPolicy"])
def test_a_broken_policy_refuses(kind: str) -> None:
    web = _workload(
        _broken(o.policy(kind, "bad", {"selector": {"matchLabels": {"app": "web"}}, "nonsense": 1})), "shop/web"
    )
    assert _ask(web, "shop/web", 80) == "policy_invalid"


@pytest.mark.parametrize("spec", [{"mode": "DryRun", "nonsense": 1}, {"action": "AUDIT", "nonsense": 1}])
def test_a_broken_policy_that_never_denies_does_not_begin_to(spec: dict[str, object]) -> None:
    web = _workload(_broken(o.policy("AuthorizationPolicy", "bad", spec)), "shop/web")
    assert _ask(web, "shop/web", 80) == "allowed"


def test_a_broken_route_refuses_what_it_would_take() -> None:
    rule: o.Doc = {"matches": [{"path": {"value": "/a"}}], "retry": {}, "backendRefs": [{"name": "web", "port": 80}]}
    router = _broken(o.route("r", [o.parent("web")], [rule]))["n1"].router("shop/web", 80, "shop")
    outcome = router.route(RequestFacts(method=b"GET", host=b"web", path=b"/a/b"), 0)
    assert isinstance(outcome, Refused)
    assert "retry is not supported yet" in str(outcome)


def test_a_consumer_route_without_backends_reaches_the_service_called() -> None:
    change: o.Doc = {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [{"name": "a", "value": "b"}]}}
    route = o.route("r", [o.parent("web", namespace="shop")], [{"filters": [change]}], namespace="client")
    caller = o.pod("caller", "10.0.2.1", namespace="client")
    snapshot = _broken(o.namespace("client"), caller, route)["n1"]
    request = RequestFacts(method=b"GET", host=b"web", path=b"/")
    own = snapshot.router("shop/web", 80, "client").route(request, 0)
    other = snapshot.router("shop/web", 80, "shop").route(request, 0)
    assert isinstance(own, Forward)
    assert isinstance(other, Forward)
    assert (own.service, own.port) == (other.service, other.port) == ("shop/web", 80)
    assert own.response_edits
    assert not other.response_edits


def test_addresses_are_found_as_services_members_and_peers() -> None:
    bodies = [o.pod("job", "10.0.0.2"), o.pod("sick", "10.0.0.3", labels={"app": "web"}, ready=False)]
    services = _broken(*bodies)["n1"].services
    for address, port in (("10.0.0.1", 80), ("10.0.0.1", 9999), ("10.0.0.2", 1), ("10.0.0.3", 80)):
        entry = services.endpoint_at(address, port)
        assert entry is not None
        assert entry.endpoint.identity.startswith("spiffe://cluster.local/ns/shop/")
    assert services.endpoint_at("10.0.0.9", 80) is None


def test_a_port_excluded_from_capture_is_reached_in_plain() -> None:
    bodies = [
        o.pod("meter", "10.0.0.4", annotations={"weft.dev/excludeInboundPorts": "9090"}),
        o.service("meter", {"port": 80, "name": "metrics", "targetPort": 9090}, addresses=["10.96.0.20"]),
    ]
    services = _broken(*bodies)["n1"].services
    excluded, other = services.endpoint_at("10.0.0.4", 9090), services.endpoint_at("10.0.0.4", 8080)
    assert excluded is not None
    assert other is not None
    assert excluded.endpoint.identity == ""
    assert other.endpoint.identity != ""
