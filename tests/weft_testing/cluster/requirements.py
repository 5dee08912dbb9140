"""What a machine must have for the cluster tests, and what happens to a test where it has not."""

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pytest

from weft_testing.cluster.binaries import missing

REQUIRED: Final = "WEFT_REQUIRE_CLUSTER"
DEBIAN_PACKAGES: Final = (
    "iproute2",
    "util-linux",
    "nftables",
    "iptables",
    "containerd",
    "runc",
    "containernetworking-plugins",
)
CNI_FOLDERS: Final = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
_TOOLS: Final = ("ip", "nsenter", "unshare", "mount", "umount", "nft", "iptables", "containerd", "ctr", "runc")
_CNI_PLUGINS: Final = ("bridge", "ptp", "host-local", "portmap", "loopback")
_PATH: Final = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def cni_folder() -> Path | None:
    """Return the folder that has all CNI plugins which nodes use, or None."""
    for folder in CNI_FOLDERS:
        if all((folder / plugin).is_file() for plugin in _CNI_PLUGINS):
            return folder
    return None


def why_no_nodes() -> str:
    """Return why this machine cannot run nodes, or nothing if it can."""
    if os.geteuid() != 0:
        return "nodes need root"
    absent = [tool for tool in _TOOLS if shutil.which(tool, path=_PATH) is None]
    if cni_folder() is None:
        absent.append(f"CNI plugins in {' or '.join(map(str, CNI_FOLDERS))}")
    if absent:
        return f"not installed: {', '.join(absent)} (Debian: {' '.join(DEBIAN_PACKAGES)})"
    if subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False
    ).returncode:
        return "the kernel makes no namespaces for us"
    return ""


def why_not_built(programs: Iterable[str]) -> str:
    """Return why the programs are not there, or nothing if they are, or may be built by the tests themselves."""
    absent = missing(programs)
    if not absent or os.environ.get(REQUIRED) == "1":
        return ""
    return (
        f"not built yet: {', '.join(absent)}; `python -m weft_testing.cluster build` does that once, "
        f"and {REQUIRED}=1 lets the tests do it"
    )


def skip_or_fail(reason: str) -> None:
    """Skip the test for a reason, or fail it where skipping is not allowed; without a reason, do nothing."""
    if not reason:
        return
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(f"{REQUIRED}=1, but {reason}", pytrace=False)
    pytest.skip(reason)
