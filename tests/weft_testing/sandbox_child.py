"""A process that raises the worker's sandbox around itself and then tries everything a worker may and may not do.

Descriptors: 3 a listening TCP socket, 4 an unconnected TCP socket, 5 a sealed key, 6 where the results go (one JSON line),
7 a pipe that is read until its end before the process leaves, so that it can be looked at from outside.
"""

import ctypes
import errno
import fcntl
import json
import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import trio

from weft_agent.worker import mounts, sandbox

NO_PIVOT_ROOT: Final = "WEFT_TEST_NO_PIVOT_ROOT"
"""Environment variable: pivot_root fails, as it does under the seccomp profile of container runtimes."""
_NO_SUCH_CALL: Final = 9999


def attempt(action: Callable[[], object]) -> str:
    """Return `ok`, or the name of the error."""
    try:
        action()
    except OSError as exc:
        return errno.errorcode.get(exc.errno or 0, str(exc))
    except BaseException as exc:
        return f"{type(exc).__name__}: {exc}"
    return "ok"


def libc_call(name: str, *arguments: Any) -> Callable[[], None]:
    """Return an action that makes a libc call and raises its error."""
    libc = ctypes.CDLL(None, use_errno=True)

    def call() -> None:
        if getattr(libc, name)(*arguments) < 0:
            raise OSError(ctypes.get_errno(), name)

    return call


def syscall(number: int, *arguments: Any) -> Callable[[], None]:
    """Return an action that makes a raw system call (x86-64 numbers)."""
    return libc_call(
        "syscall", ctypes.c_long(number), *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)
    )


def forbidden() -> dict[str, Callable[[], object]]:
    """Return what must fail."""
    other = os.getppid()
    return {
        "socket inet": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
        "socket unix": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
        "socket netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0),
        "socket raw": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 6),
        "socket packet": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0),
        "fork": os.fork,  # noqa: TID251 - that it fails is the point
        "posix_spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
        "execve": lambda: os.execve("/bin/true", ["true"], {}),
        "ptrace": libc_call("ptrace", 16, other, 0, 0),
        "mount": libc_call("mount", b"none", b"/", b"tmpfs", 0, None),
        "umount": libc_call("umount2", b"/fd", 0),
        "chroot": lambda: os.chroot("/"),
        "unshare": libc_call("unshare", 0x10000000),
        "setns": libc_call("setns", 3, 0),
        "setuid": lambda: os.setuid(0),
        "setresgid": lambda: os.setresgid(0, 0, 0),
        "kill parent": lambda: os.kill(other, 0),
        "kill init": lambda: os.kill(1, 0),
        "bpf": syscall(321, 0, 0, 0),
        "io_uring": syscall(425, 1, 0),
        "userfaultfd": syscall(323, 0),
        "perf_event_open": syscall(298, 0, 0, -1, -1, 0),
        "keyctl": syscall(250, 0, 0),
        "process_vm_readv": syscall(310, other, 0, 0, 0, 0, 0),
        "pidfd_open": lambda: os.pidfd_open(other),
        "memfd_create": lambda: os.memfd_create("x"),
        "create file": lambda: os.open("/file", os.O_CREAT | os.O_WRONLY),
        "write through fd": lambda: os.open("/fd/5", os.O_RDWR),
        "unlink": lambda: os.unlink("/control/sock"),
        "mkdir": lambda: os.mkdir("/x"),
        "rename": lambda: os.rename("/fd", "/x"),
        "symlink": lambda: os.symlink("/", "/x"),
        "chmod": lambda: os.chmod("/fd", 0o777),
        "truncate": lambda: os.truncate("/fd/5", 0),
        "executable memory": libc_call("mprotect", ctypes.c_void_p(id(forbidden) & ~4095), 4096, 7),
        "set owner of signals": lambda: fcntl.fcntl(3, fcntl.F_SETOWN, other),
        "attach a socket filter": lambda: socket.socket(fileno=os.dup(3)).setsockopt(socket.SOL_SOCKET, 26, b"\0" * 16),
        "mark a socket": lambda: socket.socket(fileno=os.dup(3)).setsockopt(socket.SOL_SOCKET, 36, 1),
        "type for a terminal": lambda: fcntl.ioctl(0, 0x5412, b"x"),
    }


def gone() -> dict[str, Callable[[], object]]:
    """Return what must not be there to be found."""
    paths = ("/etc/passwd", "/proc/self/status", "/proc", "/dev/null", "/tmp", "/run")
    return {path: partial(os.stat, path) for path in paths}


def needed() -> dict[str, Callable[[], object]]:
    """Return what must work."""
    return {
        "accept": accept_one,
        "connect": connect_one,
        "thread": in_a_thread,
        "trio": lambda: trio.run(trio_works),
        "tls": tls_handshake,
        "load key": lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain("/fd/5"),
        "socketpair": pair_of_sockets,
        "pipe": pair_of_pipe_ends,
        "lock": lambda: (fcntl.lockf(5, fcntl.LOCK_SH, 1, 0), fcntl.lockf(5, fcntl.LOCK_UN, 1, 0)),
        "random": lambda: os.urandom(16),
        "descriptor limit": lambda: __import__("resource").getrlimit(7),
        "signal myself": lambda: os.kill(os.getpid(), 0),
        "many threads and back": many_threads,
        "much memory": lambda: len(bytearray(64 * 1024 * 1024)),
        "local time": lambda: __import__("time").localtime(),
        "splice": splice_works,
    }


def accept_one() -> None:
    with socket.socket(fileno=os.dup(3)) as listener:
        listener.setblocking(True)
        listener.settimeout(5)
        connection, _ = listener.accept()
        connection.sendall(b"hello")
        connection.close()


def connect_one() -> None:
    """Bind and connect a socket that somebody else made, to our own listener."""
    with socket.socket(fileno=os.dup(4)) as sock, socket.socket(fileno=os.dup(3)) as listener:
        sock.bind(("127.0.0.1", 0))
        sock.connect(listener.getsockname())
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection, _ = listener.accept()
        connection.close()


def pair_of_sockets() -> None:
    for end in socket.socketpair():
        end.close()


def pair_of_pipe_ends() -> None:
    for end in os.pipe():
        os.close(end)


def in_a_thread() -> None:
    done: list[int] = []
    thread = threading.Thread(target=lambda: done.append(1))
    thread.start()
    thread.join(5)
    assert done


def many_threads() -> None:
    threads = [threading.Thread(target=lambda: None) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)


async def trio_works() -> None:
    with trio.fail_after(5):
        assert await trio.to_thread.run_sync(os.getpid) == os.getpid()
        a, b = socket.socketpair()
        await trio.lowlevel.wait_writable(a)
        a.send(b"x")
        await trio.lowlevel.wait_readable(b)
        a.close()
        b.close()
        with trio.open_signal_receiver(signal.SIGUSR1) as signals:
            os.kill(os.getpid(), signal.SIGUSR1)
            async for _ in signals:
                break


def tls_handshake() -> None:
    """Shake hands with ourselves in memory, with the certificate in descriptor 5."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain("/fd/5")
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [server.wrap_bio(there, back, server_side=True), client.wrap_bio(back, there)]
    finished = 0
    for _ in range(10):
        for end in ends:
            try:
                end.do_handshake()
                finished += 1
            except ssl.SSLWantReadError:
                continue
        if finished >= 4:
            return
    raise RuntimeError("handshake does not finish")


def splice_works() -> None:
    a, b = socket.socketpair()
    read_end, write_end = os.pipe()
    a.send(b"bytes")
    assert os.splice(b.fileno(), write_end, 100) == 5
    for fd in (read_end, write_end):
        os.close(fd)
    a.close()
    b.close()


def main(argv: Sequence[str]) -> int:
    """Raise the sandbox and tell how everything went."""
    root, control = argv
    if os.environ.get(NO_PIVOT_ROOT):
        mounts._PIVOT_ROOT_NUMBERS = dict.fromkeys(mounts._PIVOT_ROOT_NUMBERS, _NO_SUCH_CALL)  # type: ignore[misc]  # the test's one lever
    plan = sandbox.Plan(keep_fds=range(8), mount_point=root, control_directory=control)  # type: ignore[arg-type]  # any iterable of ints will do
    walls = sandbox.enter(plan)
    results = {
        "walls": [walls.fd_directory, walls.control_directory, list(walls.warnings)],
        "root": sorted(os.listdir("/")),
        "forbidden": {name: attempt(action) for name, action in forbidden().items()},
        "gone": {name: attempt(action) for name, action in gone().items()},
        "needed": {name: attempt(action) for name, action in needed().items()},
    }
    os.write(6, json.dumps(results).encode() + b"\n")
    os.read(7, 1)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
