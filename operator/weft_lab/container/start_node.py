"""Becomes a program of a node: the node's network namespace, and a /run of the node's own. Standard library only.

Agents are started through this, and `weft lab node-exec`: all of them see the same /run, because it is one directory.
/run/netns in it follows the machine's, so that an agent finds the pods' network namespaces as on any host.
"""

import json
import os
import sys

from weft_lab.container.confine import sentence
from weft_lab.container.kernel import CLONE_NEWNS, MS_REC, MS_SLAVE, bind, mount, unshare
from weft_lab.container.order import NodeOrder, read_order
from weft_lab.container.start_pod import START_FAILED_STATUS, enter, execute


def main() -> None:
    """Take the order of `argv`: order descriptor, and a status descriptor or `-` for standard error."""
    status = None if sys.argv[3] == "-" else int(sys.argv[3])
    if status is not None:
        os.set_inheritable(status, False)
    try:
        start(read_order(int(sys.argv[2]), NodeOrder))
    except (OSError, ValueError) as exc:
        if status is None:
            print(f"error: {sentence(exc)}", file=sys.stderr)  # noqa: T201  # this program's one way to speak
        else:
            os.write(status, json.dumps(sentence(exc)).encode())
        os._exit(START_FAILED_STATUS)


def start(order: NodeOrder) -> None:
    """Enter the node and execute the program; returns only by raising.

    Raises:
        OSError: the node is gone, or the program is not there.
        ValueError: an unknown capability.
    """
    enter(order.namespace)
    unshare(CLONE_NEWNS)
    mount(None, "/", None, MS_REC | MS_SLAVE)
    for item in order.binds:
        target = os.path.join(order.run_directory, item.target)
        os.makedirs(target, exist_ok=True)
        bind(item.source, target, read_only=item.read_only, recursive=True)
    bind(order.run_directory, "/run", recursive=True)
    execute(order.program)
