"""`-f`: files, directories, standard input, and what is wrong with each."""

import io
from pathlib import Path

import pytest

from weft_cli.exits import USAGE
from weft_cli.files import read_texts
from weft_cli.output import CommandError


def test_files_and_directories_in_order(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", "c.json", "d.txt", "e.yaml"):
        (tmp_path / name).write_text(name)
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "f.yaml").write_text("below")
    (tmp_path / "g.yaml").mkdir()
    found = read_texts([str(tmp_path / "e.yaml"), str(tmp_path)])
    assert [content for _, content in found] == ["e.yaml", "a.yml", "b.yaml", "c.json", "e.yaml"]
    assert found[0][0] == str(tmp_path / "e.yaml")


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("text"))
    assert read_texts(["-"]) == [("standard input", "text")]


def test_mistakes_are_usage_errors_that_name_the_place(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe")
    (tmp_path / "empty").mkdir()
    for place in ("none.yaml", "bad.yaml", "empty"):
        with pytest.raises(CommandError) as caught:
            read_texts([str(tmp_path / place)])
        assert caught.value.status == USAGE
        assert place in str(caught.value)
