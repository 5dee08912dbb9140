"""The packet capture of the demonstration: it ends, with all that was started for it, whatever signals its place ignores."""

import subprocess
from pathlib import Path

import pytest

from weft_lab.demonstration.stage import StageError
from weft_lab.demonstration.wire import WireTap
from weft_testing.cluster.processes import wait_until

CARRIER = 'trap "" INT; (head -c 24 /dev/zero; printf "GET /seen") > "$1"; sleep 60 & echo $! > "$2"; wait'
"""As nsenter does: it starts another process, waits for it, and passes nothing on."""


class Node:
    """Starts the carrier in tcpdump's place."""

    def __init__(self, directory: Path, script: str = CARRIER) -> None:
        self.child = directory / "child"
        self._script = script

    def start_on_node(self, node: str, *command: str) -> "subprocess.Popen[bytes]":
        written = command[command.index("-w") + 1]
        return subprocess.Popen(
            ["sh", "-c", self._script, "sh", written, str(self.child)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, process_group=0,
        )  # fmt: skip


def runs(pid: int) -> bool:
    """Whether a process is there, and not only waits for whoever adopted it to look."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_was_captured_is_read_and_nothing_is_left(tmp_path: Path) -> None:
    node = Node(tmp_path)
    with WireTap(node, "node-1") as tap:
        assert tap.wire.empty
    assert tap.wire.shows("GET /seen") == 1
    child = int(node.child.read_text())
    wait_until(lambda: not runs(child), "it was gone", 5)


def test_a_capture_that_does_not_start_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(StageError, match="node-1: no such interface"),
        WireTap(Node(tmp_path, "echo no such interface >&2"), "node-1"),
    ):
        pass
