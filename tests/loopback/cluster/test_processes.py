"""Processes as records know them: started, found again, told apart, ended; and a node's init that keeps programs up."""

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from weft_testing.cluster.control_plane import PYTHON_VARIABLES
from weft_testing.cluster.node_init import PART_VARIABLE, WANTED
from weft_testing.cluster.processes import (
    Ledger,
    Process,
    ProcessError,
    children,
    kill_all,
    own_processes,
    spawn,
    wait_until,
    write_atomically,
)

WAIT_S = 15.0


@pytest.fixture
def cluster() -> Iterator[str]:
    """A name that marks this test's processes, which are gone when it ends."""
    name = f"t-{uuid.uuid4().hex[:12]}"
    yield name
    assert kill_all(name, (), ()) == []


def test_a_process_is_known_until_it_ends(cluster: str, tmp_path: Path) -> None:
    process = spawn(cluster, ["sleep", "1000"], tmp_path / "log")
    assert process.alive()
    assert not process.wait(0.01)
    assert own_processes(cluster, ()) == [process]
    assert own_processes(f"{cluster}x", ()) == []
    assert process.end(signal.SIGTERM, WAIT_S)
    assert not process.alive()
    assert process.wait(0)
    assert own_processes(cluster, ()) == []
    with pytest.raises(ProcessLookupError):
        Process.of(process.pid)


def test_another_process_of_the_same_number_is_another(cluster: str, tmp_path: Path) -> None:
    process = spawn(cluster, ["sleep", "1000"], tmp_path / "log")
    earlier = Process(process.pid, process.started_ticks - 1)
    assert not earlier.alive()
    assert earlier.end(signal.SIGKILL, 0), "it has ended long ago"
    assert process.alive(), "and the one that has its number now was spared"


def test_output_and_environment_go_where_they_should(cluster: str, tmp_path: Path) -> None:
    script = "echo out; echo err >&2; echo $EXTRA; cat; cat <&3"
    read_end, write_end = os.pipe()
    process = spawn(cluster, ["sh", "-c", script], tmp_path / "log", variables={"EXTRA": "more"}, keep=read_end)
    os.write(write_end, b"by descriptor\n")
    os.close(write_end)
    os.close(read_end)
    assert process.wait(WAIT_S)
    assert (tmp_path / "log").read_text() == "out\nerr\nmore\nby descriptor\n"


def test_signals_that_we_block_are_not_blocked_there(cluster: str, tmp_path: Path) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        process = spawn(cluster, ["sleep", "1000"], tmp_path / "log")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert process.end(signal.SIGTERM, WAIT_S)


def test_whoever_starts_others_is_hunted_with_them(cluster: str, tmp_path: Path) -> None:
    script = "for i in 1 2 3; do setsid sleep 1000 & done; wait"
    process = spawn(cluster, ["sh", "-c", script], tmp_path / "log")
    wait_until(lambda: len(own_processes(cluster, ())) == 4, "all had started", WAIT_S)
    assert len(children(process.pid)) == 3
    assert kill_all(cluster, (), [process]) == []
    assert own_processes(cluster, ()) == []


def test_a_ledger_remembers_and_forgets(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "processes")
    assert ledger.all() == {}
    assert ledger.read("etcd") is None
    mine = Process.of(os.getpid())
    ledger.write("etcd", mine)
    assert Ledger(tmp_path / "processes").all() == {"etcd": mine}
    (tmp_path / "processes" / "broken.json").write_text("{")
    assert ledger.all() == {"etcd": mine}
    ledger.forget("etcd")
    assert ledger.read("etcd") is None


def test_waiting_ends_with_the_process_that_was_waited_for(cluster: str, tmp_path: Path) -> None:
    process = spawn(cluster, ["sh", "-c", "echo the reason; exit 3"], tmp_path / "log")
    with pytest.raises(ProcessError, match=r"(?s)ended before it was ready.*the reason") as caught:
        wait_until(lambda: False, "it was ready", WAIT_S, process=process, log=tmp_path / "log")
    assert "not enough" not in str(caught.value)


def test_waiting_ends_with_the_time(tmp_path: Path) -> None:
    def refuse() -> bool:
        raise ConnectionRefusedError

    with pytest.raises(ProcessError, match=r"(?s)0\.1 s were not enough until it was ready.*\(no log\)"):
        wait_until(refuse, "it was ready", 0.1, log=tmp_path / "absent")
    assert wait_until(lambda: True, "it was ready", 0.1) < 0.1


KEEPER = """
import signal, sys
from pathlib import Path
from weft_testing.cluster.node_init import Keeper
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGHUP})
print("ready", flush=True)
Keeper(Path(sys.argv[1])).run()
"""


class Init:
    """A node's init without a node."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / WANTED).write_text("{}")
        command = [sys.executable, "-c", KEEPER, str(folder)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | PYTHON_VARIABLES)
        self.pid = self._process.pid
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n", "a signal before it blocks them would end it"

    def want(self, **commands: list[str]) -> None:
        write_atomically(self._folder / WANTED, json.dumps(commands).encode())
        os.kill(self.pid, signal.SIGHUP)

    def running(self) -> dict[str, int]:
        found = {}
        for pid in children(self.pid):
            with suppress(OSError):  # it has just ended
                for line in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    name, _, part = line.decode().partition("=")
                    if name == PART_VARIABLE and Process.of(pid).alive():
                        found[part] = pid
        return found

    def close(self) -> None:
        self.want()
        wait_until(lambda: not children(self.pid), "init had ended its programs", WAIT_S)
        self._process.kill()
        self._process.communicate(timeout=WAIT_S)


@pytest.fixture
def init(tmp_path: Path) -> Iterator[Init]:
    made = Init(tmp_path)
    yield made
    made.close()


def test_init_starts_what_is_wanted_and_ends_what_is_not(init: Init) -> None:
    init.want(a=["sleep", "1000"], b=["sleep", "1001"])
    wait_until(lambda: init.running().keys() == {"a", "b"}, "both ran", WAIT_S)
    kept = init.running()["b"]
    init.want(b=["sleep", "1001"])
    wait_until(lambda: init.running() == {"b": kept}, "only the wanted one ran, untouched", WAIT_S)


def test_init_starts_again_what_ends(init: Init, tmp_path: Path) -> None:
    init.want(a=["sh", "-c", "echo started; exec sleep 1000"])
    wait_until(lambda: "a" in init.running(), "it ran", WAIT_S)
    first = init.running()["a"]
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: init.running().get("a", first) != first, "it ran again", WAIT_S)
    wait_until(lambda: (tmp_path / "a.log").read_text() == "started\n" * 2, "both had written to one log", WAIT_S)


def test_init_does_not_start_what_fails_at_once_without_end(init: Init, tmp_path: Path) -> None:
    init.want(a=["sh", "-c", "date +%s%N; exit 1"])
    wait_until(lambda: len(starts(tmp_path)) >= 3, "it was started three times", WAIT_S)
    first, second, third = starts(tmp_path)[:3]
    assert second - first > 0.4
    assert third - second > 0.4


def starts(folder: Path) -> list[float]:
    log = folder / "a.log"
    return [int(line) / 1e9 for line in log.read_text().split()] if log.exists() else []


def test_init_reaps_what_is_left_to_it(init: Init) -> None:
    init.want(a=["sh", "-c", "true & exec sleep 1000"])
    wait_until(lambda: "a" in init.running(), "it ran", WAIT_S)
    assert len(children(init.pid)) == 1
