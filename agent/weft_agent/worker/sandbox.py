"""The walls around a worker, raised in one order after everything it will ever import is imported.

Theory: after `enter` the process is nobody, holds no capability, sees two directories of descriptors and sockets, and may
make no system call outside the list. Each wall stands alone, so that a hole in one is not a hole in the sandbox. The file
system is the only one that may be missing (a host that forbids mounting), and then loudly; everything else must hold or
the worker does not serve.

What Python and its libraries load late is loaded before: OpenSSL's configuration and algorithms, the time zone, the codecs
used by name, and libgcc_s, which glibc opens by name when a thread ends early and aborts when it cannot.
"""

import codecs
import ctypes
import gc
import os
import ssl
import time
from dataclasses import dataclass
from typing import Final

from weft_agent.worker import mounts, privileges, seccomp
from weft_agent.worker.seccomp.policy import AUDIT_ARCHITECTURES

_CODECS: Final = ("ascii", "utf-8", "latin-1", "idna", "unicode_escape")
_EPERM: Final = 1


class SandboxError(Exception):
    """A wall could not be raised; the worker must not serve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the sandbox of one worker needs from control."""

    keep_fds: tuple[int, ...]
    """Descriptors that stay open, 0 to 2 included."""
    mount_point: str
    """An empty directory that the worker's root is mounted on."""
    control_directory: str
    """The directory with the adoption socket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walls:
    """How the sandbox turned out."""

    fd_directory: str
    """Where the process's descriptors have names."""
    control_directory: str
    warnings: tuple[str, ...] = ()


def enter(plan: Plan) -> Walls:
    """Raise all walls; there is no way back.

    Raises:
        SandboxError: one that must hold could not be raised.
    """
    machine = seccomp.architecture()
    if machine is None:
        raise SandboxError("no system call filter for this machine's architecture (x86-64 and aarch64 have one)")
    _load_late_comers()
    walls = _leave_file_system(plan)
    try:
        privileges.close_all_but(plan.keep_fds)
        privileges.drop_privileges()
        program = seccomp.assemble(
            seccomp.rules(machine, os.getpid()),
            audit_architecture=AUDIT_ARCHITECTURES[machine],
            default_errno=_EPERM,
            x32=machine == "x86_64",
        )
        seccomp.install(program, machine)
    except OSError as exc:
        raise SandboxError(f"cannot give up privileges: {exc}") from exc
    gc.collect()
    gc.freeze()
    return walls


def _leave_file_system(plan: Plan) -> Walls:
    try:
        mounts.enter_empty_root(plan.mount_point, plan.control_directory)
    except mounts.StuckRootError as exc:
        raise SandboxError(f"cannot leave the node's file system: {exc}") from exc
    except OSError as exc:
        warning = f"the worker still sees the node's files, mounting is not possible: {exc}"
        return Walls(
            fd_directory=f"/proc/{os.getpid()}/fd", control_directory=plan.control_directory, warnings=(warning,)
        )
    return Walls(fd_directory=mounts.FD_DIRECTORY, control_directory=mounts.CONTROL_DIRECTORY)


def _load_late_comers() -> None:
    for name in _CODECS:
        codecs.lookup(name)
    time.tzset()
    ctypes.CDLL("libgcc_s.so.1")
    _handshake_with_itself()


def _handshake_with_itself() -> None:
    """Begin a TLS handshake in memory, so that OpenSSL has fetched its algorithms and its random state."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    connection = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=None)
    try:
        connection.do_handshake()
    except ssl.SSLWantReadError:
        return
