"""The state directory: private, held by one at a time, with a secret that stays the same."""

import os
from pathlib import Path

import pytest

from weft_agent.control.state_directory import StateDirectory, StateDirectoryError


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_nobody_else_may_look_inside(tmp_path: Path) -> None:
    os.umask(os.umask(0))
    (tmp_path / "state").mkdir(mode=0o777)
    state = StateDirectory(tmp_path / "state")
    state.token()
    state.write("record.json", [1])
    assert mode(state.path) == 0o700
    assert mode(state.path / "token") == 0o600
    assert mode(state.path / "record.json") == 0o600
    assert mode(state.worker_directory) == mode(state.root_directory) == 0o711
    state.close()


def test_one_agent_at_a_time(tmp_path: Path) -> None:
    one = StateDirectory(tmp_path / "state")
    assert one.lock()
    two = StateDirectory(tmp_path / "state")
    assert not two.lock()
    one.close()
    assert two.lock()
    two.close()


def test_the_token_outlives_a_control_and_a_damaged_one_is_replaced(tmp_path: Path) -> None:
    one = StateDirectory(tmp_path / "state")
    token = one.token()
    assert len(token) == 32
    one.close()
    two = StateDirectory(tmp_path / "state")
    assert two.token() == token
    (two.path / "token").write_bytes(b"")
    assert len(two.token()) == 32
    two.close()


def test_records_come_back_and_damaged_ones_do_not(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    state.write("workers.json", [(0, 17)])
    assert state.read("workers.json", list[tuple[int, int]]) == [(0, 17)]
    assert state.read("nothing.json", list[int]) is None
    (tmp_path / "workers.json").write_bytes(b"[[0,")
    assert state.read("workers.json", list[tuple[int, int]]) is None
    (tmp_path / "workers.json").write_bytes(b'["x"]')
    assert state.read("workers.json", list[tuple[int, int]]) is None
    state.close()


def test_a_directory_that_cannot_be_made_is_told_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateDirectoryError, match="--state"):
        StateDirectory(tmp_path / "file" / "state")
