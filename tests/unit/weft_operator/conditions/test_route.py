"""`status.parents`: our entries as they should be, everybody else's as they were, references exactly as in the spec."""

import copy

from hypothesis import given
from hypothesis import strategies as st

from weft_contract.objects import ParentReference
from weft_operator.compile import ObjectResult, ParentResult, Verdict
from weft_operator.conditions import Progress, edited_parents
from weft_testing.objects import Doc

OURS, THEIRS = "weft.dev/mesh", "example.com/gateway"
NOW, LATER = "2026-01-02T00:00:00Z", "2026-03-01T00:00:00Z"
WEB: Doc = {"group": "", "kind": "Service", "name": "web", "port": 80}
API: Doc = {"kind": "Service", "name": "api", "group": "", "namespace": "backend"}
GATEWAY: Doc = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"}
FOREIGN: Doc = {"parentRef": GATEWAY, "controllerName": THEIRS, "conditions": [{"type": "Accepted", "status": "False"}]}


def route(*parents: Doc, status: list[Doc] | None = None, generation: int = 3) -> Doc:
    item: Doc = {
        "metadata": {"name": "r", "namespace": "shop", "generation": generation},
        "spec": {"parentRefs": list(parents)},
    }
    return item if status is None else {**item, "status": {"parents": status}}


def result(*outcomes: tuple[bool, bool]) -> ObjectResult:
    def verdict(holds: bool, good: str, bad: str) -> Verdict:
        return Verdict(holds=holds, reason=good if holds else bad)

    parents = tuple(
        ParentResult(
            parent=ParentReference(name="x"),
            accepted=verdict(accepted, "Accepted", "NoMatchingParent"),
            resolved_refs=verdict(resolved, "ResolvedRefs", "BackendNotFound"),
        )
        for accepted, resolved in outcomes
    )
    return ObjectResult(
        kind="HTTPRoute",
        namespace="shop",
        name="r",
        generation=3,
        source="",
        accepted=parents[0].accepted if parents else Verdict(holds=False, reason="NoMatchingParent"),
        parents=parents,
    )


def edit(item: Doc, outcome: ObjectResult | None, progress: Progress | None = None, now: str = NOW) -> list[Doc]:
    before = copy.deepcopy(item)
    edited = edited_parents(item, outcome, progress or Progress(needed=2), controller=OURS, now=now)
    assert item == before, "the copy that was read is not touched"
    return edited


def says(entry: Doc) -> list[tuple[str, str, str]]:
    conditions = entry["conditions"]
    assert isinstance(conditions, list)
    return [(item["type"], item["status"], item["reason"]) for item in conditions]


def test_a_first_visit_adds_one_entry_for_each_service_parent() -> None:
    [web, api] = edit(route(WEB, GATEWAY, API), result((True, True), (False, True)))
    assert (web["parentRef"], web["controllerName"]) == (WEB, OURS)
    assert says(web) == [
        ("Accepted", "True", "Accepted"),
        ("ResolvedRefs", "True", "ResolvedRefs"),
        ("Programmed", "True", "Programmed"),
    ]
    assert api["parentRef"] == API
    assert list(api["parentRef"]) == list(API), "not even the order of its fields is touched"
    assert says(api)[0] == ("Accepted", "False", "NoMatchingParent")
    assert says(api)[2] == ("Programmed", "False", "NoMatchingParent")
    conditions = web["conditions"]
    assert isinstance(conditions, list)
    assert {item["observedGeneration"] for item in conditions} == {3}


def test_defaults_that_the_api_filled_in_are_part_of_the_reference() -> None:
    filled: Doc = {"group": "gateway.networking.k8s.io", "kind": "Service", "name": "web"}
    assert edit(route(filled), result((True, True)))[0]["parentRef"] == filled


def test_others_keep_their_entries_and_their_places() -> None:
    first = edit(route(WEB, GATEWAY, status=[FOREIGN]), result((True, True)))
    assert first[0] == FOREIGN
    assert first[1]["parentRef"] == WEB
    swapped = [first[1], FOREIGN]
    second = edit(route(WEB, GATEWAY, status=swapped), result((False, True)), now=LATER)
    assert [entry["controllerName"] for entry in second] == [OURS, THEIRS]
    assert second[1] == FOREIGN
    # The same parent claimed by another controller is theirs, not ours.
    claimed: Doc = {**FOREIGN, "parentRef": WEB}
    assert claimed in edit(route(WEB, status=[claimed]), result((True, True)))


def test_nothing_changes_when_nothing_changed() -> None:
    status = edit(route(WEB, GATEWAY, API, status=[FOREIGN]), result((True, True), (True, False)))
    again = edit(route(WEB, GATEWAY, API, status=status), result((True, True), (True, False)), now=LATER)
    assert again == status


def test_a_parent_that_is_not_ours_any_more_loses_its_entry() -> None:
    status = edit(route(WEB, API, status=[FOREIGN]), result((True, True), (True, True)))
    left = edit(route(API, GATEWAY, status=status), result((True, True)))
    assert [entry["parentRef"] for entry in left] == [GATEWAY, API]
    assert edit(route(GATEWAY, status=status), None) == [FOREIGN]
    assert edit(route(status=status), result()) == [FOREIGN]


def test_what_was_not_judged_yet_is_unknown() -> None:
    [entry] = edit(route(WEB), None)
    assert says(entry) == [(name, "Unknown", "Pending") for name in ("Accepted", "ResolvedRefs", "Programmed")]
    # A result of another generation has other parents and must not be told of these.
    [first, second] = edit(route(WEB, API), result((True, True)))
    assert says(first)[0] == says(second)[0] == ("Accepted", "Unknown", "Pending")


def test_the_list_never_grows_beyond_what_the_api_takes() -> None:
    foreign = [{**FOREIGN, "parentRef": {**GATEWAY, "name": f"g{n}"}} for n in range(31)]
    edited = edit(route(WEB, API, status=foreign), result((True, True), (True, True)))
    assert len(edited) == 32
    assert edited[:31] == foreign


def test_a_status_that_somebody_damaged_is_repaired() -> None:
    damaged: Doc = {"parentRef": WEB, "controllerName": OURS, "conditions": "none"}
    [entry] = edit(route(WEB, status=[damaged]), result((True, True)))
    assert says(entry)[0] == ("Accepted", "True", "Accepted")


references = st.fixed_dictionaries(
    {"kind": st.sampled_from(["Service", "Gateway"]), "name": st.sampled_from("abc")},
    optional={"group": st.sampled_from(["", "gateway.networking.k8s.io", "x"]), "port": st.sampled_from([80, 81])},
)


@given(
    st.lists(references, max_size=4, unique_by=lambda item: str(sorted(item.items()))),
    st.lists(references, max_size=4, unique_by=lambda item: str(sorted(item.items()))),
    st.booleans(),
)
def test_whatever_the_parents_foreign_entries_survive_and_ours_are_exactly_the_services(
    before: list[Doc], after: list[Doc], judged: bool
) -> None:
    def outcome(parents: list[Doc]) -> ObjectResult | None:
        return result(*((True, True) for parent in parents if parent in services(parents))) if judged else None

    status = edit(route(*before, status=[FOREIGN]), outcome(before))
    edited = edit(route(*after, status=status), outcome(after))
    assert FOREIGN in edited
    ours = [entry["parentRef"] for entry in edited if entry["controllerName"] == OURS]
    assert sorted(ours, key=str) == sorted(services(after), key=str)


def services(parents: list[Doc]) -> list[Doc]:
    return [
        parent
        for parent in parents
        if parent["kind"] == "Service" and parent.get("group", "") in ("", "gateway.networking.k8s.io")
    ]
