"""Warnings about what an object refers to: names that are not there, labels that no pod has; nothing where all is well."""

import pytest

from weft_operator.compile import ClusterView
from weft_operator.compile.surroundings import surrounding_problems
from weft_testing import objects as o
from weft_testing.live import held

VIEW = o.view_of(
    o.namespace("shop"),
    o.pod("web-1", "10.0.0.1", labels={"app": "web"}),
    o.service("web", {"name": "http", "port": 80}, namespace="shop"),
)


def told(body: o.Doc, view: ClusterView = VIEW) -> list[tuple[str, str]]:
    found = surrounding_problems(view, held(body).item)
    assert all(problem.warning for problem in found)
    return [(problem.path, problem.message) for problem in found]


def policy(**spec: object) -> o.Doc:
    return o.policy("AuthorizationPolicy", "a", {"rules": [{}], **spec}, namespace="shop")


def route(parent: str, *backends: str) -> o.Doc:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "r", "namespace": "shop"},
        "spec": {
            "parentRefs": [{"group": "", "kind": "Service", "name": parent}],
            "rules": [{"backendRefs": [{"name": name, "port": 80} for name in backends]}],
        },
    }


@pytest.mark.parametrize(
    "body",
    [
        policy(),
        policy(selector={"matchLabels": {"app": "web"}}),
        policy(targetRefs=[{"group": "", "kind": "Service", "name": "web"}]),
        route("web", "web"),
        o.namespace("other"),
    ],
)
def test_nothing_is_told_where_all_is_there(body: o.Doc) -> None:
    assert told(body) == []


def test_a_service_that_is_not_there() -> None:
    found = told(policy(targetRefs=[{"group": "", "kind": "Service", "name": "wbe"}]))
    message = "Service shop/wbe is not there, so the policy does not hold for it yet"
    assert found == [("$.spec.targetRefs[0].name", message)]


def test_labels_that_no_pod_of_the_namespace_has() -> None:
    found = told(policy(selector={"matchLabels": {"app": "wbe"}}))
    message = "no pod has the labels app=wbe, so the policy holds for none yet"
    assert found == [("$.spec.selector.matchLabels", message)]
    assert told(policy(selector={"matchLabels": {"app": "wbe"}}), o.view_of()) == [], "nothing runs there yet at all"


def test_parents_and_backends_of_a_route() -> None:
    assert told(route("nowhere", "web", "gone")) == [
        ("$.spec.parentRefs[0].name", "Service shop/nowhere is not there, so the route is attached to nothing yet"),
        (
            "$.spec.rules[0].backendRefs[1].name",
            "Service shop/gone is not there, so its share of the traffic is refused",
        ),
    ]
