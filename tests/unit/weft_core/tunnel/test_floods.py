"""What a hostile agent can ask for without doing work, each attack by its name; and what a busy, honest one may do."""

import time
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from weft_contract.limits import Limits
from weft_core.tunnel.frames import ErrorCode
from weft_testing.tunnel_wire import (
    ACK,
    CONNECT,
    CONTINUATION,
    DATA,
    END_STREAM,
    GET,
    GOAWAY,
    HEADERS,
    OK,
    PADDED,
    PING,
    POST,
    PRIORITY,
    RST_STREAM,
    WINDOW_UPDATE,
    RawPeer,
    Recorder,
    WirePair,
    answer_ok,
    raw,
    raw_head,
    raw_long,
    raw_settings,
)


def served() -> RawPeer:
    fixture = RawPeer()
    fixture.handler.on_opened = answer_ok
    fixture.ask(raw_head(1, CONNECT))
    return fixture


def attacked(frames: Iterator[bytes], at_most: int, fixture: RawPeer | None = None) -> int:
    """Send frames until the engine breaks the connection; return how many that took."""
    fixture = fixture or served()
    for count in range(at_most + 1):
        if fixture.handler.errors:
            assert fixture.error_code == ErrorCode.ENHANCE_YOUR_CALM
            return count
        fixture.feed(next(frames))
    raise AssertionError(f"{at_most} frames were taken")


def forever(frame: bytes) -> Iterator[bytes]:
    while True:
        yield frame


def test_cve_2023_44487_rapid_reset() -> None:
    def attack() -> Iterator[bytes]:
        for stream_id in range(3, 1 << 20, 2):
            yield raw_head(stream_id, GET, end_stream=True) + raw_long(RST_STREAM, stream_id, 8)

    fixture = RawPeer()
    assert attacked(attack(), 250, fixture) <= 201


def test_rapid_reset_drains_before_it_ends_so_that_other_streams_live() -> None:
    fixture = served()
    for stream_id in range(3, 3 + 2 * 151, 2):
        fixture.feed(raw_head(stream_id, GET, end_stream=True) + raw_long(RST_STREAM, stream_id, 8))
    (goaway,) = [f for f in fixture.frames() if f.kind == GOAWAY]
    assert goaway.payload[4:8] == bytes(4)
    opened = len(fixture.handler.streams)
    fixture.feed(raw_head(1001, GET))
    assert len(fixture.handler.streams) == opened, "nothing new is taken"
    fixture.feed(raw(DATA, 0, 1, b"still alive"))
    assert fixture.handler.recorders[0].data == b"still alive"


def test_cve_2025_8671_made_you_reset() -> None:
    def half_closed() -> Iterator[bytes]:
        for stream_id in range(3, 1 << 20, 2):
            yield raw_head(stream_id, GET, end_stream=True) + raw(DATA, 0, stream_id, b"x")

    def overflow() -> Iterator[bytes]:
        for stream_id in range(3, 1 << 20, 2):
            yield raw_head(stream_id, POST) + raw_long(WINDOW_UPDATE, stream_id, 0x7FFFFFFF)

    def zero_increment() -> Iterator[bytes]:
        for stream_id in range(3, 1 << 20, 2):
            yield raw_head(stream_id, POST) + raw_long(WINDOW_UPDATE, stream_id, 0)

    def malformed() -> Iterator[bytes]:
        for stream_id in range(3, 1 << 20, 2):
            yield raw_head(stream_id, [*GET, (b"Bad", b"x")], end_stream=True)

    for attack in (half_closed, overflow, zero_increment, malformed):
        fixture = served()
        sent = 0
        for frames in attack():
            sent += sum(f.kind == RST_STREAM for f in fixture.ask(frames))
            if fixture.handler.errors:
                break
        assert 100 < sent <= 200
        assert len(fixture.handler.streams) <= 201, "nothing is opened any more"


def test_every_stream_ended_by_an_attack_is_cancelled_at_once() -> None:
    fixture = RawPeer()
    fixture.feed(raw_head(1, GET, end_stream=True) + raw(DATA, 0, 1, b"x"))
    assert fixture.recorder.kinds == ["opened", "lost"]


def test_cve_2019_9512_ping_flood() -> None:
    assert attacked(forever(raw(PING, 0, 0, bytes(8))), 1100) <= 1002
    assert attacked(forever(raw(PING, ACK, 0, bytes(8))), 1100) <= 1002


def test_a_client_that_is_flooded_opens_its_streams_elsewhere_first() -> None:
    fixture = RawPeer(client=True)
    recorder = Recorder()
    fixture.connection.open(CONNECT, recorder)
    fixture.feed(raw(PING, 0, 0, bytes(8)) * 760)
    assert fixture.handler.events == [("goaway",)]
    assert fixture.connection.full
    fixture.feed(raw_head(1, OK) + raw(DATA, 0, 1, b"lives"))
    assert recorder.data == b"lives"


def test_cve_2019_9515_settings_flood() -> None:
    assert attacked(forever(raw_settings()), 1100) <= 1002
    assert attacked(forever(raw(4, ACK)), 1100) <= 1002


def test_priority_flood() -> None:
    assert attacked(forever(raw(PRIORITY, 0, 99, bytes(5))), 1100) <= 1002


def test_window_update_flood() -> None:
    assert attacked(forever(raw_long(WINDOW_UPDATE, 0, 1)), 1100) <= 1002
    assert attacked(forever(raw_long(WINDOW_UPDATE, 1, 1)), 1100) <= 1002


def test_unknown_frames_flood() -> None:
    assert attacked(forever(raw(0xEE)), 1100) <= 1002


def test_frames_on_closed_streams_flood() -> None:
    fixture = served()
    fixture.stream.abort()
    assert attacked(forever(raw(DATA, 0, 1)), 1100, fixture) <= 1002
    fixture = served()
    fixture.stream.abort()
    assert attacked(forever(raw_long(RST_STREAM, 1, 8)), 1100, fixture) <= 1002


def test_goaway_flood() -> None:
    assert attacked(forever(raw(GOAWAY, 0, 0, bytes(8))), 1100) <= 1002


@pytest.mark.parametrize(
    "frame", [raw(DATA, 0, 1), raw(DATA, PADDED, 1, b"\x00"), raw(DATA, PADDED, 1, b"\x05" + bytes(5))]
)
def test_rustsec_2026_0258_cve_2019_9518_empty_data_frames(frame: bytes) -> None:
    taken = attacked(forever(frame), 1100)
    assert taken <= (11 if frame == raw(DATA, 0, 1) else 1002)


def test_cve_2019_9518_empty_frames_are_counted_in_a_row() -> None:
    fixture = served()
    for _ in range(50):
        fixture.feed(raw(DATA, 0, 1) * 10 + raw(DATA, 0, 1, b"x"))
    assert fixture.handler.errors == []
    fixture.feed(raw(DATA, 0, 1) * 11)
    assert fixture.error_code == ErrorCode.ENHANCE_YOUR_CALM


def test_cve_2024_27316_continuation_flood() -> None:
    fixture = served()
    fixture.feed(raw(HEADERS, 0, 3, b""))
    assert attacked(forever(raw(CONTINUATION, 0, 3, b"")), 20, fixture) <= 9


def test_cve_2024_30255_continuation_with_large_frames() -> None:
    fixture = served()
    fixture.feed(raw(HEADERS, 0, 3, bytes(16_000)))
    assert attacked(forever(raw(CONTINUATION, 0, 3, bytes(16_000))), 20, fixture) <= 5


def test_cve_2019_9511_tiny_windows_that_are_opened_again_and_again() -> None:
    fixture = RawPeer(settings=[(4, 0)])
    fixture.handler.on_opened = answer_ok
    fixture.ask(raw_head(1, CONNECT))
    fixture.stream.write(bytes(100_000))
    assert attacked(forever(raw_long(WINDOW_UPDATE, 1, 1)), 1100, fixture) <= 1002


def test_cve_2019_9517_a_peer_that_never_reads_holds_little() -> None:
    fixture = served()
    fixture.connection.unsent(1 << 20)  # the socket takes nothing
    fixture.feed(raw_long(WINDOW_UPDATE, 1, 1 << 30) + raw_long(WINDOW_UPDATE, 0, 1 << 30))
    written = 0
    while fixture.stream.write(bytes(10_000)):
        written += 10_000
    assert written <= 256 * 1024
    assert sum(len(piece) for piece in fixture.connection.out) < 1000


def test_tiny_frames_in_masses_and_not_otherwise() -> None:
    crowd = raw(DATA, 0, 1, b"x") * 25_000
    fixture = served()
    assert 10 < attacked(forever(crowd), 100, fixture) < 100
    honest = served()
    for _ in range(2000):  # single bytes, a few hundred per read: an interactive stream, a ping-pong benchmark
        honest.feed(raw(DATA, 0, 1, b"x") * 300)
    assert honest.handler.errors == []
    assert honest.frames()[-1].kind != GOAWAY


def test_cve_2026_49975_heads_cannot_be_kept_cheaply() -> None:
    bomb = b"\x82\x87\x84\x41\x01a" + b"\xa0" * 96
    fixture = RawPeer(limits=Limits(header_count=100))
    fixture.handler.opened = _keep_nothing  # type: ignore[method-assign]  # the recorder would keep the heads itself
    sent = 0
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for stream_id in range(1, 2000, 2):
            frame = raw(HEADERS, 0x4, stream_id, bomb)
            sent += len(frame)
            fixture.feed(frame)
        kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert fixture.connection.streams_open == 1000
    assert kept < 20 * sent


def _keep_nothing(stream: object, headers: object, end_stream: object) -> None:
    from weft_core.tunnel import TunnelStream

    assert isinstance(stream, TunnelStream)
    stream.receiver = Recorder()


# -- honest peers -----------------------------------------------------------------------------------------------------


def test_a_busy_pair_never_comes_near_a_budget() -> None:
    pair = WirePair()
    ends = [pair.tunnel() for _ in range(20)]
    for _ in range(60):
        for near, _, far, _ in ends:
            near.write(bytes(100_000))
            far.write(b"x" * 50)
        pair.settle()
    for near, _, far, far_log in ends:
        near.finish()
        far.finish()
        assert len(far_log.data) == 6_000_000
    pair.settle()
    for connection in (pair.client, pair.server):
        guard = connection._engine.guard
        assert guard._glitches.tokens > 900
        assert guard._resets.full
        assert not connection.draining


def test_an_application_that_resets_a_lot_gets_new_tunnels_and_keeps_the_old_streams() -> None:
    pair = WirePair()
    near, near_log, _, far_log = pair.tunnel()
    opened = 0
    while not pair.client.draining:
        short = pair.client.open(CONNECT, Recorder())
        pair.settle()
        short.abort()
        pair.settle()
        opened += 1
        assert opened < 200
    assert opened > 100
    near.write(b"the long one lives")
    pair.settle()
    assert far_log.data == b"the long one lives"
    assert near_log.events == []


@pytest.mark.parametrize("used", [False, True])
def test_a_process_that_dies_with_many_connections_costs_nothing(used: bool) -> None:
    pair = WirePair()
    ends = [pair.tunnel() for _ in range(600)]
    for near, _, far, _ in ends if used else ends[:1]:
        near.write(b"question")
        far.write(b"answer")
    pair.settle()
    for near, _, _, _ in ends[1:]:
        near.abort()
    pair.settle()
    assert not pair.server.draining
    ends[0][0].write(b"lives")
    pair.settle()
    assert ends[0][3].data == b"questionlives"


def test_answers_that_end_at_once_may_be_reset_behind() -> None:
    fixture = RawPeer()
    fixture.handler.on_opened = lambda stream, _: stream.send_headers(OK, end_stream=True)
    for stream_id in range(1, 1200, 2):
        fixture.feed(raw_head(stream_id, POST) + raw_long(RST_STREAM, stream_id, 0))
    assert fixture.handler.errors == []
    assert not fixture.connection.draining


@pytest.mark.parametrize(
    "message",
    [
        lambda stream_id: raw_head(stream_id, GET, end_stream=True) + raw_long(RST_STREAM, stream_id, 8),
        lambda _stream_id: raw(PING, 0, 0, bytes(8)),
        lambda _stream_id: raw(DATA, END_STREAM, 1),
        lambda _stream_id: raw(0xEE, 0, 0, bytes(2000)),
    ],
)
def test_no_flood_costs_much_time_per_byte(message: Callable[[int], bytes]) -> None:
    fixture = served()
    data = b"".join(message(stream_id) for stream_id in range(3, 400, 2))
    began = time.process_time()
    fixture.feed(data)
    assert time.process_time() - began < 0.2
