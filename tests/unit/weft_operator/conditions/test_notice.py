"""Events: for changes only, each with a name that it has every time."""

from dataclasses import replace

import pytest

from weft_operator.conditions import Notice, Wanted, merged, notices

NOW = "2026-01-02T00:00:00Z"
ACCEPTED = Wanted(type="Accepted", status="True", reason="Accepted")
REJECTED = Wanted(type="Accepted", status="False", reason="Invalid", message="$.spec: no")
RESOLVED = Wanted(type="ResolvedRefs", status="True", reason="ResolvedRefs")
UNRESOLVED = Wanted(type="ResolvedRefs", status="False", reason="BackendNotFound", message="Service x is not there")
PENDING = Wanted(type="Programmed", status="False", reason="Pending", message="waiting for n2")
PROGRAMMED = Wanted(type="Programmed", status="True", reason="Programmed")
REFUSED = Wanted(type="Programmed", status="False", reason="Refused", message="refused by n2")


def told(before: list[Wanted], after: list[Wanted], where: str = "") -> list[tuple[str, str, str]]:
    found = notices(merged((), before, generation=1, now=NOW), merged((), after, generation=1, now=NOW), where)
    return [(notice.type, notice.reason, notice.note) for notice in found]


def test_a_first_verdict_is_told() -> None:
    assert told([], [ACCEPTED, RESOLVED, PENDING]) == [("Normal", "Accepted", "accepted")]
    assert told([], [REJECTED]) == [("Warning", "Rejected", "Invalid: $.spec: no")]


def test_the_same_again_is_not() -> None:
    for condition in (ACCEPTED, REJECTED, UNRESOLVED, REFUSED):
        assert told([condition], [condition]) == []


def test_a_change_is() -> None:
    assert told([ACCEPTED], [REJECTED]) == [("Warning", "Rejected", "Invalid: $.spec: no")]
    assert told([REJECTED], [ACCEPTED]) == [("Normal", "Accepted", "accepted")]
    assert told([RESOLVED], [UNRESOLVED]) == [("Warning", "Unresolved", "BackendNotFound: Service x is not there")]
    assert told([PENDING], [REFUSED]) == [("Warning", "Refused", "refused by n2")]


def test_progress_is_no_event() -> None:
    assert told([PENDING], [PROGRAMMED]) == []
    assert told([PROGRAMMED], [PENDING]) == []
    assert told([], [Wanted(type="Accepted", status="Unknown", reason="Pending")]) == []


def test_a_missing_target_is_told_once() -> None:
    missing = Wanted(type="Accepted", status="False", reason="TargetNotFound", message="not there: Service x")
    unresolved = Wanted(type="ResolvedRefs", status="False", reason="TargetNotFound", message="not there: Service x")
    assert told([], [missing, unresolved]) == [("Warning", "Rejected", "TargetNotFound: not there: Service x")]


def test_routes_name_the_parent() -> None:
    assert told([], [ACCEPTED], "Service web") == [("Normal", "Accepted", "Service web")]
    assert told([], [REJECTED], "Service web") == [("Warning", "Rejected", "Invalid: Service web: $.spec: no")]


def test_a_note_fits() -> None:
    long = Wanted(type="Accepted", status="False", reason="Invalid", message="x" * 2000)
    [(_, _, note)] = told([], [long])
    assert len(note) == 1024


def test_an_event_has_the_same_name_every_time() -> None:
    notice = Notice(type="Normal", reason="Accepted", note="accepted", since=NOW)
    name = notice.event_name("web", "uid-1")
    assert name == notice.event_name("web", "uid-1")
    assert name.startswith("web.")
    others = {
        notice.event_name("web", "uid-2"),
        replace(notice, type="Warning").event_name("web", "uid-1"),
        replace(notice, note="else").event_name("web", "uid-1"),
        replace(notice, since="2026-01-03T00:00:00Z").event_name("web", "uid-1"),
    }
    assert name not in others
    assert len(others) == 4


@pytest.mark.parametrize("length", [1, 235, 236, 237, 253])
def test_an_event_name_is_a_name(length: int) -> None:
    name = Notice(type="Normal", reason="Accepted", note="").event_name("a" * length, "u")
    assert len(name) <= 253
    assert ".." not in name
