"""Frames judged by their header alone."""

import pytest

from weft_core.tunnel import frames
from weft_core.tunnel.breach import ConnectionBreachError
from weft_core.tunnel.frames import ErrorCode
from weft_core.tunnel.rules import LARGEST_GOAWAY_BYTES, check_frame

HEAD_BYTES = 70_000


def verdict(kind: int, stream_id: int, size: int) -> ErrorCode | None:
    try:
        check_frame(kind, stream_id, size, HEAD_BYTES)
    except ConnectionBreachError as error:
        return error.code
    return None


@pytest.mark.parametrize(
    ("kind", "stream_id", "sizes"),
    [
        (frames.HEADERS, 1, [0, 1, HEAD_BYTES]),
        (frames.CONTINUATION, 1, [0, 1, HEAD_BYTES]),
        (frames.PRIORITY, 1, [5]),
        (frames.RST_STREAM, 1, [4]),
        (frames.SETTINGS, 0, [0, 6, 384]),
        (frames.PING, 0, [8]),
        (frames.GOAWAY, 0, [8, 9, LARGEST_GOAWAY_BYTES]),
        (frames.WINDOW_UPDATE, 0, [4]),
        (frames.WINDOW_UPDATE, 1, [4]),
    ],
)
def test_what_passes(kind: int, stream_id: int, sizes: list[int]) -> None:
    assert [verdict(kind, stream_id, size) for size in sizes] == [None] * len(sizes)


@pytest.mark.parametrize(("kind", "size"), [(frames.SETTINGS, 0), (frames.PING, 8), (frames.GOAWAY, 8)])
def test_frames_of_the_connection_name_no_stream(kind: int, size: int) -> None:
    assert verdict(kind, 1, size) is ErrorCode.PROTOCOL_ERROR


@pytest.mark.parametrize(
    ("kind", "size"),
    [(frames.HEADERS, 5), (frames.CONTINUATION, 5), (frames.PRIORITY, 5), (frames.RST_STREAM, 4)],
)
def test_frames_of_a_stream_name_one(kind: int, size: int) -> None:
    assert verdict(kind, 0, size) is ErrorCode.PROTOCOL_ERROR


@pytest.mark.parametrize(
    ("kind", "stream_id", "right"),
    [
        (frames.PRIORITY, 1, 5),
        (frames.RST_STREAM, 1, 4),
        (frames.PING, 0, 8),
        (frames.WINDOW_UPDATE, 0, 4),
        (frames.WINDOW_UPDATE, 1, 4),
    ],
)
def test_sizes_that_are_fixed(kind: int, stream_id: int, right: int) -> None:
    for size in (0, right - 1, right + 1, 16_384):
        assert verdict(kind, stream_id, size) is ErrorCode.FRAME_SIZE_ERROR


def test_a_goaway_has_its_two_numbers() -> None:
    assert verdict(frames.GOAWAY, 0, 7) is ErrorCode.FRAME_SIZE_ERROR


@pytest.mark.parametrize(
    ("kind", "stream_id", "largest"),
    [
        (frames.HEADERS, 1, HEAD_BYTES),
        (frames.CONTINUATION, 1, HEAD_BYTES),
        (frames.SETTINGS, 0, 384),
        (frames.GOAWAY, 0, LARGEST_GOAWAY_BYTES),
    ],
)
def test_nothing_oversized_is_collected(kind: int, stream_id: int, largest: int) -> None:
    assert verdict(kind, stream_id, largest + 1) is ErrorCode.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("stream_id", [0, 1, 2])
def test_pushes_are_refused(stream_id: int) -> None:
    assert verdict(frames.PUSH_PROMISE, stream_id, 20) is ErrorCode.PROTOCOL_ERROR
