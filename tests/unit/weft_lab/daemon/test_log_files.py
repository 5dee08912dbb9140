"""Log files: the newest lines stay when a file is cut, and a writer that appends needs not be told."""

import os
from pathlib import Path

import pytest

from weft_lab.daemon import log_files


def test_a_large_file_keeps_its_newest_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_files, "MAX_BYTES", 1000)
    monkeypatch.setattr(log_files, "KEPT_BYTES", 100)
    path = tmp_path / "pods" / "uid" / "logs" / "main.1.log"
    path.parent.mkdir(parents=True)
    writer = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in range(200):
        os.write(writer, b"line %03d\n" % number)
    log_files.cut_all(tmp_path)
    os.write(writer, b"after\n")
    os.close(writer)
    lines = path.read_text().splitlines()
    assert lines[0].startswith("[")
    assert lines[-2:] == ["line 199", "after"]
    assert all(line.startswith("line ") for line in lines[1:-1])
    assert path.stat().st_size < 200


def test_small_files_and_missing_ones_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "daemon.log").write_text("short\n")
    log_files.cut_all(tmp_path)
    assert (tmp_path / "daemon.log").read_text() == "short\n"
