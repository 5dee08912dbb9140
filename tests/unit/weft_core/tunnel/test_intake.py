"""What arrives, in every cut: DATA as it comes, padding, unknown frames, windows charged and given back."""

import struct

import pytest

from weft_contract.limits import KIB, Limits
from weft_core.tunnel.frames import ErrorCode
from weft_testing.tunnel_wire import (
    CONNECT,
    CONTINUATION,
    DATA,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Cut,
    RawPeer,
    answer_ok,
    byte_by_byte,
    every,
    raw,
    raw_head,
    raw_settings,
    split_at,
    whole,
)

CUTS: list[tuple[str, Cut]] = [("whole", whole), ("bytes", byte_by_byte), ("threes", every(3)), ("nines", every(9))]
cuts = pytest.mark.parametrize("cut", [cut for _, cut in CUTS], ids=[name for name, _ in CUTS])


def peer(**limits: int) -> RawPeer:
    """A server of ours with one open CONNECT stream, answered."""
    fixture = RawPeer(limits=Limits(**limits))
    fixture.handler.on_opened = answer_ok
    fixture.ask(raw_head(1, CONNECT))
    fixture.recorder.events.clear()
    return fixture


def padded(data: bytes, padding: int, flags: int = 0, stream_id: int = 1) -> bytes:
    return raw(DATA, PADDED | flags, stream_id, bytes((padding,)) + data + bytes(padding))


CONVERSATION = (
    raw(DATA, 0, 1, b"hello ")
    + padded(b"padded ", 5)
    + raw(0x77, 0xFF, 1, b"unknown")
    + raw(DATA, 0, 1, b"x" * 300)
    + padded(b"", 0)
    + raw(0xFA, 0, 0, b"")
    + padded(b"end", 255, END_STREAM)
)


@cuts
def test_data_padding_and_unknown_frames(cut: Cut) -> None:
    fixture = peer()
    assert fixture.ask(CONVERSATION, cut) == []
    assert fixture.recorder.events == [("data", b"hello padded " + b"x" * 300 + b"end"), ("eof",)]
    assert fixture.stream.bytes_in == 316


@pytest.mark.parametrize("at", range(1, len(CONVERSATION)))
def test_data_split_everywhere(at: int) -> None:
    fixture = peer()
    fixture.feed(CONVERSATION, split_at(at))
    assert fixture.recorder.events == [("data", b"hello padded " + b"x" * 300 + b"end"), ("eof",)]


@cuts
def test_the_opening_in_every_cut(cut: Cut) -> None:
    fixture = RawPeer(greet=False)
    fixture.feed(PREFACE + raw_settings((4, 5)) + raw_head(1, CONNECT), cut)
    assert fixture.handler.events == [("opened", 1)]


@pytest.mark.parametrize("at", range(len(PREFACE)))
def test_a_wrong_preface_is_refused_at_the_wrong_byte(at: int) -> None:
    fixture = RawPeer(greet=False)
    fixture.feed(PREFACE[:at], byte_by_byte)
    assert fixture.handler.errors == []
    fixture.feed(bytes((PREFACE[at] ^ 1,)))
    assert fixture.error_code == ErrorCode.PROTOCOL_ERROR


def test_http1_is_no_preface() -> None:
    fixture = RawPeer(greet=False)
    fixture.feed(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert fixture.error_code == ErrorCode.PROTOCOL_ERROR


def test_large_frames_are_passed_on_as_they_arrive() -> None:
    fixture = peer()
    frame = raw(DATA, 0, 1, bytes(200_000))
    fixture.feed(frame[:100])
    assert len(fixture.recorder.data) == 91
    fixture.feed(frame[100:60_000])
    assert len(fixture.recorder.data) == 60_000 - 9
    fixture.feed(frame[60_000:])
    assert len(fixture.recorder.data) == 200_000


def test_frames_behind_a_large_one_are_found() -> None:
    fixture = peer()
    fixture.feed(raw(DATA, 0, 1, b"a" * 20_000) + raw(DATA, 0, 1, b"b") + raw(DATA, END_STREAM, 1, b"c"), every(7_001))
    assert fixture.recorder.events == [("data", b"a" * 20_000 + b"bc"), ("eof",)]


def test_the_reserved_bit_is_ignored() -> None:
    fixture = peer()
    fixture.feed(raw(DATA, 0, 0x80000001, b"abc"))
    assert fixture.recorder.data == b"abc"


def test_a_frame_above_our_limit_breaks_the_connection() -> None:
    fixture = peer(tunnel_frame_bytes=20_000)
    fixture.feed(raw(DATA, 0, 1, bytes(20_000)))
    assert not fixture.connection.closed
    fixture.feed(raw(DATA, 0, 1, bytes(20_001))[:9])
    assert fixture.error_code == ErrorCode.FRAME_SIZE_ERROR


@pytest.mark.parametrize("padding", [0, 1, 5])
def test_padding_as_long_as_the_frame_breaks_the_connection(padding: int) -> None:
    fixture = peer()
    fixture.feed(raw(DATA, PADDED, 1, bytes((padding + 1,)) + bytes(padding)))
    assert fixture.error_code == ErrorCode.PROTOCOL_ERROR


def test_a_padded_frame_has_a_pad_length() -> None:
    fixture = peer()
    fixture.feed(raw(DATA, PADDED, 1))
    assert fixture.error_code == ErrorCode.FRAME_SIZE_ERROR


def test_data_on_stream_zero() -> None:
    fixture = peer()
    fixture.feed(raw(DATA, 0, 0, b"x"))
    assert fixture.error_code == ErrorCode.PROTOCOL_ERROR


# -- windows ----------------------------------------------------------------------------------------------------------


@cuts
def test_window_comes_back_when_half_was_consumed(cut: Cut) -> None:
    fixture = peer(tunnel_stream_window_bytes=1000)
    assert [f for f in fixture.ask(raw(DATA, 0, 1, bytes(499)), cut) if f.kind == WINDOW_UPDATE] == []
    (update,) = [f for f in fixture.ask(raw(DATA, 0, 1, b"x"), cut) if f.kind == WINDOW_UPDATE]
    assert (update.stream_id, update.number) == (1, 500)


@cuts
def test_padding_is_charged_and_given_back(cut: Cut) -> None:
    fixture = peer(tunnel_stream_window_bytes=1000)
    frames = fixture.ask(padded(b"x", 255) + padded(b"y", 255), cut)
    given_back = sum(f.number for f in frames if f.kind == WINDOW_UPDATE)
    assert fixture.stream._window == 1000 - 2 * (1 + 1 + 255) + given_back
    assert 500 <= given_back <= 2 * (1 + 1 + 255)
    assert fixture.stream.bytes_in == 2


@cuts
def test_data_beyond_the_streams_window_resets_the_stream_alone(cut: Cut) -> None:
    fixture = peer(tunnel_stream_window_bytes=1000)
    fixture.stream.pause()
    fixture.feed(raw_head(3, CONNECT))
    frames = fixture.ask(raw(DATA, 0, 1, bytes(1000)) + raw(DATA, 0, 1, b"x") + raw(DATA, 0, 3, b"fine"), cut)
    assert [(f.kind, f.stream_id, f.number) for f in frames if f.kind == RST_STREAM] == [
        (RST_STREAM, 1, ErrorCode.FLOW_CONTROL_ERROR)
    ]
    assert fixture.handler.recorders[0].events == [("lost", "StreamBreachError")]
    assert fixture.handler.recorders[1].data == b"fine"
    assert not fixture.connection.closed


def test_a_frame_is_checked_whole_at_its_header() -> None:
    fixture = peer(tunnel_stream_window_bytes=1000)
    frames = fixture.ask(raw(DATA, 0, 1, bytes(1001))[:9])
    assert [f.kind for f in frames] == [RST_STREAM]
    assert fixture.recorder.data == b""


def test_data_beyond_the_connections_window_breaks_it() -> None:
    fixture = peer(tunnel_connection_window_bytes=0, tunnel_stream_window_bytes=1 << 20)
    fixture.feed(raw(DATA, 0, 1, bytes(65_536)))
    assert fixture.error_code == ErrorCode.FLOW_CONTROL_ERROR


def test_small_frames_in_one_read_do_not_pass_the_connections_window_either() -> None:
    fixture = peer(tunnel_connection_window_bytes=0, tunnel_stream_window_bytes=1 << 20)
    fixture.feed(raw(DATA, 0, 1, bytes(1000)) * 66)
    assert fixture.error_code == ErrorCode.FLOW_CONTROL_ERROR
    assert len(fixture.recorder.data) == 65_000


@cuts
def test_nothing_comes_between_the_frames_of_a_header_block(cut: Cut) -> None:
    fixture = peer()
    fixture.feed(raw(HEADERS, 0, 3, b"") + raw(DATA, 0, 1, b"between"), cut)
    assert fixture.error_code == ErrorCode.PROTOCOL_ERROR
    assert fixture.recorder.data == b""
    for frame in (raw(PING, 0, 0, bytes(8)), raw(CONTINUATION, 4, 5, b""), raw(0x99), raw_head(3, CONNECT)):
        fixture = peer()
        fixture.feed(raw(HEADERS, 0, 3, b"") + frame, cut)
        assert fixture.error_code == ErrorCode.PROTOCOL_ERROR


def test_the_connections_window_comes_back_when_half_was_used() -> None:
    fixture = peer(tunnel_connection_window_bytes=65_535)
    frames = fixture.ask(raw(DATA, 0, 1, bytes(32_767)))
    assert not [f for f in frames if f.kind == WINDOW_UPDATE and not f.stream_id]
    frames = fixture.ask(raw(DATA, 0, 1, b"x"))
    assert [f.number for f in frames if f.kind == WINDOW_UPDATE and not f.stream_id] == [32_768]


def test_a_paused_stream_does_not_hold_the_connections_window() -> None:
    fixture = peer(tunnel_connection_window_bytes=65_535, tunnel_stream_window_bytes=1 << 20)
    fixture.stream.pause()
    frames = []
    for _ in range(10):
        frames += fixture.ask(raw(DATA, 0, 1, bytes(60_000)))
    updates = [f for f in frames if f.kind == WINDOW_UPDATE]
    assert {f.stream_id for f in updates} == {0}
    assert sum(f.number for f in updates) == 600_000


def test_data_that_nobody_takes_is_charged_to_the_connection_alone() -> None:
    fixture = peer(tunnel_connection_window_bytes=65_535)
    fixture.stream.abort()
    fixture.frames()
    frames = fixture.ask(raw(DATA, 0, 1, bytes(40_000)))
    assert [(f.kind, f.stream_id, f.number) for f in frames] == [(WINDOW_UPDATE, 0, 40_000)]


def test_before_our_settings_are_acknowledged_the_default_window_holds() -> None:
    fixture = RawPeer(limits=Limits(tunnel_stream_window_bytes=100), acknowledge=False)
    fixture.handler.on_opened = answer_ok
    fixture.ask(raw_head(1, CONNECT))
    assert not [f for f in fixture.ask(raw(DATA, 0, 1, bytes(60_000))) if f.kind == RST_STREAM]
    fixture.feed(raw(SETTINGS, 1))
    fixture.stream.pause()
    assert [f.kind for f in fixture.ask(raw(DATA, 0, 1, bytes(101)))] == [RST_STREAM], "now it is 100"


# -- callbacks that change things -------------------------------------------------------------------------------------


@cuts
def test_a_receiver_may_end_its_stream_while_it_is_fed(cut: Cut) -> None:
    fixture = peer()
    fixture.recorder.on_feed = lambda _data: fixture.stream.abort()
    frames = fixture.ask(raw(DATA, 0, 1, b"first") + raw(DATA, 0, 1, b"second") + raw(DATA, END_STREAM, 1, b"x"), cut)
    assert fixture.recorder.data == (b"first" if cut is whole else fixture.recorder.data[:5])
    assert fixture.recorder.kinds == ["data"]
    assert [(f.kind, f.number) for f in frames] == [(RST_STREAM, ErrorCode.CANCEL)]


@cuts
def test_a_receiver_may_close_the_connection_while_it_is_fed(cut: Cut) -> None:
    fixture = peer()
    fixture.feed(raw_head(3, CONNECT))
    fixture.handler.recorders[0].on_feed = lambda _data: fixture.connection.close()
    frames = fixture.ask(raw(DATA, 0, 1, b"abc") + raw(DATA, 0, 3, b"abc") + raw_head(5, CONNECT), cut)
    assert [f.kind for f in frames if f.kind == GOAWAY] == [GOAWAY]
    assert fixture.handler.recorders[1].kinds[-1] == "lost"
    assert fixture.handler.recorders[1].data == b""
    assert len(fixture.handler.streams) == 2


@cuts
def test_a_receiver_may_pause_while_it_is_fed(cut: Cut) -> None:
    fixture = peer()
    fixture.recorder.on_feed = lambda _data: fixture.stream.pause()
    fixture.feed(raw(DATA, 0, 1, b"ab") + raw(DATA, 0, 1, b"cd"), cut)
    fed = fixture.recorder.data
    assert fed == (b"ab" if cut is whole else fed)
    assert fixture.stream.unread_bytes == 4 - len(fed)
    fixture.recorder.on_feed = None
    fixture.stream.resume()
    assert fixture.recorder.data == b"abcd"


def test_bytes_in_and_views_are_of_the_call_only() -> None:
    fixture = peer()
    fixture.stream.pause()
    buffer = bytearray(raw(DATA, 0, 1, b"stays"))
    fixture.connection.receive(memoryview(buffer))
    buffer[:] = bytes(len(buffer))
    fixture.stream.resume()
    assert fixture.recorder.data == b"stays"


def test_a_closed_connection_receives_nothing() -> None:
    fixture = peer()
    fixture.connection.close()
    fixture.frames()
    fixture.feed(raw(DATA, 0, 1, b"late") + raw_head(3, CONNECT) + b"garbage")
    assert fixture.recorder.data == b""
    assert fixture.frames() == []
    assert fixture.handler.errors == []


def test_control_frames_are_bounded_before_they_are_kept() -> None:
    fixture = peer()
    fixture.feed(struct.pack(">BHBBI", 2, 0, 1, 4, 3))  # HEADERS of 128 KiB announced
    assert fixture.error_code == ErrorCode.ENHANCE_YOUR_CALM
    fixture = peer(tunnel_head_bytes=4 * KIB)
    fixture.feed(struct.pack(">BHBBI", 0, 4 * KIB + 300, 1, 4, 3))
    assert fixture.error_code == ErrorCode.ENHANCE_YOUR_CALM
