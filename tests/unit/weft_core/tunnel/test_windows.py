"""Windows that grow: for flows that keep them full, and for no others; bounded together; bulk noticed."""

import pytest

from weft_contract.limits import Limits
from weft_core.tunnel.windows import PROBE
from weft_testing.tunnel_wire import (
    ACK,
    CONNECT,
    DATA,
    PING,
    WINDOW_UPDATE,
    Frame,
    RawPeer,
    WirePair,
    answer_ok,
    raw,
    raw_head,
)

LIMITS = Limits(tunnel_stream_window_bytes=1000, tunnel_stream_window_max_bytes=10_000, bulk_flow_bytes=5_000)


def peer(streams: int = 1, limits: Limits = LIMITS) -> RawPeer:
    fixture = RawPeer(limits=limits)
    fixture.handler.on_opened = answer_ok
    for number in range(streams):
        fixture.ask(raw_head(2 * number + 1, CONNECT))
    return fixture


def send(fixture: RawPeer, size: int, stream_id: int = 1) -> list[Frame]:
    frames = []
    while size:
        step = min(size, 500)
        frames += fixture.ask(raw(DATA, 0, stream_id, bytes(step)))
        size -= step
    return frames


def probes(frames: list[Frame]) -> int:
    return sum(f.kind == PING and f.payload == PROBE for f in frames)


def answer(fixture: RawPeer) -> list[Frame]:
    return fixture.ask(raw(PING, ACK, 0, PROBE))


def granted(frames: list[Frame]) -> list[int]:
    return [f.number for f in frames if f.kind == WINDOW_UPDATE and f.stream_id]


def test_a_flow_that_fills_its_window_within_a_round_trip_doubles_it() -> None:
    fixture = peer()
    assert probes(send(fixture, 500)) == 1
    send(fixture, 500)
    assert granted(answer(fixture)) == [1000]
    assert fixture.stream._size == 2000


def test_a_flow_that_does_not_keeps_its_window() -> None:
    fixture = peer()
    assert probes(send(fixture, 500)) == 1
    fixture.ask(raw(DATA, 0, 1, bytes(333)))
    assert granted(answer(fixture)) == []
    assert fixture.stream._size == 1000


def test_growth_doubles_up_to_the_largest_window() -> None:
    fixture = peer()
    sizes = [fixture.stream._size]
    for _ in range(8):
        send(fixture, 20_000)
        answer(fixture)
        sizes.append(fixture.stream._size)
    assert sizes == [1000, 2000, 4000, 8000, 10_000, 10_000, 10_000, 10_000, 10_000]
    assert probes(send(fixture, 50_000)) == 0, "nothing left to ask"


def test_a_grown_window_comes_back_by_its_half() -> None:
    fixture = peer()
    send(fixture, 1000)
    answer(fixture)
    send(fixture, 1000)
    assert granted(send(fixture, 2000)) == [1000, 1000]


def test_a_slow_flow_is_asked_ever_more_rarely() -> None:
    fixture = peer()
    asked = 0
    for _ in range(2000):
        found = probes(fixture.ask(raw(DATA, 0, 1, bytes(100))))
        asked += found
        if found:
            answer(fixture)
    assert asked <= 10
    assert fixture.stream._size == 1000


def test_one_probe_at_a_time() -> None:
    fixture = peer(3)
    assert sum(probes(send(fixture, 500, stream_id)) for stream_id in (1, 3, 5)) == 1


def test_a_paused_flow_does_not_grow() -> None:
    fixture = peer()
    send(fixture, 500)
    fixture.stream.pause()
    send(fixture, 500)
    assert granted(answer(fixture)) == []


def test_a_flow_that_ended_does_not_grow() -> None:
    fixture = peer()
    send(fixture, 500)
    fixture.feed(raw(DATA, 1, 1, bytes(500)))
    assert granted(answer(fixture)) == []
    fixture.stream.abort()
    assert not fixture.connection.closed


def test_growth_of_all_streams_is_bounded_and_given_back() -> None:
    limits = Limits(
        tunnel_stream_window_bytes=100_000,
        tunnel_stream_window_max_bytes=1 << 20,
        tunnel_connection_window_bytes=150_000,
    )
    fixture = peer(3, limits)
    for stream_id in (1, 3, 5):
        for _ in range(20):
            fixture.ask(raw(DATA, 0, stream_id, bytes(16_000)))
        answer(fixture)
    assert [stream._size for stream in fixture.handler.streams] == [200_000, 150_000, 100_000]
    fixture.handler.streams[0].abort()
    fixture.frames()
    for _ in range(20):
        fixture.ask(raw(DATA, 0, 5, bytes(16_000)))
    answer(fixture)
    assert fixture.handler.streams[2]._size == 200_000


def test_bulk_streams_are_noticed_both_ways_and_forgotten() -> None:
    fixture = peer()
    send(fixture, 4_500)
    assert [fixture.connection.bulk_streams] == [0]
    send(fixture, 1_000)
    assert [fixture.connection.bulk_streams] == [1]
    fixture.stream.abort()
    assert [fixture.connection.bulk_streams] == [0]
    pair = WirePair(Limits(bulk_flow_bytes=300_000))
    near, _, far, _ = pair.tunnel()
    near.write(bytes(600_000))
    pair.settle()
    assert pair.client.bulk_streams == pair.server.bulk_streams == 1
    far.abort()
    pair.settle()
    assert pair.client.bulk_streams == pair.server.bulk_streams == 0


@pytest.mark.parametrize("delay", [1, 3])
def test_between_two_engines_a_bulk_flow_grows_and_an_idle_one_does_not(delay: int) -> None:
    pair = WirePair()
    near, _, far, _ = pair.tunnel()
    quiet, _, quiet_far, _ = pair.tunnel()
    for _ in range(40 * delay):
        near.write(bytes(1 << 20))
        quiet.write(b"x")
        pair.flush(pair.client)
        pair.flush(pair.server)
        pair.deliver(pair.server)
        pair.deliver(pair.client)
    pair.settle()
    assert far._size == 4 << 20
    assert quiet_far._size == 256 << 10
    assert far.bytes_in == 40 * delay << 20
