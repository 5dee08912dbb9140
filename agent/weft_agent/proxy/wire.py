"""A socket as the two coroutines that a handshake wants; used before the reactor owns the socket, never beside it."""

import socket

import trio


class SocketWire:
    """A non-blocking TCP socket during its handshake.

    Args:
        sock: registered nowhere else.
    """

    __slots__ = ("_sock",)

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    async def send_all(self, data: bytes) -> None:
        """Send everything.

        Raises:
            trio.BrokenResourceError: the peer is gone.
        """
        view = memoryview(data)
        while view:
            try:
                view = view[self._sock.send(view) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._sock)
            except OSError as exc:
                raise trio.BrokenResourceError(str(exc)) from exc

    async def receive_some(self, max_bytes: int) -> bytes:
        """Return what has arrived; empty: the peer sends no more.

        Raises:
            trio.BrokenResourceError: the peer is gone.
        """
        while True:
            try:
                return self._sock.recv(max_bytes)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._sock)
            except OSError as exc:
                raise trio.BrokenResourceError(str(exc)) from exc
