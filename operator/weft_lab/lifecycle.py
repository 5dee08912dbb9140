"""Bringing a lab up and taking it down, from the outside."""

import os
import select
import shutil
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from weft_lab.addressing import MAX_NODES
from weft_lab.machine import teardown
from weft_lab.machine.processes import end
from weft_lab.machine.records import claim, known_labs, machine_lock, read_daemon, read_lab
from weft_lab.names import LAB_VARIABLE, check_lab_name, node_names, state_directory
from weft_lab.python_path import python_path

_READY_TIMEOUT_S: Final = 60.0
_KILL_TIMEOUT_S: Final = 5.0
_TOOLS: Final = {"ip": "iproute2", "nft": "nftables", "nsenter": "util-linux", "mount": "mount", "umount": "mount"}


class LabError(Exception):
    """A lab cannot be brought up or taken down; the message says why and what to do."""


def check_machine() -> None:
    """See whether this machine can carry a lab.

    Raises:
        LabError: with everything that is missing.
    """
    missing = [f"{tool} (package {package})" for tool, package in _TOOLS.items() if shutil.which(tool) is None]
    if os.geteuid() != 0:
        raise LabError("a lab needs root, because it makes network namespaces; run it with sudo")
    if missing:
        raise LabError(f"the lab needs {', '.join(missing)}; install what is missing")


def up(name: str, nodes: int, *, agent: bool) -> None:
    """Bring a lab up, or leave nothing behind.

    Args:
        name: of the lab.
        nodes: how many.
        agent: whether each node runs the mesh's agent.

    Raises:
        LabError: it is up already, or could not be brought up.
        LabNameError: no lab can have that name.
        AddressesExhaustedError: too many labs are up.
        MachineError: the machine did not do what was asked.
    """
    check_lab_name(name)
    check_machine()
    if not 1 <= nodes <= MAX_NODES:
        raise LabError(f"a lab has 1 to {MAX_NODES} nodes, not {nodes}")
    with machine_lock():
        _refuse_second(name)
        try:
            claim(name, node_names(nodes), agent=agent, created=datetime.now(UTC).isoformat(timespec="seconds"))
            _start_daemon(name)
        except BaseException:
            teardown.destroy(name)
            raise


def _refuse_second(name: str) -> None:
    daemon = read_daemon(name)
    if daemon is not None and daemon.alive():
        record = read_lab(name)
        nodes = len(record.nodes) if record is not None else 0
        raise LabError(
            f"lab {name} is up already ({nodes} nodes); change it with `weft lab apply -f`, or take it down first: "
            f"weft lab down --name {name}"
        )
    if teardown.exists(name):
        raise LabError(f"there is a rest of a lab {name}; take it away first: weft lab down --name {name}")


def _start_daemon(name: str) -> None:
    log_path = state_directory(name) / "daemon.log"
    read_end, write_end = os.pipe()
    try:
        pid = _spawn_daemon(name, log_path, write_end)
        os.close(write_end)
        write_end = -1
        said = _read_all(read_end, _READY_TIMEOUT_S)
    finally:
        os.close(read_end)
        if write_end >= 0:
            os.close(write_end)
    if said.strip() != "ready":
        end(pid, signal.SIGKILL, _KILL_TIMEOUT_S)
        tail = log_path.read_text(errors="replace")[-2000:]
        raise LabError(f"lab {name} did not come up: {said.strip() or tail.strip() or 'the daemon ended'}")


def _spawn_daemon(name: str, log_path: Path, status: int) -> int:
    """Start the daemon in a session of its own; it outlives this process, so nobody here waits for it."""
    command = [sys.executable, "-P", "-m", "weft_lab.daemon", name, str(status)]
    environment = {**os.environ, "PYTHONPATH": python_path(), LAB_VARIABLE: name}
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    os.set_inheritable(status, True)
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, log, 1),
        (os.POSIX_SPAWN_DUP2, log, 2),
    ]
    try:
        return os.posix_spawn(command[0], command, environment, file_actions=actions, setsid=True)
    finally:
        os.close(log)


def _read_all(descriptor: int, timeout_s: float) -> str:
    """Read what the daemon says until it closes its end, or for the time allowed."""
    data = b""
    while not data.endswith(b"\n"):
        if not select.select([descriptor], [], [], timeout_s)[0]:
            return data.decode() or f"it did not say that it is ready within {timeout_s:g} s"
        more = os.read(descriptor, 65536)
        if not more:
            break
        data += more
    return data.decode()


def down(name: str) -> bool:
    """Take a lab away, whatever state it is in.

    Returns:
        False where there was nothing of it.

    Raises:
        LabError: something of it does not go.
        LabNameError: no lab can have that name.
        MachineError: `ip` or `umount` failed.
    """
    check_lab_name(name)
    check_machine()
    with machine_lock():
        if not teardown.exists(name):
            teardown.destroy(name)
            return False
        left = teardown.destroy(name)
    if left:
        raise LabError(f"lab {name} is not quite gone: {'; '.join(left)}")
    return True


def labs() -> list[str]:
    """Return the names of all labs on this machine, whole or not."""
    return known_labs()
