"""Merging conditions: written on change only, transition times that mean something, other people's conditions kept."""

from hypothesis import given
from hypothesis import strategies as st

from weft_operator.conditions import Wanted, merged, rfc3339
from weft_operator.conditions.model import MAX_MESSAGE

OLD, NOW = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
YES = Wanted(type="Accepted", status="True", reason="Accepted")
NO = Wanted(type="Accepted", status="False", reason="Invalid", message="no")


def condition(wanted: Wanted, generation: int = 1, since: str = OLD) -> dict[str, object]:
    return {
        "type": wanted.type,
        "status": wanted.status,
        "observedGeneration": generation,
        "lastTransitionTime": since,
        "reason": wanted.reason,
        "message": wanted.message,
    }


def test_a_first_visit_writes_everything() -> None:
    assert merged((), [YES], generation=1, now=NOW) == [condition(YES, since=NOW)]


def test_nothing_new_is_equal_to_what_is_there() -> None:
    current = [condition(YES)]
    assert merged(current, [YES], generation=1, now=NOW) == current


def test_a_new_generation_is_told_without_a_transition() -> None:
    assert merged([condition(YES)], [YES], generation=2, now=NOW) == [condition(YES, 2, OLD)]


def test_a_new_message_is_no_transition_and_a_new_status_is_one() -> None:
    other = Wanted(type="Accepted", status="True", reason="Accepted", message="but look here")
    assert merged([condition(YES)], [other], generation=1, now=NOW) == [condition(other, 1, OLD)]
    assert merged([condition(YES)], [NO], generation=1, now=NOW) == [condition(NO, 1, NOW)]


def test_conditions_of_others_stay() -> None:
    foreign = {"type": "example.com/Checked", "status": "True", "lastTransitionTime": OLD, "reason": "X", "message": ""}
    assert merged([foreign, condition(YES)], [YES], generation=1, now=NOW) == [foreign, condition(YES)]
    assert merged([foreign, condition(YES)], [NO], generation=1, now=NOW) == [condition(NO, 1, NOW), foreign]


def test_conditions_that_somebody_damaged_are_repaired() -> None:
    damaged = [{"type": "Accepted"}]
    assert merged(damaged, [YES], generation=1, now=NOW) == [condition(YES, since=NOW)]


def test_a_long_message_is_cut_and_then_stays() -> None:
    long = Wanted(type="Accepted", status="False", reason="Invalid", message="x" * (MAX_MESSAGE + 1))
    first = merged((), [long], generation=1, now=OLD)
    assert len(str(first[0]["message"])) == MAX_MESSAGE
    assert merged(first, [long], generation=1, now=NOW) == first


texts = st.sampled_from(["", "a", "b"])
wanted_conditions = st.lists(
    st.builds(
        Wanted,
        type=st.sampled_from(["Accepted", "ResolvedRefs", "Programmed"]),
        status=st.sampled_from(["True", "False", "Unknown"]),
        reason=st.sampled_from(["A", "B"]),
        message=texts,
    ),
    unique_by=lambda item: item.type,
)


@given(st.lists(wanted_conditions, max_size=6), st.lists(st.integers(1, 3), min_size=6, max_size=6))
def test_merging_twice_changes_nothing_and_types_stay_unique(steps: list[list[Wanted]], generations: list[int]) -> None:
    current: list[dict[str, object]] = []
    for index, (step, generation) in enumerate(zip(steps, generations, strict=False)):
        before = {item["type"]: item for item in current}
        current = merged(current, step, generation=generation, now=rfc3339(index))
        assert merged(current, step, generation=generation, now=rfc3339(index + 100)) == current
        types = [item["type"] for item in current]
        assert len(types) == len(set(types))
        for item in current:
            old = before.get(item["type"])
            same = old is not None and old["status"] == item["status"]
            assert (item["lastTransitionTime"] == (old or {}).get("lastTransitionTime")) or not same


def test_times_are_rfc_3339_in_utc() -> None:
    assert rfc3339(1_767_225_600.9) == "2026-01-01T00:00:00Z"
