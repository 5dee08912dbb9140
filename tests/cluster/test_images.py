"""The images as they are shipped: nothing in them but what they need, the gate starts at once, twice built is twice the same."""

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from weft_testing.cluster.requirements import skip_or_fail

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
GATE_S = 0.15
GATE_WITHOUT_UID = 78
UNWANTED = re.compile(r"(^|/)(sh|bash|dash|busybox|apt|apt-get|dpkg|pip\d*|su|mount)$")


def build(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "manifests.image", "--allow-newer", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    if "cannot be had" in done.stderr or "apt is missing" in done.stderr:
        skip_or_fail(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=["agent", "operator", "demo"])
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("images") / str(request.param)
    build("rootfs", str(request.param), str(place))
    return place


def test_twice_built_is_twice_the_same(tmp_path: Path) -> None:
    said = [build("build", "agent", f"--out={tmp_path / name}").split()[1] for name in ("one", "two")]
    assert said[0] == said[1]
    assert said[0].startswith("sha256:")


def test_there_is_no_shell_no_package_manager_and_nothing_setuid(root: Path) -> None:
    paths = [path for path in root.rglob("*") if not path.is_dir()]
    assert not [path for path in paths if UNWANTED.search(str(path.relative_to(root)))]
    assert not [path for path in paths if not path.is_symlink() and path.stat().st_mode & 0o6000]


def test_every_module_has_its_bytecode(root: Path) -> None:
    ours = list((root / "usr/lib/python3/dist-packages").glob("weft_*/**/*.py"))
    assert len(ours) > 5
    assert not [path for path in ours if not (path.parent / "__pycache__" / f"{path.stem}.cpython-311.pyc").exists()]


def test_the_gate_starts_at_once_without_any_right(root: Path) -> None:
    """Its exit status says that it came as far as looking for the pod's uid. CPU time, since the machine has other work."""
    if not (root / "usr/bin/weft-agent").exists():
        return
    if os.geteuid() != 0:
        skip_or_fail("chroot needs root")
    took = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = ["/usr/sbin/chroot", "--userspec=65532:65532", str(root), "/usr/bin/weft-agent", "gate"]
        done = subprocess.run(command, env={}, capture_output=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.returncode == GATE_WITHOUT_UID, done.stderr
    assert min(took) < GATE_S
