"""Putting a filter into force for every thread of this process."""

import ctypes
import os
import platform
from typing import Final

from weft_agent.worker.seccomp.bpf import Instruction, encode
from weft_agent.worker.seccomp.policy import Architecture

_SECCOMP_NUMBERS: Final[dict[Architecture, int]] = {"x86_64": 317, "aarch64": 277}
_SET_MODE_FILTER: Final = 1
_FLAG_TSYNC: Final = 1
_FLAG_LOG: Final = 2
"""Refused calls appear in the kernel's audit log where the node keeps one."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def architecture() -> Architecture | None:
    """Return this machine's architecture, None where there is no filter for it."""
    match platform.machine():
        case "x86_64":
            return "x86_64"
        case "aarch64" | "arm64":
            return "aarch64"
        case _:
            return None


def install(program: list[Instruction], machine: Architecture) -> None:
    """Install a filter; it cannot be taken back. `PR_SET_NO_NEW_PRIVS` must be set.

    Raises:
        OSError: the kernel refused it.
    """
    code = encode(program)
    buffer = ctypes.create_string_buffer(code, len(code))
    libc = ctypes.CDLL(None, use_errno=True)
    argument = _Program(len(program), ctypes.cast(buffer, ctypes.c_void_p))
    result = libc.syscall(
        ctypes.c_long(_SECCOMP_NUMBERS[machine]),
        ctypes.c_ulong(_SET_MODE_FILTER),
        ctypes.c_ulong(_FLAG_TSYNC | _FLAG_LOG),
        ctypes.byref(argument),
    )
    if result != 0:
        code_number = ctypes.get_errno()
        raise OSError(code_number, f"seccomp filter refused: {os.strerror(code_number)}")
