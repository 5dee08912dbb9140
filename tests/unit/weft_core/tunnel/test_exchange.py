"""Heads in both directions: requests, responses, trailers, bodies with a length, raw blocks; in order and out of it."""

import hpack as library
import pytest

from weft_contract.limits import Limits
from weft_core.errors import LocalProtocolError
from weft_core.facts import Header
from weft_core.tunnel import hpack
from weft_core.tunnel.frames import ErrorCode
from weft_testing.tunnel_wire import (
    CONNECT,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GET,
    HEADERS,
    OK,
    POST,
    RST_STREAM,
    Cut,
    Frame,
    RawPeer,
    Recorder,
    WirePair,
    answer_ok,
    byte_by_byte,
    every,
    frames_of,
    raw,
    raw_head,
    whole,
)

TRAILERS: list[Header] = [(b"grpc-status", b"0"), (b"grpc-message", b"")]
cuts = pytest.mark.parametrize("cut", [whole, byte_by_byte, every(5)], ids=["whole", "bytes", "fives"])


def client(headers: list[Header] = POST, *, limits: Limits | None = None) -> tuple[RawPeer, Recorder]:
    """A client of ours with one open request."""
    fixture = RawPeer(client=True, limits=limits)
    recorder = Recorder()
    recorder.stream = fixture.connection.open(headers, recorder)
    fixture.frames()
    return fixture, recorder


def resets(frames: list[Frame]) -> list[tuple[int, int]]:
    return [(f.stream_id, f.number) for f in frames if f.kind == RST_STREAM]


@cuts
def test_a_grpc_call(cut: Cut) -> None:
    pair = WirePair(cut=cut)
    near, near_log, far, far_log = pair.connect([*POST, (b"te", b"trailers"), (b"content-type", b"application/grpc")])
    near.write(b"question")
    near.finish()
    pair.settle()
    assert far_log.kinds == ["opened", "data", "eof"]
    far.send_headers([*OK, (b"content-type", b"application/grpc")])
    far.write(b"answer")
    far.send_headers(TRAILERS, end_stream=True)
    pair.settle()
    assert near_log.events == [
        ("headers", ((b":status", b"200"), (b"content-type", b"application/grpc")), False),
        ("data", b"answer"),
        ("headers", tuple(TRAILERS), True),
        ("lost", "NoneType"),
    ]
    assert far_log.kinds == ["opened", "data", "eof", "lost"]
    assert pair.server.idle


@cuts
def test_a_request_and_an_answer_without_bodies(cut: Cut) -> None:
    pair = WirePair(cut=cut)
    _, near_log, far, far_log = pair.connect(GET, end_stream=True)
    assert far_log.events == [("opened", tuple(GET), True)]
    far.send_headers([(b":status", b"204")], end_stream=True)
    pair.settle()
    assert near_log.events == [("headers", ((b":status", b"204"),), True), ("lost", "NoneType")]
    assert far_log.events[-1] == ("lost", "NoneType")
    assert pair.client.idle
    assert pair.server.idle


@cuts
def test_informational_heads_come_before_the_final_one(cut: Cut) -> None:
    pair = WirePair(cut=cut)
    _, near_log, far, _ = pair.connect(GET, end_stream=True)
    far.send_headers([(b":status", b"100")])
    far.send_headers([(b":status", b"103"), (b"link", b"</a>")])
    far.send_headers(OK)
    far.finish()
    pair.settle()
    assert [event[1:] for event in near_log.events if event[0] == "headers"] == [
        (((b":status", b"100"),), False),
        (((b":status", b"103"), (b"link", b"</a>")), False),
        (((b":status", b"200"),), False),
    ]


def test_too_many_informational_heads() -> None:
    fixture, recorder = client(GET)
    head = raw_head(1, [(b":status", b"103")])
    assert resets(fixture.ask(head * 8)) == []
    assert resets(fixture.ask(head)) == [(1, ErrorCode.ENHANCE_YOUR_CALM)]
    assert recorder.lost_called


def test_request_trailers() -> None:
    pair = WirePair()
    near, _, _, far_log = pair.connect(POST)
    near.write(b"body")
    near.send_headers([(b"x-checksum", b"1")], end_stream=True)
    pair.settle()
    assert far_log.events[1:] == [("data", b"body"), ("headers", ((b"x-checksum", b"1"),), True)]


def test_trailers_wait_behind_queued_bytes_and_behind_kept_ones() -> None:
    pair = WirePair(Limits(tunnel_stream_window_bytes=1000))
    _, near_log, far, _ = pair.connect(POST)
    near = pair.client._engine.roll.open[1]
    far.send_headers(OK)
    near.pause()
    far.write(bytes(5000))
    far.send_headers(TRAILERS, end_stream=True)
    pair.settle()
    assert near_log.kinds == ["headers"]
    near.resume()
    pair.settle()
    assert near_log.kinds == ["headers", "data", "headers"]
    assert near_log.data == bytes(5000)
    assert near_log.events[-1] == ("headers", tuple(TRAILERS), True)


def test_a_head_is_delivered_while_paused() -> None:
    pair = WirePair()
    near, near_log, far, _ = pair.connect()
    near.pause()
    far.send_headers(OK)
    far.write(b"x")
    pair.settle()
    assert near_log.kinds == ["headers"]


def test_content_fields_are_dropped_from_trailers_and_from_their_block() -> None:
    fixture, recorder = client()
    trailers = [(b"a", b"b"), (b"content-length", b"5"), (b"c", b"d")]
    fixture.feed(raw_head(1, OK) + raw_head(1, trailers, end_stream=True))
    assert recorder.events[-1] == ("headers", ((b"a", b"b"), (b"c", b"d")), True)
    assert hpack.scan(recorder.blocks[-1], count=9, size_bytes=999)[0] == [(b"a", b"b"), (b"c", b"d")]


# -- raw blocks -------------------------------------------------------------------------------------------------------


def test_blocks_are_forwarded_as_they_came() -> None:
    encoder = library.Encoder()
    encoder.header_table_size = 0
    block = encoder.encode([*POST, (b"x", b"huffman coded text")])
    fixture = RawPeer()
    fixture.feed(raw(HEADERS, END_HEADERS, 1, block))
    assert fixture.recorder.blocks == [block[1:]], "without the table size update"
    assert fixture.stream.block == b""
    other = RawPeer(client=True)
    other.connection.open([*POST, (b"x", b"huffman coded text")], Recorder(), block=fixture.recorder.blocks[0])
    (head,) = other.frames()
    assert head.payload == block


def test_a_response_block_is_forwarded_too() -> None:
    pair = WirePair()
    _, near_log, far, _ = pair.connect(GET, end_stream=True)
    block = b"\x08\x03200\x00\x01a\x01b"
    far.send_headers([*OK, (b"a", b"b")], block=block)
    pair.settle()
    assert near_log.blocks == [block]
    assert near_log.events == [("headers", (*OK, (b"a", b"b")), False)]


def test_only_the_first_block_announces_the_table() -> None:
    fixture = RawPeer(client=True)
    for _ in range(2):
        fixture.connection.open(CONNECT, Recorder())
    first, second = fixture.frames()
    assert first.payload == hpack.NO_TABLE + second.payload


@cuts
def test_long_heads_travel_in_continuations(cut: Cut) -> None:
    pair = WirePair(cut=cut)
    field = (b"x-long", b"v" * 30_000)
    # the server has not told its frame size yet, so the client's first head is cut at 16 KiB
    _, near_log, far, far_log = pair.connect([*GET, field], end_stream=True)
    kinds = [f.kind for f in frames_of(bytes(pair.up.log)) if f.kind in (HEADERS, CONTINUATION)]
    assert kinds == [HEADERS, CONTINUATION]
    assert far_log.events == [("opened", (*GET, field), True)]
    far.send_headers([*OK, field], end_stream=True)
    pair.settle()
    assert near_log.events[0] == ("headers", (*OK, field), True)


# -- what a peer must not do ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        [*GET, (b"Upper", b"x")],
        [*GET, (b"connection", b"close")],
        [*GET, (b"x", b"a\r\nb: c")],
        [(b":method", b"GET")],
        [(b":method", b"CONNECT"), (b":authority", b"no-port")],
        [*GET, (b":path", b"/")],
        [],
    ],
)
@cuts
def test_one_bad_request_does_not_hurt_the_others(headers: list[Header], cut: Cut) -> None:
    fixture = RawPeer()
    frames = fixture.ask(raw_head(1, CONNECT) + raw_head(3, headers) + raw_head(5, CONNECT), cut)
    assert resets(frames) == [(3, ErrorCode.PROTOCOL_ERROR)]
    assert [event for event in fixture.handler.events if event[0] == "opened"] == [("opened", 1), ("opened", 5)]
    assert not fixture.connection.closed


def test_one_bad_response_does_not_hurt_the_others() -> None:
    fixture, recorder = client(GET)
    other = Recorder()
    fixture.connection.open(GET, other)
    frames = fixture.ask(raw_head(1, [(b":status", b"banana")]) + raw_head(3, OK))
    assert resets(frames) == [(1, ErrorCode.PROTOCOL_ERROR)]
    assert recorder.kinds == ["lost"]
    assert other.kinds == ["headers"]


def test_too_many_fields_or_bytes_are_one_streams_fault() -> None:
    fixture = RawPeer(limits=Limits(header_count=10, tunnel_head_bytes=2000))
    frames = fixture.ask(
        raw_head(1, [*GET, *[(b"a", b"b")] * 7]) + raw_head(3, [*GET, (b"a", b"b" * 1800)]) + raw_head(5, GET)
    )
    assert resets(frames) == [(1, ErrorCode.ENHANCE_YOUR_CALM), (3, ErrorCode.ENHANCE_YOUR_CALM)]
    assert fixture.handler.events == [("opened", 5)]


def test_trailers_are_fewer() -> None:
    fixture, recorder = client()
    frames = fixture.ask(raw_head(1, OK) + raw_head(1, [(b"a", b"b")] * 33, end_stream=True))
    assert resets(frames) == [(1, ErrorCode.ENHANCE_YOUR_CALM)]
    assert recorder.kinds == ["headers", "lost"]


@pytest.mark.parametrize("block", [b"\xbe", b"\x3f\xe1\x1f\x82", b"\x00\x05ab"])
def test_a_block_that_needs_state_breaks_the_connection(block: bytes) -> None:
    fixture = RawPeer()
    fixture.feed(raw(HEADERS, END_HEADERS, 1, block))
    assert fixture.error_code == ErrorCode.COMPRESSION_ERROR


def test_a_second_head_that_ends_nothing() -> None:
    fixture = RawPeer()
    assert resets(fixture.ask(raw_head(1, POST) + raw_head(1, TRAILERS))) == [(1, ErrorCode.PROTOCOL_ERROR)]
    peer, recorder = client()
    assert resets(peer.ask(raw_head(1, OK) + raw_head(1, TRAILERS))) == [(1, ErrorCode.PROTOCOL_ERROR)]
    assert recorder.kinds == ["headers", "lost"]


def test_connect_streams_have_no_trailers() -> None:
    fixture = RawPeer()
    fixture.handler.on_opened = answer_ok
    frames = fixture.ask(raw_head(1, CONNECT) + raw_head(1, TRAILERS, end_stream=True))
    assert resets(frames) == [(1, ErrorCode.PROTOCOL_ERROR)]


def test_malformed_trailers_are_the_streams_fault() -> None:
    fixture = RawPeer()
    frames = fixture.ask(raw_head(1, POST) + raw_head(1, [(b":path", b"/")], end_stream=True))
    assert resets(frames) == [(1, ErrorCode.PROTOCOL_ERROR)]
    assert fixture.recorder.kinds == ["opened", "lost"]


def test_data_before_the_response_head() -> None:
    fixture, recorder = client()
    assert resets(fixture.ask(raw(DATA, 0, 1, b"x"))) == [(1, ErrorCode.PROTOCOL_ERROR)]
    assert recorder.kinds == ["lost"]
    fixture, recorder = client()
    fixture.feed(raw_head(1, [(b":status", b"100")]))
    assert resets(fixture.ask(raw(DATA, END_STREAM, 1))) == [(1, ErrorCode.PROTOCOL_ERROR)]


# -- bodies with a length ---------------------------------------------------------------------------------------------


def sized(length: int) -> list[Header]:
    return [*POST, (b"content-length", b"%d" % length)]


@cuts
def test_a_body_of_the_right_length(cut: Cut) -> None:
    fixture = RawPeer()
    fixture.feed(raw_head(1, sized(6)) + raw(DATA, 0, 1, b"abc") + raw(DATA, END_STREAM, 1, b"def"), cut)
    assert fixture.recorder.events[1:] == [("data", b"abcdef"), ("eof",)]


@cuts
@pytest.mark.parametrize("tail", [raw(DATA, END_STREAM, 1, b"de"), raw(DATA, END_STREAM, 1)], ids=["data", "empty"])
def test_h2_cl_a_body_that_is_too_short(cut: Cut, tail: bytes) -> None:
    fixture = RawPeer()
    frames = fixture.ask(raw_head(1, sized(6)) + raw(DATA, 0, 1, b"abc") + tail, cut)
    assert resets(frames) == [(1, ErrorCode.PROTOCOL_ERROR)]
    assert fixture.recorder.kinds[-1] == "lost"
    assert "eof" not in fixture.recorder.kinds


@cuts
def test_h2_cl_a_body_that_is_too_long_is_never_passed_on(cut: Cut) -> None:
    fixture = RawPeer()
    frames = fixture.ask(raw_head(1, sized(4)) + raw(DATA, 0, 1, b"abc") + raw(DATA, 0, 1, b"GET /"), cut)
    assert resets(frames) == [(1, ErrorCode.PROTOCOL_ERROR)]
    assert len(fixture.recorder.data) <= 4
    assert fixture.recorder.kinds[-1] == "lost"


def test_trailers_behind_a_short_body() -> None:
    fixture = RawPeer()
    frames = fixture.ask(raw_head(1, sized(4)) + raw(DATA, 0, 1, b"abc") + raw_head(1, TRAILERS, end_stream=True))
    assert resets(frames) == [(1, ErrorCode.PROTOCOL_ERROR)]


def test_a_length_is_kept_while_paused_and_resumed() -> None:
    fixture = RawPeer()
    fixture.feed(raw_head(1, sized(6)))
    fixture.stream.pause()
    fixture.feed(raw(DATA, 0, 1, b"abc"))
    assert fixture.recorder.kinds == ["opened"]
    fixture.stream.resume()
    frames = fixture.ask(raw(DATA, 0, 1, b"defg"))
    assert resets(frames) == [(1, ErrorCode.PROTOCOL_ERROR)]
    assert fixture.recorder.data == b"abc"


def test_a_response_to_head_has_no_body_whatever_its_length_says() -> None:
    fixture, recorder = client([(b":method", b"HEAD"), *GET[1:]])
    assert resets(fixture.ask(raw_head(1, [*OK, (b"content-length", b"5")]) + raw(DATA, 0, 1, b"hello"))) == [
        (1, ErrorCode.PROTOCOL_ERROR)
    ]
    assert recorder.data == b""


# -- what we must not do ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        [*GET, (b"X", b"y")],
        [*GET, (b"x", b"a\nb")],
        [*GET, (b"connection", b"x")],
        GET[1:],
        [(b":method", b"GET /"), *GET[1:]],
        [(b":method", b"CONNECT"), (b":authority", b"a b:80")],
    ],
)
def test_a_malformed_request_of_ours_is_stopped(headers: list[Header]) -> None:
    fixture = RawPeer(client=True)
    with pytest.raises(LocalProtocolError):
        fixture.connection.open(headers, Recorder())
    assert fixture.frames() == []
    assert fixture.connection.idle


def test_a_head_that_the_peer_would_not_take_is_stopped() -> None:
    fixture = RawPeer(client=True, settings=[(6, 500)])
    fixture.connection.open(GET, Recorder())
    with pytest.raises(LocalProtocolError, match="too large"):
        fixture.connection.open([*GET, (b"x", b"y" * 400)], Recorder())
    with pytest.raises(LocalProtocolError, match="too large"):
        RawPeer(client=True).connection.open([*GET, *[(b"a", b"b")] * 97], Recorder())


@pytest.mark.parametrize(
    ("headers", "end_stream"),
    [
        ([(b":status", b"0")], False),
        ([(b"a", b"b")], False),
        ([(b":status", b"100")], True),
        ([*OK, (b"A", b"b")], True),
    ],
)
def test_a_malformed_response_of_ours_is_stopped(headers: list[Header], end_stream: bool) -> None:
    _, _, far, _ = WirePair().connect(GET)
    with pytest.raises(LocalProtocolError):
        far.send_headers(headers, end_stream)
    far.send_headers(OK)


def test_trailers_of_ours_come_last_and_once() -> None:
    pair = WirePair()
    near, _, far, _ = pair.connect(POST)
    with pytest.raises(LocalProtocolError):
        near.send_headers(TRAILERS)
    near.send_headers(TRAILERS, end_stream=True)
    with pytest.raises(LocalProtocolError):
        near.send_headers(TRAILERS, end_stream=True)
    far.send_headers(OK)
    with pytest.raises(LocalProtocolError):
        far.send_headers(OK)
    with pytest.raises(LocalProtocolError):
        far.send_headers([(b":status", b"200")], end_stream=True)
    with pytest.raises(LocalProtocolError):
        pair.tunnel()[0].send_headers(TRAILERS, end_stream=True)
