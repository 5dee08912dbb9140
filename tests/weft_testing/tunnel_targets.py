"""The fuzz targets of the tunnel: frames from a hostile peer against an engine that is in use, and header blocks.

Theory: bytes alone rarely make two frames in a row, so an input is a small program. Its first byte chooses the side and the
cut; each following step is a frame (legal lengths, any content), raw bytes, or a call that the engine's owner makes. What is
promised: nothing is ever raised; everything sent can be read and stays within the peer's windows; what is kept stays within
ours; once closed, closed; and the same bytes cut differently have the same effect.
"""

from collections.abc import Hashable
from random import Random

import hpack as library

from weft_contract.limits import Limits
from weft_core.facts import Header
from weft_core.tunnel import hpack
from weft_core.tunnel.breach import ConnectionBreachError, StreamBreachError
from weft_core.tunnel.frames import DEBUG_BYTES
from weft_testing.fuzzing import FuzzTarget
from weft_testing.tunnel_audit import Cutter, Ledger
from weft_testing.tunnel_wire import (
    ACK,
    CONNECT,
    GET,
    GOAWAY,
    OK,
    POST,
    PREFACE,
    SETTINGS,
    Cut,
    Event,
    RawPeer,
    Recorder,
    byte_by_byte,
    every,
    raw,
    raw_head,
    whole,
)

LIMITS = Limits(
    tunnel_stream_window_bytes=700,
    tunnel_stream_window_max_bytes=3_000,
    tunnel_head_bytes=3_000,
    tunnel_streams=6,
    tunnel_glitch_burst=60,
    reset_burst=20,
    write_high_bytes=400,
    write_low_bytes=50,
    read_buffer_bytes=2_000,
)
HEADS: tuple[list[Header], ...] = (CONNECT, POST, GET, OK, [(b"grpc-status", b"0")], [(b":status", b"103")])
CUTS: tuple[Cut, ...] = (whole, byte_by_byte, every(7), every(100))
OWNER, BYTES, HEAD = 0xF0, 0xE0, 0xD0
"""Steps above these are calls, raw bytes, and well-formed heads; everything below is a frame of that type."""


class Program:
    """One run of an input."""

    def __init__(self, data: bytes, cut: Cut) -> None:
        self.client = bool(data[:1] and data[0] & 1)
        self.fixture = RawPeer(client=self.client, limits=LIMITS, greet=False)
        self.ledger = Ledger()
        self.cut = cut
        self.opened: list[Recorder] = []
        self.closed_after = -1
        self.sent: list[int] = []
        self.heard = Cutter()
        self.hear(b"" if self.client else PREFACE)
        self.frame(SETTINGS, 0, 0, b"\0\4\0\0\2\0")
        self.frame(SETTINGS, ACK, 0, b"")
        if self.client:
            for _ in range(3):
                self.open()
        self.steps(data[1:])

    def steps(self, data: bytes) -> None:
        at = 0
        while at + 3 <= len(data):
            step, which, size = data[at : at + 3]
            at += 3
            if step >= OWNER:
                self.call(step, which, size)
            elif step >= BYTES:
                self.hear(data[at : at + size])
                at += size
            elif step >= HEAD:
                self.hear(raw_head(which & 15, HEADS[size % len(HEADS)], end_stream=bool(which & 16)))
            else:
                payload = data[at : at + size]
                at += size
                self.frame(step & 15 if step < 0xC0 else step, which >> 4, which & 15, payload)

    def frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        flags = flags & 1 | (flags & 2) << 1 | (flags & 4) << 1 | (flags & 8) << 2
        self.hear(raw(kind, flags, stream_id, payload))

    def hear(self, data: bytes) -> None:
        self.fixture.feed(data, self.cut)
        for frame in self.heard.feed(data):
            if frame.kind == SETTINGS or len(frame.payload) == 4:
                self.ledger.heard(frame)
        self.check()

    def open(self) -> None:
        connection = self.fixture.connection
        if not connection.full:
            recorder = Recorder()
            recorder.stream = connection.open(HEADS[len(self.opened) % 3], recorder)
            self.opened.append(recorder)

    def call(self, step: int, which: int, size: int) -> None:
        recorders = self.opened or self.fixture.handler.recorders
        if step == OWNER:
            self.fixture.connection.tick(float(size))
        elif step == OWNER + 1:
            self.fixture.connection.drain()
        elif step == OWNER + 2 and self.client:
            self.open()
        elif step == OWNER + 3:
            self.fixture.connection.unsent(size * 20)
        elif recorders:
            self.call_stream(recorders[which % len(recorders)], step, size)
        self.check()

    def call_stream(self, recorder: Recorder, step: int, size: int) -> None:
        stream = recorder.stream
        assert stream is not None
        if step == OWNER + 4 and not self.client and not stream._answered:
            stream.send_headers(OK, bool(size & 1))
        elif step in (OWNER + 5, OWNER + 6) and (stream._sending or stream.closed):
            stream.write(bytes(size * 10))
        elif step == OWNER + 7 and (stream._sending or stream.closed):
            stream.finish()
        elif step == OWNER + 8:
            stream.pause()
        elif step == OWNER + 9:
            stream.resume()
        elif step == OWNER + 10:
            stream.close()
        elif step == OWNER + 11:
            stream.reset(size)

    def check(self) -> None:
        fixture = self.fixture
        assert self.closed_after < 0 or not fixture.connection.out, "nothing follows the last GOAWAY"
        for frame in fixture.frames():
            self.sent.append(frame.kind)
            self.ledger.says(frame)
            assert frame.kind != GOAWAY or len(frame.payload) <= 8 + DEBUG_BYTES
        engine = fixture.connection._engine
        for stream in engine.roll.open.values():
            assert stream.unread_bytes <= stream._size
            assert stream.queued_bytes <= LIMITS.write_high_bytes + 2_550 * 50
        assert len(engine.intake._kept) <= engine.exchange.largest_payload
        assert len(engine.roll.open) <= LIMITS.tunnel_streams
        if fixture.connection.closed:
            assert not engine.roll.open
            self.closed_after = len(self.sent)

    def effects(self) -> tuple[list[Event], list[list[Event]]]:
        """Give what the layers above heard."""
        return (
            self.fixture.handler.events,
            [recorder.events for recorder in [*self.opened, *self.fixture.handler.recorders]],
        )


def fuzz_one(data: bytes) -> Hashable:
    """Run one input in several cuts; raises if a promise is broken.

    Returns:
        What happened, to tell inputs with new outcomes from others.
    """
    at_once = Program(data, whole)
    other = Program(data, CUTS[(data[0] >> 1) % len(CUTS)] if data else whole)
    assert tidy(at_once) == tidy(other), "the cut changed the effect"
    errors = [getattr(error, "detail", type(error).__name__) for error in at_once.fixture.handler.errors]
    kinds = {kind for events in at_once.effects()[1] for kind in (event[0] for event in events)}
    return at_once.client, tuple(errors), frozenset(at_once.sent), frozenset(kinds), len(at_once.effects()[1])


def tidy(program: Program) -> tuple[list[Event], list[list[Event]]]:
    """Give the effects; where a body was cut off as too long, how much of it was passed on depends on the cut."""
    events, streams = program.effects()
    return events, [
        [event for event in stream if event[0] != "data"] if any(e[0] == "lost" for e in stream) else stream
        for stream in streams
    ]


def fuzz_block(data: bytes) -> Hashable:
    """Scan a header block; what we accept, the library reads in the same way."""
    try:
        headers, forward = hpack.scan(data, count=20, size_bytes=1_000)
    except (ConnectionBreachError, StreamBreachError) as error:
        return str(error)
    decoder = library.Decoder()
    decoder.header_table_size = 0
    assert [tuple(header) for header in decoder.decode(data, raw=True)] == headers
    assert hpack.scan(forward, count=20, size_bytes=1_000) == (headers, forward)
    assert hpack.scan(hpack.encode(headers), count=20, size_bytes=1_000)[0] == headers
    return len(headers), tuple(name[:1] for name, _ in headers[:4])


def _head(which: int, stream_id: int, *, end: bool = False) -> bytes:
    return bytes((HEAD, stream_id | (16 if end else 0), which))


def _frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    return bytes((kind, flags << 4 | stream_id, len(payload))) + payload


def _call(number: int, which: int = 0, size: int = 0) -> bytes:
    return bytes((OWNER + number, which, size))


SERVER_SEEDS: tuple[bytes, ...] = (
    b"\0" + _head(0, 1) + _call(4) + _frame(0, 0, 1, b"hello") + _call(5, 0, 9) + _frame(0, 1, 1, b"bye") + _call(7),
    b"\2"
    + _head(1, 1)
    + _call(8)
    + _frame(0, 4, 1, b"\3padded\0\0\0")
    + _call(9)
    + _head(4, 1, end=True)
    + _call(4, 0, 1),
    b"\4"
    + _head(2, 1, end=True)
    + _frame(8, 0, 1, b"\0\0\1\0")
    + _call(4)
    + _call(6, 0, 255)
    + _call(10)
    + _frame(3, 0, 1, b"\0\0\0\0"),
    b"\6"
    + _head(0, 1)
    + _head(0, 3)
    + _head(0, 5)
    + _call(1)
    + _head(0, 7)
    + _frame(0, 0, 3, b"x" * 250)
    + _call(11, 1, 8),
    b"\0"
    + _frame(1, 0, 1, hpack.encode(POST)[:9])
    + _frame(9, 2, 1, hpack.encode(POST)[9:])
    + _frame(6, 0, 0, b"12345678"),
    b"\2"
    + _frame(4, 0, 0, b"\0\4\0\0\0\5\0\5\0\0\x40\0")
    + _head(0, 1)
    + _call(4)
    + _call(5, 0, 50)
    + _frame(4, 0, 0, b"\0\4\0\0\0\1"),
    b"\0"
    + _head(0, 1)
    + _frame(0, 0, 1, b"") * 9
    + _frame(2, 0, 1, bytes(5))
    + _frame(0xC5, 3, 9, b"unknown")
    + _call(0, 0, 20),
    b"\4" + bytes((BYTES, 0, 20)) + raw(0, 0, 1, b"raw bytes!!"),
)
CLIENT_SEEDS: tuple[bytes, ...] = (
    b"\1" + _head(3, 1) + _frame(0, 0, 1, b"answer") + _call(5, 0, 30) + _frame(0, 1, 1, b"") + _call(7),
    b"\3"
    + _head(5, 1)
    + _head(3, 1)
    + _call(8)
    + _frame(0, 0, 1, b"kept")
    + _head(4, 1, end=True)
    + _call(9)
    + _frame(3, 0, 1, bytes(4)),
    b"\5" + _head(3, 3, end=True) + _frame(7, 0, 0, b"\0\0\0\3\0\0\0\0bye") + _call(2) + _frame(3, 0, 1, b"\0\0\0\7"),
    b"\7"
    + _call(3, 0, 255)
    + _call(6, 0, 255)
    + _call(3, 0, 0)
    + _frame(8, 0, 0, b"\0\0\xff\xff")
    + _frame(7, 0, 0, b"\0\0\0\1\0\0\0\2"),
)
BLOCK_SEEDS: tuple[bytes, ...] = (
    hpack.encode(POST),
    hpack.encode(CONNECT),
    b"\x20\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
    b"\x88\x0f\x0d\x02\x31\x32\x10\x01a\x01b\x40\x01c\x00",
    b"\x00\x7f\x01" + b"n" * 128 + b"\x00",
)


def check_frames(data: bytes, _rng: Random) -> Hashable:
    return fuzz_one(data)


def check_block(data: bytes, _rng: Random) -> Hashable:
    return fuzz_block(data)


TARGETS = (
    FuzzTarget("tunnel_frames", (*SERVER_SEEDS, *CLIENT_SEEDS), check_frames),
    FuzzTarget("hpack", BLOCK_SEEDS, check_block),
)
