"""What a policy applies to."""

from typing import Any

import pytest

from weft_contract.objects import AuthorizationPolicy, decode_object
from weft_operator.compile.members import find_members
from weft_operator.compile.pod_index import PodIndex
from weft_operator.compile.scopes import Scope, ScopeFinder
from weft_operator.compile.services import resolve_services
from weft_testing import objects as o

_BODIES = [
    o.namespace("shop"),
    o.namespace("other"),
    o.namespace("weft-system"),
    o.pod("web", "10.0.0.1", labels={"app": "web", "tier": "front"}, ports=[{"containerPort": 8080, "name": "http"}]),
    o.pod("web2", "10.0.0.2", labels={"app": "web"}, ports=[{"containerPort": 9090, "name": "http"}]),
    o.pod("db", "10.0.0.3"),
    o.pod("out", "10.0.0.4", labels={"app": "web", "weft.dev/mesh": "disabled"}),
    o.pod("web", "10.0.1.1", namespace="other"),
    o.pod("root", "10.0.2.1", namespace="weft-system"),
    o.service(
        "web", {"port": 80, "name": "http", "targetPort": "http"}, {"port": 81, "name": "admin", "targetPort": 8081}
    ),
]


def _scope(spec: dict[str, Any], namespace: str = "shop") -> Scope:
    view = o.view_of(*_BODIES)
    members = find_members(view, "cluster.local")
    index = PodIndex(view.pods.values())
    finder = ScopeFinder(view, members, resolve_services(view, members, index), index)
    policy = decode_object(o.policy("AuthorizationPolicy", "p", spec, namespace=namespace), "x")
    assert isinstance(policy, AuthorizationPolicy)
    return finder.find(policy.metadata, policy.spec.selector, policy.spec.target_refs)


@pytest.mark.parametrize(
    ("namespace", "spec", "expected"),
    [
        ("shop", {}, ["shop/db", "shop/web", "shop/web2"]),
        ("shop", {"selector": {}}, ["shop/db", "shop/web", "shop/web2"]),
        ("shop", {"selector": {"matchLabels": {"app": "web"}}}, ["shop/web", "shop/web2"]),
        ("shop", {"selector": {"matchLabels": {"app": "web", "tier": "front"}}}, ["shop/web"]),
        ("shop", {"selector": {"matchLabels": {"app": "nobody"}}}, []),
        ("nowhere", {}, []),
        ("weft-system", {}, ["other/web", "shop/db", "shop/web", "shop/web2", "weft-system/root"]),
        ("weft-system", {"selector": {"matchLabels": {"app": "web"}}}, ["other/web", "shop/web", "shop/web2"]),
    ],
)
def test_selectors(namespace: str, spec: dict[str, Any], expected: list[str]) -> None:
    scope = _scope(spec, namespace)
    assert sorted(scope.ports) == expected
    assert set(scope.ports.values()) <= {None}


def test_a_target_is_the_members_behind_it_on_the_ports_it_leads_to() -> None:
    scope = _scope({"targetRefs": [{"kind": "Service", "name": "web"}]})
    assert scope.ports == {"shop/web": frozenset({8080, 8081}), "shop/web2": frozenset({9090, 8081})}
    assert scope.missing == ()


def test_a_section_is_one_port_of_the_service() -> None:
    scope = _scope({"targetRefs": [{"kind": "Service", "name": "web", "sectionName": "http"}]})
    assert scope.ports == {"shop/web": frozenset({8080}), "shop/web2": frozenset({9090})}


def test_several_targets_add_up() -> None:
    targets = [{"kind": "Service", "name": "web", "sectionName": name} for name in ("http", "admin")]
    assert _scope({"targetRefs": targets}) == _scope({"targetRefs": [{"kind": "Service", "name": "web"}]})


def test_targets_that_are_not_there_are_named_and_reach_nothing_else() -> None:
    targets = [{"kind": "Service", "name": "gone"}, {"kind": "Service", "name": "web", "sectionName": "nope"}]
    scope = _scope({"targetRefs": targets})
    assert scope.ports == {}
    assert scope.missing == ("Service gone", "Service web port nope")


def test_a_target_in_another_namespace_cannot_be_named() -> None:
    assert _scope({"targetRefs": [{"kind": "Service", "name": "web"}]}, namespace="other").missing == ("Service web",)


def test_a_policy_with_selector_and_targets_holds_for_both() -> None:
    spec = {
        "selector": {"matchLabels": {"app": "db"}},
        "targetRefs": [{"kind": "Service", "name": "web", "sectionName": "http"}],
    }
    assert _scope(spec).ports == {"shop/db": None, "shop/web": frozenset({8080}), "shop/web2": frozenset({9090})}
