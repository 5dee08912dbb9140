"""Clients of a load: one task each, plain sockets, no retries, every answer checked to the last byte.

Theory: a client is a loop of exchanges on a schedule. Whatever ends one becomes an `ExchangeError` with its outcome, and the
connection is thrown away. The only thing that is forgiven is what HTTP allows: a resting keep-alive connection that the other
side closed is replaced before the next request is sent. An echo connection must live until its client is done with it.
"""

import errno
import itertools
import socket
import time
import zlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import trio

from weft_testing.load_verdict import Failure, Outcome, Stream, Tally

TOKEN_PREFIX: Final = "weftload"
"""Begins every token, so that a packet capture can be searched for plaintext of this load."""
CHECKSUM_HEADER: Final = b"x-crc32: "
_READ_BYTES: Final = 256 * 1024
_STALL_BUFFER_BYTES: Final = 4096
_RESETS: Final = frozenset({errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED})


class ExchangeError(Exception):
    """An exchange was not answered as it should be."""

    def __init__(self, outcome: Outcome, detail: str = "") -> None:
        super().__init__(f"{outcome}: {detail}")
        self.outcome: Outcome = outcome
        self.detail = detail


class Connection:
    """One TCP connection with reads that know how far the answer has come."""

    def __init__(self, sock: trio.socket.SocketType, received: Callable[[int], None]) -> None:
        self.sock = sock
        self.used = False
        self._received = received
        self.port = int(sock.getsockname()[1])

    async def send(self, data: bytes) -> None:
        """Send all of it."""
        view = memoryview(data)
        while view:
            try:
                view = view[await self.sock.send(view) :]
            except OSError as exc:
                raise _broken(exc, begun=False) from exc

    async def receive(self, *, begun: bool) -> bytes:
        """Return some bytes; the other side's end here is an error.

        Args:
            begun: whether a byte of the answer has arrived before.
        """
        try:
            data = await self.sock.recv(_READ_BYTES)
        except OSError as exc:
            raise _broken(exc, begun=begun) from exc
        if not data:
            raise ExchangeError("truncated" if begun else "closed", "the other side ended the connection")
        self._received(len(data))
        return data

    @property
    def ended(self) -> bool:
        """True if the other side ended the resting connection."""
        try:
            # trio's sockets are non-blocking underneath, and their `recv` is a coroutine: ask the descriptor itself
            return _peek(self.sock.fileno()) is not None
        except OSError:
            return True

    def close(self) -> None:
        """Close it."""
        self.sock.close()


def _peek(descriptor: int) -> bytes | None:
    """Return what a resting socket has to say: None for nothing, b"" for its end, bytes nobody asked for."""
    with socket.socket(fileno=descriptor) as probe:
        try:
            return probe.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        finally:
            probe.detach()


def _broken(exc: OSError, *, begun: bool) -> ExchangeError:
    if exc.errno in _RESETS:
        return ExchangeError("truncated" if begun else "reset", errno.errorcode[exc.errno or 0])
    return ExchangeError("timeout" if exc.errno == errno.ETIMEDOUT else "reset", str(exc))


async def connect(stream: Stream, received: Callable[[int], None]) -> Connection:
    """Return a new connection.

    Raises:
        ExchangeError: there is none.
    """
    family = trio.socket.AF_INET6 if ":" in stream.host else trio.socket.AF_INET
    sock = trio.socket.socket(family, trio.socket.SOCK_STREAM)
    try:
        if stream.kind == "stall":
            sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, _STALL_BUFFER_BYTES)
        sock.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY, 1)
        await sock.connect((stream.host, stream.port))
    except OSError as exc:
        sock.close()
        outcome: Outcome = "timeout" if exc.errno == errno.ETIMEDOUT else "refused"
        raise ExchangeError(outcome, f"connect: {exc.strerror}") from exc
    except BaseException:
        sock.close()
        raise
    return Connection(sock, received)


# -- exchanges ------------------------------------------------------------------------------------------------------

Exchange = Callable[[Connection, Stream, str], Awaitable[bool]]
"""Asks and checks; returns whether the connection may be used again."""


async def ask(connection: Connection, stream: Stream, token: str) -> bool:
    """Send one HTTP request, whose answer must repeat the token."""
    await _request(connection, f"/check/{token}", stream.host)
    head, body, length = await _head(connection)
    while len(body) < length:
        body += await connection.receive(begun=True)
    if not body.startswith(token.encode() + b" ") or len(body) != length:
        raise ExchangeError("wrong", f"asked {token}, got {body[:80]!r}")
    return b"connection: close" not in head.lower()


async def download(connection: Connection, stream: Stream, token: str) -> bool:
    """Fetch many bytes and compare their checksum with the one the server promised."""
    await _request(connection, f"/bytes/{stream.size_bytes}?{token}", stream.host)
    head, body, length = await _head(connection)
    promised = head.partition(CHECKSUM_HEADER)[2][:8]
    seen, checksum = len(body), zlib.crc32(body)
    while seen < length:
        data = await connection.receive(begun=True)
        seen += len(data)
        checksum = zlib.crc32(data, checksum)
    if seen != length or length != stream.size_bytes or b"%08x" % checksum != promised:
        raise ExchangeError("wrong", f"{seen} of {stream.size_bytes} bytes, crc {checksum:08x}, promised {promised!r}")
    return b"connection: close" not in head.lower()


async def echo(connection: Connection, stream: Stream, token: str) -> bool:
    """Send a numbered block and want exactly it back."""
    block = (token.encode() + b"|").ljust(stream.size_bytes, b".")
    await connection.send(block)
    back = b""
    while len(back) < len(block):
        back += await connection.receive(begun=bool(back))
    if back != block:
        raise ExchangeError("wrong", f"sent {block[:60]!r}, got {back[:60]!r}")
    return True


async def _request(connection: Connection, target: str, host: str) -> None:
    name = f"[{host}]" if ":" in host else host
    await connection.send(f"GET {target} HTTP/1.1\r\nhost: {name}\r\nuser-agent: load\r\n\r\n".encode())


async def _head(connection: Connection) -> tuple[bytes, bytes, int]:
    """Return head, first bytes and length of an answer of status 200."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += await connection.receive(begun=bool(data))
    head, _, body = data.partition(b"\r\n\r\n")
    status = head[9:12]
    if not head.startswith(b"HTTP/1.1 ") or status != b"200":
        raise ExchangeError("status", head.partition(b"\r\n")[0].decode("latin-1") + f" {_reason(head)}")
    length = next((line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b"")
    if not length.strip().isdigit():
        raise ExchangeError("wrong", f"no length in {head!r}")
    return head, body, int(length)


def _reason(head: bytes) -> str:
    lines = head.split(b"\r\n")
    return b"; ".join(line for line in lines if line.lower().startswith(b"proxy-status")).decode("latin-1")


# -- clients --------------------------------------------------------------------------------------------------------


class Client:
    """One client of a stream.

    Args:
        stream: what it does.
        tally: where it counts; shared by the stream's clients.
        number: among them, for its place in the schedule.
        tokens: distinct words for its requests.
    """

    def __init__(self, stream: Stream, tally: Tally, number: int, tokens: Iterator[str]) -> None:
        self._stream = stream
        self._tally = tally
        self._number = number
        self._tokens = tokens
        self._connection: Connection | None = None

    async def run(self, stopping: trio.Event) -> None:
        """Send on schedule until told to stop; what is in flight then is finished."""
        stream = self._stream
        exchange = download if stream.kind == "download" else ask if stream.kind.startswith("http") else echo
        due = trio.current_time() + stream.interval_s * self._number / stream.clients
        try:
            while not await _stopped_until(due, stopping):
                await self._attempt(exchange)
                due = max(due + stream.interval_s, trio.current_time())
        finally:
            self._drop()

    async def hold(self, stopping: trio.Event) -> None:
        """Open one connection, prove it, rest, and prove at the end that it still stands."""
        stream = self._stream
        if await _stopped_until(trio.current_time() + stream.interval_s * self._number, stopping):
            return
        try:
            await self._attempt(_ask_much if stream.kind == "stall" else echo)
            if self._connection is not None:
                await stopping.wait()
                await self._attempt(_still_there if stream.kind == "stall" else echo)
        finally:
            self._drop()

    async def _attempt(self, exchange: Exchange) -> None:
        stream, tally = self._stream, self._tally
        if self._connection is not None and stream.kind in {"http", "download"} and self._connection.ended:
            tally.reconnects += 1
            self._drop()
        fresh, began_s = self._connection is None or not self._connection.used, time.monotonic()
        tally.sent += 1
        reusable = False
        try:
            with trio.fail_after(stream.timeout_s):
                reusable = await self._exchange(exchange)
            tally.succeeded(began_s, time.monotonic())
        except (ExchangeError, trio.TooSlowError) as exc:
            error = exc if isinstance(exc, ExchangeError) else ExchangeError("timeout", "too slow")
            port = self._connection.port if self._connection is not None else 0
            now = time.monotonic()
            tally.failed(
                Failure(at_s=now, began_s=began_s, outcome=error.outcome, fresh=fresh, port=port, detail=error.detail)
            )
        if not reusable or stream.kind.endswith("-new"):
            self._drop()

    async def _exchange(self, exchange: Exchange) -> bool:
        if self._connection is None:
            self._connection = await connect(self._stream, self._count)
        reusable = await exchange(self._connection, self._stream, next(self._tokens))
        self._connection.used = True
        return reusable

    def _count(self, size: int) -> None:
        self._tally.bytes_received += size

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


async def _ask_much(connection: Connection, stream: Stream, token: str) -> bool:
    """Ask for many bytes and take only the first few."""
    await _request(connection, f"/bytes/{stream.size_bytes}?{token}", stream.host)
    if not (await connection.receive(begun=False)).startswith(b"HTTP/1.1 200"):
        raise ExchangeError("status", "not 200")
    return True


async def _still_there(connection: Connection, stream: Stream, token: str) -> bool:
    """Take what waits on a stalled connection: neither end nor reset may be there."""
    await connection.receive(begun=True)
    return False


async def _stopped_until(due: float, stopping: trio.Event) -> bool:
    """Wait until a time; tell whether we were stopped."""
    with trio.move_on_at(due):
        await stopping.wait()
    return stopping.is_set()


def tokens(stream: Stream) -> Iterator[str]:
    """Return words that no other stream or process uses."""
    began = time.monotonic_ns()
    return (f"{TOKEN_PREFIX}-{stream.name}-{began:x}-{number}" for number in itertools.count())
