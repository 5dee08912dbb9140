"""Any chunking gives the same events, for legal conversations and for broken ones."""

from hypothesis import given, settings
from hypothesis import strategies as st

from weft_contract.limits import Limits
from weft_core.facts import Header
from weft_core.tunnel import TunnelStream
from weft_testing.tunnel_wire import (
    ACK,
    CONNECT,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GET,
    HEADERS,
    PADDED,
    PING,
    POST,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    Event,
    Frame,
    RawPeer,
    Recorder,
    raw,
    raw_goaway,
    raw_head,
    raw_long,
    raw_settings,
)

LIMITS = Limits(tunnel_stream_window_bytes=2_000, tunnel_head_bytes=4_000)
TRAILERS: list[Header] = [(b"x", b"y")]
stream_ids = st.sampled_from([1, 1, 3, 3, 5, 2, 0, 9])
payloads = st.sampled_from([b"", b"a", b"0123456789" * 12, b"z" * 1_900, b"q" * 2_001])


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """One frame, mostly legal."""
    stream_id, payload = draw(stream_ids), draw(payloads)
    end = draw(st.sampled_from([0, 0, 0, END_STREAM]))
    padding = draw(st.integers(0, 20))
    kind = draw(st.sampled_from(range(17)))
    match kind:
        case 0 | 1 | 2:
            return raw(DATA, end, stream_id, payload)
        case 3:
            return raw(DATA, PADDED | end, stream_id, bytes((padding,)) + payload + bytes(padding))
        case 4 | 5:
            return raw_head(stream_id, draw(st.sampled_from([POST, CONNECT, GET, TRAILERS])), end_stream=bool(end))
        case 6:
            block = raw_head(1, POST)[9:]
            at = draw(st.integers(0, len(block)))
            first = raw(
                HEADERS,
                PADDED | WITH_PRIORITY | end,
                stream_id,
                bytes((padding,)) + bytes(5) + block[:at] + bytes(padding),
            )
            return first + raw(CONTINUATION, END_HEADERS, stream_id, block[at:])
        case 7:
            return raw_long(WINDOW_UPDATE, stream_id, draw(st.sampled_from([1, 1000, 0])))
        case 8:
            return raw_long(RST_STREAM, stream_id, draw(st.sampled_from([0, 8])))
        case 9:
            return raw(PING, 0, 0, b"12345678")
        case 10:
            return raw_settings((4, draw(st.sampled_from([0, 5, 70_000]))))
        case 11:
            return raw(SETTINGS, ACK)
        case 12:
            return raw(PRIORITY, 0, stream_id, bytes(5))
        case 13:
            return raw(draw(st.integers(10, 255)), draw(st.integers(0, 255)), stream_id, payload)
        case 14:
            return raw_goaway(draw(st.sampled_from([0, 99])))
        case 15:
            return raw(HEADERS, end, stream_id, b"\x82")
        case _:
            return draw(st.binary(max_size=12))


def _pause_the_third(stream: TunnelStream, _recorder: Recorder) -> None:
    if stream.id == 3:
        stream.pause()


def play(data: bytes, edges: list[int]) -> tuple[list[Event], list[list[Event]], list[Frame], dict[int, int]]:
    """Feed `data` cut at `edges`; return all that could be observed."""
    fixture = RawPeer(limits=LIMITS)
    fixture.handler.on_opened = _pause_the_third
    sent = []
    for start, stop in zip([0, *edges], [*edges, len(data)], strict=True):
        if start < stop:
            sent += fixture.ask(data[start:stop])
    windows: dict[int, int] = {}
    for frame in sent:
        if frame.kind == WINDOW_UPDATE and frame.stream_id:
            windows[frame.stream_id] = windows.get(frame.stream_id, 0) + frame.number
    for stream in fixture.handler.streams:
        stream.resume()
    return (
        fixture.handler.events,
        [recorder.events for recorder in fixture.handler.recorders],
        [frame for frame in sent if frame.kind != WINDOW_UPDATE],
        windows,
    )


@settings(max_examples=300, deadline=None)
@given(st.data(), st.lists(frames(), max_size=14))
def test_any_chunking_gives_the_same_events(draw: st.DataObject, sequence: list[bytes]) -> None:
    data = raw_head(1, CONNECT) + raw_head(3, POST) + b"".join(sequence)
    edges = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=12)))
    at_once, in_pieces = play(data, []), play(data, edges)
    assert at_once[:3] == in_pieces[:3]
    byte_by_byte = play(data, list(range(len(data))))
    assert at_once[0] == byte_by_byte[0]
    assert at_once[1] == byte_by_byte[1]
    assert at_once[2] == byte_by_byte[2]
