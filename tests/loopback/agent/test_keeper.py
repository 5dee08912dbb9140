"""The keeper with a program that dies in every way: it is started again, signals reach it, nobody is left behind."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from weft_agent.keeper.launch import command, package_paths
from weft_testing.agent_process import kill, process_status, until

PATHS = package_paths(["weft_agent", "weft_testing"])


class Kept:
    """A keeper and its notes."""

    def __init__(self, directory: Path, plan: str) -> None:
        self.note_path = directory / "note"
        self.note_path.touch()
        (directory / "plan").write_text(plan)
        fake = ["weft_testing.fake_control", "--note", str(self.note_path), "--plan", str(directory / "plan")]
        argv = command(PATHS, "weft_agent.keeper.keep", [PATHS, *fake], site=False)
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def notes(self) -> list[str]:
        return self.note_path.read_text().splitlines()

    def until_note(self, text: str, count: int = 1) -> None:
        until(lambda: sum(line.startswith(text) for line in self.notes()) >= count, f"{count} x {text}")

    def pids(self, word: str = "start") -> list[int]:
        return [int(line.split()[1]) for line in self.notes() if line.startswith(word)]

    def end(self) -> tuple[int, list[dict[str, Any]]]:
        _, errors = self.process.communicate(timeout=20)
        return self.process.returncode, [json.loads(line) for line in errors.splitlines() if line.startswith("{")]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate(timeout=20)
        for pid in [*self.pids(), *self.pids("orphan")]:
            kill(pid)
        if self.process.stderr is not None:
            self.process.stderr.close()


@pytest.fixture
def keep(tmp_path: Path) -> Iterator[Any]:
    made: list[Kept] = []

    def start(plan: str) -> Kept:
        made.append(Kept(tmp_path, plan))
        return made[-1]

    yield start
    for kept in made:
        kept.close()


def test_a_program_that_dies_is_started_again_ever_more_slowly(keep: Any) -> None:
    kept = keep("kill\nexit 1\nexit 1\nexit 70\nexit 0")
    status, events = kept.end()
    assert status == 0
    assert len(kept.pids()) == 5
    assert [event["event"] for event in events] == ["control-died"] * 4
    assert [event["status"] for event in events] == [137, 1, 1, 70]
    assert [event["restart_in_s"] for event in events] == [0.05, 0.1, 0.2, 0.4]


@pytest.mark.parametrize("status", [0, 78])
def test_a_program_that_is_done_or_hopeless_is_not_started_again(keep: Any, status: int) -> None:
    kept = keep(f"exit {status}\nexit 0")
    assert kept.end()[0] == status
    assert len(kept.pids()) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_passed_on_and_the_programs_status_is_ours(keep: Any, number: signal.Signals) -> None:
    kept = keep("wait 3")
    kept.until_note("start")
    kept.process.send_signal(number)
    assert kept.end()[0] == 3
    assert kept.notes()[1:] == [number.name]


def test_a_second_stop_is_passed_on_too(keep: Any) -> None:
    kept = keep("wait")
    kept.until_note("start")
    kept.process.send_signal(signal.SIGHUP)
    kept.until_note("SIGHUP")
    kept.process.send_signal(signal.SIGHUP)
    kept.until_note("SIGHUP", 2)
    kept.process.send_signal(signal.SIGTERM)
    assert kept.end()[0] == 0
    assert kept.notes()[1:] == ["SIGHUP", "SIGHUP", "SIGTERM"]


def test_a_stop_while_the_program_is_away_ends_the_keeper(keep: Any) -> None:
    kept = keep("\n".join(["kill"] * 20))
    kept.until_note("start", 5)
    kept.process.send_signal(signal.SIGTERM)
    status, _ = kept.end()
    assert status in {128 + signal.SIGTERM, 128 + signal.SIGKILL}


def test_orphans_come_to_the_keeper_and_are_ended_with_it(keep: Any) -> None:
    kept = keep("orphan\nwait")
    kept.until_note("start", 2)
    (orphan,) = kept.pids("orphan")
    until(lambda: process_status(orphan)["PPid"] == str(kept.process.pid), "the orphan has a new parent")
    kept.process.send_signal(signal.SIGTERM)
    assert kept.end()[0] == 0
    assert not Path(f"/proc/{orphan}").exists()


def test_an_orphan_that_ends_is_buried(keep: Any) -> None:
    kept = keep("orphan\nwait")
    kept.until_note("start", 2)
    (orphan,) = kept.pids("orphan")
    os.kill(orphan, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{orphan}").exists(), "no zombie is left")


def test_the_program_notices_the_keepers_death(keep: Any) -> None:
    kept = keep("wait")
    kept.until_note("start")
    kept.process.kill()
    kept.process.wait(20)
    kept.until_note("lifeline")


def test_the_keeper_is_small_and_plain(keep: Any) -> None:
    kept = keep("wait")
    kept.until_note("start")
    status = process_status(kept.process.pid)
    assert int(status["VmRSS"].split()[0]) <= 12 * 1024
    assert status["Threads"] == "1"
    assert Path(f"/proc/{kept.process.pid}/comm").read_text() == "weft-keeper\n"
