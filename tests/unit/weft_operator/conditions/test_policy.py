"""The status of our own kinds."""

from weft_contract.problems import Problem
from weft_operator.compile import ObjectResult, Verdict
from weft_operator.conditions import Progress, policy_conditions, policy_status

NOW = "2026-01-02T00:00:00Z"
ITEM = {
    "kind": "AuthorizationPolicy",
    "metadata": {"name": "web", "namespace": "shop", "generation": 4},
    "spec": {"selector": {"matchLabels": {"app": "web"}}},
}


def result(
    accepted: Verdict | None = None,
    problems: tuple[Problem, ...] = (),
    kind: str = "AuthorizationPolicy",
    overridden_by: str = "",
) -> ObjectResult:
    return ObjectResult(
        kind=kind,
        namespace="shop",
        name="web",
        generation=4,
        source="",
        accepted=accepted or Verdict(holds=True, reason="Accepted"),
        pods=2,
        problems=problems,
        overridden_by=overridden_by,
    )


def types(conditions: object) -> list[object]:
    assert isinstance(conditions, list)
    return [(item["type"], item["status"], item["reason"]) for item in conditions]


def test_an_accepted_one() -> None:
    status = policy_status(ITEM, result(), Progress(needed=3), now=NOW)
    assert types(status["conditions"]) == [
        ("Accepted", "True", "Accepted"),
        ("ResolvedRefs", "True", "ResolvedRefs"),
        ("Programmed", "True", "Programmed"),
    ]
    assert {key: value for key, value in status.items() if key != "conditions"} == {
        "target": "app=web",
        "nodes": "3/3",
        "pods": 2,
    }


def test_it_is_equal_to_what_is_there_when_nothing_changed() -> None:
    status = policy_status(ITEM, result(), Progress(needed=3), now=NOW)
    assert policy_status({**ITEM, "status": status}, result(), Progress(needed=3), now="2027-01-01T00:00:00Z") == status


def test_one_that_was_not_judged_yet_says_so() -> None:
    status = policy_status(ITEM, None, Progress(needed=0), now=NOW)
    assert types(status["conditions"]) == [
        ("Accepted", "Unknown", "Pending"),
        ("ResolvedRefs", "Unknown", "Pending"),
        ("Programmed", "Unknown", "Pending"),
    ]
    assert "nodes" not in status


def test_a_target_that_is_not_there_is_an_unresolved_reference() -> None:
    verdict = Verdict(holds=False, reason="TargetNotFound", message="not there: Service x")
    conditions = policy_conditions("RateLimitPolicy", result(verdict), Progress(needed=0))
    assert [(item.type, item.status, item.reason) for item in conditions] == [
        ("Accepted", "False", "TargetNotFound"),
        ("ResolvedRefs", "False", "TargetNotFound"),
        ("Programmed", "False", "TargetNotFound"),
    ]
    assert conditions[1].message == "not there: Service x"


def test_kinds_without_references_do_not_speak_of_them() -> None:
    for kind in ("PeerAuthentication", "Mesh"):
        for verdict in (result(kind=kind), None):
            conditions = policy_conditions(kind, verdict, Progress(needed=1))
            assert [item.type for item in conditions] == ["Accepted", "Programmed"]


def test_an_accepted_one_is_told_its_warnings() -> None:
    warnings = tuple(Problem(path=f"$.spec.rules[{n}]", message="odd", warning=True) for n in range(7))
    accepted = policy_conditions("AuthorizationPolicy", result(problems=warnings), Progress(needed=1))[0]
    assert accepted.message.startswith("$.spec.rules[0]: odd; $.spec.rules[1]: odd")
    assert accepted.message.endswith("; and 2 more")


def test_what_overrides_it_is_named_and_a_damaged_object_does_no_harm() -> None:
    verdict = Verdict(holds=False, reason="Conflicted", message="shop/old holds for the same pods")
    status = policy_status(ITEM, result(verdict, overridden_by="shop/old"), Progress(needed=0), now=NOW)
    assert status["conflicts"] == "shop/old"
    assert "conflicts" not in policy_status(ITEM, result(), Progress(needed=0), now=NOW)
    odd = {"kind": "PeerAuthentication", "metadata": None, "spec": "x", "status": {"conditions": "none"}}
    assert policy_status(odd, result(), Progress(needed=0), now=NOW)["target"] == "namespace"
