"""The system call filter, run by an interpreter of our own for both architectures: what passes, what fails, and how."""

import errno
import os
import re
import socket
import struct
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_agent.worker.seccomp.bpf import (
    ALLOW,
    ERRNO,
    KILL_PROCESS,
    Case,
    Check,
    Instruction,
    Masked,
    NoneOf,
    OneOf,
    Rule,
    assemble,
    encode,
)
from weft_agent.worker.seccomp.policy import ABSENT, AUDIT_ARCHITECTURES, CHECKED, FREE, Architecture, rules

OWN_PID: Final = 4321
EPERM, ENOSYS = ERRNO | errno.EPERM, ERRNO | errno.ENOSYS
ARCHITECTURES: Final[tuple[Architecture, ...]] = ("x86_64", "aarch64")
HEADERS: Final[dict[Architecture, Path]] = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


def interpret(program: list[Instruction], number: int, architecture: int, arguments: tuple[int, ...] = ()) -> int:
    """Run a classic BPF program over `struct seccomp_data`; only what a filter may use is known."""
    padded = (*arguments, *(0,) * (6 - len(arguments)))
    data = struct.pack("=iIQ6Q", number, architecture, 0, *(value & 0xFFFFFFFFFFFFFFFF for value in padded))
    accumulator = at = steps = 0
    while True:
        steps += 1
        assert steps < 5000
        code, true, false, operand = program[at]
        at += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, operand)
            case 0x54:
                accumulator &= operand
            case 0x15:
                at += true if accumulator == operand else false
            case 0x35:
                at += true if accumulator >= operand else false
            case 0x06:
                return operand
            case _:
                raise AssertionError(f"instruction {code:#x} is not one of ours")


NUMBERS: Final = {**FREE, **CHECKED, **ABSENT}


class Filter:
    """The worker's filter on one architecture."""

    def __init__(self, architecture: Architecture) -> None:
        self.audit = AUDIT_ARCHITECTURES[architecture]
        self.column = ARCHITECTURES.index(architecture)
        self.program = assemble(
            rules(architecture, OWN_PID),
            audit_architecture=self.audit,
            default_errno=errno.EPERM,
            x32=architecture == "x86_64",
        )

    def number(self, name: str) -> int:
        number = NUMBERS[name][self.column]
        assert number is not None, f"{name} does not exist there"
        return number

    def verdict(self, name: str, *arguments: int) -> int:
        return interpret(self.program, self.number(name), self.audit, arguments)


@pytest.fixture(params=ARCHITECTURES)
def filtered(request: pytest.FixtureRequest) -> Filter:
    return Filter(request.param)


THREAD_FLAGS: Final = 0x3D0F00
"""What glibc's pthread_create gives to clone."""
FORK_FLAGS: Final = 0x01200011

ALLOWED: Final[list[tuple[str, tuple[int, ...]]]] = [
    *((name, (7, 7, 7)) for name in FREE),
    ("clone", (THREAD_FLAGS,)),
    ("openat", (3, 0, os.O_RDONLY | os.O_CLOEXEC)),
    ("open", (0, os.O_RDONLY)),
    ("openat", (3, 0, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)),
    ("mmap", (0, 4096, 3, 0x22)),
    ("mprotect", (0, 4096, 1)),
    ("kill", (OWN_PID, 6)),
    ("tgkill", (OWN_PID, OWN_PID + 1, 6)),
    ("socketpair", (socket.AF_UNIX, socket.SOCK_STREAM)),
    ("prlimit64", (0, 7)),
    ("prctl", (15, 0)),
    ("ioctl", (3, 0x5421)),
    ("fcntl", (3, 4)),
    ("fcntl", (3, 6)),
    ("fcntl", (3, 1031)),
    ("setsockopt", (3, socket.SOL_SOCKET, socket.SO_LINGER)),
    ("setsockopt", (3, socket.SOL_SOCKET, socket.SO_REUSEADDR)),
    ("setsockopt", (3, socket.IPPROTO_TCP, socket.TCP_NODELAY)),
    ("setsockopt", (3, socket.IPPROTO_TCP, 18)),
    ("setsockopt", (3, socket.IPPROTO_IP, 1)),
    ("setsockopt", (3, socket.IPPROTO_IPV6, 67)),
]

REFUSED: Final[list[tuple[str, tuple[int, ...]]]] = [
    ("clone", (FORK_FLAGS,)),
    ("clone", (THREAD_FLAGS | 0x10000000,)),
    ("clone", (THREAD_FLAGS | 0x40000000,)),
    ("openat", (3, 0, os.O_WRONLY)),
    ("openat", (3, 0, os.O_RDWR)),
    ("openat", (3, 0, os.O_RDONLY | os.O_CREAT)),
    ("openat", (3, 0, os.O_RDONLY | os.O_TRUNC)),
    ("openat", (3, 0, os.O_TMPFILE)),
    ("open", (0, os.O_RDWR)),
    ("mmap", (0, 4096, 5, 0x22)),
    ("mprotect", (0, 4096, 4)),
    ("kill", (1, 9)),
    ("kill", (0, 9)),
    ("kill", (0xFFFFFFFF, 9)),
    ("tgkill", (1, 1, 9)),
    ("socketpair", (socket.AF_INET, socket.SOCK_STREAM)),
    ("prlimit64", (1, 7)),
    ("prctl", (22, 0)),
    ("prctl", (38, 0)),
    ("ioctl", (3, 0x5412)),
    ("fcntl", (3, 8)),
    ("fcntl", (3, 10)),
    ("setsockopt", (3, socket.SOL_SOCKET, 26)),
    ("setsockopt", (3, socket.SOL_SOCKET, 50)),
    ("setsockopt", (3, socket.SOL_SOCKET, 36)),
    ("setsockopt", (3, socket.IPPROTO_TCP, 31)),
    ("setsockopt", (3, socket.IPPROTO_TCP, 19)),
    ("setsockopt", (3, socket.IPPROTO_IP, 64)),
    ("setsockopt", (3, socket.IPPROTO_IPV6, 64)),
    ("setsockopt", (3, 255, 1)),
]

FORBIDDEN: Final = {
    # name: (x86-64, aarch64)
    "socket": (41, 198), "execve": (59, 221), "execveat": (322, 281), "ptrace": (101, 117), "mount": (165, 40),
    "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "setns": (308, 268), "unshare": (272, 97),
    "bpf": (321, 280), "unlinkat": (263, 35), "renameat2": (316, 276), "mkdirat": (258, 34), "symlinkat": (266, 36),
    "linkat": (265, 37), "mknodat": (259, 33), "fchmodat": (268, 53), "fchownat": (260, 54), "truncate": (76, 45),
    "setuid": (105, 146), "setgid": (106, 144), "capset": (126, 91), "personality": (135, 92), "seccomp": (317, 277),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272), "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "userfaultfd": (323, 282), "perf_event_open": (298, 241), "keyctl": (250, 219),
    "add_key": (248, 217), "init_module": (175, 105), "finit_module": (313, 273), "kexec_load": (246, 104),
    "memfd_create": (319, 279), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "fsopen": (430, 430), "move_mount": (429, 429), "open_tree": (428, 428), "quotactl": (179, 60),
    "swapon": (167, 224), "reboot": (169, 142), "settimeofday": (170, 170), "clock_settime": (227, 112),
    "sethostname": (170, 161), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "fanotify_init": (300, 262), "inotify_init1": (294, 26), "timerfd_create": (283, 85),
}  # fmt: skip


def existing(calls: list[tuple[str, tuple[int, ...]]]) -> list[tuple[Architecture, str, tuple[int, ...]]]:
    return [
        (architecture, name, arguments)
        for column, architecture in enumerate(ARCHITECTURES)
        for name, arguments in calls
        if NUMBERS[name][column] is not None
    ]


@pytest.mark.parametrize(("architecture", "name", "arguments"), existing(ALLOWED), ids=str)
def test_what_a_worker_needs_passes(architecture: Architecture, name: str, arguments: tuple[int, ...]) -> None:
    assert Filter(architecture).verdict(name, *arguments) == ALLOW


@pytest.mark.parametrize(("architecture", "name", "arguments"), existing(REFUSED), ids=str)
def test_the_same_calls_with_other_arguments_fail(
    architecture: Architecture, name: str, arguments: tuple[int, ...]
) -> None:
    assert Filter(architecture).verdict(name, *arguments) == EPERM


@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_a_worker_has_no_business_with_fails(filtered: Filter, name: str) -> None:
    assert interpret(filtered.program, FORBIDDEN[name][filtered.column], filtered.audit) == EPERM


@pytest.mark.parametrize("name", ABSENT)
def test_newer_forms_seem_not_to_exist(filtered: Filter, name: str) -> None:
    assert filtered.verdict(name) == ENOSYS


def test_another_architecture_kills(filtered: Filter) -> None:
    for audit in (0x40000003, 0xC000003E ^ 0xC00000B7, 0):
        assert interpret(filtered.program, filtered.number("read"), audit) == KILL_PROCESS


def test_the_x32_convention_is_closed() -> None:
    x86 = Filter("x86_64")
    assert interpret(x86.program, 0x40000000 | x86.number("read"), x86.audit) == EPERM


@given(number=st.integers(0, 600), arguments=st.lists(st.integers(0, 2**64 - 1), max_size=6).map(tuple))
def test_every_call_gets_a_verdict_and_no_unlisted_one_passes(number: int, arguments: tuple[int, ...]) -> None:
    for architecture in ARCHITECTURES:
        subject = Filter(architecture)
        known = {rule.number for rule in rules(architecture, OWN_PID)}
        verdict = interpret(subject.program, number, subject.audit, arguments)
        assert verdict in {ALLOW, EPERM, ENOSYS}
        if number not in known:
            assert verdict == EPERM


checks: st.SearchStrategy[Check] = st.one_of(
    st.builds(OneOf, st.integers(0, 5), st.lists(st.integers(0, 9), min_size=1, max_size=4).map(tuple)),
    st.builds(NoneOf, st.integers(0, 5), st.lists(st.integers(0, 9), min_size=1, max_size=4).map(tuple)),
    st.builds(Masked, st.integers(0, 5), st.integers(0, 15), st.integers(0, 15)),
)
cases = st.lists(st.builds(Case, st.lists(checks, max_size=3).map(tuple)), max_size=3).map(tuple)


def holds(check: Check, arguments: tuple[int, ...]) -> bool:
    match check:
        case OneOf(argument, values):
            return arguments[argument] in values
        case NoneOf(argument, values):
            return arguments[argument] not in values
        case Masked(argument, mask, value):
            return arguments[argument] & mask == value


@given(rule_cases=cases, arguments=st.tuples(*[st.integers(0, 15)] * 6), number=st.integers(0, 2))
def test_the_assembler_means_what_the_rules_say(
    rule_cases: tuple[Case, ...], arguments: tuple[int, ...], number: int
) -> None:
    wanted = [Rule(0, rule_cases, 38), Rule(1, (Case(),), 38)]
    program = assemble(wanted, audit_architecture=1, default_errno=1, x32=False)
    verdict = interpret(program, number, 1, arguments)
    if number == 2:
        assert verdict == ERRNO | 1
    elif number == 1:
        assert verdict == ALLOW
    else:
        allowed = any(all(holds(check, arguments) for check in case.checks) for case in rule_cases)
        assert verdict == (ALLOW if allowed else ERRNO | 38)


def test_the_program_fits_the_kernel() -> None:
    for architecture in ARCHITECTURES:
        program = Filter(architecture).program
        assert len(program) < 4096
        assert all(0 <= true < 256 and 0 <= false < 256 for _, true, false, _ in program)
        assert len(encode(program)) == 8 * len(program)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_numbers_are_those_of_the_kernels_headers(architecture: Architecture) -> None:
    header = HEADERS[architecture]
    assert header.exists(), f"{header} is missing: apt-get install linux-libc-dev, as make test does"
    found = {
        name: int(number)
        for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text())
    }  # fmt: skip
    found.setdefault("newfstatat", found.get("fstatat", -1))
    column = ARCHITECTURES.index(architecture)
    ours = {name: numbers[column] for name, numbers in {**FREE, **CHECKED, **ABSENT}.items()}
    for name, number in ours.items():
        assert number is None or found[name] == number, name
    missing = {name for name, number in ours.items() if number is None}
    assert not missing & found.keys(), "listed as absent there, and is not"
