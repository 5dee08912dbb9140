"""XBackendTrafficPolicy as it is read: its Services, and the fields that are not carried out."""

from typing import Any

from weft_contract import objects
from weft_contract.objects import XBackendTrafficPolicy, decode_object, salvage
from weft_testing import objects as o


def decoded(body: dict[str, Any]) -> XBackendTrafficPolicy:
    item = decode_object(body, "t.yaml#1")
    assert isinstance(item, XBackendTrafficPolicy)
    return item


def lines(body: dict[str, Any]) -> list[str]:
    return [str(problem) for problem in objects.problems(decoded(body), lambda pattern: None)]


def test_every_field_of_the_api_is_known() -> None:
    budget = {"budget": {"percent": 20, "interval": "10s"}, "minRetryRate": {"count": 10, "interval": "1s"}}
    session = {"sessionName": "s", "type": "Cookie", "cookieConfig": {"lifetimeType": "Session"}}
    item = decoded(o.backend_traffic("t", "web", "db", "web", retryConstraint=budget, sessionPersistence=session))
    assert item.services == ("shop/web", "shop/db")
    assert item.not_carried_out == ("retryConstraint", "sessionPersistence")


def test_only_services_are_the_mesh_s_business() -> None:
    other = {"group": "multicluster.x-k8s.io", "kind": "ServiceImport", "name": "far"}
    body = o.backend_traffic("t", targetRefs=[other], retryConstraint={})
    assert decoded(body).services == ()
    assert lines(body) == []


def test_what_is_not_carried_out_is_a_warning_with_its_field_and_a_remedy() -> None:
    assert lines(o.backend_traffic("t", "web")) == []
    (line,) = lines(o.backend_traffic("t", "web", sessionPersistence={}))
    assert "$.spec.sessionPersistence: sessionPersistence is not supported yet in this release" in line
    assert "take it out" in line
    policy = decoded(o.backend_traffic("t", "web", retryConstraint={}, sessionPersistence={}))
    found = objects.problems(policy, lambda pattern: None)
    assert [(problem.path, problem.warning) for problem in found] == [
        ("$.spec.retryConstraint", True),
        ("$.spec.sessionPersistence", True),
    ]


def test_a_broken_one_keeps_its_targets_even_those_that_later_versions_narrow_down() -> None:
    target = {"group": "", "kind": "Service", "name": "web", "sectionName": "http"}
    remains = salvage(o.backend_traffic("t", targetRefs=[target], loadBalancer={}))
    assert isinstance(remains, XBackendTrafficPolicy)
    assert remains.services == ("shop/web",)
