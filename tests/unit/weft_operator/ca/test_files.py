"""Files are replaced whole, with their permissions from the first byte on, or not at all."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from weft_operator.ca.files import make_directory, write_file


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_writes_with_exactly_the_permissions(tmp_path: Path) -> None:
    for wanted in (0o600, 0o644):
        path = tmp_path / f"{wanted:o}"
        write_file(path, b"data", wanted)
        assert path.read_bytes() == b"data"
        assert mode(path) == wanted


def test_replaces_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old and longer")
    path.chmod(0o644)
    reader = path.open("rb")
    write_file(path, b"new", 0o600)
    assert path.read_bytes() == b"new"
    assert mode(path) == 0o600
    with reader:
        assert reader.read() == b"old and longer"  # who had it open still reads the old one whole
    assert os.listdir(tmp_path) == ["file"]


def test_a_failure_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_file(path, b"new", 0o600)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    (tmp_path / "file").symlink_to(target)
    write_file(tmp_path / "file", b"new", 0o600)
    assert target.read_bytes() == b"precious"
    assert not (tmp_path / "file").is_symlink()


@pytest.mark.usefixtures("umask")
def test_makes_directories(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    make_directory(path, 0o700)
    assert mode(path) == 0o700
    path.chmod(0o750)
    make_directory(path, 0o700)
    assert mode(path) == 0o750
