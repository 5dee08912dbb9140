"""A lab whose machine is a chroot, as build systems and bare test machines are: `exec` meets the container's files there, too."""

import subprocess
import sys
from pathlib import Path

import pytest

from weft_testing.lab import python_path

pytestmark = pytest.mark.netns

MACHINE = """
mount --rbind / "$1"
mount -t tmpfs tmpfs "$1/run"
export PYTHONPATH="$2"
exec chroot "$1" bash -euc "$4" -- "$3"
"""
SESSION = """
lab() { "$PY" -P -m weft_cli lab "$@"; }
PY="$1"
trap 'lab down --name chroot' EXIT
lab up --no-agent --nodes 1 --name chroot -f - --wait <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: inside}
spec: {containers: [{name: m, image: weft.dev/demo, args: [client]}]}
YAML
lab exec --name chroot inside -- sh -c 'cat /etc/hostname; ls /.weft-lab-machine 2>&1; grep -c inside /etc/hosts'
"""


def test_exec_has_the_containers_root(tmp_path: Path) -> None:
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "bash", "-euc", MACHINE, "--",
         str(tmp_path), python_path(), sys.executable, SESSION],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "inside\n" in done.stdout, "the host name's file is the container's own"
    assert "No such file" in done.stdout
    assert "lab chroot is down" in done.stdout
