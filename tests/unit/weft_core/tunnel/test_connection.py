"""The face of a tunnel: opening, limits, draining, closing, liveness, the end of the socket."""

import struct

import pytest

from weft_contract.limits import Limits
from weft_core.errors import (
    ClientGoneError,
    DrainDeadlineError,
    LocalProtocolError,
    StreamRefusedError,
    TunnelDrainedError,
    TunnelFullError,
    TunnelLostError,
    UpstreamResetError,
    WeftError,
)
from weft_core.tunnel import TunnelConnection
from weft_core.tunnel.frames import LARGEST_ID, ErrorCode
from weft_testing.tunnel_wire import (
    ACK,
    CONNECT,
    DATA,
    GOAWAY,
    HEADERS,
    OK,
    PING,
    POST,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Handler,
    RawPeer,
    Recorder,
    WirePair,
    answer_ok,
    frames_of,
    raw,
    raw_goaway,
    raw_head,
    raw_settings,
    take,
)


def goaways(fixture: RawPeer) -> list[tuple[int, int]]:
    found = [f.payload for f in fixture.frames() if f.kind == GOAWAY]
    return [struct.unpack_from(">II", payload) for payload in found]


# -- the opening ------------------------------------------------------------------------------------------------------


def test_a_client_opens_with_preface_and_settings_and_a_window() -> None:
    handler = Handler()
    connection = TunnelConnection(client=True, limits=Limits(), handler=handler)
    assert handler.events == []
    assert handler.flushes == 0
    data = take(connection)
    assert data.startswith(PREFACE)
    settings, window = frames_of(data)
    assert settings.kind == SETTINGS
    assert (window.kind, window.stream_id, window.number) == (WINDOW_UPDATE, 0, (16 << 20) - 65_535)


def test_a_server_opens_with_settings() -> None:
    connection = TunnelConnection(client=False, limits=Limits(tunnel_connection_window_bytes=1), handler=Handler())
    (settings,) = frames_of(take(connection))
    assert settings.kind == SETTINGS


@pytest.mark.parametrize("first", [raw(PING, 0, 0, bytes(8)), raw(SETTINGS, ACK), raw_head(1, POST), raw(0x55)])
def test_the_first_frame_is_settings(first: bytes) -> None:
    fixture = RawPeer(greet=False)
    fixture.feed(PREFACE + first)
    assert fixture.error_code == ErrorCode.PROTOCOL_ERROR


def test_settings_are_acknowledged_each_time() -> None:
    fixture = RawPeer()
    frames = fixture.ask(raw_settings() + raw_settings((4, 100)))
    assert [(f.kind, f.flags) for f in frames] == [(SETTINGS, ACK)] * 2


def test_an_acknowledgement_carries_nothing() -> None:
    fixture = RawPeer()
    fixture.feed(raw(SETTINGS, ACK, 0, bytes(6)))
    assert fixture.error_code == ErrorCode.FRAME_SIZE_ERROR


def test_pings_are_answered_with_what_they_said() -> None:
    fixture = RawPeer()
    (answer,) = fixture.ask(raw(PING, 0, 0, b"12345678"))
    assert (answer.kind, answer.flags, answer.payload) == (PING, ACK, b"12345678")
    assert fixture.ask(raw(PING, ACK, 0, b"whatever")) == []


# -- opening streams --------------------------------------------------------------------------------------------------


def test_only_the_client_opens() -> None:
    with pytest.raises(LocalProtocolError):
        RawPeer().connection.open(CONNECT, Recorder())


def test_streams_may_be_opened_before_the_peer_said_anything() -> None:
    connection = TunnelConnection(client=True, limits=Limits(), handler=Handler())
    connection.open(CONNECT, Recorder()).write(b"early")
    assert [f.kind for f in frames_of(take(connection))] == [SETTINGS, WINDOW_UPDATE, HEADERS, DATA]


@pytest.mark.parametrize(("ours", "theirs"), [(3, 1000), (1000, 3)])
def test_no_more_streams_than_either_side_allows(ours: int, theirs: int) -> None:
    fixture = RawPeer(client=True, limits=Limits(tunnel_streams=ours), settings=[(3, theirs)])
    streams = [fixture.connection.open(CONNECT, Recorder()) for _ in range(3)]
    full = [fixture.connection.full]
    with pytest.raises(TunnelFullError) as caught:
        fixture.connection.open(CONNECT, Recorder())
    assert caught.value.retryable
    streams[0].abort()
    assert [*full, fixture.connection.full] == [True, False]
    assert fixture.connection.open(CONNECT, Recorder()).id == 7


def test_a_server_refuses_more_streams_than_it_said() -> None:
    fixture = RawPeer(limits=Limits(tunnel_streams=2))
    frames = fixture.ask(b"".join(raw_head(stream_id, CONNECT) for stream_id in (1, 3, 5)))
    assert [(f.kind, f.stream_id, f.number) for f in frames] == [(RST_STREAM, 5, ErrorCode.REFUSED_STREAM)]
    assert fixture.connection.streams_open == 2


def test_a_refusal_before_the_peer_knows_the_limit_costs_nothing() -> None:
    limits = Limits(tunnel_streams=2, reset_burst=4)
    heads = b"".join(raw_head(stream_id, CONNECT) for stream_id in range(1, 41, 2))
    early = RawPeer(limits=limits, acknowledge=False)
    assert len([f for f in early.ask(heads) if f.kind == RST_STREAM]) == 18
    assert early.handler.errors == []
    late = RawPeer(limits=limits)
    assert len([f for f in late.ask(heads) if f.kind == RST_STREAM]) == 4
    assert late.connection.draining


def test_ids_run_out() -> None:
    fixture = RawPeer(client=True)
    fixture.connection._engine.roll._next_id = LARGEST_ID
    assert fixture.connection.open(CONNECT, Recorder()).id == LARGEST_ID
    with pytest.raises(TunnelFullError):
        fixture.connection.open(CONNECT, Recorder())


def test_idle_and_streams_open() -> None:
    pair = WirePair()
    assert pair.client.idle
    near, _, far, _ = pair.tunnel()
    assert (pair.client.streams_open, pair.server.streams_open, pair.client.idle) == (1, 1, False)
    near.finish()
    far.finish()
    pair.settle()
    assert (pair.client.streams_open, pair.server.streams_open) == (0, 0)


# -- draining ---------------------------------------------------------------------------------------------------------


def test_a_draining_server_finishes_what_it_accepted() -> None:
    pair = WirePair()
    near, near_log, far, _ = pair.tunnel()
    pair.server.drain()
    pair.settle()
    assert pair.client_handler.events == [("goaway",)]
    assert pair.client.draining
    assert pair.server.draining
    with pytest.raises(TunnelFullError):
        pair.client.open(CONNECT, Recorder())
    far.write(b"still")
    far.finish()
    near.finish()
    pair.settle()
    assert near_log.kinds == ["data", "eof", "lost"]
    assert pair.server.idle
    assert not pair.client.closed


def test_a_stream_that_crossed_the_goaway_is_tried_elsewhere() -> None:
    pair = WirePair()
    pair.tunnel()
    late = Recorder()
    stream = pair.client.open(CONNECT, late)
    stream.write(b"bytes that nobody acts on")
    stream.finish()
    pair.flush(pair.client)
    order: list[str] = []
    pair.client_handler.on_goaway = lambda: order.append(f"goaway, {len(late.events)} events")
    pair.server.drain()
    pair.settle()
    assert order == ["goaway, 0 events"], "the shell must know before it retries"
    (error,) = late.errors
    assert isinstance(error, StreamRefusedError)
    assert error.retryable
    assert len(pair.server_handler.streams) == 1, "the server did not act on it"
    assert not pair.server.closed, "and did not mind its frames"


def test_a_stream_that_crossed_a_retirement_is_served() -> None:
    pair = WirePair()
    pair.server_handler.on_opened = answer_ok
    pair.client.open(CONNECT, Recorder())
    pair.settle()
    late = Recorder()
    pair.client.open(CONNECT, late).write(b"hello")
    pair.flush(pair.client)
    pair.server.retire()
    pair.server.retire()
    pair.settle()
    assert pair.client_handler.events == [("goaway",)]
    assert pair.client.full
    assert pair.server_handler.recorders[-1].data == b"hello"
    assert late.errors == []


def test_who_retired_may_drain_and_not_the_other_way_round() -> None:
    fixture = RawPeer()
    fixture.feed(raw_head(1, CONNECT))
    fixture.connection.retire()
    fixture.feed(raw_head(3, CONNECT))
    fixture.connection.drain()
    fixture.connection.retire()
    assert goaways(fixture) == [(LARGEST_ID, 0), (3, 0)]


def test_a_server_that_closes_refuses_what_it_has_not_answered() -> None:
    """Nothing of a CONNECT is passed on before its answer; of another request something may have been."""
    pair = WirePair()
    _, connected, _, _ = pair.tunnel()
    pair.server_handler.on_opened = lambda stream, recorder: None
    waiting, request = Recorder(), Recorder()
    pair.client.open(CONNECT, waiting).write(b"kept by the server")
    pair.client.open(POST, request).finish()
    pair.settle()
    pair.server.close()
    pair.settle()
    pair.client.lost(TunnelLostError("closed"))
    assert [type(error) for error in waiting.errors] == [TunnelDrainedError]
    assert [type(error) for error in connected.errors + request.errors] == [TunnelLostError] * 2


def test_what_a_server_refuses_without_leaving_is_its_own_affair() -> None:
    fixture = RawPeer(client=True)
    refused = Recorder()
    fixture.connection.open(CONNECT, refused)
    fixture.feed(raw(RST_STREAM, 0, 1, struct.pack(">I", ErrorCode.REFUSED_STREAM)))
    assert [type(error) for error in refused.errors] == [StreamRefusedError]


def test_draining_twice_says_it_once() -> None:
    fixture = RawPeer()
    fixture.feed(raw_head(1, CONNECT))
    fixture.connection.drain()
    fixture.connection.drain()
    assert goaways(fixture) == [(1, 0)]


def test_a_draining_client_opens_nothing() -> None:
    fixture = RawPeer(client=True)
    fixture.connection.drain()
    with pytest.raises(TunnelFullError):
        fixture.connection.open(CONNECT, Recorder())
    assert goaways(fixture) == [(0, 0)]


def test_a_goaway_with_an_error_is_the_end() -> None:
    fixture = RawPeer(client=True)
    known, unknown = Recorder(), Recorder()
    fixture.connection.open(CONNECT, known)
    fixture.connection.open(CONNECT, unknown)
    fixture.feed(raw_goaway(1, ErrorCode.ENHANCE_YOUR_CALM, b"too many \xff"))
    assert isinstance(known.errors[0], TunnelLostError)
    assert isinstance(unknown.errors[0], TunnelDrainedError)
    (error,) = fixture.handler.errors
    assert "ENHANCE_YOUR_CALM 'too many \\\\xff'" in str(error)
    assert fixture.connection.closed


def test_a_goaway_may_lower_its_last_stream_and_not_raise_it() -> None:
    fixture = RawPeer(client=True)
    recorders = [Recorder() for _ in range(3)]
    for recorder in recorders:
        fixture.connection.open(CONNECT, recorder)
    fixture.feed(raw_goaway(LARGEST_ID) + raw_goaway(3) + raw_goaway(1))
    assert [len(recorder.errors) for recorder in recorders] == [0, 1, 1]
    assert fixture.handler.errors == []
    fixture.feed(raw_goaway(5))
    assert fixture.error_code == ErrorCode.PROTOCOL_ERROR


def test_frames_of_streams_that_a_goaway_disowned_are_forgiven() -> None:
    fixture = RawPeer(client=True)
    fixture.connection.open(CONNECT, Recorder())
    disowned = Recorder()
    fixture.connection.open(CONNECT, disowned)
    fixture.feed(raw_goaway(1) + raw_head(3, OK) + raw(DATA, 0, 3, b"x") + raw(RST_STREAM, 0, 3, bytes(4)))
    assert fixture.handler.errors == []
    assert disowned.kinds == ["lost"]


def test_a_client_that_leaves_keeps_its_streams_on_the_server() -> None:
    pair = WirePair()
    near, _, _, far_log = pair.tunnel()
    pair.client.drain()
    pair.settle()
    near.write(b"still")
    pair.settle()
    assert far_log.data == b"still"
    assert pair.server_handler.events[-1] == ("goaway",)


# -- the end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["client", "server"])
def test_close_ends_every_stream(side: str) -> None:
    pair = WirePair()
    near, near_log, _, far_log = pair.tunnel()
    connection = pair.client if side == "client" else pair.server
    connection.close(ErrorCode.NO_ERROR, DrainDeadlineError("time is up"))
    own, other = (near_log, far_log) if side == "client" else (far_log, near_log)
    assert isinstance(own.errors[0], DrainDeadlineError)
    connection.close()
    connection.drain()
    connection.ping()
    near.write(b"ignored")
    pair.settle()
    assert [f.kind for f in frames_of(bytes((pair.up if side == "client" else pair.down).log))].count(GOAWAY) == 1
    if side == "server":
        assert other.errors == [], "GOAWAY without error lets the stream live until the socket ends"
    lost: WeftError = UpstreamResetError("closed by peer")
    (pair.server if side == "client" else pair.client).lost(lost)
    assert other.errors == [lost]


def test_close_without_an_error_says_so() -> None:
    pair = WirePair()
    _, near_log, _, _ = pair.tunnel()
    pair.client.close()
    assert isinstance(near_log.errors[0], TunnelLostError)
    assert pair.client_handler.errors == [], "the shell knows"


def test_the_end_of_the_socket_ends_every_stream_once() -> None:
    pair = WirePair()
    _, near_log, _, _ = pair.tunnel()
    error = TunnelLostError("reset by peer")
    pair.client.lost(error)
    pair.client.lost(TunnelLostError("again"))
    assert near_log.errors == [error]
    assert pair.client_handler.errors == []
    assert pair.client.tick(1.0) is None
    assert pair.client.out == []


def test_a_breach_is_answered_with_its_code_and_reason() -> None:
    fixture = RawPeer()
    fixture.handler.on_opened = answer_ok
    fixture.feed(raw_head(1, CONNECT))
    fixture.frames()
    fixture.feed(raw(DATA, 0, 0, b"x"))
    (goaway,) = fixture.frames()
    last, code = struct.unpack_from(">II", goaway.payload)
    assert (last, code) == (1, ErrorCode.PROTOCOL_ERROR)
    assert b"DATA on stream 0" in goaway.payload
    assert isinstance(fixture.recorder.errors[0], ClientGoneError)
    assert "DATA on stream 0" in str(fixture.recorder.errors[0])
    assert fixture.handler.events[-1] == ("broken", "ConnectionBreachError")


def test_a_client_whose_peer_breaks_the_protocol_loses_its_streams() -> None:
    fixture = RawPeer(client=True)
    recorder = Recorder()
    fixture.connection.open(CONNECT, recorder)
    fixture.feed(raw(DATA, 0, 0, b"x"))
    assert isinstance(recorder.errors[0], TunnelLostError)


def test_a_stream_that_finished_in_order_is_not_lost_to_the_end() -> None:
    pair = WirePair()
    near, near_log, far, _ = pair.tunnel()
    far.finish()
    pair.settle()
    near.finish()
    pair.client.lost(TunnelLostError("gone"))
    assert near_log.errors == [None]


def test_what_was_received_whole_survives_the_tunnel() -> None:
    pair = WirePair()
    near, _, far, far_log = pair.tunnel()
    far.pause()
    near.write(b"kept")
    near.finish()
    far.finish()
    pair.settle()
    pair.server.lost(TunnelLostError("gone"))
    far.resume()
    assert far_log.kinds == ["data", "eof", "lost"]
    assert far_log.errors == [None]


def test_receivers_may_open_elsewhere_when_they_are_lost() -> None:
    pair = WirePair()
    near, near_log, _, _ = pair.tunnel()
    raised: list[type[Exception]] = []

    class Retrying(Recorder):
        def lost(self, error: WeftError | None) -> None:
            super().lost(error)
            try:
                pair.client.open(CONNECT, Recorder())
            except TunnelFullError as exc:
                raised.append(type(exc))

    near.receiver = Retrying()
    pair.client.lost(TunnelLostError("gone"))
    assert raised == [TunnelFullError]
    assert near_log.events == []


# -- time -------------------------------------------------------------------------------------------------------------


def test_f23_a_silent_peer_is_asked_and_given_up() -> None:
    fixture = RawPeer(client=True)
    recorder = Recorder()
    fixture.connection.open(CONNECT, recorder)
    fixture.frames()
    connection = fixture.connection
    assert connection.tick(100.0) == 110.0
    assert fixture.frames() == []
    assert connection.tick(110.0) == 120.0
    (ping,) = fixture.frames()
    assert (ping.kind, ping.flags) == (PING, 0)
    assert connection.tick(120.0) is None
    assert isinstance(recorder.errors[0], TunnelLostError)
    assert "no sign of life" in str(recorder.errors[0])
    assert fixture.handler.events == [("broken", "TunnelLostError")]
    assert connection.closed


def test_a_peer_of_ours_answers_liveness() -> None:
    pair = WirePair()
    _, near_log, _, _ = pair.tunnel()
    now = 0.0
    for _ in range(100):
        due_client, due_server = pair.client.tick(now), pair.server.tick(now)
        pair.settle()
        assert due_client is not None
        assert due_server is not None
        now = min(due_client, due_server)
    assert now > 400
    assert near_log.events == []


def test_a_ping_on_demand() -> None:
    fixture = RawPeer()
    fixture.connection.ping()
    assert [(f.kind, f.flags) for f in fixture.frames()] == [(PING, 0)]


def test_spent_budgets_come_back_with_time() -> None:
    fixture = RawPeer(limits=Limits(tunnel_glitch_burst=100, tunnel_glitch_rate=10))
    now, pings = 0.0, 0
    fixture.connection.tick(now)
    for _ in range(200):
        fixture.feed(raw(PING, 0, 0, bytes(8)) * 10)
        pings += 10
        now += 1.0
        due = fixture.connection.tick(now)
        assert due is not None
        assert due >= now
    assert pings == 2000
    assert fixture.handler.errors == []


def test_a_tick_is_due_soon_while_a_budget_is_not_full() -> None:
    fixture = RawPeer()
    fixture.connection.tick(0.0)
    assert fixture.connection.tick(0.5) == 10.0
    fixture.feed(raw(PING, 0, 0, bytes(8)) * 200)
    assert fixture.connection.tick(1.0) == 2.0
