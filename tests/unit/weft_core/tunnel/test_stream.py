"""One stream as an `End`: half-close, pause, close, abort, and what its receiver hears, between two engines of ours."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from weft_contract.limits import Limits
from weft_core.errors import ClientGoneError, LocalProtocolError, StreamRefusedError, UpstreamResetError
from weft_core.tunnel import Receiver, TunnelStream
from weft_core.tunnel.frames import ErrorCode
from weft_testing.tunnel_wire import (
    CONNECT,
    DATA,
    GET,
    HEADERS,
    OK,
    POST,
    RST_STREAM,
    Cut,
    PlainReceiver,
    RawPeer,
    Recorder,
    WirePair,
    answer_ok,
    byte_by_byte,
    every,
    frames_of,
    raw,
    raw_head,
    raw_long,
    whole,
)

if TYPE_CHECKING:
    from weft_agent.reactor.ends import End
    from weft_agent.reactor.ends import Receiver as ReactorReceiver

cuts = pytest.mark.parametrize("cut", [whole, byte_by_byte, every(7)], ids=["whole", "bytes", "sevens"])


def test_a_stream_is_an_end_and_receivers_are_the_reactors() -> None:
    def fits(stream: TunnelStream, receiver: Receiver) -> "tuple[End, ReactorReceiver]":
        return stream, receiver  # mypy is the test

    with pytest.raises(LocalProtocolError):
        fits(WirePair().tunnel()[0], Recorder())[0].detach()


@cuts
def test_bytes_go_both_ways(cut: Cut) -> None:
    pair = WirePair(cut=cut)
    near, near_log, far, far_log = pair.tunnel()
    near.write(b"ping")
    far.write(b"pong" * 1000)
    pair.settle()
    assert (far_log.data, near_log.data) == (b"ping", b"pong" * 1000)
    assert (near.bytes_out, near.bytes_in, near.moved_bytes) == (4, 4000, 4004)
    assert (far.bytes_out, far.bytes_in) == (4000, 4)


@cuts
def test_half_close_one_way_then_the_other(cut: Cut) -> None:
    pair = WirePair(cut=cut)
    near, near_log, far, far_log = pair.tunnel()
    near.write(b"request")
    near.finish()
    pair.settle()
    assert far_log.events == [("data", b"request"), ("eof",)]
    assert near_log.events == []
    far.write(b"answer")
    far.finish()
    pair.settle()
    assert near_log.events == [("data", b"answer"), ("eof",), ("lost", "NoneType")]
    assert far_log.events == [("data", b"request"), ("eof",), ("lost", "NoneType")]
    assert pair.client.idle
    assert pair.server.idle
    assert near.closed
    assert far.closed


def test_eof_may_be_answered_with_finish_at_once() -> None:
    pair = WirePair()
    near, near_log, far, far_log = pair.tunnel()
    far_log.on_eof = far.finish
    near.finish()
    pair.settle()
    assert far_log.kinds == ["eof", "lost"]
    assert near_log.kinds == ["eof", "lost"]
    assert near_log.errors == far_log.errors == [None]


def test_lost_is_never_called_inside_finish() -> None:
    pair = WirePair()
    near, near_log, far, _ = pair.tunnel()
    far.finish()
    pair.settle()
    near.finish()
    assert near_log.kinds == ["eof"]
    pair.flush(pair.client)
    assert near_log.kinds == ["eof", "lost"]


def test_data_after_the_peers_eof_still_flows() -> None:
    pair = WirePair()
    near, _, far, far_log = pair.tunnel()
    far.finish()
    pair.settle()
    near.write(b"late")
    pair.settle()
    assert far_log.data == b"late"


@pytest.mark.parametrize("act", [TunnelStream.finish, TunnelStream.pause, TunnelStream.close, TunnelStream.abort])
def test_repeating_a_call_changes_nothing(act: Callable[[TunnelStream], None]) -> None:
    pair = WirePair()
    near, _, _, _ = pair.tunnel()
    act(near)
    pair.settle()
    sent = len(pair.up.log)
    act(near)
    pair.settle()
    assert len(pair.up.log) == sent


@pytest.mark.parametrize("end", [TunnelStream.close, TunnelStream.abort])
def test_an_end_that_was_closed_ignores_everything(end: Callable[[TunnelStream], None]) -> None:
    pair = WirePair()
    near, near_log, far, _ = pair.tunnel()
    end(near)
    assert near.write(b"x")
    assert near.write(bytes(100_000))
    near.send_headers(OK)
    near.finish()
    near.pause()
    near.resume()
    near.reset(ErrorCode.CANCEL)
    near.close()
    near.abort()
    near.receiver = Recorder()
    far.write(b"late")
    pair.settle()
    assert near_log.events == []
    assert [f.kind for f in frames_of(bytes(pair.up.log)) if f.kind == DATA and f.payload] == []


def test_write_behind_finish_is_our_bug() -> None:
    near, _, _, _ = WirePair().tunnel()
    near.finish()
    with pytest.raises(LocalProtocolError):
        near.write(b"x")


def test_a_server_answers_before_it_writes() -> None:
    pair = WirePair()
    _, _, far, _ = pair.connect()
    with pytest.raises(LocalProtocolError):
        far.write(b"x")
    with pytest.raises(LocalProtocolError):
        far.finish()


def test_a_client_may_write_before_the_answer() -> None:
    pair = WirePair()
    near, _, _, far_log = pair.connect()
    near.write(b"early")
    pair.settle()
    assert far_log.data == b"early"


# -- pause and resume -------------------------------------------------------------------------------------------------


@cuts
def test_a_paused_stream_keeps_one_window_and_stops_its_peer(cut: Cut) -> None:
    pair = WirePair(Limits(tunnel_stream_window_bytes=1000, write_high_bytes=500, write_low_bytes=100), cut=cut)
    near, near_log, far, far_log = pair.tunnel()
    far.pause()
    assert not near.write(bytes(3000))
    pair.settle()
    assert far_log.events == []
    assert far.unread_bytes == 1000
    assert near.queued_bytes == 2000
    assert near_log.events == []
    far.resume()
    pair.settle()
    assert far_log.data == bytes(3000)
    assert near_log.events == [("drained",)]


def test_a_stream_paused_while_it_is_fed_by_resume_stops_again() -> None:
    pair = WirePair()
    near, _, far, far_log = pair.tunnel()
    far.pause()
    for _ in range(3):
        near.write(bytes(5000))
        pair.settle()
    far_log.on_feed = lambda _data: far.pause()
    far.resume()
    assert len(far_log.data) == 5000
    assert far.unread_bytes == 10_000
    far_log.on_feed = None
    far.resume()
    assert len(far_log.data) == 15_000


def test_resume_inside_feed_keeps_the_order() -> None:
    pair = WirePair()
    near, _, far, far_log = pair.tunnel()
    far.pause()
    for byte in b"abc":
        near.write(bytes((byte,)) * 4000)
        pair.settle()

    def toggle(_data: bytes) -> None:
        far.pause()
        far.resume()

    far_log.on_feed = toggle
    far.resume()
    assert far_log.data == b"a" * 4000 + b"b" * 4000 + b"c" * 4000
    near.write(b"d")
    pair.settle()
    assert far_log.data[-1:] == b"d"


def test_resume_inside_feed_does_not_nest() -> None:
    pair = WirePair(Limits(tunnel_stream_window_bytes=4 << 20))
    near, _, far, far_log = pair.tunnel()
    far.pause()
    for _ in range(1500):
        near.write(bytes(2500))
    pair.settle()
    depth = deepest = 0

    def toggle(_data: bytes) -> None:
        nonlocal depth, deepest
        depth += 1
        deepest = max(deepest, depth)
        far.pause()
        far.resume()
        depth -= 1

    far_log.on_feed = toggle
    far.resume()
    assert deepest == 1
    assert len(far_log.data) == 1500 * 2500


@cuts
def test_eof_waits_behind_kept_bytes(cut: Cut) -> None:
    pair = WirePair(cut=cut)
    near, near_log, far, far_log = pair.tunnel()
    far.pause()
    near.write(b"kept")
    near.finish()
    pair.settle()
    assert far_log.events == []
    far.finish()
    pair.settle()
    assert pair.server.idle, "both ends are on the wire"
    assert near_log.kinds == ["eof", "lost"]
    assert far_log.events == []
    far.resume()
    assert far_log.events == [("data", b"kept"), ("eof",), ("lost", "NoneType")]


def test_eof_waits_for_resume_even_without_bytes() -> None:
    pair = WirePair()
    near, _, far, far_log = pair.tunnel()
    far.pause()
    near.finish()
    pair.settle()
    assert far_log.events == []
    far.resume()
    assert far_log.events == [("eof",)]


def test_a_stream_may_be_aborted_while_resume_feeds_it() -> None:
    pair = WirePair()
    near, _, far, far_log = pair.tunnel()
    far.pause()
    for _ in range(3):
        near.write(bytes(5000))
        near.write(bytes(5000))
    near.finish()
    pair.settle()
    far_log.on_feed = lambda _data: far.abort()
    far.resume()
    assert far_log.kinds == ["data"]
    assert len(far_log.data) == 5000


def test_cve_2026_49975_single_bytes_kept_for_a_paused_stream_cost_little() -> None:
    fixture = RawPeer()
    fixture.handler.on_opened = answer_ok
    fixture.feed(raw_head(1, CONNECT))
    fixture.stream.pause()
    for _ in range(100):
        fixture.feed(raw(DATA, 0, 1, b"x") * 1000)
    assert fixture.stream.unread_bytes == 100_000
    assert fixture.stream._unread is not None
    assert len(fixture.stream._unread._pieces) < 10


# -- abort and reset --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [ErrorCode.CANCEL, ErrorCode.CONNECT_ERROR, ErrorCode.NO_ERROR, 0xABCD])
def test_reset_ends_both_directions_visibly(code: int) -> None:
    pair = WirePair()
    near, near_log, far, far_log = pair.tunnel()
    near.write(b"before")
    near.reset(code)
    pair.settle()
    assert near_log.events == []
    assert far_log.kinds == ["data", "lost"]
    assert isinstance(far_log.errors[0], ClientGoneError)
    assert pair.client.idle
    assert pair.server.idle
    assert far.write(b"ignored")


def test_a_client_hears_of_an_upstream_reset() -> None:
    pair = WirePair()
    _, near_log, far, _ = pair.tunnel()
    far.abort()
    pair.settle()
    assert isinstance(near_log.errors[0], UpstreamResetError)
    assert "CANCEL" in str(near_log.errors[0])
    assert not near_log.errors[0].retryable


def test_a_refused_stream_may_be_tried_elsewhere() -> None:
    pair = WirePair()
    _, near_log, far, _ = pair.connect()
    far.reset(ErrorCode.REFUSED_STREAM)
    pair.settle()
    (error,) = near_log.errors
    assert isinstance(error, StreamRefusedError)
    assert error.retryable


def test_a_reset_drops_what_was_kept() -> None:
    pair = WirePair()
    near, _, far, far_log = pair.tunnel()
    far.pause()
    near.write(b"kept")
    near.abort()
    pair.settle()
    assert far_log.kinds == ["lost"]


def test_a_complete_answer_is_not_lost_to_a_reset_without_error() -> None:
    fixture = RawPeer(client=True)
    recorder = Recorder()
    stream = fixture.connection.open(POST, recorder)
    stream.pause()
    fixture.feed(raw_head(1, OK) + raw(DATA, 1, 1, b"whole answer") + raw_long(RST_STREAM, 1, 0))
    assert recorder.kinds == ["headers"]
    assert stream.write(b"upload that nobody wants")
    stream.resume()
    assert recorder.kinds == ["headers", "data", "eof", "lost"]
    assert recorder.data == b"whole answer"
    assert isinstance(recorder.errors[0], UpstreamResetError)


def test_frames_behind_a_reset_of_ours_are_dropped() -> None:
    fixture = RawPeer()
    fixture.handler.on_opened = answer_ok
    fixture.feed(raw_head(1, CONNECT))
    fixture.stream.abort()
    fixture.feed(raw(DATA, 0, 1, b"late") + raw_long(8, 1, 5) + raw(DATA, 1, 1) + raw_long(RST_STREAM, 1, 8))
    assert fixture.handler.errors == []
    assert fixture.recorder.kinds == ["opened"]


# -- close ------------------------------------------------------------------------------------------------------------


@cuts
def test_close_sends_what_is_queued_and_then_ends(cut: Cut) -> None:
    pair = WirePair(Limits(tunnel_stream_window_bytes=1000), cut=cut)
    near, near_log, _, far_log = pair.tunnel()
    near.write(bytes(5000))
    near.close()
    pair.settle()
    assert far_log.data == bytes(5000)
    assert far_log.kinds == ["data", "eof", "lost"]
    assert near_log.events == []
    assert pair.client.idle
    assert pair.server.idle


def test_close_behind_the_peers_end_is_silent() -> None:
    pair = WirePair()
    near, near_log, far, far_log = pair.tunnel()
    far.finish()
    pair.settle()
    near.close()
    pair.settle()
    assert not [f for f in frames_of(bytes(pair.up.log)) if f.kind == RST_STREAM]
    assert near_log.kinds == ["eof"]
    assert far_log.kinds == ["eof", "lost"]
    assert far_log.errors == [None]


def test_close_behind_our_own_end_tells_the_peer_to_stop() -> None:
    pair = WirePair()
    near, _, _, far_log = pair.tunnel()
    near.finish()
    pair.settle()
    near.close()
    pair.settle()
    assert far_log.kinds == ["eof", "lost"]
    assert isinstance(far_log.errors[0], ClientGoneError)


def test_close_discards_what_the_peer_sends_and_goes_on_crediting_it() -> None:
    pair = WirePair(Limits(tunnel_stream_window_bytes=1000))
    near, _, far, far_log = pair.tunnel()
    far.pause()
    near.write(bytes(3000))
    far.write(bytes(800))
    near.close()
    pair.settle()
    far.write(bytes(900))
    pair.settle()
    assert far.queued_bytes == 0, "1700 bytes passed a window of 1000"
    far.resume()
    pair.settle()
    assert far_log.data == bytes(3000)
    assert far_log.kinds[-2:] == ["eof", "lost"]


def test_close_of_a_paused_stream_gives_back_what_it_kept() -> None:
    pair = WirePair(Limits(tunnel_stream_window_bytes=1000))
    near, _, far, _ = pair.tunnel()
    near.pause()
    far.write(bytes(1500))
    pair.settle()
    assert far.queued_bytes == 500
    near.write(bytes(2000))
    near.close()
    pair.settle()
    assert pair.server.idle


def test_close_before_the_answer_is_a_reset() -> None:
    pair = WirePair()
    _, near_log, far, _ = pair.connect()
    far.close()
    pair.settle()
    assert near_log.kinds == ["lost"]


# -- receivers --------------------------------------------------------------------------------------------------------


def test_a_relay_without_headers_may_take_over() -> None:
    pair = WirePair()
    near, near_log, far, _ = pair.tunnel()
    relay = PlainReceiver()
    near.receiver = relay
    assert near.receiver is relay
    far.write(b"bytes")
    far.finish()
    near.finish()
    pair.settle()
    assert relay.events == [b"bytes", "eof", "NoneType"]
    assert near_log.events == []


def test_trailers_are_an_eof_for_a_receiver_without_headers() -> None:
    pair = WirePair()
    near, _, far, _ = pair.connect(POST)
    far.send_headers(OK)
    relay = PlainReceiver()
    near.receiver = relay
    far.send_headers([(b"a", b"b")], end_stream=True)
    pair.settle()
    assert relay.events == ["eof"]


def test_a_response_that_ends_at_once_is_an_eof_for_a_receiver_without_headers() -> None:
    pair = WirePair()
    near, _, far, _ = pair.connect(GET, end_stream=True)
    relay = PlainReceiver()
    near.receiver = relay
    far.send_headers(OK, end_stream=True)
    pair.settle()
    assert relay.events == ["eof", "NoneType"]


def test_a_handler_that_takes_no_stream_resets_it() -> None:
    fixture = RawPeer()
    fixture.handler.opened = lambda *_args: None  # type: ignore[method-assign]  # a handler with a bug
    (reset,) = fixture.ask(raw_head(1, CONNECT))
    assert (reset.kind, reset.number) == (RST_STREAM, ErrorCode.INTERNAL_ERROR)


def test_a_handler_may_refuse_at_once() -> None:
    fixture = RawPeer()
    fixture.handler.on_opened = lambda stream, _: stream.reset(ErrorCode.REFUSED_STREAM)
    (reset,) = fixture.ask(raw_head(1, CONNECT))
    assert (reset.kind, reset.number) == (RST_STREAM, ErrorCode.REFUSED_STREAM)
    assert fixture.recorder.kinds == ["opened"]


def test_a_handler_may_answer_and_end_at_once() -> None:
    fixture = RawPeer()
    fixture.handler.on_opened = lambda stream, _: stream.send_headers([(b":status", b"403")], end_stream=True)
    frames = fixture.ask(raw_head(1, GET, end_stream=True))
    assert [f.kind for f in frames] == [HEADERS]
    assert fixture.connection.idle
    assert fixture.recorder.events[-1] == ("lost", "NoneType")
