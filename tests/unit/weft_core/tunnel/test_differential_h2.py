"""The h2 library as the other end, as client and as server, with a table of size 0: the same conversations arrive whole."""

from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft_contract.limits import Limits
from weft_core.errors import ClientGoneError, StreamRefusedError, TunnelFullError, TunnelLostError, UpstreamResetError
from weft_core.facts import Header
from weft_core.tunnel import TunnelConnection, TunnelStream
from weft_testing.tunnel_wire import CONNECT, GET, OK, POST, Cut, Handler, Recorder, byte_by_byte, every, take, whole

cuts = pytest.mark.parametrize("cut", [whole, byte_by_byte, every(11)], ids=["whole", "bytes", "elevens"])
BODY = bytes(range(256)) * 4096  # 1 MiB
TRAILERS: list[Header] = [(b"grpc-status", b"0"), (b"x-note", b"done")]


@dataclass
class Seen:
    """What h2 reported of one stream."""

    heads: list[tuple[Header, ...]] = field(default_factory=list)
    trailers: tuple[Header, ...] | None = None
    data: bytearray = field(default_factory=bytearray)
    ended: bool = False
    reset: int | None = None


@dataclass
class Sending:
    """What h2 has still to send on one stream."""

    data: bytes = b""
    at: int = 0
    padding: int | None = None
    trailers: list[Header] | None = None
    end: bool = False


class Library:
    """One h2 connection with a sending loop that respects windows."""

    def __init__(self, *, client: bool) -> None:
        config = h2.config.H2Configuration(client_side=client, header_encoding=None)
        self.conn: Any = h2.connection.H2Connection(config)  # the library is untyped here
        self.conn.local_settings[h2.settings.SettingCodes.HEADER_TABLE_SIZE] = 0
        self.conn.initiate_connection()
        self.conn.encoder.header_table_size = 0
        self.seen: dict[int, Seen] = defaultdict(Seen)
        self.sending: dict[int, Sending] = {}
        self.goaway: tuple[int, int] | None = None
        self.withheld: deque[tuple[int, int]] = deque()
        self.withhold = False
        self.largest = 1 << 24
        self.events: list[Any] = []

    def receive(self, data: bytes) -> None:
        for event in self.conn.receive_data(data):
            self.events.append(event)
            self._note(event)

    def _note(self, event: Any) -> None:
        match event:
            case h2.events.RequestReceived() | h2.events.ResponseReceived() | h2.events.InformationalResponseReceived():
                self.seen[event.stream_id].heads.append(tuple(tuple(header) for header in event.headers))  # type: ignore[misc]  # pairs in fact
            case h2.events.TrailersReceived():
                self.seen[event.stream_id].trailers = tuple(tuple(header) for header in event.headers)  # type: ignore[misc]  # pairs in fact
            case h2.events.DataReceived():
                self.seen[event.stream_id].data += event.data
                self.withheld.append((event.flow_controlled_length, event.stream_id))
            case h2.events.StreamEnded():
                self.seen[event.stream_id].ended = True
            case h2.events.StreamReset():
                self.seen[event.stream_id].reset = event.error_code
                self.sending.pop(event.stream_id, None)
            case h2.events.ConnectionTerminated():
                self.goaway = (event.last_stream_id or 0, int(event.error_code or 0))
            case _:
                pass

    def turn(self) -> bytes:
        """Give credit back, send what windows allow, return the bytes."""
        while self.withheld and not self.withhold:
            size, stream_id = self.withheld.popleft()
            if size:
                self.conn.acknowledge_received_data(size, stream_id)
        for stream_id, job in list(self.sending.items()):
            self._send(stream_id, job)
        return bytes(self.conn.data_to_send())

    def _send(self, stream_id: int, job: Sending) -> None:
        overhead = 0 if job.padding is None else job.padding + 1
        while job.at < len(job.data):
            window = self.conn.local_flow_control_window(stream_id)
            room = min(window, self.conn.max_outbound_frame_size, self.largest) - overhead
            if room <= 0:
                return
            piece = job.data[job.at : job.at + room]
            self.conn.send_data(stream_id, piece, pad_length=job.padding)
            job.at += len(piece)
        if job.trailers is not None:
            self.conn.send_headers(stream_id, job.trailers, end_stream=True)
        elif job.end:
            self.conn.end_stream(stream_id)
        del self.sending[stream_id]


class Joined:
    """An engine of ours and the library, on a wire."""

    def __init__(self, *, client: bool, limits: Limits | None = None, cut: Cut = whole) -> None:
        self.handler = Handler()
        self.ours = TunnelConnection(client=client, limits=limits or Limits(), handler=self.handler)
        self.theirs = Library(client=not client)
        self.cut = cut

    def settle(self) -> None:
        for _ in range(100_000):
            up, down = take(self.ours), self.theirs.turn()
            if not up and not down:
                return
            for piece in self.cut(up):
                self.theirs.receive(piece)
            for piece in self.cut(down):
                self.ours.receive(memoryview(piece))
        raise AssertionError("the two do not come to rest")

    def open(self, headers: list[Header], *, end_stream: bool = False) -> tuple[TunnelStream, Recorder]:
        recorder = Recorder()
        recorder.stream = self.ours.open(headers, recorder, end_stream=end_stream)
        self.settle()
        return recorder.stream, recorder


# -- our client, their server -----------------------------------------------------------------------------------------


@cuts
@pytest.mark.parametrize("padding", [None, 0, 255])
def test_our_client_calls_their_server(cut: Cut, padding: int | None) -> None:
    joined = Joined(client=True, cut=cut)
    stream, recorder = joined.open(POST)
    stream.write(b"question " * 100)
    stream.send_headers([(b"x-request-trailer", b"1")], end_stream=True)
    joined.settle()
    seen = joined.theirs.seen[stream.id]
    assert seen.heads == [tuple(POST)]
    assert bytes(seen.data) == b"question " * 100
    assert seen.trailers == ((b"x-request-trailer", b"1"),)
    assert seen.ended
    joined.theirs.conn.send_headers(stream.id, [(b":status", b"103"), (b"link", b"</a>")])
    joined.theirs.conn.send_headers(stream.id, OK)
    joined.theirs.sending[stream.id] = Sending(b"answer " * 1000, padding=padding, trailers=TRAILERS)
    joined.settle()
    assert [event for event in recorder.events if event[0] != "data"] == [
        ("headers", ((b":status", b"103"), (b"link", b"</a>")), False),
        ("headers", tuple(OK), False),
        ("headers", tuple(TRAILERS), True),
        ("lost", "NoneType"),
    ]
    assert recorder.data == b"answer " * 1000
    assert joined.ours.idle
    assert joined.theirs.conn.open_outbound_streams == joined.theirs.conn.open_inbound_streams == 0


@cuts
def test_bulk_both_ways_under_flow_control(cut: Cut) -> None:
    size = len(BODY) if cut is whole else 200_000
    joined = Joined(client=True, cut=cut)
    stream, recorder = joined.open(POST)
    joined.theirs.conn.send_headers(stream.id, OK)
    joined.theirs.sending[stream.id] = Sending(BODY[:size], end=True)
    stream.write(BODY[:size])
    stream.finish()
    joined.settle()
    assert bytes(joined.theirs.seen[stream.id].data) == BODY[:size]
    assert recorder.data == BODY[:size]
    assert recorder.kinds[-2:] == ["eof", "lost"]


def test_their_withheld_credit_stops_us() -> None:
    joined = Joined(client=True)
    joined.theirs.withhold = True
    stream, recorder = joined.open(POST)
    assert not stream.write(BODY)
    joined.settle()
    assert len(joined.theirs.seen[stream.id].data) == 65_535
    assert stream.queued_bytes == len(BODY) - 65_535
    joined.theirs.withhold = False
    joined.settle()
    assert bytes(joined.theirs.seen[stream.id].data) == BODY
    assert recorder.kinds == ["drained"]


def test_our_pause_stops_them() -> None:
    joined = Joined(client=True, limits=Limits(tunnel_stream_window_bytes=30_000))
    stream, recorder = joined.open(GET, end_stream=True)
    stream.pause()
    joined.theirs.conn.send_headers(stream.id, OK)
    joined.theirs.sending[stream.id] = Sending(BODY, end=True, padding=10)
    joined.settle()
    assert recorder.kinds == ["headers"]
    assert 29_000 < stream.unread_bytes <= 30_000
    stream.resume()
    joined.settle()
    assert recorder.data == BODY
    assert recorder.kinds[-2:] == ["eof", "lost"]


def test_their_windows_change_under_us() -> None:
    joined = Joined(client=True)
    joined.theirs.withhold = True
    first, _ = joined.open(POST)
    first.write(BODY[:1000])
    joined.settle()
    for window in (100, 2_000, 0, 70_000, 5):
        joined.theirs.conn.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        first.write(BODY[:50])
        joined.settle()
        ours = min(first._credit, 65_535 - first.bytes_out)  # the library gives the smaller of stream and connection
        assert ours == joined.theirs.conn.remote_flow_control_window(first.id)
    joined.theirs.withhold = False
    joined.theirs.conn.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 65_535})
    joined.settle()
    assert bytes(joined.theirs.seen[first.id].data) == BODY[:1000] + BODY[:50] * 5


def test_their_frame_size_is_used() -> None:
    joined = Joined(client=True)
    joined.settle()
    joined.theirs.conn.update_settings({h2.settings.SettingCodes.MAX_FRAME_SIZE: 40_000})
    joined.settle()
    stream, _ = joined.open(POST)
    stream.write(BODY[:60_000])
    joined.settle()
    sizes = [len(event.data) for event in joined.theirs.events if isinstance(event, h2.events.DataReceived)]
    assert sizes == [40_000, 20_000]


def test_their_stream_limit_is_kept() -> None:
    joined = Joined(client=True)
    joined.settle()
    joined.theirs.conn.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 2})
    joined.settle()
    joined.open(POST)
    joined.open(POST)
    with pytest.raises(TunnelFullError):
        joined.open(POST)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (h2.errors.ErrorCodes.CANCEL, UpstreamResetError),
        (h2.errors.ErrorCodes.REFUSED_STREAM, StreamRefusedError),
        (h2.errors.ErrorCodes.INTERNAL_ERROR, UpstreamResetError),
    ],
)
def test_their_resets_reach_us(code: int, error: type[Exception]) -> None:
    joined = Joined(client=True)
    stream, recorder = joined.open(POST)
    joined.theirs.conn.reset_stream(stream.id, code)
    joined.settle()
    assert [type(found) for found in recorder.errors] == [error]
    assert joined.ours.idle


def test_our_resets_reach_them_and_late_frames_do_no_harm() -> None:
    joined = Joined(client=True)
    stream, recorder = joined.open(POST)
    joined.theirs.conn.send_headers(stream.id, OK)
    joined.theirs.sending[stream.id] = Sending(BODY[:50_000], end=True)
    stream.abort()
    late = joined.theirs.turn()
    joined.ours.receive(memoryview(late))
    joined.settle()
    assert joined.theirs.seen[stream.id].reset == h2.errors.ErrorCodes.CANCEL
    assert recorder.events == []
    _, other = joined.open(GET, end_stream=True)
    joined.theirs.conn.send_headers(3, OK, end_stream=True)
    joined.settle()
    assert other.errors == [None]


def test_their_goaway_with_and_without_error() -> None:
    for code, expected in ((0, UpstreamResetError), (2, TunnelLostError)):
        joined = Joined(client=True)
        _, recorder = joined.open(POST)
        joined.theirs.conn.close_connection(error_code=code)
        joined.settle()
        assert joined.ours.draining
        assert joined.handler.events[0] == (("goaway",) if code == 0 else ("broken", "TunnelLostError"))
        joined.ours.lost(UpstreamResetError("socket closed"))
        assert [type(error) for error in recorder.errors] == [expected]


# -- their client, our server -----------------------------------------------------------------------------------------


@cuts
@pytest.mark.parametrize("padding", [None, 0, 200])
def test_their_client_calls_our_server(cut: Cut, padding: int | None) -> None:
    joined = Joined(client=False, cut=cut)
    big = (b"x-big", b"v" * 40_000)  # several CONTINUATION frames each way
    joined.theirs.conn.send_headers(1, [*POST, big])
    joined.theirs.sending[1] = Sending(BODY[:100_000], padding=padding, trailers=[(b"x-sum", b"7")])
    joined.settle()
    stream, recorder = joined.handler.streams[0], joined.handler.recorders[0]
    assert [event for event in recorder.events if event[0] != "data"] == [
        ("opened", (*POST, big), False),
        ("headers", ((b"x-sum", b"7"),), True),
    ]
    assert recorder.data == BODY[:100_000]
    stream.send_headers([*OK, big])
    stream.write(BODY[:100_000])
    stream.send_headers(TRAILERS, end_stream=True)
    joined.settle()
    seen = joined.theirs.seen[1]
    assert seen.heads == [(*OK, big)]
    assert bytes(seen.data) == BODY[:100_000]
    assert seen.trailers == tuple(TRAILERS)
    assert recorder.errors == [None]
    assert joined.ours.idle


def test_their_client_is_stopped_by_our_pause_and_resets() -> None:
    joined = Joined(client=False)
    joined.theirs.conn.send_headers(1, POST)
    joined.settle()
    stream, recorder = joined.handler.streams[0], joined.handler.recorders[0]
    stream.pause()
    joined.theirs.sending[1] = Sending(BODY, end=True)
    joined.settle()
    assert stream.unread_bytes == 256 * 1024
    joined.theirs.sending.clear()
    joined.theirs.conn.reset_stream(1, 8)
    joined.settle()
    assert isinstance(recorder.errors[0], ClientGoneError)


def test_our_windows_grow_for_their_bulk() -> None:
    joined = Joined(client=False)
    joined.theirs.largest = (
        64 * 1024
    )  # as large as our own sender's turns; one frame per window leaves nothing to measure
    joined.theirs.conn.send_headers(1, POST)
    joined.theirs.sending[1] = Sending(BODY * 8, end=True)
    joined.settle()
    assert joined.handler.streams[0]._size > 256 * 1024
    assert joined.handler.recorders[0].data == BODY * 8


def test_our_goaway_tells_them() -> None:
    joined = Joined(client=False)
    joined.theirs.conn.send_headers(1, POST)
    joined.settle()
    joined.ours.drain()
    joined.settle()
    assert joined.theirs.goaway == (1, 0)


def test_a_connect_stream_with_their_client() -> None:
    joined = Joined(client=False)
    joined.theirs.conn.config.validate_outbound_headers = False
    joined.theirs.conn.send_headers(1, CONNECT)
    joined.settle()
    stream, recorder = joined.handler.streams[0], joined.handler.recorders[0]
    stream.send_headers(OK)
    stream.write(b"greeting")
    joined.theirs.sending[1] = Sending(b"bytes", end=True)
    joined.settle()
    stream.finish()
    joined.settle()
    assert recorder.events == [("opened", tuple(CONNECT), False), ("data", b"bytes"), ("eof",), ("lost", "NoneType")]
    assert bytes(joined.theirs.seen[1].data) == b"greeting"
    assert joined.theirs.seen[1].ended


def test_what_the_library_calls_a_breach_we_do_too() -> None:
    joined = Joined(client=False)
    joined.settle()
    joined.theirs.conn.encoder.header_table_size = 4096  # a dynamic table after all
    for stream_id in (1, 3):
        joined.theirs.conn.send_headers(stream_id, [*POST, (b"x-indexed", b"value")])
    joined.settle()
    assert joined.theirs.goaway is not None
    assert joined.theirs.goaway[1] == h2.errors.ErrorCodes.COMPRESSION_ERROR


# -- random conversations ---------------------------------------------------------------------------------------------

requests = st.lists(
    st.tuples(
        st.integers(0, 60_000),  # request body
        st.integers(0, 60_000),  # response body
        st.sampled_from([None, 0, 7, 255]),  # padding
        st.booleans(),  # trailers
        st.sampled_from(["none", "near", "far"]),  # who resets
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(requests=requests, window=st.sampled_from([600, 70_000]), cut=st.sampled_from([whole, every(1000), every(17)]))
def test_random_exchanges_with_their_server(
    requests: list[tuple[int, int, int | None, bool, str]], window: int, cut: Cut
) -> None:
    joined = Joined(client=True, limits=Limits(tunnel_stream_window_bytes=window, tunnel_glitch_burst=100_000), cut=cut)
    opened = []
    for up, down, padding, with_trailers, resets in requests:
        recorder = Recorder()
        stream = joined.ours.open(POST, recorder)
        stream.write(BODY[:up])
        opened.append((stream, recorder))
        joined.settle()
        joined.theirs.conn.send_headers(stream.id, OK)
        joined.theirs.sending[stream.id] = Sending(
            BODY[:down], padding=padding, trailers=TRAILERS if with_trailers else None, end=True
        )
        if resets == "near":
            stream.abort()
            joined.theirs.sending.pop(stream.id)
        elif resets == "far":
            joined.theirs.sending.pop(stream.id)
            joined.theirs.conn.reset_stream(stream.id, 8)
        else:
            stream.finish()
    joined.settle()
    for (stream, recorder), (up, down, _, with_trailers, resets) in zip(opened, requests, strict=True):
        seen = joined.theirs.seen[stream.id]
        assert BODY.startswith(bytes(seen.data))
        if resets == "none":
            assert len(seen.data) == up
            assert seen.ended
            assert recorder.data == BODY[:down]
            assert recorder.events[-2] == (("headers", tuple(TRAILERS), True) if with_trailers else ("eof",))
            assert recorder.errors == [None]
    assert joined.ours.idle
    assert joined.handler.errors == []


@settings(max_examples=60, deadline=None)
@given(requests=requests, window=st.sampled_from([600, 70_000]), cut=st.sampled_from([whole, every(1000), every(17)]))
def test_random_exchanges_with_their_client(
    requests: list[tuple[int, int, int | None, bool, str]], window: int, cut: Cut
) -> None:
    joined = Joined(
        client=False, limits=Limits(tunnel_stream_window_bytes=window, tunnel_glitch_burst=100_000), cut=cut
    )

    def answer(stream: TunnelStream, _recorder: Recorder) -> None:
        _, down, _, with_trailers, resets = requests[stream.id // 2]
        stream.send_headers(OK)
        stream.write(BODY[:down])
        if resets == "far":
            stream.abort()
        elif with_trailers:
            stream.send_headers(TRAILERS, end_stream=True)
        else:
            stream.finish()

    joined.handler.on_opened = answer
    joined.settle()
    for number, (up, _, padding, with_trailers, resets) in enumerate(requests):
        stream_id = 2 * number + 1
        joined.theirs.conn.send_headers(stream_id, POST)
        if resets == "near":
            joined.theirs.conn.reset_stream(stream_id, 8)
        elif resets == "none":
            joined.theirs.sending[stream_id] = Sending(
                BODY[:up], padding=padding, trailers=TRAILERS if with_trailers else None, end=True
            )
        joined.settle()
    for number, (up, down, _, with_trailers, resets) in enumerate(requests):
        recorder, seen = joined.handler.recorders[number], joined.theirs.seen[2 * number + 1]
        if resets == "none":
            assert recorder.data == BODY[:up]
            assert recorder.errors == [None]
            assert len(seen.data) == down
            assert seen.ended
            assert seen.trailers == (tuple(TRAILERS) if with_trailers else None)
    assert joined.ours.idle
    assert joined.handler.errors == []
