"""Tunnel engines on a fake wire: two of ours joined, or one of ours and a peer that sends whatever a test likes.

`WirePair` models sockets with a capacity, so that back-pressure is real; `RawPeer` speaks frames by hand and parses what comes
back with its own few lines, not with the code under test.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from weft_contract.limits import Limits
from weft_core.errors import WeftError
from weft_core.facts import Header
from weft_core.tunnel import Buffer, TunnelConnection, TunnelStream, hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CONNECT: list[Header] = [(b":method", b"CONNECT"), (b":authority", b"10.0.0.9:80")]
POST: list[Header] = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":authority", b"shop.example"),
    (b":path", b"/cart"),
]
GET: list[Header] = [(b":method", b"GET"), *POST[1:]]
OK: list[Header] = [(b":status", b"200")]

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
NAMES = (
    "DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE",
    "CONTINUATION",
)  # fmt: skip
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 1, 1, 4, 8, 32

Event = tuple[object, ...]
Cut = Callable[[bytes], Iterable[bytes]]


def whole(data: bytes) -> Iterator[bytes]:
    """Everything at once."""
    if data:
        yield data


def byte_by_byte(data: bytes) -> Iterator[bytes]:
    """The slowest peer."""
    return (data[at : at + 1] for at in range(len(data)))


def split_at(*positions: int) -> Cut:
    """Cut at these positions."""

    def cut(data: bytes) -> Iterator[bytes]:
        edges = [0, *sorted(at for at in positions if 0 < at < len(data)), len(data)]
        return (data[a:b] for a, b in pairwise(edges) if a < b)

    return cut


def every(size: int) -> Cut:
    """Pieces of one size."""
    return lambda data: (data[at : at + size] for at in range(0, len(data), size))


class Recorder:
    """A receiver that writes down what it hears; bytes in a row are joined, so any chunking gives the same events."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.received = bytearray()
        self.blocks: list[bytes] = []
        self.stream: TunnelStream | None = None
        self.on_feed: Callable[[bytes], None] | None = None
        self.on_eof: Callable[[], None] | None = None
        self.on_drained: Callable[[], None] | None = None
        self.on_headers: Callable[[], None] | None = None
        self.errors: list[WeftError | None] = []

    def feed(self, data: Buffer) -> None:
        assert len(data) > 0
        assert not self.lost_called
        self.received += data
        if self.events and self.events[-1][0] == "data":
            buffer = self.events[-1][1]
            assert isinstance(buffer, bytearray)
            buffer += data
        else:
            self.events.append(("data", bytearray(data)))
        if self.on_feed is not None:
            self.on_feed(bytes(data))

    def eof(self) -> None:
        assert not self.lost_called
        self.events.append(("eof",))
        if self.on_eof is not None:
            self.on_eof()

    def drained(self) -> None:
        assert not self.lost_called
        self.events.append(("drained",))
        if self.on_drained is not None:
            self.on_drained()

    def lost(self, error: WeftError | None) -> None:
        assert not self.lost_called, "lost is called once"
        self.errors.append(error)
        self.events.append(("lost", type(error).__name__))

    def headers(self, headers: list[Header], end_stream: bool) -> None:
        assert not self.lost_called
        self.events.append(("headers", tuple(headers), end_stream))
        if self.stream is not None:
            self.blocks.append(self.stream.block)
        if self.on_headers is not None:
            self.on_headers()

    @property
    def lost_called(self) -> bool:
        return bool(self.errors)

    @property
    def data(self) -> bytes:
        return bytes(self.received)

    @property
    def kinds(self) -> list[object]:
        return [event[0] for event in self.events]


class PlainReceiver:
    """A receiver without `headers`, like the reactor's relays."""

    def __init__(self) -> None:
        self.events: list[object] = []

    def feed(self, data: Buffer) -> None:
        self.events.append(bytes(data))

    def eof(self) -> None:
        self.events.append("eof")

    def drained(self) -> None:
        self.events.append("drained")

    def lost(self, error: WeftError | None) -> None:
        self.events.append(type(error).__name__)


class Handler:
    """A handler that writes down what it hears and puts a `Recorder` on each stream of the peer."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.streams: list[TunnelStream] = []
        self.recorders: list[Recorder] = []
        self.errors: list[WeftError] = []
        self.flushes = 0
        self.on_opened: Callable[[TunnelStream, Recorder], None] | None = None
        self.on_goaway: Callable[[], None] | None = None

    def opened(self, stream: TunnelStream, headers: list[Header], end_stream: bool) -> None:
        recorder = Recorder()
        recorder.stream = stream
        stream.receiver = recorder
        recorder.events.append(("opened", tuple(headers), end_stream))
        recorder.blocks.append(stream.block)
        self.streams.append(stream)
        self.recorders.append(recorder)
        self.events.append(("opened", stream.id))
        if self.on_opened is not None:
            self.on_opened(stream, recorder)

    def wants_flush(self) -> None:
        self.flushes += 1

    def broken(self, error: WeftError) -> None:
        self.errors.append(error)
        self.events.append(("broken", type(error).__name__))

    def goaway(self) -> None:
        self.events.append(("goaway",))
        if self.on_goaway is not None:
            self.on_goaway()


def answer_ok(stream: TunnelStream, _recorder: Recorder) -> None:
    """Answer each stream with 200 at once, as for a CONNECT that succeeded."""
    stream.send_headers(OK)


class Frame(NamedTuple):
    """A frame as it was on the wire."""

    kind: int
    flags: int
    stream_id: int
    payload: bytes

    @property
    def number(self) -> int:
        """The payload's first four bytes: error code or increment."""
        return int(struct.unpack_from(">I", self.payload)[0])

    def __str__(self) -> str:
        return f"{NAMES[self.kind]}[{self.stream_id}] {self.flags:#x} {len(self.payload)}"


def frames_of(data: bytes) -> list[Frame]:
    """Cut whole frames out of bytes; a preface is skipped, a cut frame is an error."""
    at = len(PREFACE) if data.startswith(PREFACE) else 0
    found = []
    while at < len(data):
        high, low, kind, flags, stream_id = struct.unpack_from(">BHBBI", data, at)
        size = high << 16 | low
        assert at + 9 + size <= len(data)
        found.append(Frame(kind, flags, stream_id, data[at + 9 : at + 9 + size]))
        at += 9 + size
    return found


def raw(kind: int, flags: int = 0, stream_id: int = 0, payload: bytes = b"") -> bytes:
    """One frame as bytes, whether or not it is legal."""
    return struct.pack(">BHBBI", len(payload) >> 16, len(payload) & 0xFFFF, kind, flags, stream_id) + payload


def raw_settings(*pairs: tuple[int, int]) -> bytes:
    """A SETTINGS frame."""
    return raw(SETTINGS, payload=b"".join(struct.pack(">HI", *pair) for pair in pairs))


def raw_head(stream_id: int, headers: Sequence[Header], *, end_stream: bool = False) -> bytes:
    """A HEADERS frame with END_HEADERS."""
    return raw(HEADERS, END_HEADERS | (END_STREAM if end_stream else 0), stream_id, hpack.encode(headers))


def raw_long(kind: int, stream_id: int, value: int) -> bytes:
    """RST_STREAM or WINDOW_UPDATE."""
    return raw(kind, 0, stream_id, struct.pack(">I", value))


def raw_goaway(last: int, code: int = 0, debug: bytes = b"") -> bytes:
    """A GOAWAY frame."""
    return raw(GOAWAY, 0, 0, struct.pack(">II", last, code) + debug)


def take(connection: TunnelConnection) -> bytes:
    """Flush a connection into a socket that takes everything."""
    data = b"".join(connection.out)
    connection.out.clear()
    connection.flushed()
    return data


class RawPeer:
    """One engine of ours against frames made by hand.

    Args:
        client: whether the engine is the client.
        limits: of the engine.
        greet: do the opening exchange.
        settings: the peer's settings.
    """

    def __init__(
        self,
        *,
        client: bool = False,
        limits: Limits | None = None,
        greet: bool = True,
        settings: Sequence[tuple[int, int]] = (),
        acknowledge: bool = True,
    ) -> None:
        self.handler = Handler()
        self.connection = TunnelConnection(client=client, limits=limits or Limits(), handler=self.handler)
        self.greeting = frames_of(take(self.connection))
        if greet:
            self.feed((b"" if client else PREFACE) + raw_settings(*settings))
            if acknowledge:
                self.feed(raw(SETTINGS, ACK))
            self.frames()

    def feed(self, data: bytes, cut: Cut = whole) -> None:
        """Let the engine receive bytes."""
        for piece in cut(data):
            self.connection.receive(memoryview(piece))

    def frames(self) -> list[Frame]:
        """Take what the engine sends."""
        found = []
        while self.connection.out:
            found += frames_of(take(self.connection))
        return found

    def ask(self, data: bytes, cut: Cut = whole) -> list[Frame]:
        """Feed, then take."""
        self.feed(data, cut)
        return self.frames()

    @property
    def error_code(self) -> int | None:
        """Code of the GOAWAY with which the engine broke the connection; None: it did not."""
        codes = [struct.unpack_from(">I", f.payload, 4)[0] for f in self.frames() if f.kind == GOAWAY]
        return codes[-1] if codes and self.connection.closed else None

    @property
    def stream(self) -> TunnelStream:
        return self.handler.streams[-1]

    @property
    def recorder(self) -> Recorder:
        return self.handler.recorders[-1]


@dataclass
class Wire:
    """One direction: a sending socket's buffer and what the receiver has not read."""

    capacity: int | None = None
    """Bytes that fit between both ends; None: any number."""
    unsent: bytearray = field(default_factory=bytearray)
    in_flight: bytearray = field(default_factory=bytearray)
    log: bytearray = field(default_factory=bytearray)
    """All that was ever sent."""

    def send(self) -> None:
        """Let the socket take what fits."""
        left = len(self.unsent)
        room = left if self.capacity is None else max(0, self.capacity - len(self.in_flight))
        self.in_flight += self.unsent[:room]
        del self.unsent[:room]


class WirePair:
    """A client and a server of ours, joined.

    Args:
        limits: of both, or (client's, server's).
        cut: how bytes are cut on delivery.
        capacity: of each direction's sockets.
        at_once: whether large writes are taken without a copy, as the agent's shell does.
    """

    def __init__(
        self,
        limits: Limits | tuple[Limits, Limits] | None = None,
        *,
        cut: Cut = whole,
        capacity: int | None = None,
        at_once: bool = True,
    ) -> None:
        limits = limits or Limits()
        ours, theirs = limits if isinstance(limits, tuple) else (limits, limits)
        self.cut = cut
        self.client_handler, self.server_handler = Handler(), Handler()
        self.client = TunnelConnection(client=True, limits=ours, handler=self.client_handler)
        self.server = TunnelConnection(client=False, limits=theirs, handler=self.server_handler)
        self.up, self.down = Wire(capacity), Wire(capacity)
        if at_once:
            self.client.send_at_once(lambda: self._push(self.client, self.up))
            self.server.send_at_once(lambda: self._push(self.server, self.down))

    def flush(self, connection: TunnelConnection) -> None:
        """Do what the shell does at the end of a turn."""
        wire = self.up if connection is self.client else self.down
        if wire.unsent:
            wire.send()
            connection.unsent(len(wire.unsent))
        self._push(connection, wire)
        connection.settle()

    def _push(self, connection: TunnelConnection, wire: Wire) -> None:
        while connection.out and not wire.unsent:
            data = b"".join(connection.out)
            connection.out.clear()
            wire.log += data
            wire.unsent += data
            wire.send()
            connection.taken(len(wire.unsent))

    def deliver(self, connection: TunnelConnection, size: int | None = None) -> None:
        """Let one side read what is in flight to it."""
        wire = self.down if connection is self.client else self.up
        data = bytes(wire.in_flight[:size])
        del wire.in_flight[: len(data)]
        for piece in self.cut(data):
            connection.receive(memoryview(piece))

    def settle(self, turns: int = 100_000) -> None:
        """Run both sides until nothing moves."""
        for _ in range(turns):
            self.flush(self.client)
            self.flush(self.server)
            if not (self.up.in_flight or self.down.in_flight):
                if self.client.out or self.server.out:
                    continue
                return
            self.deliver(self.server)
            self.deliver(self.client)
        raise AssertionError("the pair does not come to rest")

    def connect(
        self, headers: Sequence[Header] = CONNECT, *, end_stream: bool = False
    ) -> tuple[TunnelStream, Recorder, TunnelStream, Recorder]:
        """Open a stream; return both ends of it, each with its recorder."""
        recorder = Recorder()
        stream = self.client.open(headers, recorder, end_stream=end_stream)
        recorder.stream = stream
        self.settle()
        return stream, recorder, self.server_handler.streams[-1], self.server_handler.recorders[-1]

    def tunnel(self) -> tuple[TunnelStream, Recorder, TunnelStream, Recorder]:
        """Open a CONNECT stream that was answered with 200; the recorders' events start behind that."""
        near, near_log, far, far_log = self.connect()
        far.send_headers(OK)
        self.settle()
        near_log.events.clear()
        far_log.events.clear()
        return near, near_log, far, far_log
