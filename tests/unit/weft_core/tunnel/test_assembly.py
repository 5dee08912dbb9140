"""Header blocks put together: padding, priority, CONTINUATION, bounds."""

import pytest

from weft_core.tunnel.assembly import HeadAssembly
from weft_core.tunnel.breach import ConnectionBreachError
from weft_core.tunnel.frames import END_HEADERS, END_STREAM, PADDED, WITH_PRIORITY, ErrorCode


def view(data: bytes) -> memoryview:
    return memoryview(data)


def test_a_block_in_one_frame() -> None:
    assembly = HeadAssembly(100, 8)
    assert assembly.begin(END_HEADERS | END_STREAM, 5, view(b"block")) == b"block"
    assert assembly.end_stream
    assert assembly.stream_id == 0


def test_a_block_in_pieces() -> None:
    assembly = HeadAssembly(100, 8)
    assert assembly.begin(0, 5, view(b"one ")) is None
    assert (assembly.stream_id, assembly.end_stream) == (5, False)
    assert assembly.extend(0, view(b"")) is None
    assert assembly.extend(0, view(b"two ")) is None
    assert assembly.extend(END_HEADERS, view(b"three")) == b"one two three"
    assert assembly.stream_id == 0
    for _ in range(20):
        assert assembly.begin(0, 7, view(b"ne")) is None
        assert assembly.extend(END_HEADERS, view(b"xt")) == b"next", "nothing is left of the last one"


@pytest.mark.parametrize(
    ("flags", "payload", "block"),
    [
        (PADDED, b"\x03block\0\0\0", b"block"),
        (PADDED, b"\x00block", b"block"),
        (PADDED, b"\x03\0\0\0", b""),
        (WITH_PRIORITY, b"\0\0\0\x01\x10block", b"block"),
        (PADDED | WITH_PRIORITY, b"\x02\0\0\0\x01\x10block\0\0", b"block"),
        (WITH_PRIORITY, b"\0\0\0\x01\x10", b""),
        (0, b"", b""),
    ],
)
def test_padding_and_priority_are_removed(flags: int, payload: bytes, block: bytes) -> None:
    assert HeadAssembly(100, 8).begin(flags | END_HEADERS, 1, view(payload)) == block


@pytest.mark.parametrize(
    ("flags", "payload", "code"),
    [
        (PADDED, b"", ErrorCode.FRAME_SIZE_ERROR),
        (WITH_PRIORITY, b"\0\0\0\x01", ErrorCode.FRAME_SIZE_ERROR),
        (PADDED | WITH_PRIORITY, b"\0\0\0\0\x01", ErrorCode.FRAME_SIZE_ERROR),
        (PADDED, b"\x06block", ErrorCode.PROTOCOL_ERROR),
        (PADDED, b"\xff", ErrorCode.PROTOCOL_ERROR),
        (PADDED | WITH_PRIORITY, b"\x03\0\0\0\x01\x10ab", ErrorCode.PROTOCOL_ERROR),
    ],
)
def test_padding_that_does_not_fit(flags: int, payload: bytes, code: ErrorCode) -> None:
    with pytest.raises(ConnectionBreachError) as caught:
        HeadAssembly(100, 8).begin(flags | END_HEADERS, 1, view(payload))
    assert caught.value.code is code


def test_cve_2024_27316_continuation_flood() -> None:
    assembly = HeadAssembly(1000, 8)
    assembly.begin(0, 1, view(b"x"))
    for _ in range(8):
        assert assembly.extend(0, view(b"x")) is None
    with pytest.raises(ConnectionBreachError) as caught:
        assembly.extend(0, view(b"x"))
    assert caught.value.code is ErrorCode.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("flags", [0, END_HEADERS])
def test_blocks_are_bounded(flags: int) -> None:
    assert HeadAssembly(100, 8).begin(END_HEADERS, 1, view(bytes(100))) is not None
    with pytest.raises(ConnectionBreachError) as caught:
        HeadAssembly(100, 8).begin(flags, 1, view(bytes(101)))
    assert caught.value.code is ErrorCode.ENHANCE_YOUR_CALM
    assembly = HeadAssembly(100, 8)
    assembly.begin(0, 1, view(bytes(60)))
    with pytest.raises(ConnectionBreachError):
        assembly.extend(flags, view(bytes(41)))
