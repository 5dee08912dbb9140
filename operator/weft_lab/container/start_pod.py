"""The first process of a container: builds the container around itself, then becomes the program. Standard library only.

Started by the daemon as pid 1 of a fresh pid namespace, with an order and a status pipe. The pipe closes on success, at
the moment of execve; otherwise it carries the reason. Nothing of this file is left in memory once the program runs.
"""

import json
import os
import sys

from weft_lab.container.confine import become, find_program, sentence
from weft_lab.container.kernel import CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUTS, sethostname, setns, unshare
from weft_lab.container.order import PodOrder, Program, read_order
from weft_lab.container.root import build_root

START_FAILED_STATUS = 128
"""Exit status of a container that could not be started, as a kubelet reports it (StartError)."""


def main() -> None:
    """Take the order of `argv`: order descriptor, status descriptor."""
    status = int(sys.argv[3])
    os.set_inheritable(status, False)
    try:
        start(read_order(int(sys.argv[2]), PodOrder))
    except (OSError, ValueError) as exc:
        os.write(status, json.dumps(sentence(exc)).encode())
        os._exit(START_FAILED_STATUS)


def start(order: PodOrder) -> None:
    """Build the container and execute its program; returns only by raising.

    Raises:
        OSError: the kernel refused something, or the program is not there.
        ValueError: an unknown capability.
    """
    enter(order.namespace)
    unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC)
    sethostname(order.hostname)
    build_root(order)
    execute(order.program)


def enter(namespace: str) -> None:
    """Enter a network namespace by its path.

    Raises:
        OSError: it is gone.
    """
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    setns(descriptor, CLONE_NEWNET)
    os.close(descriptor)


def execute(program: Program) -> None:
    """Become the program.

    Raises:
        OSError: it is not there or cannot be executed.
        ValueError: an unknown capability.
    """
    os.makedirs(program.directory, exist_ok=True)
    os.chdir(program.directory)
    become(program)
    file = find_program(program.arguments[0], program.environment.get("PATH", os.defpath))
    os.execve(file, program.arguments, program.environment)
