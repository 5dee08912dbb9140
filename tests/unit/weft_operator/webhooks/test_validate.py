"""`/validate`: ours are refused in the compiler's words, routes are warned, everybody else is left in peace."""

from collections.abc import Sequence

import pytest

from weft_contract import objects
from weft_contract.problems import Problem
from weft_operator.webhooks import Answer, validate
from weft_operator.webhooks.validate import MAX_CAUSES, Nowhere
from weft_testing.admission_cases import REFUSED, TAKEN, Refused
from weft_testing.objects import Doc, namespace, parent, pod, policy, route, service
from weft_testing.reviews import request_of


def asked(item: Doc, old: Doc | None = None, **more: str) -> Answer:
    return validate(request_of(item, old, **more), Nowhere())


def authorization(spec: object, **metadata: object) -> Doc:
    return policy("AuthorizationPolicy", "web", spec, namespace="shop", **metadata)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_what_the_checks_refuse_is_refused_with_path_and_remedy(case: Refused) -> None:
    answer = asked(case.item)
    assert not answer.allowed
    assert (case.path.removeprefix("$."), case.words) in [(cause.field, cause.message) for cause in answer.causes]
    assert case.words in answer.message


@pytest.mark.parametrize("item", TAKEN, ids=lambda item: f"{item['kind']}-{item['metadata']['name']}")
def test_what_is_right_is_taken(item: Doc) -> None:
    assert asked(item).allowed


def test_every_problem_is_told_at_once() -> None:
    rules = [{"to": [{"operation": {"paths": ["foo"], "methods": ["get"], "ports": [0]}}], "rateLimit": {}}]
    answer = asked(authorization({"acton": "DENY", "rules": rules}))
    assert {cause.field for cause in answer.causes} == {"spec.acton", "spec.rules[0].rateLimit"}
    assert "did you mean 'action'?" in answer.message
    answer = asked(authorization({"action": "DENY", "rules": [{"to": rules[0]["to"]}]}))
    assert {cause.field for cause in answer.causes} == {
        "spec.rules[0].to[0].operation.paths[0]",
        "spec.rules[0].to[0].operation.ports[0]",
    }
    assert ["methods" in warning for warning in answer.warnings] == [True]


def test_very_many_problems_are_counted() -> None:
    paths = [f"p{n}" for n in range(50)]
    answer = asked(authorization({"rules": [{"to": [{"operation": {"paths": paths}}]}]}))
    assert len(answer.causes) == MAX_CAUSES + 1
    assert answer.causes[-1].message == "and 30 more problems"


def test_what_is_risky_but_meant_is_a_warning() -> None:
    answer = asked(authorization({}))
    assert answer.allowed
    assert answer.warnings == [
        "spec.rules: an ALLOW policy without rules denies every request; use rules: [{}] to allow all"
    ]
    disabled = asked(policy("PeerAuthentication", "off", {"mtls": {"mode": "DISABLE"}}))
    assert disabled.allowed
    assert "without authentication" in disabled.warnings[0]


def test_a_kind_that_is_not_there_yet_is_refused() -> None:
    answer = asked(policy("TrafficPolicy", "x", {}))
    assert not answer.allowed
    assert "does not have TrafficPolicy yet" in answer.message


# -- what is let through without a look ---------------------------------------------------------------------------

BROKEN = authorization({"rules": [{"from": [{"source": {}}]}]})


def test_an_update_of_something_else_is_not_judged_again() -> None:
    assert not asked(BROKEN).allowed
    labelled = authorization(BROKEN["spec"], labels={"team": "a"})
    assert asked(labelled, BROKEN).allowed
    assert asked({**BROKEN, "status": {"conditions": []}}, BROKEN).allowed
    changed = authorization({"rules": [{"from": [{"source": {}}]}], "action": "DENY"})
    assert not asked(changed, BROKEN).allowed


def test_an_object_on_its_way_out_and_a_deletion_are_let_through() -> None:
    leaving = authorization(BROKEN["spec"], deletionTimestamp="2026-01-01T00:00:00Z")
    assert asked(leaving, BROKEN).allowed
    assert validate(request_of(None, BROKEN), Nowhere()).allowed
    assert asked(BROKEN, BROKEN, operation="CONNECT").allowed


# -- routes -------------------------------------------------------------------------------------------------------

MIRROR: list[Doc] = [
    {"filters": [{"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "x", "port": 80}}}]}
]
GATEWAY: Doc = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"}


def test_a_route_field_that_is_not_carried_out_is_a_warning() -> None:
    answer = asked(route("r", [parent("web")], MIRROR))
    assert answer.allowed
    assert "RequestMirror is not supported here yet (UnsupportedValue)" in answer.warnings[0]
    assert answer.warnings[0].startswith("spec.rules[0].filters[0].type: ")


def test_a_route_with_a_field_of_a_later_release_is_a_warning() -> None:
    answer = asked(route("r", [parent("web")], [{"quantum": True}]))
    assert answer.allowed
    assert "unknown field 'quantum'" in answer.warnings[0]


def test_a_route_of_a_gateway_is_nobody_s_business_here() -> None:
    for parents in ([GATEWAY], []):
        answer = asked(route("r", parents, [{"quantum": True}, *MIRROR]))
        assert answer.allowed
        assert not answer.warnings
    both = asked(route("r", [GATEWAY, parent("web")], MIRROR))
    assert both.allowed
    assert both.warnings


# -- everybody else's ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "item",
    [
        namespace("shop", mesh="enable"),
        pod("web", labels={"weft.dev/mesh": "true"}),
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"template": {"metadata": {"labels": {"weft.dev/mesh": "on"}}}},
        },
    ],
    ids=lambda item: item["kind"],
)
def test_our_label_with_a_wrong_value_is_refused(item: Doc) -> None:
    answer = asked(item)
    assert not answer.allowed
    assert "is neither 'enabled' nor 'disabled'" in answer.message


def test_a_namespace_that_has_it_already_can_still_be_changed() -> None:
    odd = namespace("shop", mesh="enable")
    metadata = odd["metadata"]
    assert isinstance(metadata, dict)
    more = {**odd, "metadata": {**metadata, "finalizers": ["x"]}}
    assert asked(more, odd).allowed
    assert asked(namespace("shop"), odd).allowed


def test_annotations_without_effect_are_warned_of_and_never_refused() -> None:
    answer = asked(pod("web", annotations={"weft.dev/excludeInboundPort": "80", "weft.dev/opaquePorts": "x"}))
    assert answer.allowed
    assert ["did you mean weft.dev/excludeInboundPorts?" in text for text in answer.warnings] == [True, False]
    assert asked(service("web", 80)).warnings == []


def test_a_kind_of_somebody_else_s_is_let_through() -> None:
    items: list[Doc] = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}},
        {
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "metadata": {"name": "x"},
            "spec": {"a": 1},
        },
    ]
    for item in items:
        assert asked(item) == Answer(allowed=True, warnings=[])


def test_an_object_whose_name_is_still_to_be_made_is_no_object_without_a_name() -> None:
    unnamed = {**authorization({"rules": [{}]}), "metadata": {"generateName": "web-", "namespace": "shop"}}
    assert asked(unnamed) == Answer(allowed=True, warnings=[])


# -- surroundings -------------------------------------------------------------------------------------------------


class Around:
    def __init__(self) -> None:
        self.asked: list[str] = []

    def warnings(self, item: objects.Object) -> Sequence[Problem]:
        self.asked.append(item.metadata.key)
        return [Problem(path="$.spec.targetRefs", message="Service x is not there", warning=True)]


def test_what_surrounds_it_is_asked_for_what_is_right_in_itself() -> None:
    around = Around()
    answer = validate(request_of(authorization({"rules": [{}]})), around)
    assert answer.allowed
    assert answer.warnings == ["spec.targetRefs: Service x is not there"]
    assert not validate(request_of(BROKEN), around).allowed
    assert around.asked == ["shop/web"]
