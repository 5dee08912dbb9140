"""Taking a lab away: processes, namespaces, mounts, files. Works from names alone, after whatever happened to the lab.

Theory: each step finds its work by looking at the machine, not at a record, and may run twice. Processes go first (they
hold namespaces and mounts), then namespaces (links and rules go with them), then mounts and files.
"""

import shutil
import signal
from contextlib import suppress
from typing import Final

from weft_lab.machine import processes
from weft_lab.machine.namespaces import delete_namespace, lab_namespaces
from weft_lab.machine.records import known_labs, read_daemon, unmount_below
from weft_lab.names import STATE_ROOT, check_lab_name, state_directory

_DAEMON_TIMEOUT_S: Final = 5.0
_KILL_TIMEOUT_S: Final = 10.0


def exists(name: str) -> bool:
    """Tell whether anything of a lab is on the machine."""
    return name in known_labs() or bool(lab_namespaces(name)) or bool(processes.lab_processes(name, ()))


def destroy(name: str) -> list[str]:
    """Take a lab away; the caller holds the machine lock.

    Returns:
        What could not be removed, as sentences; empty if nothing of the lab is left.

    Raises:
        LabNameError: no lab can have that name.
        MachineError: `ip` or `umount` failed.
    """
    check_lab_name(name)
    daemon = read_daemon(name)
    if daemon is not None and daemon.alive():
        processes.end(daemon.pid, signal.SIGTERM, _DAEMON_TIMEOUT_S)
    stuck = _end_and_delete(name)
    directory = state_directory(name)
    unmount_below(directory)
    if directory.exists():
        shutil.rmtree(directory)
    with suppress(OSError):  # other labs, or other things of weft, are there: then they stay
        STATE_ROOT.rmdir()
        STATE_ROOT.parent.rmdir()
    if lab_namespaces(name):  # `ip`, begun by an `up` that was killed, ended a moment after we had looked
        stuck = _end_and_delete(name)
    left = [f"process {pid} does not end" for pid in stuck]
    left += [f"network namespace {namespace} is still there" for namespace in lab_namespaces(name)]
    return left


def _end_and_delete(name: str) -> list[int]:
    """End what runs in a lab's namespaces and delete these; return the processes that did not end."""
    namespaces = lab_namespaces(name)
    stuck = processes.kill_all(name, namespaces, _KILL_TIMEOUT_S)
    for namespace in namespaces:
        delete_namespace(namespace)
    return stuck
