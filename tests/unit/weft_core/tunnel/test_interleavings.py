"""Many streams, any order of calls, sockets that stall: exactly the bytes, in order, and never beyond a window.

The windows are checked by an auditor that reads the wire and knows nothing of the engine.
"""

from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft_contract.limits import Limits
from weft_core.errors import TunnelFullError, UpstreamResetError
from weft_core.tunnel import TunnelStream
from weft_testing.tunnel_audit import AuditedPair
from weft_testing.tunnel_wire import CONNECT, Recorder, WirePair, every, whole

TINY: Final = Limits(
    tunnel_stream_window_bytes=300,
    tunnel_stream_window_max_bytes=2_400,
    tunnel_connection_window_bytes=70_000,
    write_high_bytes=500,
    write_low_bytes=100,
    read_buffer_bytes=4_096,
    tunnel_glitch_burst=1_000_000,
    reset_burst=100_000,
)
ROOMY: Final = Limits(tunnel_glitch_burst=1_000_000, reset_burst=100_000)
PATTERN: Final = bytes(range(251)) * 800


class Flow:
    """One stream with both its ends, and what should have come out."""

    def __init__(self, near: TunnelStream, near_log: Recorder, far: TunnelStream, far_log: Recorder) -> None:
        self.ends = (near, far)
        self.logs = (near_log, far_log)
        self.sent = [bytearray(), bytearray()]
        self.finished = [False, False]
        self.dead = False

    def check(self) -> None:
        for side in (0, 1):
            assert bytes(self.sent[1 - side]).startswith(self.logs[side].data)
            assert self.ends[side].unread_bytes <= self.ends[side]._size

    def check_complete(self) -> None:
        for side in (0, 1):
            log = self.logs[side]
            assert log.data == bytes(self.sent[1 - side])
            assert log.kinds.count("eof") == 1
            assert log.errors == [None]
            assert log.kinds[-1] == "lost"


def step(pair: AuditedPair, flows: list[Flow], draw: st.DataObject) -> None:
    """One thing happens."""
    flow = draw.draw(st.sampled_from(flows))
    side = draw.draw(st.integers(0, 1))
    end = flow.ends[side]
    action = draw.draw(
        st.sampled_from(
            ["write", "write", "write", "pause", "resume", "finish", "reset", "flush", "flush", "deliver", "deliver"]
        )
    )
    if action == "write" and not flow.finished[side] and not flow.dead:
        size = draw.draw(st.sampled_from([0, 1, 17, 299, 300, 301, 2_048, 16_384, 16_385, 40_000]))
        data = PATTERN[len(flow.sent[side]) % 251 :][:size]
        end.write(memoryview(data) if size % 2 else data)
        flow.sent[side] += data
    elif action == "pause":
        end.pause()
    elif action == "resume":
        end.resume()
    elif action == "finish" and not flow.dead:
        end.finish()
        flow.finished[side] = True
    elif action == "reset" and draw.draw(st.integers(0, 5)) == 0:
        end.abort()
        flow.dead = True
    elif action == "flush":
        pair.flush(draw.draw(st.sampled_from([pair.client, pair.server])))
    elif action == "deliver":
        side_to_read = draw.draw(st.sampled_from([pair.client, pair.server]))
        pair.deliver(side_to_read, draw.draw(st.none() | st.integers(1, 3000)))
    for each in flows:
        each.check()


@settings(max_examples=120, deadline=None)
@given(
    draw=st.data(),
    limits=st.sampled_from([TINY, ROOMY]),
    capacity=st.sampled_from([None, 700, 20_000]),
    cut=st.sampled_from([whole, every(1), every(13)]),
    count=st.integers(1, 6),
)
def test_exactly_the_bytes_in_order_and_never_beyond_a_window(
    draw: st.DataObject, limits: Limits, capacity: int | None, cut: object, count: int
) -> None:
    pair = AuditedPair(limits, capacity=capacity)
    flows = [Flow(*pair.tunnel()) for _ in range(count)]
    if callable(cut):
        pair.cut = cut
    for _ in range(draw.draw(st.integers(1, 60))):
        step(pair, flows, draw)
    for flow in flows:
        for side in (0, 1):
            flow.ends[side].resume()
            if not flow.dead:
                flow.ends[side].finish()
    pair.settle()
    for flow in flows:
        flow.check()
        if not flow.dead:
            flow.check_complete()
        else:
            assert all(log.lost_called or end.closed for log, end in zip(flow.logs, flow.ends, strict=True))
    assert pair.client.idle
    assert pair.server.idle
    assert pair.client_handler.errors == pair.server_handler.errors == []
    for connection in (pair.client, pair.server):
        assert connection._engine.windows._growth_left == limits.tunnel_connection_window_bytes
        assert connection.bulk_streams == 0


@pytest.mark.parametrize("slow", [1, 40])
def test_f19_slow_readers_do_not_stop_the_others(slow: int) -> None:
    pair = WirePair(Limits(tunnel_connection_window_bytes=100_000, tunnel_glitch_burst=100_000))
    stalled = [pair.tunnel() for _ in range(slow)]
    near, _, _, far_log = pair.tunnel()
    for stalled_near, _, stalled_far, _ in stalled:
        stalled_far.pause()
        while stalled_near.write(bytes(50_000)):
            pair.settle()
    pair.settle()
    assert all(far.unread_bytes == 256 * 1024 for _, _, far, _ in stalled)
    near.write(bytes(3_000_000))
    pair.settle()
    assert len(far_log.data) == 3_000_000
    for _, _, stalled_far, _ in stalled:
        stalled_far.resume()
    pair.settle()
    assert all(stalled_near.queued_bytes == 0 for stalled_near, _, _, _ in stalled)


def test_a_relay_of_two_tunnels_carries_back_pressure_across() -> None:
    """Client → first tunnel → relay → second tunnel → a server that reads nothing, then everything."""
    first, second = WirePair(), WirePair()
    near, near_log, middle_in, in_log = first.tunnel()
    middle_out, out_log, far, far_log = second.tunnel()

    def relay(data: bytes) -> None:
        if not middle_out.write(data):
            middle_in.pause()

    in_log.on_feed = relay
    in_log.on_eof = middle_out.finish
    out_log.on_drained = middle_in.resume
    far.pause()
    written = 0
    while near.write(PATTERN):
        written += len(PATTERN)
        first.settle()
        second.settle()
        assert written < 5_000_000, "back-pressure reaches the sender"
    written += len(PATTERN)
    near.finish()
    far.resume()
    for _ in range(1000):
        first.settle()
        second.settle()
    assert far_log.data == PATTERN * (written // len(PATTERN))
    assert far_log.kinds == ["data", "eof"]
    assert "drained" in out_log.kinds
    assert near_log.events == []


def test_a_thousand_streams_come_and_go() -> None:
    pair = WirePair()
    ends = [pair.tunnel() for _ in range(1000)]
    with pytest.raises(TunnelFullError):
        pair.client.open(CONNECT, Recorder())
    for number, (near, _, far, _) in enumerate(ends):
        near.write(b"%d" % number)
        far.write(b"-%d" % number)
        near.finish()
        far.finish()
    pair.settle()
    for number, (_, near_log, _, far_log) in enumerate(ends):
        assert (near_log.data, far_log.data) == (b"-%d" % number, b"%d" % number)
        assert near_log.errors == far_log.errors == [None]
    assert pair.client.idle
    pair.tunnel()


def test_a_refused_connect_reaches_the_caller_as_what_it_is() -> None:
    pair = WirePair()
    near, near_log, far, _ = pair.connect()
    near.write(b"early bytes")
    far.send_headers([(b":status", b"503")], end_stream=True)
    far.close()
    pair.settle()
    assert near_log.kinds == ["headers", "lost"]
    assert near_log.events[0][1:] == (((b":status", b"503"),), True)
    assert isinstance(near_log.errors[0], UpstreamResetError)
