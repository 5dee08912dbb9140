"""Network namespaces: opened by path, known by their identity, entered by a thread that does nothing else and then ends.

Theory. `setns` moves one thread. A thread that entered a pod's namespace and failed to come back would do its next job in
the wrong network, so no thread of ours ever comes back: each call makes a thread, which enters, works and ends. That costs
about a tenth of a millisecond and there is no restoring to go wrong. Sockets, and programs started there, stay in the
namespace they were made in. Everything here waits: call it from worker threads, never from an event loop's.

Source: setns(2), unshare(2), ioctl_ns(2), sockios.h (SIOCGSKNS). Python 3.11 has neither `os.setns` nor `os.unshare`.
"""

import ctypes
import fcntl
import os
import socket
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from types import TracebackType
from typing import Final, Generic, NamedTuple, Self, TypeVar

from weft_iptables.errors import HostNamespaceError, NamespaceError

T = TypeVar("T")

_CLONE_NEWNET: Final = 0x40000000
_NS_GET_NSTYPE: Final = 0xB703
_SIOCGSKNS: Final = 0x894C
_OWN: Final = "/proc/thread-self/ns/net"

_libc: Final = ctypes.CDLL(None, use_errno=True)


class NamespaceId(NamedTuple):
    """What a namespace is known by; unique as long as something holds it open."""

    device: int
    inode: int


class Namespace:
    """A network namespace held open, so that neither it nor its identity goes away; use it as a context manager or close it."""

    __slots__ = ("fd", "identity", "path")

    def __init__(self, path: str, fd: int, identity: NamespaceId) -> None:
        self.path = path
        self.fd = fd
        self.identity = identity

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        """Give the path, for messages."""
        return f"Namespace({self.path!r})"

    def close(self) -> None:
        """Let go of the namespace; twice is once."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def run(self, function: Callable[[], T]) -> T:
        """Call `function` inside the namespace, in a thread of its own, and wait for it; see `run_in`."""
        return run_in(self.fd, function)


def own_namespace_id() -> NamespaceId:
    """Return the identity of the namespace this process runs in."""
    status = os.stat("/proc/self/ns/net")
    return NamespaceId(status.st_dev, status.st_ino)


def open_namespace(path: str | Path, *, forbidden: Collection[NamespaceId] = ()) -> Namespace:
    """Open a pod's network namespace.

    Args:
        path: below /run/netns or /proc/<pid>/ns.
        forbidden: namespaces it must not be (the node's), beside the one this process runs in.

    Raises:
        NamespaceError: it cannot be opened, or is no network namespace.
        HostNamespaceError: it is this process's own or a forbidden one; rules there would capture the node.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as exc:
        raise NamespaceError(f"{path} cannot be opened: {exc.strerror}") from exc
    try:
        identity = _identify(fd, str(path))
        if identity == own_namespace_id() or identity in forbidden:
            raise HostNamespaceError(f"{path} is the host's own network namespace, which is never captured")
    except NamespaceError:
        os.close(fd)
        raise
    return Namespace(str(path), fd, identity)


def namespace_of(sock: socket.socket) -> NamespaceId:
    """Return the identity of the namespace that a socket was made in.

    Raises:
        NamespaceError: it cannot be told; this needs CAP_NET_ADMIN.
    """
    try:
        fd = fcntl.ioctl(sock.fileno(), _SIOCGSKNS)
    except OSError as exc:
        raise NamespaceError(f"a socket's namespace cannot be told: {exc.strerror}; this needs CAP_NET_ADMIN") from exc
    try:
        status = os.fstat(fd)
    finally:
        os.close(fd)
    return NamespaceId(status.st_dev, status.st_ino)


def _identify(fd: int, path: str) -> NamespaceId:
    try:
        kind = fcntl.ioctl(fd, _NS_GET_NSTYPE)
    except OSError as exc:
        raise NamespaceError(f"{path} is no namespace (nothing is mounted on the file?)") from exc
    if kind != _CLONE_NEWNET:
        raise NamespaceError(f"{path} is a namespace of another type than network ({kind:#x})")
    status = os.fstat(fd)
    return NamespaceId(status.st_dev, status.st_ino)


class _Errand(threading.Thread, Generic[T]):
    """A thread that enters a namespace, does one thing there and ends; it is never given anything else to do."""

    def __init__(self, enter: Callable[[], int], function: Callable[[], T]) -> None:
        super().__init__(name="weft-netns", daemon=True)
        self._enter = enter
        self._function = function
        self._result: list[T] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            if self._enter() != 0:
                code = ctypes.get_errno()
                raise NamespaceError(f"the namespace cannot be entered: {os.strerror(code)}; this needs CAP_SYS_ADMIN")
            self._result.append(self._function())
        except BaseException as exc:  # the waiting thread raises it
            self._error = exc

    def outcome(self) -> T:
        self.start()
        self.join()
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None
        return self._result.pop()


def run_in(fd: int, function: Callable[[], T]) -> T:
    """Call `function` in a thread of its own inside the namespace that `fd` refers to, and wait for it.

    Args:
        fd: of an open namespace file.
        function: what to do there; sockets it makes and programs it starts belong to the namespace.

    Raises:
        NamespaceError: the namespace cannot be entered.
        BaseException: whatever `function` raised.
    """
    return _Errand(lambda: int(_libc.setns(fd, _CLONE_NEWNET)), function).outcome()


def run_in_scratch(function: Callable[[], T]) -> T:
    """Call `function` in a thread of its own inside a new, empty namespace that vanishes with the thread.

    Raises:
        NamespaceError: none can be made.
        BaseException: whatever `function` raised.
    """
    return _Errand(lambda: int(_libc.unshare(_CLONE_NEWNET)), function).outcome()
