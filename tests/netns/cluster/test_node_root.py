"""A node on a machine that is a chroot: whoever enters its namespace of mounts meets the node's files, not those above."""

import subprocess
import sys
from pathlib import Path

import pytest

from weft_testing.cluster.control_plane import PYTHON_VARIABLES
from weft_testing.netns import require_netns

pytestmark = pytest.mark.netns

MACHINE = """
mount --rbind / "$1"
mount -t tmpfs tmpfs "$1/run"
touch "$1/run/inside"
export PYTHONPATH="$2" PY="$3"
exec chroot "$1" unshare --mount bash -euc "$4"
"""
NODE = """
exec "$PY" -P -c '
import os, subprocess
from weft_testing.cluster.node_root import own_the_root
own_the_root()
assert os.path.exists("/run/inside"), "its own files are the same as before"
own_the_root()
subprocess.run(["nsenter", f"--target={os.getpid()}", "--mount", "ls", "/run/inside"], check=True)
'
"""


def run(machine: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "bash", "-euc", machine, "--",
         str(folder), PYTHON_VARIABLES["PYTHONPATH"], sys.executable, NODE],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _needs() -> None:
    require_netns("nsenter", "mount", "unshare", "chroot")


def test_the_nodes_root_is_its_namespaces(tmp_path: Path) -> None:
    done = run(MACHINE, tmp_path)
    assert (done.returncode, done.stdout) == (0, "/run/inside\n"), done.stderr


def test_where_the_machine_is_no_chroot_nothing_changes(tmp_path: Path) -> None:
    here = MACHINE.replace('chroot "$1"', "").replace("$1/run", "/run")
    done = run(here, tmp_path)
    assert (done.returncode, done.stdout) == (0, "/run/inside\n"), done.stderr
