"""Micro benchmark of the tunnel engine: µs per small message, per open and close, s per GB of bulk. Run it alone on a core.

    PYTHONPATH=agent python perf/micro/tunnel.py

Prints one line per case, best of nine rounds (CPU time of this process), with the bar where there is one. Buffers hold 32
frames, as a busy turn of the reactor does; the receivers do nothing.
"""

import time
from collections.abc import Callable

from weft_contract.limits import MIB, Limits
from weft_core.errors import WeftError
from weft_core.facts import Header
from weft_core.tunnel import Buffer, TunnelConnection, TunnelStream, hpack

ROUNDS = 9
FRAMES = 32
MESSAGE = memoryview(bytearray(250))
LIMITS = Limits()
CONNECT: list[Header] = [
    (b":method", b"CONNECT"),
    (b":authority", b"10.244.3.17:8080"),
    (b"weft-source", b"10.244.1.9"),
    (b"weft-request-id", b"4bf92f3577b34da6a3ce929d0e0e4736"),
]
GRPC: list[Header] = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/shop.Cart/Add"),
    (b":authority", b"cart.shop:8080"),
    (b"content-type", b"application/grpc"),
    (b"user-agent", b"grpc-go/1.71.0"),
    (b"te", b"trailers"),
    (b"grpc-timeout", b"950m"),
    (b"x-request-id", b"4bf92f3577b34da6a3ce929d0e0e4736"),
]
OK: list[Header] = [(b":status", b"200")]


class Sink:
    """A receiver that does nothing."""

    def feed(self, data: Buffer) -> None:
        """Drop."""

    def eof(self) -> None:
        """Ignore."""

    def drained(self) -> None:
        """Ignore."""

    def lost(self, error: WeftError | None) -> None:
        """Ignore."""

    def headers(self, headers: list[Header], end_stream: bool) -> None:
        """Ignore."""


class Handler:
    """A handler that answers every stream."""

    def __init__(self) -> None:
        self.stream: TunnelStream | None = None

    def opened(self, stream: TunnelStream, headers: list[Header], end_stream: bool) -> None:
        """Answer 200."""
        stream.receiver = Sink()
        self.stream = stream
        stream.send_headers(OK)

    def wants_flush(self) -> None:
        """Ignore: every turn is flushed."""

    def broken(self, error: WeftError) -> None:
        """Stop: nothing here may break."""
        raise error

    def goaway(self) -> None:
        """Ignore."""


def flush(connection: TunnelConnection) -> bytes:
    data = b"".join(connection.out)
    connection.out.clear()
    connection.flushed()
    return data


class Pair:
    """Two engines, joined."""

    def __init__(self) -> None:
        self.handler = Handler()
        self.client = TunnelConnection(client=True, limits=LIMITS, handler=Handler())
        self.server = TunnelConnection(client=False, limits=LIMITS, handler=self.handler)
        self.swap()

    def swap(self) -> None:
        """Exchange everything."""
        while self.client.out or self.server.out:
            self.server.receive(memoryview(flush(self.client)))
            self.client.receive(memoryview(flush(self.server)))

    def stream(self) -> TunnelStream:
        """Open a stream that is answered."""
        stream = self.client.open(CONNECT, Sink())
        self.swap()
        return stream


def report(name: str, spent_us: float, bar_us: float = 0.0, unit: str = "us") -> None:
    bar = f"   bar {bar_us:.1f} {'held' if spent_us <= bar_us else 'MISSED'}" if bar_us else ""
    print(f"{name:62} {spent_us:8.2f} {unit}{bar}")


def small_messages(name: str, count: int) -> None:
    """32 messages of 250 bytes on `count` streams: written, flushed, received."""
    pair = Pair()
    streams = [pair.stream() for _ in range(count)]
    turn = [streams[at % count] for at in range(FRAMES)]
    clock = time.perf_counter
    best = [float("inf")] * 3
    for _ in range(4_000):
        start = clock()
        for stream in turn:
            stream.write(MESSAGE)
        written = clock()
        data = memoryview(flush(pair.client))
        flushed = clock()
        pair.server.receive(data)
        received = clock()
        best = [
            min(old, new)
            for old, new in zip(best, (written - start, flushed - written, received - flushed), strict=True)
        ]
        pair.swap()
    report(f"{name}: write(250 B)", best[0] / FRAMES * 1e6, 1.0)
    report(f"{name}: flush of 32 frames, one join", best[1] * 1e6)
    report(f"{name}: receive a DATA frame of 250 B", best[2] / FRAMES * 1e6, 1.2)


def measure(step: Callable[[], object], loops: int) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(loops):
            step()
        best = min(best, time.process_time() - start)
    return best / loops * 1e6


def life_of_a_stream() -> None:
    pair = Pair()

    def step() -> None:
        near = pair.client.open(CONNECT, Sink())
        pair.swap()
        far = pair.handler.stream
        assert far is not None
        near.finish()
        far.finish()
        pair.swap()

    report("open, answer, end a CONNECT stream, both engines", measure(step, 2_000))


def heads() -> None:
    block = hpack.encode(GRPC)
    report("encode a head of 9 fields", measure(lambda: hpack.encode(GRPC), 20_000))
    report("scan a head of 9 fields", measure(lambda: hpack.scan(block, count=100, size_bytes=65_536), 20_000))


def bulk(size: int) -> None:
    pair = Pair()
    near = pair.stream()
    far = pair.handler.stream
    assert far is not None
    data = memoryview(bytearray(size))
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        moved = 0
        while moved < 256 * MIB:
            near.write(data)
            moved += size
            while pair.client.out:
                sent = flush(pair.client)
                view = memoryview(sent)
                for at in range(0, len(sent), 256 * 1024):  # the transport's plaintext buffer
                    pair.server.receive(view[at : at + 256 * 1024])
            pair.client.receive(memoryview(flush(pair.server)))
        best = min(best, (time.process_time() - start) * 1e9 / moved)
    report(f"bulk in writes of {size // 1024} KiB, both engines, joins included", best, unit="s/GB")


def main() -> None:
    small_messages("1 stream", 1)
    small_messages("32 streams", 32)
    heads()
    life_of_a_stream()
    bulk(64 * 1024)
    bulk(1 * MIB)


if __name__ == "__main__":
    main()
