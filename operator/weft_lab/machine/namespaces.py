"""Network namespaces: made, entered and removed, with `ip` from iproute2 and setns(2) in threads of their own."""

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, TypeVar

from weft_lab.names import NETNS_ROOT, namespace_prefix
from weft_lab.plan.network import Batch, Sysctls

T = TypeVar("T")

CLONE_NEWNET: Final = 0x40000000
_COMMAND_TIMEOUT_S: Final = 60.0
"""An `ip` run takes milliseconds; one that hangs is a kernel in trouble, and must not hang the lab with it."""

_libc: Final = ctypes.CDLL(None, use_errno=True)


class MachineError(Exception):
    """The machine did not do what the lab asked; the message names the command and what it said."""


def namespace_path(name: str) -> Path:
    """Return the file that stands for a network namespace."""
    return NETNS_ROOT / name


def add_namespace(name: str, sysctls: Sysctls = ()) -> None:
    """Make a network namespace and set kernel settings in it before any link exists.

    Raises:
        MachineError: `ip` refused.
    """
    run(["ip", "netns", "add", name])
    if sysctls:
        in_namespace(name, lambda: write_sysctls(sysctls))


def delete_namespace(name: str) -> None:
    """Remove a network namespace; one that is not there is no error."""
    run(["ip", "netns", "delete", name], tolerate=("No such file",))


def lab_namespaces(lab: str) -> list[str]:
    """Return the names of all network namespaces that belong to a lab."""
    prefix = namespace_prefix(lab)
    try:
        return sorted(name for name in os.listdir(NETNS_ROOT) if name.startswith(prefix))
    except FileNotFoundError:
        return []


def apply(batches: Iterable[Batch]) -> None:
    """Run batches of `ip` lines in order; the first line that fails ends it.

    Raises:
        MachineError: `ip` refused a line.
    """
    for batch in batches:
        where = ["-n", batch.namespace] if batch.namespace else []
        run(["ip", *where, "-batch", "-"], text="\n".join(batch.lines) + "\n")


def apply_rules(namespace: str, rules: str) -> None:
    """Run one nft transaction in a network namespace.

    Raises:
        MachineError: nft refused; nothing has changed then.
    """
    run(["nsenter", f"--net={namespace_path(namespace)}", "nft", "-f", "-"], text=rules)


def in_namespace(name: str, function: Callable[[], T]) -> T:
    """Call a function in a fresh thread that lives in a network namespace; sockets it makes stay there.

    The thread is never used for anything else, so there is nothing to restore.

    Raises:
        MachineError: the namespace cannot be entered.
        Exception: whatever the function raised.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            enter_namespace(namespace_path(name))
            results.append(function())
        except BaseException as exc:  # handed to the caller below, whatever it is
            errors.append(exc)

    thread = threading.Thread(target=body, name=f"netns {name}")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def enter_namespace(path: Path) -> None:
    """Move the calling thread into a network namespace for good.

    Raises:
        MachineError: it is not there, or this process may not.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as exc:
        raise MachineError(f"cannot open network namespace {path}: {exc.strerror}") from exc
    try:
        if _libc.setns(descriptor, CLONE_NEWNET) != 0:
            raise MachineError(f"cannot enter network namespace {path}: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(descriptor)


def write_sysctls(sysctls: Sysctls) -> None:
    """Set kernel settings in the calling thread's network namespace (`/proc/sys/net` follows the thread).

    Raises:
        MachineError: the kernel does not have the setting or refuses the value.
    """
    for name, value in sysctls:
        try:
            Path("/proc/sys", *name.split(".")).write_text(value)
        except OSError as exc:
            raise MachineError(f"cannot set {name} to {value!r}: {exc.strerror}") from exc


def run(command: list[str], *, text: str | None = None, tolerate: tuple[str, ...] = ()) -> str:
    """Run a command to its end and return what it printed.

    Args:
        command: program and arguments.
        text: its standard input.
        tolerate: a failure whose message contains one of these is none.

    Raises:
        MachineError: it is not installed, failed or took too long.
    """
    try:
        done = subprocess.run(
            command, input=text or "", capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=False
        )
    except FileNotFoundError as exc:
        raise MachineError(f"{command[0]} is not installed; the lab needs iproute2, nftables and util-linux") from exc
    except subprocess.TimeoutExpired as exc:
        raise MachineError(f"`{' '.join(command)}` did not end within {_COMMAND_TIMEOUT_S:g} s") from exc
    if done.returncode != 0 and not any(part in done.stderr for part in tolerate):
        raise MachineError(f"`{' '.join(command)}` failed: {done.stderr.strip() or done.returncode}")
    return done.stdout
