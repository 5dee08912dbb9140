"""An assembler for system call filters: rules about numbers and arguments in, classic BPF instructions out.

Theory: the kernel runs the program for every system call over `struct seccomp_data` (number, architecture, instruction
pointer, six 64-bit arguments) and takes the returned action. Each rule becomes a block of its own that begins with a
comparison of the number and ends with a return, so that no jump is longer than its block and none needs patching.
System calls that are allowed whatever their arguments cost nothing at run time: the kernel finds them by itself when the
filter is installed and answers from a bitmap (since Linux 5.11).

All arguments looked at here are `int` or flags below 2^32 in the kernel, so only their low 32 bits are compared: the kernel
ignores the rest as well.

Source: seccomp(2), linux/filter.h, Documentation/userspace-api/seccomp_filter.rst.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, assert_never

ALLOW: Final = 0x7FFF0000
ERRNO: Final = 0x00050000
KILL_PROCESS: Final = 0x80000000

_LOAD_WORD: Final = 0x20
"""BPF_LD | BPF_W | BPF_ABS"""
_AND: Final = 0x54
"""BPF_ALU | BPF_AND | BPF_K"""
_JUMP_EQUAL: Final = 0x15
"""BPF_JMP | BPF_JEQ | BPF_K"""
_JUMP_AT_LEAST: Final = 0x35
"""BPF_JMP | BPF_JGE | BPF_K"""
_RETURN: Final = 0x06
"""BPF_RET | BPF_K"""

_NUMBER_OFFSET: Final = 0
_ARCHITECTURE_OFFSET: Final = 4
_ARGUMENTS_OFFSET: Final = 16
_X32_BIT: Final = 0x40000000

Instruction = tuple[int, int, int, int]
"""Code, jump if true, jump if false, operand."""


@dataclass(frozen=True, slots=True)
class OneOf:
    """The argument is one of these values."""

    argument: int
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NoneOf:
    """The argument is none of these values."""

    argument: int
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Masked:
    """The argument's bits under the mask are exactly `value`."""

    argument: int
    mask: int
    value: int


Check = OneOf | NoneOf | Masked


@dataclass(frozen=True, slots=True)
class Case:
    """One way in which a system call is allowed: all checks hold."""

    checks: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """What happens to one system call.

    `cases` are alternatives; one of them suffices. None of them, or no case at all: the call fails with `errno`.
    """

    number: int
    cases: tuple[Case, ...]
    errno: int


def assemble(rules: Iterable[Rule], *, audit_architecture: int, default_errno: int, x32: bool) -> list[Instruction]:
    """Return the program.

    Args:
        rules: at most one per system call number; frequent ones first.
        audit_architecture: `AUDIT_ARCH_*` of the process; any other kills it.
        default_errno: what every system call without a rule fails with.
        x32: True on x86-64, where numbers with bit 30 belong to another calling convention.
    """
    program: list[Instruction] = [
        (_LOAD_WORD, 0, 0, _ARCHITECTURE_OFFSET),
        (_JUMP_EQUAL, 1, 0, audit_architecture),
        (_RETURN, 0, 0, KILL_PROCESS),
        (_LOAD_WORD, 0, 0, _NUMBER_OFFSET),
    ]
    if x32:
        program += [(_JUMP_AT_LEAST, 0, 1, _X32_BIT), (_RETURN, 0, 0, ERRNO | default_errno)]
    for rule in rules:
        program += _block(rule)
    program.append((_RETURN, 0, 0, ERRNO | default_errno))
    return program


def encode(program: Iterable[Instruction]) -> bytes:
    """Return the program as an array of `struct sock_filter`."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def _block(rule: Rule) -> list[Instruction]:
    body: list[Instruction] = []
    for case in rule.cases:
        body += _case(case)
        if not case.checks:
            break  # nothing behind an unconditional case can be reached
    else:
        body.append((_RETURN, 0, 0, ERRNO | rule.errno))
    return [(_JUMP_EQUAL, 0, len(body), rule.number), *body]


def _case(case: Case) -> list[Instruction]:
    """Return the code of one case; a check that fails jumps behind its return."""
    code: list[Instruction] = [(_RETURN, 0, 0, ALLOW)]
    for check in reversed(case.checks):
        code = _check(check, len(code)) + code
    return code


def _check(check: Check, rest: int) -> list[Instruction]:
    """Return the code of one check; `rest` instructions follow it when it holds."""
    match check:
        case Masked(argument, mask, value):
            return [_load(argument), (_AND, 0, 0, mask), (_JUMP_EQUAL, 0, rest, value)]
        case OneOf(argument, values):
            last = len(values) - 1
            jumps = [(_JUMP_EQUAL, last - i, rest if i == last else 0, value) for i, value in enumerate(values)]
            return [_load(argument), *jumps]
        case NoneOf(argument, values):
            last = len(values) - 1
            return [_load(argument), *((_JUMP_EQUAL, last - i + rest, 0, value) for i, value in enumerate(values))]
        case _:
            assert_never(check)


def _load(argument: int) -> Instruction:
    return (_LOAD_WORD, 0, 0, _ARGUMENTS_OFFSET + 8 * argument)
