"""Accepting connections in callbacks: bounded batches, and a pause instead of a busy loop when descriptors run out.

Theory: accept(2) fails in two ways. A connection that died in the queue (the network's errors are handed on to accept) is
one connection less: go on. Everything else is about this process or this socket, would fail again at once, and leaves the
connection in the queue, so a level-triggered loop would spin: wait a moment, whatever it was.

Source: accept(2), "Error handling"; trio's `serve_listeners` retries after 100 ms for the same reason; nginx keeps a reserve.
"""

import errno
import socket
from collections.abc import Callable
from typing import Final

from weft_agent.reactor.loop import EXCLUSIVE, READ, Reactor

ACCEPTS_PER_TURN: Final = 16
RETRY_S: Final = 0.1
_DIED_IN_QUEUE: Final = frozenset({
    errno.ECONNABORTED, errno.ECONNRESET, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EINTR, errno.ENETDOWN,
    errno.ENETUNREACH, errno.ENONET, errno.ENOPROTOOPT, errno.EPROTO, errno.ETIMEDOUT,
})  # fmt: skip

Accepted = Callable[[socket.socket, tuple[str, int]], None]
"""Takes the non-blocking connection and the peer's address and port."""


class Listener:
    """One listening socket; several workers may share it.

    Args:
        reactor: the worker's loop.
        sock: listening and non-blocking; owned from now on.
        accepted: told of each connection.
        exhausted: told each time accepting has to wait; in practice, that descriptors ran out.
    """

    __slots__ = ("_accepted", "_exhausted", "_paused", "_reactor", "sock")

    def __init__(
        self, reactor: Reactor, sock: socket.socket, accepted: Accepted, exhausted: Callable[[], None]
    ) -> None:
        self._reactor = reactor
        self.sock = sock
        self._accepted = accepted
        self._exhausted = exhausted
        self._paused = False
        reactor.register(sock.fileno(), self, READ | EXCLUSIVE)

    def ready(self, mask: int) -> None:
        """Accept a batch; called by the reactor."""
        accept = self.sock.accept
        for _ in range(ACCEPTS_PER_TURN):
            try:
                conn, address = accept()
            except BlockingIOError:
                return
            except OSError as exc:
                if exc.errno in _DIED_IN_QUEUE:
                    continue
                self._pause()
                return
            conn.setblocking(False)
            self._accepted(conn, address[:2])

    def _pause(self) -> None:
        fd = self.sock.fileno()
        if fd < 0:  # stopped by what it accepted
            return
        self._paused = True
        self._reactor.unregister(fd)
        self._reactor.after(RETRY_S, self._resume)
        self._exhausted()

    def _resume(self) -> None:
        if self._paused and self.sock.fileno() >= 0:
            self._paused = False
            self._reactor.register(self.sock.fileno(), self, READ | EXCLUSIVE)

    def stop(self) -> None:
        """Stop accepting and drop this worker's reference; the socket lives on where others hold it."""
        fd = self.sock.fileno()
        if fd >= 0:
            self._reactor.unregister(fd)
            self._paused = False
            self.sock.close()

    abort = stop
