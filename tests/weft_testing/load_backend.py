"""The server of a load, a program for pods: HTTP that repeats tokens and serves bytes with checksums, and a TCP echo.

`GET /check/TOKEN` answers the token and this server's name, `GET /bytes/N` answers N bytes and their CRC-32 in `x-crc32`,
anything else answers `ok` (probes). On SIGTERM it behaves as well-made servers do: it stops accepting, finishes the requests
in progress, closes what rests, and ends; with `--linger S` it serves on as before for that time first.
"""

import argparse
import signal
import socket
import sys
import zlib
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Final

import trio

HTTP_PORT: Final = 8080
ECHO_PORT: Final = 7000
_READ_BYTES: Final = 256 * 1024
_BLOCK: Final = bytes(range(256)) * 256
_BACKLOG: Final = 4096


class Backend:
    """The running server.

    Args:
        name: what it calls itself in answers.
        linger_s: how long it serves on after SIGTERM.
    """

    def __init__(self, name: str, linger_s: float) -> None:
        self._name = name.encode()
        self._linger_s = linger_s
        self._resting: dict[trio.SocketStream, trio.CancelScope] = {}
        self._ending = False

    async def run(self, ports: tuple[int, int]) -> None:
        """Serve until SIGTERM and its consequences."""
        async with trio.open_nursery() as connections, trio.open_nursery() as accepting:
            for port, handler in zip(ports, (self._http, self._echo), strict=True):
                accepting.start_soon(self._serve, port, handler, connections)
            sys.stdout.write(f"serving HTTP on {ports[0]}, echo on {ports[1]} as {self._name.decode()}\n")
            sys.stdout.flush()
            with trio.open_signal_receiver(signal.SIGTERM) as signals:
                await anext(signals)
            await trio.sleep(self._linger_s)
            accepting.cancel_scope.cancel()
            self._ending = True
            for scope in list(self._resting.values()):
                scope.cancel()

    async def _serve(
        self, port: int, handler: Callable[[trio.SocketStream], Awaitable[None]], connections: trio.Nursery
    ) -> None:
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(_listen(port)))
        await trio.serve_listeners(handler, [listener], handler_nursery=connections)

    async def _echo(self, stream: trio.SocketStream) -> None:
        async with stream:
            try:
                while data := await self._next(stream):
                    await stream.send_all(data)
                await stream.send_eof()
            except trio.BrokenResourceError:
                return

    async def _http(self, stream: trio.SocketStream) -> None:
        async with stream:
            buffer = b""
            try:
                while True:
                    while b"\r\n\r\n" not in buffer:
                        data = await self._next(stream)
                        if not data:
                            return
                        buffer += data
                    head, _, buffer = buffer.partition(b"\r\n\r\n")
                    await self._answer(stream, head.split(b" ", 2)[1].decode("latin-1"))
                    if self._ending:
                        return
            except trio.BrokenResourceError:
                return

    async def _next(self, stream: trio.SocketStream) -> bytes:
        """Return what the client says next; nothing when the server ends while it rests."""
        with trio.CancelScope() as scope:
            self._resting[stream] = scope
            try:
                if not self._ending:
                    return bytes(await stream.receive_some(_READ_BYTES))
            finally:
                del self._resting[stream]
        return b""

    async def _answer(self, stream: trio.SocketStream, target: str) -> None:
        word, _, rest = target.partition("?")[0].lstrip("/").partition("/")
        close = b"connection: close\r\n" if self._ending else b""
        if word == "bytes" and rest.isdigit():
            await self._send_bytes(stream, int(rest), close)
            return
        body = rest.encode() + b" " + self._name if word == "check" else b"ok"
        await stream.send_all(b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n%b" % (close, len(body), body))

    async def _send_bytes(self, stream: trio.SocketStream, size: int, close: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\n%bx-crc32: %08x\r\ncontent-length: %d\r\n\r\n" % (close, _checksum(size), size)
        await stream.send_all(head)
        while size > 0:
            await stream.send_all(_BLOCK[:size])
            size -= len(_BLOCK)


@lru_cache
def _checksum(size: int) -> int:
    """Return the CRC-32 of so many bytes as `_send_bytes` sends them."""
    checksum = 0
    while size > 0:
        checksum = zlib.crc32(_BLOCK[:size], checksum)
        size -= len(_BLOCK)
    return checksum


def _listen(port: int) -> socket.socket:
    """Listen in both families, with a queue that a crowd fits into."""
    listener = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG)
    listener.setblocking(False)
    return listener


def main() -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="load_backend")
    parser.add_argument("--name", default=socket.gethostname())
    parser.add_argument("--linger", type=float, default=0.0, help="seconds served on after SIGTERM")
    parser.add_argument("--ports", type=int, nargs=2, default=(HTTP_PORT, ECHO_PORT), help="for HTTP and for echo")
    options = parser.parse_args()
    trio.run(Backend(options.name, options.linger).run, tuple(options.ports))
    return 0


if __name__ == "__main__":
    sys.exit(main())
