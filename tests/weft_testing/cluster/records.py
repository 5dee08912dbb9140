"""What is on record about clusters, and taking one away from its name alone, whatever happened to who made it.

Theory. A cluster has a folder, a memory file system of its own where we may mount one: etcd and image layers are fast
there, and `umount` removes them all. Its record says who owns it: a process, or nobody (`python -m weft_testing.cluster
up`), and then it stays until it is taken down. A cluster whose owner has ended is an orphan. Two things look for orphans:
the guard, a small process that waits for the owner's end (see `guard.py`), and every `claim` of a new cluster.

Taking away looks at the machine, not only at the record, and may run twice: processes first (they hold namespaces, mounts
and cgroups), then namespaces (links and rules go with them), then cgroups, mounts and files. One lock, on the folder of
all clusters, makes claiming and taking away exclusive.
"""

import fcntl
import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from weft_testing.cluster import cgroups
from weft_testing.cluster.addresses import MAX_CLUSTERS, Addresses, check_name, free_index, own_name, owner_of
from weft_testing.cluster.components import PORTS
from weft_testing.cluster.network import NETNS_ROOT, delete_namespace, namespaces
from weft_testing.cluster.processes import Ledger, Process, kill_all, own_processes, write_atomically

_RECORD: Final = "cluster.json"
_ROOTS_STATE: Final = Path("/run/weft/cluster")
_TIMEOUT_S: Final = 20.0
_FIRST_PORT: Final = 21000
_PORTS_EACH: Final = 8
_PORT_BLOCKS: Final = 16


class RecordError(Exception):
    """A cluster of that name is up already, or is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRecord:
    """A cluster as it was asked for."""

    name: str
    index: int
    owner: Process | None
    """Whose end is the cluster's; None: it stays until it is taken down."""
    ports: dict[str, int] | None
    """Of a control plane on loopback, by part; None for one in namespaces of its own."""
    forwarded_port: int = 0
    """On loopback outside, where the API server is reached."""
    nodes: tuple[str, ...] = ()

    @property
    def directory(self) -> Path:
        """Where everything of the cluster lies."""
        return cluster_directory(self.name)

    @property
    def addresses(self) -> Addresses:
        """Its addresses."""
        return Addresses(self.index)

    @property
    def ledger(self) -> Ledger:
        """Its processes."""
        return Ledger(self.directory / "processes")

    def orphaned(self) -> bool:
        """Tell whether it had an owner who has ended."""
        return self.owner is not None and not self.owner.alive()


def state_root() -> Path:
    """Return the folder of all clusters of this user."""
    if os.geteuid() == 0:
        return _ROOTS_STATE
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    base = Path(runtime) if runtime and os.access(runtime, os.W_OK) else Path(tempfile.gettempdir())
    return base / f"weft-cluster-{os.getuid()}"


def cluster_directory(name: str) -> Path:
    """Return the folder of one cluster."""
    return state_root() / name


@contextmanager
def machine_lock() -> Iterator[None]:
    """Hold the right to claim and take away clusters on this machine."""
    while True:
        state_root().mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = os.open(state_root(), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            if os.fstat(descriptor).st_uid != os.geteuid():
                raise RecordError(f"{state_root()} belongs to another user")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _same(descriptor):
                yield
                return
        finally:
            os.close(descriptor)


def claim(name: str, *, owned: bool, on_loopback: bool) -> ClusterRecord:
    """Sweep, then make a cluster's folder and record.

    Args:
        name: as `check_name` accepts it.
        owned: whether the cluster ends with this process.
        on_loopback: whether it needs no namespaces; it then gets ports that nobody listens on.

    Raises:
        ClusterNameError: no cluster can have that name, or there are too many.
        RecordError: a cluster of that name is up, or the folder of all clusters is another user's.
    """
    check_name(name)
    with machine_lock():
        for orphan in orphans():
            destroy(orphan)
        if exists(name):
            raise RecordError(f"cluster {name!r} is up; take it down first")
        taken = {record.index for other in known() if (record := read(other)) is not None}
        owner = Process.of(os.getpid()) if owned else None
        index = free_index(taken)
        ports = free_ports(index) if on_loopback else None
        record = ClusterRecord(name=name, index=index, owner=owner, ports=ports)
        record.directory.mkdir(mode=0o755)
        _mount_memory(record)
        write(record)
    return record


def free_ports(index: int) -> dict[str, int]:
    """Return loopback ports for a control plane: below those that the kernel gives to clients, which could take one first.

    Raises:
        RecordError: none of the blocks of this number is free.
    """
    for attempt in range(_PORT_BLOCKS):
        first = _FIRST_PORT + (attempt * MAX_CLUSTERS + index) * _PORTS_EACH
        ports = {part: first + number for number, part in enumerate(PORTS)}
        if all(_free(port) for port in ports.values()):
            return ports
    raise RecordError(f"no free loopback ports from {_FIRST_PORT} on for cluster number {index}")


def write(record: ClusterRecord) -> None:
    """Put a record down, or a newer one in its place."""
    write_atomically(record.directory / _RECORD, json.dumps(asdict(record), indent=1).encode())


def read(name: str) -> ClusterRecord | None:
    """Return a cluster's record, or None if there is none that can be read."""
    try:
        content = json.loads((cluster_directory(name) / _RECORD).read_bytes())
        owner = content.pop("owner")
        nodes = tuple(content.pop("nodes"))
        return ClusterRecord(owner=Process(**owner) if owner else None, nodes=nodes, **content)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def update(
    record: ClusterRecord, *, forwarded_port: int | None = None, nodes: tuple[str, ...] | None = None
) -> ClusterRecord:
    """Change what is on record and return the new record."""
    changed = replace(
        record,
        forwarded_port=record.forwarded_port if forwarded_port is None else forwarded_port,
        nodes=record.nodes if nodes is None else nodes,
    )
    write(changed)
    return changed


def known() -> list[str]:
    """Return the names of all clusters of this user with a folder, a namespace or a cgroup, whole or half-made."""
    found: set[str] = set()
    with suppress(FileNotFoundError):
        found |= {entry.name for entry in state_root().iterdir() if entry.is_dir()}
    if os.geteuid() == 0:  # only root makes these
        found |= cgroups.owners()
        with suppress(FileNotFoundError):
            found |= {owner for path in NETNS_ROOT.iterdir() if (owner := owner_of(path.name)) is not None}
    return sorted(found)


def exists(name: str) -> bool:
    """Tell whether anything of a cluster is on the machine."""
    return name in known() or bool(own_processes(name, namespaces(name)))


def orphans() -> list[str]:
    """Return the clusters whose owner has ended, and those without a record; the caller holds the machine lock."""
    return [name for name in known() if (record := read(name)) is None or record.orphaned()]


def sweep() -> list[str]:
    """Take away all orphans.

    Returns:
        Their names.
    """
    if not state_root().exists():
        return []
    with machine_lock():
        found = orphans()
        for name in found:
            destroy(name)
        return found


def destroy(name: str) -> None:
    """Take a cluster away; the caller holds the machine lock.

    Raises:
        RecordError: something of it does not go; the message has what.
    """
    check_name(name)
    record = read(name)
    recorded = record.ledger.all().values() if record is not None else ()
    own = namespaces(name)
    stuck = kill_all(name, own, recorded)
    for namespace in own:
        delete_namespace(namespace)
    left = [f"process {process.pid}" for process in stuck]
    left += [f"cgroup {path}" for path in cgroups.remove(name)]
    directory = cluster_directory(name)
    _unmount_below(directory)
    if directory.exists():
        shutil.rmtree(directory)
    left += [f"network namespace {namespace}" for namespace in namespaces(name)]
    with suppress(OSError):  # other clusters, or other things of weft, are there: then they stay
        state_root().rmdir()
        if state_root() == _ROOTS_STATE:
            _ROOTS_STATE.parent.rmdir()
    if left:
        raise RecordError(f"of cluster {name!r} there is still {', '.join(left)}")


def _free(port: int) -> bool:
    try:
        with socket.create_server(("127.0.0.1", port)):
            return True
    except OSError:
        return False


def _same(descriptor: int) -> bool:
    """Tell whether the locked folder is still the one at the path; the last `destroy` removes it."""
    try:
        return os.stat(state_root()).st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def _mount_memory(record: ClusterRecord) -> None:
    """Mount a memory file system where we may; elsewhere the folder stays what it is, and is slower."""
    if os.geteuid() == 0:
        name = own_name(record.name, "state")
        command = ["mount", "-t", "tmpfs", "-o", "mode=0755,nosuid,nodev", name, str(record.directory)]
        subprocess.run(command, capture_output=True, check=False, timeout=_TIMEOUT_S)


def _unmount_below(directory: Path) -> None:
    text = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    for point in reversed([line.split()[4] for line in text.splitlines()]):
        if point == str(directory) or point.startswith(f"{directory}/"):
            subprocess.run(["umount", "-l", point], capture_output=True, check=False, timeout=_TIMEOUT_S)
