"""What an XBackendTrafficPolicy is told, at which of its targets."""

from typing import Any

import pytest

from weft_operator.compile import Compiled, ObjectResult, Verdict
from weft_testing import objects as o

UNSUPPORTED = "UnsupportedValue"


def compiled(policy: o.Doc, mesh: str | None = "enabled", *more: o.Doc) -> tuple[Compiled, ObjectResult]:
    """Compile a policy beside Service `shop/web`."""
    found = o.compiled(o.namespace("shop", mesh=mesh), o.service("web", 80), policy, *more)
    (result,) = found.results
    return found, result


def verdicts(policy: o.Doc) -> dict[str, Verdict]:
    _, result = compiled(policy)
    return {item.service: item.accepted for item in result.ancestors}


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"retryConstraint": {}}, "spec.retryConstraint is not supported yet"),
        ({"sessionPersistence": {"type": "Header"}}, "spec.sessionPersistence is not supported yet"),
        (
            {"retryConstraint": {}, "sessionPersistence": {}},
            "spec.retryConstraint and spec.sessionPersistence are not supported yet",
        ),
    ],
)
def test_every_field_that_is_not_carried_out_is_named(spec: dict[str, Any], named: str) -> None:
    verdict = verdicts(o.backend_traffic("t", "web", **spec))["shop/web"]
    assert (verdict.holds, verdict.reason) == (False, UNSUPPORTED)
    assert named in verdict.message
    assert "Service shop/web" in verdict.message
    assert "out" in verdict.message, "with a remedy"


def test_a_policy_that_asks_for_nothing_is_accepted() -> None:
    assert verdicts(o.backend_traffic("t", "web")) == {"shop/web": Verdict(holds=True, reason="Accepted")}


def test_a_service_that_is_not_there_is_told_and_the_others_are_judged() -> None:
    policy = o.backend_traffic("t", "web", "gone", retryConstraint={})
    found, result = compiled(policy)
    assert [(item.service, item.accepted.reason) for item in result.ancestors] == [
        ("shop/web", UNSUPPORTED),
        ("shop/gone", "TargetNotFound"),
    ]
    assert any("Service shop/gone is not there" in problem.message for problem in found.problems)
    assert all(problem.warning for problem in found.problems)


def test_a_field_of_later_versions_is_not_supported_either() -> None:
    verdict = verdicts(o.backend_traffic("t", "web", loadBalancer={}))["shop/web"]
    assert verdict.reason == UNSUPPORTED
    assert "loadBalancer" in verdict.message


def test_outside_the_mesh_nothing_is_said() -> None:
    policy = o.backend_traffic("t", "web", "gone", retryConstraint={})
    found, result = compiled(policy, None)
    assert result.ancestors == ()
    assert not any("TargetNotFound" in problem.message for problem in found.problems)


def test_one_member_makes_its_namespace_part_of_the_mesh() -> None:
    member = o.pod("web", "10.0.0.1", labels={"app": "web", "weft.dev/mesh": "enabled"})
    _, result = compiled(o.backend_traffic("t", "web", retryConstraint={}), None, member)
    assert [item.service for item in result.ancestors] == ["shop/web"]


def test_it_changes_nothing_that_nodes_are_told() -> None:
    world = (o.namespace("shop"), o.node("n1", "172.16.0.1"), o.pod("web", "10.0.0.1"), o.service("web", 80))
    without = o.compiled(*world)
    with_it = o.compiled(*world, o.backend_traffic("t", "web", retryConstraint={}, sessionPersistence={}))
    assert without.document_bytes("n1") == with_it.document_bytes("n1")
