"""Runs a program inside a container that runs, and ends as it ends: `weft lab exec` and exec probes. Standard library only.

Theory: entering a pid namespace holds for children alone, so this process stays outside as the parent, hands on its
terminal and signals, and returns the child's status. Descriptors 0, 1 and 2 are the caller's own: nothing is copied.
"""

import os
import signal
import subprocess
import sys
from types import FrameType
from typing import Final

from weft_lab.container.confine import become, find_program, sentence
from weft_lab.container.kernel import CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUTS, setns
from weft_lab.container.order import JoinOrder, read_order

CANNOT_RUN_STATUS: Final = 126
NOT_FOUND_STATUS: Final = 127
"""As a shell has them."""

_NAMESPACES: Final = (
    ("pid", CLONE_NEWPID),
    ("net", CLONE_NEWNET),
    ("uts", CLONE_NEWUTS),
    ("ipc", CLONE_NEWIPC),
    ("mnt", CLONE_NEWNS),
)
"""The mount namespace comes last: paths mean something else after it."""


def main() -> None:
    """Take the order of `argv`: order descriptor."""
    order = read_order(int(sys.argv[2]), JoinOrder)
    try:
        enter(order)
        status = run(order)
    except (OSError, ValueError, subprocess.SubprocessError) as exc:
        print(f"error: {sentence(exc)}", file=sys.stderr)  # noqa: T201  # this program's one way to speak
        os._exit(NOT_FOUND_STATUS if isinstance(exc, FileNotFoundError) else CANNOT_RUN_STATUS)
    os._exit(status)


def enter(order: JoinOrder) -> None:
    """Enter all namespaces of a container.

    Raises:
        OSError: it is gone.
    """
    opened = [(os.open(f"/proc/{order.pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC), kind) for name, kind in _NAMESPACES]
    root = os.open(f"/proc/{order.pid}/root", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    if started_ticks(order.pid) != order.started_ticks:
        raise ProcessLookupError(3, "the container ended just now")
    for descriptor, kind in opened:
        setns(descriptor, kind)
        os.close(descriptor)
    # The root that setns gives is the mount namespace's, which is the container's only where the lab itself is not in a chroot.
    os.fchdir(root)
    os.chroot(".")
    os.close(root)


def run(order: JoinOrder) -> int:
    """Run the program and return its exit status (128 + number for a signal).

    Raises:
        OSError: it is not there or cannot be executed.
    """
    program = order.program
    file = find_program(program.arguments[0], program.environment.get("PATH", os.defpath))

    def confine() -> None:
        become(program)

    child = subprocess.Popen(
        program.arguments,
        executable=file,
        env=program.environment,
        cwd=program.directory,
        preexec_fn=confine,  # this process has one thread
    )
    pass_signals(child.pid)
    code = child.wait()
    return code if code >= 0 else 128 - code


def pass_signals(pid: int) -> None:
    """Hand signals on to the child; what a terminal sends reaches it by itself."""

    def hand_on(number: int, _frame: FrameType | None) -> None:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass  # it ended in the meantime

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, hand_on)
    terminal = os.isatty(0)
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN if terminal else hand_on)


def started_ticks(pid: int) -> int:
    """Return when a process started, in clock ticks since boot.

    Raises:
        OSError: there is no such process.
    """
    return int(_stat(pid)[19])


def has_ended(pid: int) -> bool:
    """Tell whether a process is gone, or dead and not yet collected by its parent."""
    try:
        return _stat(pid)[0] in {"Z", "X"}
    except OSError:
        return True


def _stat(pid: int) -> list[str]:
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        # the second field is the program's name in parentheses and may hold anything
        return file.read().rpartition(")")[2].split()
