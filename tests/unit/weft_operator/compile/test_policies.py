"""Policies at members: keys, ports, results, warnings."""

import pytest

from weft_contract.resources import Workload
from weft_contract.resources.workload import PortScope
from weft_operator.compile import Compiled, ObjectResult
from weft_testing import objects as o

_SHOP = [
    o.namespace("shop"),
    o.node("n1", "172.16.0.1"),
    o.node("n2", "172.16.0.2"),
    o.pod("web", "10.0.0.1"),
    o.pod("db", "10.0.0.2", node="n2"),
    o.service("web", {"port": 80, "name": "http", "targetPort": 8080}),
    o.service("db", {"port": 5432, "name": "tcp-sql"}, addresses=["10.96.0.11"]),
]


def workload(compiled: Compiled, key: str) -> Workload:
    for document in compiled.nodes.values():
        for entry in document.resources:
            if entry.key == f"Workload/{key}":
                assert isinstance(entry.spec, Workload)
                return entry.spec
    raise AssertionError(key)


def result(compiled: Compiled, kind: str, key: str) -> ObjectResult:
    (found,) = [item for item in compiled.results if (item.kind, item.key) == (kind, key)]
    return found


def test_policies_are_listed_at_their_members_and_sent_to_their_nodes_alone() -> None:
    compiled = o.compiled(
        *_SHOP,
        o.policy("AuthorizationPolicy", "b", {"rules": [{}]}, generation=3),
        o.policy("AuthorizationPolicy", "a", {"targetRefs": [{"kind": "Service", "name": "web"}], "rules": [{}]}),
        o.policy(
            "RateLimitPolicy", "r", {"selector": {"matchLabels": {"app": "db"}}, "total": {"requestsPerSecond": 1}}
        ),
        o.policy(
            "RateLimitPolicy",
            "s",
            {"targetRefs": [{"kind": "Service", "name": "web"}], "total": {"requestsPerSecond": 1}},
        ),
        o.policy("AuthorizationPolicy", "elsewhere", {"rules": [{}]}, namespace="nowhere"),
    )
    web, db = workload(compiled, "shop/web"), workload(compiled, "shop/db")
    assert (web.policies, web.rate_limits) == (("shop/a", "shop/b"), ("shop/s",))
    assert web.port_scopes == (
        PortScope(kind="AuthorizationPolicy", policy="shop/a", ports=(8080,)),
        PortScope(kind="RateLimitPolicy", policy="shop/s", ports=(8080,)),
    )
    assert (db.policies, db.rate_limits, db.port_scopes) == (("shop/b",), ("shop/r",), ())
    found = result(compiled, "AuthorizationPolicy", "shop/b")
    assert (found.pods, found.nodes, found.generation, found.resource) == (
        2,
        ("n1", "n2"),
        3,
        "AuthorizationPolicy/shop/b",
    )
    assert result(compiled, "AuthorizationPolicy", "shop/a").nodes == ("n1",)
    assert result(compiled, "RateLimitPolicy", "shop/r").nodes == ("n2",)
    lost = result(compiled, "AuthorizationPolicy", "nowhere/elsewhere")
    assert (lost.pods, lost.nodes, lost.accepted.holds) == (0, (), True)


def test_a_policy_of_the_root_namespace_holds_everywhere() -> None:
    compiled = o.compiled(
        *_SHOP, o.policy("AuthorizationPolicy", "all", {"action": "DENY", "rules": [{}]}, namespace="weft-system")
    )
    assert workload(compiled, "shop/web").policies == ("weft-system/all",)
    assert result(compiled, "AuthorizationPolicy", "weft-system/all").pods == 2


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        (
            "AuthorizationPolicy",
            {"selector": {"matchLabels": {"app": "web"}}, "rules": [{"from": [{"source": {"principal": ["x"]}}]}]},
        ),
        ("AuthorizationPolicy", {"selector": {"matchLabels": {"app": "web"}}, "action": "CUSTOM"}),
        ("RateLimitPolicy", {"selector": {"matchLabels": {"app": "web"}}}),
        ("RateLimitPolicy", {"selector": {"matchLabels": {"app": "web"}}, "total": {"requestsPerSecond": -1}}),
    ],
)
def test_a_broken_policy_refuses_where_it_applies_and_stops_nothing_else(kind: str, spec: dict[str, object]) -> None:
    compiled = o.compiled(*_SHOP, o.policy(kind, "bad", spec), o.policy("AuthorizationPolicy", "good", {"rules": [{}]}))
    web = workload(compiled, "shop/web")
    assert "shop/bad" in web.policies + web.rate_limits
    assert "shop/good" in web.policies
    db = workload(compiled, "shop/db")
    assert "shop/bad" not in db.policies + db.rate_limits
    entry = next(entry for entry in compiled.nodes["n1"].resources if entry.key == f"{kind}/shop/bad")
    assert getattr(entry.spec, "invalid", None)
    found = result(compiled, kind, "shop/bad")
    assert (found.accepted.holds, found.accepted.reason) == (False, "Invalid")
    assert "until it is corrected it refuses" in found.accepted.message
    assert any(not problem.warning and problem.subject == f"{kind} shop/bad" for problem in compiled.problems)


def test_a_broken_policy_with_an_unreadable_scope_refuses_for_its_whole_namespace() -> None:
    compiled = o.compiled(*_SHOP, o.policy("AuthorizationPolicy", "bad", {"selektor": {"matchLabels": {"app": "web"}}}))
    assert workload(compiled, "shop/db").policies == workload(compiled, "shop/web").policies == ("shop/bad",)


def test_a_target_that_is_not_there_is_a_verdict_and_a_warning() -> None:
    spec = {"targetRefs": [{"kind": "Service", "name": "gone"}], "rules": [{}]}
    compiled = o.compiled(*_SHOP, o.policy("AuthorizationPolicy", "p", spec))
    found = result(compiled, "AuthorizationPolicy", "shop/p")
    assert (found.accepted.reason, found.pods) == ("TargetNotFound", 0)
    assert [problem.message for problem in found.problems] == [
        "Service gone is not there, so the policy does not hold for it yet"
    ]
    assert workload(compiled, "shop/web").policies == ()


@pytest.mark.parametrize(
    ("action", "words"), [("ALLOW", "never matches there"), ("DENY", "matches there whatever is asked")]
)
def test_http_rules_on_tcp_ports_are_warned_of(action: str, words: str) -> None:
    rules = [{"to": [{"operation": {"ports": [1]}}]}, {"to": [{"operation": {"paths": ["/a"]}}]}]
    compiled = o.compiled(*_SHOP, o.policy("AuthorizationPolicy", "p", {"action": action, "rules": rules}))
    (problem,) = result(compiled, "AuthorizationPolicy", "shop/p").problems
    assert problem.path == "$.spec.rules[1]"
    assert "shop/db:5432" in problem.message
    assert words in problem.message


def test_http_rules_that_meet_no_tcp_port_are_fine() -> None:
    rules = [{"to": [{"operation": {"paths": ["/a"]}}]}]
    spec = {"selector": {"matchLabels": {"app": "web"}}, "rules": rules}
    assert o.compiled(*_SHOP, o.policy("AuthorizationPolicy", "p", spec)).problems == ()


def test_trust_domains_that_nobody_has_are_warned_of() -> None:
    def problems(principal: str) -> list[str]:
        rules = [{"from": [{"source": {"principals": [principal]}}]}]
        bundles = {"cluster.local": ["pem"], "partner.example": ["pem"]}
        compiled = o.compiled(*_SHOP, o.policy("AuthorizationPolicy", "p", {"rules": rules}), bundles=bundles)
        return [problem.path for problem in compiled.problems]

    assert problems("cluster.local/ns/shop/sa/web") == []
    assert problems("partner.example/*") == []
    assert problems("old.example/ns/shop/sa/web") == ["$.spec.rules[0].from[0].source"]
    assert problems("*") == []
