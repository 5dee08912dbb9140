"""HTTP/2 frames as bytes: types, flags, settings, error codes, and the frames that are built whole.

Source: RFC 9113 §4.1 (layout), §6 (types), §7 (codes).
"""

from collections.abc import Iterable
from enum import IntEnum
from struct import Struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER_BYTES: Final = 9

FRAME: Final = Struct(">IBI")
"""Frame header as `length << 8 | type`, flags, stream id: one word less to take apart than the five fields of the RFC."""
LONG: Final = Struct(">I")
SETTING: Final = Struct(">HI")

DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
WITH_PRIORITY: Final = 0x20

HEADER_TABLE_SIZE: Final = 1
ENABLE_PUSH: Final = 2
MAX_CONCURRENT_STREAMS: Final = 3
INITIAL_WINDOW_SIZE: Final = 4
MAX_FRAME_SIZE: Final = 5
MAX_HEADER_LIST_SIZE: Final = 6

ID_MASK: Final = 0x7FFF_FFFF
"""The reserved bit of a stream id is ignored on receipt (RFC 9113 §4.1)."""
LARGEST_ID: Final = 0x7FFF_FFFF
LARGEST_WINDOW: Final = 0x7FFF_FFFF
DEFAULT_WINDOW: Final = 65_535
SMALLEST_MAX_FRAME: Final = 16_384
LARGEST_MAX_FRAME: Final = (1 << 24) - 1
PING_BYTES: Final = 8
DEBUG_BYTES: Final = 200
"""Explanation carried by a GOAWAY of ours: one sentence for whoever reads the peer's log."""


class ErrorCode(IntEnum):
    """Why a stream or the connection ends. Source: RFC 9113 §7."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


def code_name(code: int) -> str:
    """Return the RFC's name of an error code, or its number where there is none."""
    return ErrorCode(code).name if code in ErrorCode._value2member_map_ else f"code {code:#x}"


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """Return one whole frame."""
    return FRAME.pack(len(payload) << 8 | kind, flags, stream_id) + payload


SETTINGS_ACK: Final = frame(SETTINGS, ACK, 0)


def settings_frame(pairs: Iterable[tuple[int, int]]) -> bytes:
    """Return a SETTINGS frame with these identifiers and values."""
    return frame(SETTINGS, 0, 0, b"".join(SETTING.pack(*pair) for pair in pairs))


def ping_frame(payload: bytes, *, ack: bool = False) -> bytes:
    """Return a PING frame; `payload` has eight bytes."""
    return frame(PING, ACK if ack else 0, 0, payload)


def window_frame(stream_id: int, increment: int) -> bytes:
    """Return a WINDOW_UPDATE frame; stream 0 is the connection."""
    return frame(WINDOW_UPDATE, 0, stream_id, LONG.pack(increment))


def reset_frame(stream_id: int, code: int) -> bytes:
    """Return a RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream_id, LONG.pack(code))


def goaway_frame(last_id: int, code: int, why: str = "") -> bytes:
    """Return a GOAWAY frame that explains itself."""
    debug = why.encode("ascii", "replace")[:DEBUG_BYTES]
    return frame(GOAWAY, 0, 0, LONG.pack(last_id) + LONG.pack(code) + debug)


def head_frames(stream_id: int, block: bytes, *, end_stream: bool, max_frame: int) -> bytes:
    """Return a header block as HEADERS and as many CONTINUATION frames as it needs.

    Args:
        stream_id: the stream it belongs to.
        block: HPACK block.
        end_stream: whether the stream ends with it.
        max_frame: the peer's SETTINGS_MAX_FRAME_SIZE, bytes.
    """
    end = END_STREAM if end_stream else 0
    if len(block) <= max_frame:
        return frame(HEADERS, end | END_HEADERS, stream_id, block)
    pieces = [frame(HEADERS, end, stream_id, block[:max_frame])]
    for at in range(max_frame, len(block), max_frame):
        last = at + max_frame >= len(block)
        pieces.append(frame(CONTINUATION, END_HEADERS if last else 0, stream_id, block[at : at + max_frame]))
    return b"".join(pieces)
