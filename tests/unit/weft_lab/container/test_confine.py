"""Capabilities as container runtimes give them, programs as a PATH finds them."""

from pathlib import Path

import pytest

from weft_lab.container.confine import capability_numbers, find_program, sentence

CHOWN, NET_RAW, NET_ADMIN, SYS_ADMIN = 0, 13, 12, 21


def test_the_usual_set_has_no_power_over_the_machine() -> None:
    usual = capability_numbers((), ())
    assert {CHOWN, NET_RAW} <= usual
    assert not {NET_ADMIN, SYS_ADMIN} & usual
    assert len(usual) == 14


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        ((), ("ALL",), frozenset()),
        (("NET_ADMIN",), ("ALL",), frozenset({NET_ADMIN})),
        (("CAP_NET_ADMIN",), ("all",), frozenset({NET_ADMIN})),
        ((), ("NET_RAW",), None),
    ],
)
def test_names_are_added_and_dropped(
    add: tuple[str, ...], drop: tuple[str, ...], expected: frozenset[int] | None
) -> None:
    found = capability_numbers(add, drop)
    assert found == (expected if expected is not None else capability_numbers((), ()) - {NET_RAW})


def test_all_means_all() -> None:
    assert len(capability_numbers(("ALL",), ())) == 41
    assert SYS_ADMIN not in capability_numbers(("ALL",), ("SYS_ADMIN",))


def test_a_capability_that_linux_does_not_have_is_named() -> None:
    with pytest.raises(ValueError, match="FLY"):
        capability_numbers(("FLY",), ())


def test_programs_are_found_on_the_path(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    with pytest.raises(FileNotFoundError):
        find_program("tool", str(tmp_path))
    (tmp_path / "tool").chmod(0o755)
    assert find_program("tool", f"/nowhere:{tmp_path}") == str(tmp_path / "tool")
    assert find_program("./tool", "") == "./tool"
    with pytest.raises(FileNotFoundError) as caught:
        find_program("nosuch", str(tmp_path))
    assert str(tmp_path) in sentence(caught.value)
    assert "Errno" not in sentence(caught.value)
