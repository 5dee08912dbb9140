"""A non-blocking connect in flight: its socket, its deadline and who wants to know.

Theory: exactly one of the two callbacks comes, and by then nothing here holds the socket any more: `connected` owns it, or it
is closed. An address that the kernel refuses at once and one that does not answer look the same to the caller but for the
errno, which tells a taken source port from an unreachable peer.

connect(2) on a non-blocking socket says EINPROGRESS even to a destination on this machine, which has answered by the time
it returns: the kernel holds the answer back until the socket is let go. So it is asked once more. That is one system call for
a destination that is far, and saves a near one the timer, three calls of epoll, a turn of the loop, and bytes held meanwhile.
"""

import errno
import socket
from collections.abc import Callable
from typing import Final

from weft_agent.reactor.loop import WRITE, Reactor
from weft_agent.reactor.timers import Timer
from weft_core.errors import ConnectFailedError, ConnectTimeoutError, UpstreamError

_UNDER_WAY: Final = frozenset({errno.EINPROGRESS, errno.EALREADY})

Connected = Callable[[socket.socket], None]
Failed = Callable[[UpstreamError, int], None]
"""Takes the error and its errno."""


class Connect:
    """Connects `sock` to `address`; calls exactly one of `connected` and `failed`, unless cancelled.

    Args:
        reactor: the worker's loop.
        sock: non-blocking and unconnected, possibly bound; owned until `connected`.
        address: host and port, numeric.
        timeout_s: time for the attempt.
        connected: takes the socket.
        failed: takes the error; the socket is closed by then.

    Both callbacks may come from inside the constructor, when the kernel answers at once (loopback).
    """

    __slots__ = ("_address", "_connected", "_failed", "_reactor", "_sock", "_timer")

    def __init__(
        self,
        reactor: Reactor,
        sock: socket.socket,
        address: tuple[str, int],
        timeout_s: float,
        connected: Connected,
        failed: Failed,
    ) -> None:
        self._reactor = reactor
        self._sock: socket.socket | None = sock
        self._address = address
        self._connected = connected
        self._failed = failed
        self._timer: Timer | None = None
        try:
            code = sock.connect_ex(address)
            if code == errno.EINPROGRESS:
                code = sock.connect_ex(address)
        except OSError as exc:  # not numeric, or not of this socket's family: nobody was asked
            code = exc.errno or errno.EINVAL
        if code == 0:
            self._succeed()
        elif code in _UNDER_WAY:
            self._timer = reactor.after(timeout_s, self._expire)
            reactor.register(sock.fileno(), self, WRITE)
        else:
            self._fail(code)

    def ready(self, mask: int) -> None:
        """Look how it went; called by the reactor."""
        sock = self._sock
        if sock is None:
            return
        self._reactor.unregister(sock.fileno())
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._fail(code)
        else:
            self._succeed()

    def abort(self) -> None:
        """Give up: the loop is closing, or a callback failed."""
        self.cancel()

    crash = abort

    def cancel(self) -> None:
        """Forget the attempt; no callback follows."""
        sock, self._sock = self._sock, None
        if self._timer is not None:
            self._timer.cancel()
        if sock is not None:
            self._reactor.unregister(sock.fileno())
            sock.close()

    def _succeed(self) -> None:
        sock, self._sock = self._sock, None
        if self._timer is not None:
            self._timer.cancel()
        if sock is not None:
            self._connected(sock)

    def _fail(self, code: int) -> None:
        self.cancel()
        host, port = self._address[0], self._address[1]
        error: UpstreamError
        if code == errno.ETIMEDOUT:
            error = ConnectTimeoutError(f"no answer from {host} port {port}")
        else:
            error = ConnectFailedError(f"cannot connect to {host} port {port}: {errno.errorcode.get(code, code)}")
        self._failed(error, code)

    def _expire(self) -> None:
        self._timer = None
        self._fail(errno.ETIMEDOUT)
