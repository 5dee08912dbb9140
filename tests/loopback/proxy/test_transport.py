"""A tunnel's transport over real sockets and TLS: exact bytes in every mixture of sizes, sockets that take little, ends."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from weft_agent.proxy import transport as transport_module
from weft_agent.proxy.transport import Transport, _last
from weft_agent.reactor import Reactor
from weft_agent.tls import TlsEngine
from weft_contract.limits import KIB, MIB, Limits
from weft_core.errors import TunnelLostError, WeftError
from weft_core.facts import Header
from weft_core.tunnel import Buffer, TunnelConnection, TunnelStream
from weft_testing.reactor import LIMITS, running_reactor, tcp_pair, until
from weft_testing.tls_peers import Mesh

CONNECT: list[Header] = [(b":method", b"CONNECT"), (b":authority", b"10.0.0.1:80")]
SIZES = (1, 250, 16 * KIB, 16 * KIB + 1, 70_000, 300_000, 1 * MIB)


class Taker:
    """Receiver of a stream; keeps everything, and writes on when it may."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.errors: list[WeftError | None] = []
        self.finished = False
        self.write_on: Callable[[], None] = lambda: None

    def headers(self, headers: list[Header], end_stream: bool) -> None: ...

    def feed(self, data: Buffer) -> None:
        self.data += data

    def eof(self) -> None:
        self.finished = True

    def drained(self) -> None:
        self.write_on()

    def lost(self, error: WeftError | None) -> None:
        self.errors.append(error)


class Side:
    """One end: handler of the connection, owner of the transport."""

    def __init__(self, *, client: bool, limits: Limits) -> None:
        self.connection = TunnelConnection(client=client, limits=limits, handler=self)
        self.transport: Transport | None = None
        self.streams: list[tuple[TunnelStream, Taker]] = []
        self.over = False

    def opened(self, stream: TunnelStream, headers: list[Header], end_stream: bool) -> None:
        taker = Taker()
        stream.receiver = taker
        self.streams.append((stream, taker))
        stream.send_headers([(b":status", b"200")])

    def wants_flush(self) -> None:
        if self.transport is not None:
            self.transport.mark()

    def broken(self, error: WeftError) -> None:
        raise error

    def goaway(self) -> None: ...

    def transport_over(self, transport: Transport) -> None:
        self.over = True


class Pair:
    """Both ends of a tunnel, in one reactor."""

    def __init__(self, reactor: Reactor, engines: tuple[TlsEngine, TlsEngine], buffer_bytes: int) -> None:
        self.reactor = reactor
        self.client, self.server = Side(client=True, limits=LIMITS), Side(client=False, limits=LIMITS)
        plain = memoryview(bytearray(256 * KIB))
        for side, sock, engine in zip((self.client, self.server), tcp_pair(buffer_bytes), engines, strict=True):
            side.transport = Transport(reactor, sock, engine, side.connection, plain, side)
            side.transport.start()
        reactor.settle()

    async def streams(self, count: int) -> list[tuple[TunnelStream, Taker]]:
        opened = []
        for _ in range(count):
            taker = Taker()
            opened.append((self.client.connection.open(CONNECT, taker), taker))
        self.reactor.settle()
        await until(lambda: len(self.server.streams) == count)
        return opened


@asynccontextmanager
async def tunnel(buffer_bytes: int = 0) -> AsyncIterator[Pair]:
    mesh = Mesh()
    async with running_reactor() as reactor:
        pair = Pair(reactor, mesh.sessions(), buffer_bytes)
        yield pair
        for side in (pair.client, pair.server):
            assert side.transport is not None
            side.transport.close()
    mesh.close()


class Writer:
    """Writes pieces into a stream as fast as it takes them, out of one buffer that changes behind every write."""

    def __init__(self, stream: TunnelStream, taker: Taker, pieces: list[bytes]) -> None:
        self.stream = stream
        self._pieces = iter(pieces)
        self._shared = bytearray(max(map(len, pieces)))
        taker.write_on = self.write_on

    def write_on(self) -> None:
        for piece in self._pieces:
            view = memoryview(self._shared)[: len(piece)]
            view[:] = piece
            taken = self.stream.write(view)
            view[:] = bytes(len(piece))
            if not taken:
                return
        self.stream.finish()


@pytest.mark.trio
@pytest.mark.parametrize("buffer_bytes", [0, 20_000], ids=["sockets that grow", "small sockets"])
@pytest.mark.parametrize("seed", range(3))
async def test_bytes_arrive_as_they_were_in_every_mixture_of_sizes(seed: int, buffer_bytes: int) -> None:
    rng = random.Random(seed)
    async with tunnel(buffer_bytes) as pair:
        near = await pair.streams(4)
        expected = []
        for end in (near, pair.server.streams):
            for stream, taker in end:
                pieces = [rng.randbytes(rng.choice(SIZES)) for _ in range(6)]
                expected.append(b"".join(pieces))
                Writer(stream, taker, pieces).write_on()
        pair.reactor.settle()
        takers = [taker for _, taker in (*pair.server.streams, *near)]
        await until(lambda: all(taker.finished for taker in takers), timeout_s=20.0)
        assert [bytes(taker.data) == data for taker, data in zip(takers, expected, strict=True)] == [True] * 8
        assert pair.client.connection.idle


@pytest.mark.trio
async def test_large_writes_leave_at_once_and_small_ones_with_the_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    async with tunnel() as pair:
        [(stream, _)] = await pair.streams(1)
        written: list[int] = []
        inner = TlsEngine.write

        def write(engine: TlsEngine, data: Buffer) -> None:
            written.append(len(data))
            inner(engine, data)

        monkeypatch.setattr(TlsEngine, "write", write)
        stream.write(bytes(100))
        assert written == []
        stream.write(bytes(40_000))
        assert written == [9 + 100 + 9, 40_000]
        assert pair.client.connection.out == []
        stream.write(bytes(50))
        stream.write(bytes(60))
        pair.reactor.settle()
        assert written[2:] == [9 + 50 + 9 + 60]
        _, taker = pair.server.streams[0]
        await until(lambda: len(taker.data) == 40_210)


@pytest.mark.trio
async def test_what_the_socket_does_not_take_holds_the_writer() -> None:
    async with tunnel(20_000) as pair:
        [(stream, taker)] = await pair.streams(1)
        written = 0
        while stream.write(bytes(100_000)):
            written += 100_000
            assert written < 16 * MIB
        assert taker.data == b""
        drained: list[int] = []
        taker.write_on = lambda: drained.append(1)
        _, far = pair.server.streams[0]
        await until(lambda: len(far.data) == written + 100_000)
        assert drained == [1]


@pytest.mark.trio
async def test_the_peers_end_is_told_once() -> None:
    async with tunnel() as pair:
        near = await pair.streams(2)
        assert pair.server.transport is not None
        near[0][0].write(bytes(40_000))
        pair.server.transport.close()
        await until(lambda: pair.client.over)
        assert [type(error) for _, taker in near for error in taker.errors] == [TunnelLostError] * 2


def test_the_rest_of_what_was_sent_in_part() -> None:
    pieces = [b"abc", b"defg", b"hi"]
    whole = b"".join(pieces)
    for left in range(len(whole) + 1):
        rest = _last(pieces, left)
        assert b"".join(rest) == whole[len(whole) - left :]
        assert all(rest)
    assert transport_module.LARGE_BYTES < transport_module.SLICE_BYTES
