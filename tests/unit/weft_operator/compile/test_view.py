"""The view: every document leaves something behind, broken ones refuse, order does not matter."""

import random

from weft_contract.objects import HTTPRoute, decode_object
from weft_operator.compile import ViewBuilder, read_documents, read_view, regex_error
from weft_testing import objects as o


def test_objects_are_found_by_kind_and_key() -> None:
    view = o.view_of(
        o.namespace("shop"),
        o.node("n1", "172.16.0.1"),
        o.pod("web", "10.0.0.1"),
        o.service("web", 80),
        o.endpoint_slice("web", [], []),
        o.route("r", [o.parent("web")], []),
        o.policy("AuthorizationPolicy", "p", {"rules": [{}]}),
        o.policy("PeerAuthentication", "p", {}),
        o.policy("RateLimitPolicy", "p", {"total": {"requestsPerSecond": 1}}),
        o.policy("Mesh", "default", {}),
        bundles={"cluster.local": ["b", "a", "b"]},
    )
    assert list(view.namespaces) == ["shop"]
    assert list(view.pods) == list(view.services) == ["shop/web"]
    assert list(view.slices) == ["shop/web-abc"]
    assert list(view.routes) == [("HTTPRoute", "shop/r")]
    assert list(view.authorization) == list(view.peer_authentication) == list(view.rate_limits) == ["shop/p"]
    assert view.mesh is not None
    assert view.bundles == {"cluster.local": ("a", "b")}
    assert view.problems == ()
    assert view.broken == {}
    assert view.source("Pod", "shop/web") == "test.yaml#3"
    assert view.source("Pod", "shop/other") == ""


def test_a_policy_whose_shape_is_wrong_stays_with_its_scope() -> None:
    view = o.view_of(
        o.policy("AuthorizationPolicy", "p", {"selector": {"matchLabels": {"app": "web"}}, "rules": "all"})
    )
    assert view.authorization["shop/p"].spec.selector is not None
    assert view.broken["AuthorizationPolicy", "shop/p"] == "$.spec.rules: expected a list, found a text ('all')"
    assert [problem.source for problem in view.problems] == ["test.yaml#1"]


def test_a_policy_whose_meaning_is_wrong_stays_and_is_broken() -> None:
    view = o.view_of(o.policy("AuthorizationPolicy", "p", {"action": "CUSTOM", "rules": [{}]}))
    assert ("AuthorizationPolicy", "shop/p") in view.broken


def test_a_warning_breaks_nothing() -> None:
    view = o.view_of(o.policy("AuthorizationPolicy", "p", {}))
    assert view.broken == {}
    assert view.problems[0].warning


def test_a_key_given_twice_breaks_a_policy() -> None:
    text = """
apiVersion: weft.dev/v1alpha1
kind: AuthorizationPolicy
metadata: {name: p, namespace: shop}
spec:
  action: DENY
  rules: [{}]
  action: ALLOW
"""
    view = read_view(read_documents([("a.yaml", text)]).documents)
    assert "is given twice" in view.broken["AuthorizationPolicy", "shop/p"]


def test_what_cannot_be_kept_is_a_problem_and_what_is_not_ours_a_note() -> None:
    view = o.view_of(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": 3},
        {"apiVersion": "weft.dev/v1alpha1", "kind": "TrafficPolicy", "metadata": {"name": "a"}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}},
        {},
    )
    assert len(view.problems) == 3
    assert [item.kind for item in view.skipped] == ["ConfigMap"]
    assert view.pods == {}


def test_equal_twins_are_one_and_different_ones_are_broken_whichever_came_first() -> None:
    first = o.policy("AuthorizationPolicy", "p", {"action": "DENY", "rules": [{}]})
    second = o.policy("AuthorizationPolicy", "p", {"action": "ALLOW", "rules": [{}]})
    assert o.view_of(first, first).broken == {}
    view, other = o.view_of(first, second), o.view_of(second, first)
    assert view.broken == other.broken
    assert "given twice with different contents" in view.broken["AuthorizationPolicy", "shop/p"]
    assert view.authorization == other.authorization
    assert o.view_of(first, second, first).authorization == view.authorization


def test_the_order_of_documents_does_not_matter() -> None:
    bodies = [o.pod(f"p{index}", f"10.0.0.{index + 1}") for index in range(20)] + [
        o.namespace("shop"),
        o.service("a", 80),
    ]
    documents = [o.document(body, f"x#{index}") for index, body in enumerate(bodies)]
    view = read_view(documents)
    for seed in range(5):
        random.Random(seed).shuffle(documents)
        shuffled = read_view(documents)
        assert list(shuffled.pods) == list(view.pods)
        assert shuffled == view


def test_objects_of_a_cache_are_added_without_documents() -> None:
    builder = ViewBuilder()
    item = decode_object(o.route("r", [o.parent("web")], [{"retry": {}}]), "")
    assert isinstance(item, HTTPRoute)
    builder.add(item)
    view = builder.view({})
    assert view.broken["HTTPRoute", "shop/r"].startswith("$.spec.rules[0].retry")
    assert view.source("HTTPRoute", "shop/r") == ""


def test_expressions_are_judged_by_the_data_planes_own_compiler() -> None:
    assert regex_error("/a[0-9]+") is None
    assert regex_error("(?P<x>a)") is None
    for pattern in ("(", "(?=a)", "\\1", "a{10000}"):
        assert regex_error(pattern)
