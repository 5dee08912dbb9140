"""From root to the program's user: capabilities, groups, ids, signals. Standard library only.

Source: the default capability set of containerd and Docker; capabilities(7).
"""

import os
import resource
import signal
from typing import Final

from weft_lab.container.kernel import die_with_parent, keep_capabilities, no_new_privileges
from weft_lab.container.order import Program

_NAMES: Final = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip
_DEFAULT: Final = frozenset({
    "CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP",
    "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE",
})  # fmt: skip


def capability_numbers(add: tuple[str, ...], drop: tuple[str, ...]) -> frozenset[int]:
    """Return the numbers of a container's capabilities.

    Args:
        add: names as in Kubernetes, with or without `CAP_`, or `ALL`.
        drop: the same; what is added by name survives `drop: [ALL]`.

    Raises:
        ValueError: a name that Linux does not have.
    """
    added, dropped = _words(add), _words(drop)
    names = (frozenset() if "ALL" in dropped else _DEFAULT - dropped) | (added - {"ALL"})
    if "ALL" in added:
        names = frozenset(_NAMES) - (dropped - {"ALL"})
    return frozenset(_NAMES.index(name) for name in names)


def become(program: Program) -> None:
    """Give up what the program may not have; the caller executes it right after.

    Raises:
        OSError: the kernel refused.
        ValueError: a capability that Linux does not have.
    """
    if not program.privileged:
        keep_capabilities(capability_numbers(program.add_capabilities, program.drop_capabilities))
    os.setgroups(program.groups)
    os.setresgid(program.group, program.group, program.group)
    os.setresuid(program.user, program.user, program.user)
    if program.no_new_privileges:
        no_new_privileges()
    die_with_parent()
    os.umask(0o022)
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0 if soft else soft, hard))
    # the interpreter ignores these two, and what is ignored stays so over execve
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)


def find_program(name: str, path: str) -> str:
    """Return the file to execute.

    Raises:
        FileNotFoundError: it is not on the path; the message says which path was searched.
    """
    if "/" in name:
        return name
    for directory in path.split(":"):
        candidate = os.path.join(directory or ".", name)
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    raise FileNotFoundError(2, f"executable {name!r} is not on the PATH ({path}); the lab runs this machine's files")


def sentence(exc: Exception) -> str:
    """Return an error as people read it: without its number, with the file it is about."""
    if isinstance(exc, OSError) and exc.strerror:
        return f"{exc.strerror}: {exc.filename!r}" if exc.filename else exc.strerror
    return str(exc)


def _words(names: tuple[str, ...]) -> frozenset[str]:
    words = frozenset(name.upper().removeprefix("CAP_") for name in names)
    unknown = words - set(_NAMES) - {"ALL"}
    if unknown:
        raise ValueError(f"there is no capability {', '.join(sorted(unknown))}")
    return words
