"""What leaves: credit of stream and connection, backlog, turns, water marks."""

import pytest

from weft_contract.limits import KIB, Limits
from weft_core.tunnel import TunnelStream
from weft_core.tunnel.frames import ErrorCode
from weft_core.tunnel.outlet import QUANTUM_BYTES
from weft_testing.tunnel_wire import (
    CONNECT,
    DATA,
    END_STREAM,
    HEADERS,
    RST_STREAM,
    WINDOW_UPDATE,
    Frame,
    RawPeer,
    Recorder,
    answer_ok,
    raw_head,
    raw_long,
    raw_settings,
    take,
)

BIG = 1 << 30
SMALL_MARKS = Limits(write_high_bytes=1000, write_low_bytes=100, read_buffer_bytes=64 * KIB)


def peer(streams: int = 1, *, limits: Limits | None = None, window: int = 65_535) -> RawPeer:
    """A server of ours with answered CONNECT streams 1, 3, …"""
    fixture = RawPeer(limits=limits, settings=[(4, window)])
    fixture.handler.on_opened = answer_ok
    for number in range(streams):
        fixture.ask(raw_head(2 * number + 1, CONNECT))
    for recorder in fixture.handler.recorders:
        recorder.events.clear()
    return fixture


def payload(frames: list[Frame], stream_id: int = 1) -> bytes:
    return b"".join(f.payload for f in frames if f.kind == DATA and f.stream_id == stream_id)


def grant(fixture: RawPeer, stream_id: int, size: int) -> list[Frame]:
    return fixture.ask(raw_long(WINDOW_UPDATE, stream_id, size))


def test_small_writes_become_one_frame_each() -> None:
    fixture = peer()
    assert fixture.stream.write(b"one")
    assert fixture.stream.write(memoryview(b"two"))
    assert fixture.stream.write(bytearray(b"three"))
    assert [(str(f), f.payload) for f in fixture.frames()] == [
        ("DATA[1] 0x0 3", b"one"),
        ("DATA[1] 0x0 3", b"two"),
        ("DATA[1] 0x0 5", b"three"),
    ]
    assert fixture.stream.bytes_out == 11


def test_an_empty_write_sends_nothing() -> None:
    fixture = peer()
    assert fixture.stream.write(b"")
    assert fixture.frames() == []


def test_what_may_change_is_copied() -> None:
    fixture = peer()
    small, large = bytearray(b"s" * 10), bytearray(b"l" * 20_000)
    fixture.stream.write(memoryview(small))
    fixture.stream.write(memoryview(large))
    small[:] = bytes(10)
    large[:] = bytes(20_000)
    assert payload(fixture.frames()) == b"s" * 10 + b"l" * 20_000


def test_bulk_that_is_bytes_is_not_copied() -> None:
    fixture = peer(window=BIG)
    fixture.feed(raw_settings((5, 1 << 20)))
    take(fixture.connection)
    data = bytes(30_000)
    fixture.stream.write(data)
    assert fixture.connection.out[-1] is data


def test_wants_flush_is_called_when_out_becomes_non_empty() -> None:
    fixture = peer()
    fixture.handler.flushes = 0
    for _ in range(3):
        fixture.stream.write(b"x")
    assert fixture.handler.flushes == 1
    fixture.frames()
    fixture.stream.write(bytes(40_000))
    assert fixture.handler.flushes == 2


def test_frames_are_as_large_as_the_peer_takes() -> None:
    fixture = peer()
    fixture.stream.write(bytes(40_000))
    assert [len(f.payload) for f in fixture.frames()] == [16_384, 16_384, 7232]
    fixture = peer(window=BIG)
    fixture.feed(raw_settings((5, 40_000)))
    fixture.frames()
    fixture.stream.write(bytes(60_000))
    assert [len(f.payload) for f in fixture.frames()] == [40_000, 20_000]


# -- the stream's credit ----------------------------------------------------------------------------------------------


def test_a_stream_never_sends_beyond_its_credit() -> None:
    fixture = peer(window=10)
    assert fixture.stream.write(b"0123456789")
    assert not fixture.stream.write(b"abc")
    assert payload(fixture.frames()) == b"0123456789"
    assert payload(grant(fixture, 1, 2)) == b"ab"
    assert payload(grant(fixture, 1, 2)) == b"c"
    assert fixture.recorder.kinds.count("drained") == 1


def test_a_large_write_uses_the_credit_there_is() -> None:
    fixture = peer(window=4)
    assert not fixture.stream.write(b"0123456789")
    assert payload(fixture.frames()) == b"0123"
    assert payload(grant(fixture, 1, BIG)) == b"456789"


def test_order_is_kept_when_small_writes_follow_queued_ones() -> None:
    fixture = peer(window=3)
    for data in (b"ab", b"cd", b"ef", b"g"):
        fixture.stream.write(data)
    frames = fixture.frames() + grant(fixture, 1, 2)
    fixture.stream.write(b"h")
    assert payload(frames + fixture.frames() + grant(fixture, 1, 100)) == b"abcdefgh"


def test_drained_comes_below_the_low_mark_and_never_inside_write() -> None:
    fixture = peer(limits=SMALL_MARKS, window=0)
    stream, recorder = fixture.stream, fixture.recorder
    assert not stream.write(bytes(1500))
    assert recorder.events == []
    grant(fixture, 1, 1399)
    assert recorder.events == [], "101 bytes are left, the mark is at 100"
    grant(fixture, 1, 1)
    assert recorder.events == [("drained",)]
    grant(fixture, 1, 1000)
    assert recorder.events == [("drained",)], "once per refusal"
    assert stream.write(b"more")


def test_a_receiver_may_write_when_it_is_drained() -> None:
    fixture = peer(window=0)
    fixture.stream.write(b"first")
    fixture.recorder.on_drained = lambda: (fixture.stream.write(b" second"), None)[1]
    assert payload(grant(fixture, 1, 100)) == b"first second"


def test_a_window_of_settings_counts_for_open_streams() -> None:
    fixture = peer(window=0)
    fixture.stream.write(b"0123456789")
    assert payload(fixture.ask(raw_settings((4, 6)))) == b"012345"
    assert payload(fixture.ask(raw_settings((4, 2)))) == b""
    assert fixture.stream._credit == -4
    assert payload(grant(fixture, 1, 4)) == b"", "the debt comes first"
    assert payload(grant(fixture, 1, 1)) == b"6"


def test_windows_above_the_maximum() -> None:
    fixture = peer(window=100)
    assert [f.kind for f in grant(fixture, 1, 0x7FFFFFFF - 100)] == []
    (reset,) = grant(fixture, 1, 1)
    assert (reset.kind, reset.number) == (RST_STREAM, ErrorCode.FLOW_CONTROL_ERROR)
    fixture = peer(window=100)
    grant(fixture, 1, 0x7FFFFFFF - 100)
    fixture.feed(raw_settings((4, 101)))
    assert fixture.error_code == ErrorCode.FLOW_CONTROL_ERROR
    fixture = peer()
    grant(fixture, 0, 0x7FFFFFFF - 65_535)
    fixture.feed(raw_long(WINDOW_UPDATE, 0, 1))
    assert fixture.error_code == ErrorCode.FLOW_CONTROL_ERROR


# -- the connection's credit ------------------------------------------------------------------------------------------


def test_the_connection_never_sends_beyond_its_credit() -> None:
    fixture = peer(2, window=BIG)
    first, second = fixture.handler.streams
    assert not first.write(bytes(70_000))
    assert not second.write(b"waits")
    frames = fixture.frames()
    assert sum(len(f.payload) for f in frames) == 65_535
    frames = grant(fixture, 0, 4465)
    assert (len(payload(frames, 1)), payload(frames, 3)) == (4465, b"")
    assert payload(grant(fixture, 0, 3), 3) == b"wai"
    assert payload(grant(fixture, 0, 3), 3) == b"ts"


def test_waiting_streams_take_turns() -> None:
    fixture = peer(3, window=BIG)
    for stream in fixture.handler.streams:
        stream.write(bytes(400_000))
    fixture.frames()
    fixture.feed(raw_settings((5, 1 << 20)))
    fixture.frames()
    frames = grant(fixture, 0, 6 * QUANTUM_BYTES)
    sizes = [(f.stream_id, len(f.payload)) for f in frames]
    assert sizes == [(stream_id, QUANTUM_BYTES) for stream_id in (1, 3, 5, 1, 3, 5)]


def test_a_small_message_waits_for_its_turn_only() -> None:
    fixture = peer(2, window=BIG)
    bulk, small = fixture.handler.streams
    bulk.write(bytes(1_000_000))
    fixture.frames()
    small.write(b"quick")
    frames = grant(fixture, 0, 2 * QUANTUM_BYTES)
    assert payload(frames, 3) == b"quick"


def test_a_stream_without_credit_does_not_hold_the_others() -> None:
    fixture = peer(2, window=10)
    first, second = fixture.handler.streams
    first.write(bytes(100))
    assert second.write(b"passes")
    assert payload(fixture.frames(), 3) == b"passes"


def test_a_reset_stream_gives_up_its_turn() -> None:
    fixture = peer(2, window=BIG)
    first, second = fixture.handler.streams
    first.write(bytes(100_000))
    second.write(b"next")
    fixture.frames()
    first.abort()
    fixture.frames()
    frames = grant(fixture, 0, 100)
    assert (payload(frames, 1), payload(frames, 3)) == (b"", b"next")


# -- our own backlog --------------------------------------------------------------------------------------------------


def backlog(fixture: RawPeer) -> int:
    return sum(len(piece) for piece in fixture.connection.out)


def test_f19_a_slow_socket_pauses_writers() -> None:
    fixture = peer(limits=SMALL_MARKS, window=BIG)
    grant(fixture, 0, BIG)
    stream: TunnelStream = fixture.stream
    connection = fixture.connection
    written = 0
    while stream.write(bytes(5_000)):
        written += 5_000
        assert written < 100_000
    assert backlog(fixture) <= 64 * KIB + 9 * 20
    assert stream.queued_bytes > 1000
    connection.out.clear()
    connection.unsent(64 * KIB)
    connection.flushed()
    assert connection.out == [], "the socket has taken nothing"
    assert fixture.recorder.events == []
    connection.unsent(10)
    assert fixture.recorder.events == [("drained",)]
    assert payload(fixture.frames()) != b""


def test_a_backlog_is_shared_by_all_streams_of_a_tunnel() -> None:
    fixture = peer(50, limits=SMALL_MARKS, window=BIG)
    grant(fixture, 0, BIG)
    for stream in fixture.handler.streams:
        for _ in range(10):
            if not stream.write(bytes(3000)):
                break
    assert backlog(fixture) < 70 * KIB
    assert sum(stream.queued_bytes for stream in fixture.handler.streams) <= 50 * (1000 + 3000)
    fixture.frames()
    assert sum(stream.queued_bytes for stream in fixture.handler.streams) == 0


def test_control_frames_and_heads_pass_a_full_backlog() -> None:
    fixture = peer(limits=SMALL_MARKS, window=BIG)
    fixture.connection.unsent(1 << 20)
    fixture.stream.write(bytes(2000))
    fixture.feed(raw_head(3, CONNECT))
    fixture.handler.streams[0].abort()
    assert [f.kind for f in fixture.frames()] == [HEADERS, RST_STREAM]


def test_one_turn_of_bulk_fits() -> None:
    fixture = peer(window=BIG)
    grant(fixture, 0, BIG)
    assert fixture.stream.write(bytes(1 << 20))
    assert backlog(fixture) > 1 << 20


def test_flushing_goes_on_with_what_waits() -> None:
    fixture = peer(window=BIG)
    grant(fixture, 0, BIG)
    fixture.stream.write(bytes(5 << 20))
    turns = 0
    received = 0
    while fixture.connection.out:
        received += len(take(fixture.connection))
        turns += 1
    assert turns == 5
    assert received > 5 << 20
    assert fixture.recorder.events == [("drained",)]


@pytest.mark.parametrize("size", [0, 1, 100, 65_535, 65_536, 200_000])
def test_finish_comes_behind_everything(size: int) -> None:
    fixture = peer(window=BIG)
    fixture.stream.write(bytes(size))
    fixture.stream.finish()
    frames = fixture.frames()
    while sum(len(f.payload) for f in frames) < size:
        assert not any(f.flags & END_STREAM for f in frames)
        frames += grant(fixture, 0, 10_000)
    assert [bool(f.flags & END_STREAM) for f in frames if f.kind == DATA][-1]
    assert sum(bool(f.flags & END_STREAM) for f in frames) == 1
    assert len(payload(frames)) == size


def test_a_recorder_hears_nothing_of_flushing() -> None:
    fixture = peer()
    recorder = Recorder()
    fixture.stream.receiver = recorder
    fixture.stream.write(b"x")
    fixture.frames()
    assert recorder.events == []
