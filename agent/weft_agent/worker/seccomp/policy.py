"""What a worker may ask of the kernel: numbers for two architectures, and which arguments pass.

Theory: the list is what CPython, trio, OpenSSL and glibc's malloc and threads need after start-up, and what moving bytes
between sockets needs. A worker makes no socket, opens nothing for writing, starts no process and no namespace, signals
nobody but itself, maps nothing executable. Whatever is not listed fails with EPERM; two newer forms fail with ENOSYS, so
that glibc falls back to the older one whose arguments a filter can see (`clone3` hides its flags behind a pointer).

Editing: first the hot calls (they are found first where the kernel has no bitmap), then by theme. Numbers are checked
against the kernel's headers by a test.
"""

import errno
import socket
from dataclasses import replace
from typing import Final, Literal

from weft_agent.worker.seccomp.bpf import Case, Masked, NoneOf, OneOf, Rule

Architecture = Literal["x86_64", "aarch64"]

AUDIT_ARCHITECTURES: Final[dict[Architecture, int]] = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

FREE: Final[dict[str, tuple[int | None, int | None]]] = {
    # moving bytes
    "recvfrom": (45, 207),
    "sendto": (44, 206),
    "epoll_wait": (232, None),
    "epoll_pwait": (281, 22),
    "epoll_ctl": (233, 21),
    "read": (0, 63),
    "write": (1, 64),
    "recvmsg": (47, 212),
    "sendmsg": (46, 211),
    "readv": (19, 65),
    "writev": (20, 66),
    "splice": (275, 76),
    "tee": (276, 77),
    "sendfile": (40, 71),
    "futex": (202, 98),
    "close": (3, 57),
    # sockets that somebody else made
    "accept4": (288, 242),
    "accept": (43, 202),
    "bind": (49, 200),
    "connect": (42, 203),
    "listen": (50, 201),
    "shutdown": (48, 210),
    "getsockname": (51, 204),
    "getpeername": (52, 205),
    "getsockopt": (55, 209),
    # waiting
    "epoll_create1": (291, 20),
    "epoll_pwait2": (441, 441),
    "poll": (7, None),
    "ppoll": (271, 73),
    "select": (23, None),
    "pselect6": (270, 72),
    "eventfd2": (290, 19),
    "nanosleep": (35, 101),
    "clock_nanosleep": (230, 115),
    # descriptors
    "pipe": (22, None),
    "pipe2": (293, 59),
    "dup": (32, 23),
    "dup2": (33, None),
    "dup3": (292, 24),
    "close_range": (436, 436),
    "lseek": (8, 62),
    "pread64": (17, 67),
    "pwrite64": (18, 68),
    # reading the empty root
    "stat": (4, None),
    "fstat": (5, 80),
    "lstat": (6, None),
    "newfstatat": (262, 79),
    "statx": (332, 291),
    "access": (21, None),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "readlink": (89, None),
    "readlinkat": (267, 78),
    "getdents64": (217, 61),
    "getcwd": (79, 17),
    # time and chance
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "gettimeofday": (96, 169),
    "time": (201, None),
    "getrandom": (318, 278),
    # who am I
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getppid": (110, 173),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "getrusage": (98, 165),
    "getrlimit": (97, 163),
    "sched_getaffinity": (204, 123),
    "sched_yield": (24, 124),
    "getcpu": (309, 168),
    "sysinfo": (99, 179),
    "uname": (63, 160),
    # memory
    "brk": (12, 214),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "membarrier": (324, 283),
    # signals and threads
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "rt_sigtimedwait": (128, 137),
    "sigaltstack": (131, 132),
    "restart_syscall": (219, 128),
    "set_robust_list": (273, 99),
    "set_tid_address": (218, 96),
    "rseq": (334, 293),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
"""Allowed whatever the arguments: name, number on x86-64, number on aarch64 (None: the call does not exist there)."""

CHECKED: Final[dict[str, tuple[int | None, int | None]]] = {
    "setsockopt": (54, 208),
    "socketpair": (53, 199),
    "fcntl": (72, 25),
    "ioctl": (16, 29),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "clone": (56, 220),
    "open": (2, None),
    "openat": (257, 56),
    "prctl": (157, 167),
    "kill": (62, 129),
    "tgkill": (234, 131),
    "prlimit64": (302, 261),
}
"""Allowed for some arguments only, see `_cases`."""

ABSENT: Final[dict[str, tuple[int, int]]] = {"clone3": (435, 435), "openat2": (437, 437)}
"""Told to be absent (ENOSYS)."""

_CLONE_THREAD: Final = 0x00010000
_CLONE_NEW_ANY: Final = 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000 | 0x00020000 | 0x80
"""CLONE_NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET, NEWNS, NEWTIME."""

_OPEN_CHANGES: Final = 0o3 | 0o100 | 0o1000 | 0o2000 | 0o20000 | 0o20000000
"""O_ACCMODE, O_CREAT, O_TRUNC, O_APPEND, O_ASYNC, O_TMPFILE (equal on both architectures): none of them may be set."""

_PROT_EXEC: Final = 0x4
_FCNTL_COMMANDS: Final = (3, 4, 7, 6, 5, 1, 2, 0, 1030, 1031, 1032, 1033, 1034)
"""GETFL, SETFL, SETLKW, SETLK, GETLK, GETFD, SETFD, DUPFD, DUPFD_CLOEXEC, SETPIPE_SZ, GETPIPE_SZ, ADD_SEALS, GET_SEALS.
Not F_SETOWN: it sends signals."""
_IOCTLS: Final = (0x5421, 0x541B, 0x5411, 0x5451, 0x5450, 0x5401)
"""FIONBIO, FIONREAD, TIOCOUTQ, FIOCLEX, FIONCLEX, TCGETS (Python's `isatty`). Not TIOCSTI: it types for others."""
_PRCTLS: Final = (15, 16, 0x53564D41)
"""PR_SET_NAME, PR_GET_NAME, PR_SET_VMA (malloc names its memory)."""
_SOCKET_FILTERS: Final = (26, 27, 50, 51, 52, 36)
"""SO_ATTACH_FILTER, DETACH, ATTACH_BPF, ATTACH_REUSEPORT_CBPF and EBPF: code of ours in the kernel; SO_MARK."""
_TABLE_OPTIONS: Final = (64, 65)
"""IPT_SO_SET_REPLACE and SET_ADD_COUNTERS of both families: the firewall's tables."""
_TCP_ULP: Final = 31
_TCP_REPAIR: Final = 19


def rules(architecture: Architecture, own_pid: int) -> list[Rule]:
    """Return the worker's rules.

    Args:
        architecture: of this process.
        own_pid: the only process that may be signalled.
    """
    column = 0 if architecture == "x86_64" else 1
    cases = _cases(own_pid)
    found = [
        Rule(number, (Case(),), errno.EPERM) for numbers in FREE.values() if (number := numbers[column]) is not None
    ]
    for name, numbers in CHECKED.items():
        number = numbers[column]
        if number is not None:
            found.append(Rule(number, cases[name], errno.EPERM))
    return found + [Rule(numbers[column], (), errno.ENOSYS) for numbers in ABSENT.values()]


def _cases(own_pid: int) -> dict[str, tuple[Case, ...]]:
    """Return the alternatives under which each call of `CHECKED` is allowed."""
    open_reads = Masked(1, _OPEN_CHANGES, 0)
    return {
        "setsockopt": (
            Case((OneOf(1, (socket.SOL_SOCKET,)), NoneOf(2, _SOCKET_FILTERS))),
            Case((OneOf(1, (socket.IPPROTO_TCP,)), NoneOf(2, (_TCP_ULP, _TCP_REPAIR)))),
            Case((OneOf(1, (socket.IPPROTO_IP, socket.IPPROTO_IPV6)), NoneOf(2, _TABLE_OPTIONS))),
        ),
        "socketpair": (Case((OneOf(0, (socket.AF_UNIX,)),)),),
        "fcntl": (Case((OneOf(1, _FCNTL_COMMANDS),)),),
        "ioctl": (Case((OneOf(1, _IOCTLS),)),),
        "mmap": (Case((Masked(2, _PROT_EXEC, 0),)),),
        "mprotect": (Case((Masked(2, _PROT_EXEC, 0),)),),
        "clone": (Case((Masked(0, _CLONE_THREAD | _CLONE_NEW_ANY, _CLONE_THREAD),)),),
        "open": (Case((open_reads,)),),
        "openat": (Case((replace(open_reads, argument=2),)),),
        "prctl": (Case((OneOf(0, _PRCTLS),)),),
        "kill": (Case((OneOf(0, (own_pid,)),)),),
        "tgkill": (Case((OneOf(0, (own_pid,)),)),),
        "prlimit64": (Case((OneOf(0, (0,)),)),),
    }
