"""Control groups of nodes: one branch per node in every hierarchy, version 1 or 2, made before the kubelet and removed after.

Theory. The kubelet keeps its pods below `cgroupRoot`; a branch per node lets several kubelets share a machine and makes
clearing up a matter of removing that branch. In version 1 each controller has a tree of its own, and a new cpuset group is
unusable until it has CPUs and memory nodes. In version 2 there is one tree, and runc passes the controllers on by itself.

Source: Linux Documentation/admin-guide/cgroup-v1/cpusets.rst §1.2, cgroup-v2.rst; verified on version 1 with the empty
version 2 tree of a hybrid set-up beside it.
"""

import os
import select
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from weft_testing.cluster.addresses import own_name, owner_of

ROOT: Final = Path("/sys/fs/cgroup")
_REMOVAL_ROUNDS: Final = 100
_ROUND_S: Final = 0.05


def version() -> int:
    """Return which version of control groups manages this machine's memory and CPUs."""
    return 2 if (ROOT / "cgroup.controllers").exists() else 1


def hierarchies() -> list[Path]:
    """Return the roots of all trees."""
    if version() == 2:
        return [ROOT]
    found = [path for path in sorted(_listed(ROOT)) if path.is_dir() and not path.is_symlink()]
    return [path for path in found if (path / "cgroup.procs").exists()]


def make(cluster: str, node: str) -> str:
    """Make a node's branch everywhere.

    Returns:
        Its path below each root, for the kubelet's `cgroupRoot`.
    """
    name = own_name(cluster, node)
    for root in hierarchies():
        branch = root / name
        branch.mkdir(exist_ok=True)
        if version() == 1:
            for setting in ("cpuset.cpus", "cpuset.mems"):
                if (root / setting).exists():
                    (branch / setting).write_text((root / setting).read_text())
    return f"/{name}"


def remove(cluster: str, node: str = "") -> list[Path]:
    """Remove the branches of a cluster or of one node, whose processes have ended; the kernel may need a moment for that.

    Returns:
        What could not be removed.
    """
    for _ in range(_REMOVAL_ROUNDS):
        for branch in _branches(cluster, node):
            for folder, _, _ in os.walk(branch, topdown=False):
                with suppress(OSError):
                    os.rmdir(folder)
        left = list(_branches(cluster, node))
        if not left:
            return []
        select.select([], [], [], _ROUND_S)
    return list(_branches(cluster, node))


def owners() -> set[str]:
    """Return the names of all clusters that have a branch somewhere."""
    return {owner for root in hierarchies() for path in _listed(root) if (owner := owner_of(path.name)) is not None}


def _branches(cluster: str, node: str) -> Iterator[Path]:
    for root in hierarchies():
        for path in _listed(root):
            if owner_of(path.name) == cluster and node in ("", path.name.rpartition(".")[2]):
                yield path


def _listed(root: Path) -> list[Path]:
    try:
        return list(root.iterdir())
    except OSError:
        return []
