"""Frames that are built whole: hyperframe reads what we write."""

import pytest
from hyperframe.frame import (
    ContinuationFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from weft_core.tunnel import frames


def parse(data: bytes) -> list[Frame]:
    found = []
    while data:
        frame, length = Frame.parse_frame_header(memoryview(data[:9]))
        frame.parse_body(memoryview(data[9 : 9 + length]))
        assert len(data) >= 9 + length
        data = data[9 + length :]
        found.append(frame)
    return found


def test_settings() -> None:
    (frame,) = parse(frames.settings_frame([(frames.HEADER_TABLE_SIZE, 0), (frames.MAX_FRAME_SIZE, 1 << 20)]))
    assert isinstance(frame, SettingsFrame)
    assert frame.settings == {1: 0, 5: 1 << 20}
    assert not frame.flags
    (ack,) = parse(frames.SETTINGS_ACK)
    assert "ACK" in ack.flags


def test_ping() -> None:
    (question,) = parse(frames.ping_frame(b"12345678"))
    (answer,) = parse(frames.ping_frame(b"12345678", ack=True))
    assert isinstance(question, PingFrame)
    assert isinstance(answer, PingFrame)
    assert question.opaque_data == answer.opaque_data == b"12345678"
    assert ("ACK" in question.flags, "ACK" in answer.flags) == (False, True)


def test_window_and_reset() -> None:
    window, reset = parse(frames.window_frame(7, 0x7FFFFFFF) + frames.reset_frame(9, frames.ErrorCode.CANCEL))
    assert isinstance(window, WindowUpdateFrame)
    assert (window.stream_id, window.window_increment) == (7, 0x7FFFFFFF)
    assert isinstance(reset, RstStreamFrame)
    assert (reset.stream_id, reset.error_code) == (9, 8)


def test_goaway_explains_itself_within_bounds() -> None:
    (frame,) = parse(frames.goaway_frame(41, 11, "calm down é " + "x" * 1000))
    assert isinstance(frame, GoAwayFrame)
    assert (frame.last_stream_id, frame.error_code) == (41, 11)
    assert frame.additional_data.startswith(b"calm down ? xxx")
    assert len(frame.additional_data) == frames.DEBUG_BYTES


@pytest.mark.parametrize("size", [0, 1, 16_384, 16_385, 32_768, 50_000])
@pytest.mark.parametrize("end_stream", [False, True])
def test_a_head_is_split_as_the_peer_allows(size: int, end_stream: bool) -> None:
    block = bytes(range(256)) * (size // 256) + bytes(size % 256)
    first, *rest = parse(frames.head_frames(3, block, end_stream=end_stream, max_frame=16_384))
    assert isinstance(first, HeadersFrame)
    others = [frame for frame in rest if isinstance(frame, ContinuationFrame)]
    assert others == rest
    assert first.data + b"".join(frame.data for frame in others) == block
    assert ("END_STREAM" in first.flags) is end_stream
    flagged = ["END_HEADERS" in frame.flags for frame in (first, *others)]
    assert flagged == [False] * (len(flagged) - 1) + [True]
    assert all(0 < len(frame.data) <= 16_384 for frame in others)


def test_codes_have_names() -> None:
    assert frames.code_name(11) == "ENHANCE_YOUR_CALM"
    assert frames.code_name(0xABCD) == "code 0xabcd"
