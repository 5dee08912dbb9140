"""`status.ancestors` of policies: ours beside everybody else's."""

import copy

from weft_operator.compile import AncestorResult, ObjectResult, Verdict
from weft_operator.conditions import edited_ancestors
from weft_operator.conditions.ancestor import MAX_ANCESTORS, targets_service
from weft_testing import objects as o
from weft_testing.objects import Doc

OURS, THEIRS = "weft.dev/mesh", "example.com/gateway"
NOW, LATER = "2026-01-02T00:00:00Z", "2026-03-01T00:00:00Z"
WEB: Doc = {"group": "", "kind": "Service", "namespace": "shop", "name": "web"}
FOREIGN: Doc = {
    "ancestorRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"},
    "controllerName": THEIRS,
    "conditions": [{"type": "Accepted", "status": "True"}],
}


def policy(*entries: Doc, generation: int = 3) -> Doc:
    metadata = {"name": "t", "namespace": "shop", "generation": generation}
    return {**o.backend_traffic("t", "web"), "metadata": metadata, "status": {"ancestors": list(entries)}}


def result(*services: str, reason: str = "UnsupportedValue") -> ObjectResult:
    verdict = Verdict(holds=False, reason=reason, message="no")
    return ObjectResult(
        kind="XBackendTrafficPolicy",
        namespace="shop",
        name="t",
        generation=3,
        source="",
        accepted=verdict,
        ancestors=tuple(AncestorResult(service=f"shop/{name}", accepted=verdict) for name in services),
    )


def edit(item: Doc, outcome: ObjectResult | None, now: str = NOW) -> list[Doc]:
    before = copy.deepcopy(item)
    edited = edited_ancestors(item, outcome, controller=OURS, now=now)
    assert item == before, "the copy that was read is not touched"
    return edited


def test_each_service_has_an_entry_with_one_condition() -> None:
    web, db = edit(policy(), result("web", "db"))
    assert web == {
        "ancestorRef": WEB,
        "controllerName": OURS,
        "conditions": [
            {
                "type": "Accepted",
                "status": "False",
                "observedGeneration": 3,
                "lastTransitionTime": NOW,
                "reason": "UnsupportedValue",
                "message": "no",
            }
        ],
    }
    assert db["ancestorRef"] == {**WEB, "name": "db"}


def test_others_keep_their_entries_and_their_places() -> None:
    claimed = {**FOREIGN, "ancestorRef": WEB}
    [first, second, ours] = edit(policy(FOREIGN, claimed), result("web"))
    assert [first, second] == [FOREIGN, claimed], "of the same Service, but theirs"
    swapped = edit(policy(ours, FOREIGN), result("web", reason="TargetNotFound"), LATER)
    assert [entry["controllerName"] for entry in swapped] == [OURS, THEIRS]
    assert swapped[1] == FOREIGN
    assert "TargetNotFound" in str(swapped[0])
    assert NOW in str(swapped[0]), "it did not hold before either"


def test_nothing_changes_when_nothing_changed() -> None:
    entries = edit(policy(FOREIGN), result("web", "db"))
    assert edit(policy(*entries), result("web", "db"), LATER) == entries


def test_a_new_generation_is_told_of() -> None:
    entries = edit(policy(), result("web"))
    assert "'observedGeneration': 4" in str(edit(policy(*entries, generation=4), result("web"), LATER))


def test_ours_go_with_the_target_and_nobody_else_s() -> None:
    entries = edit(policy(FOREIGN), result("web", "db"))
    assert [entry["ancestorRef"] for entry in edit(policy(*entries), result("db"))[1:]] == [{**WEB, "name": "db"}]
    for gone in (result(), None):
        assert edit(policy(*entries), gone) == [FOREIGN]


def test_a_full_list_takes_no_more() -> None:
    foreign = [{**FOREIGN, "ancestorRef": {**WEB, "name": f"s{n}"}} for n in range(MAX_ANCESTORS - 1)]
    edited = edit(policy(*foreign), result("web", "db"))
    assert edited[:-1] == foreign
    assert edited[-1]["ancestorRef"] == WEB
    assert len(edited) == MAX_ANCESTORS


def test_whatever_stands_in_the_spec_is_asked_for_services() -> None:
    assert targets_service(o.backend_traffic("t", "web"))
    import_ = {"group": "multicluster.x-k8s.io", "kind": "ServiceImport", "name": "web"}
    for spec in ({"targetRefs": [import_, "web", None]}, {"targetRefs": None}, {}, None):
        assert not targets_service({"spec": spec})
