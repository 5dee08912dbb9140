"""What a frame must look like by its header alone: on which stream, of which size.

Theory: checked before a byte of the payload is kept, so that nothing oversized is ever collected. A wrong size of PRIORITY
would be a stream error; it is taken as one of the connection, which §5.4.1 allows, because no legitimate agent sends it.

Source: RFC 9113 §6.
"""

from typing import Final

from weft_core.tunnel import frames
from weft_core.tunnel.breach import ConnectionBreachError
from weft_core.tunnel.frames import ErrorCode
from weft_core.tunnel.settings import ENTRY_BYTES, MAX_ENTRIES

GOAWAY_BYTES: Final = 8
LARGEST_GOAWAY_BYTES: Final = 4096
"""Debug data is kept for the log; nobody needs pages of it."""

_EXACT: Final = {frames.PRIORITY: 5, frames.RST_STREAM: 4, frames.PING: frames.PING_BYTES, frames.WINDOW_UPDATE: 4}
_ON_CONNECTION: Final = frozenset((frames.SETTINGS, frames.PING, frames.GOAWAY))
_ON_STREAM: Final = frozenset((frames.HEADERS, frames.PRIORITY, frames.RST_STREAM, frames.CONTINUATION))
_LARGEST: Final = {frames.SETTINGS: MAX_ENTRIES * ENTRY_BYTES, frames.GOAWAY: LARGEST_GOAWAY_BYTES}


def check_frame(kind: int, stream_id: int, size: int, largest_head: int) -> None:
    """Check a frame of a known type other than DATA.

    Args:
        kind: frame type.
        stream_id: stream it names.
        size: payload bytes.
        largest_head: payload bytes allowed for HEADERS and CONTINUATION.

    Raises:
        ConnectionBreachError: no peer may send such a frame.
    """
    if kind == frames.PUSH_PROMISE:
        raise _breach(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE, although push is off", "push")
    if kind in _ON_CONNECTION if stream_id else kind in _ON_STREAM:
        raise _breach(ErrorCode.PROTOCOL_ERROR, f"frame of type {kind} on stream {stream_id}", "stream_id")
    exact = _EXACT.get(kind)
    if (exact is not None and size != exact) or (kind == frames.GOAWAY and size < GOAWAY_BYTES):
        raise _breach(ErrorCode.FRAME_SIZE_ERROR, f"frame of type {kind} with {size} bytes", "frame_size")
    if exact is None and size > _LARGEST.get(kind, largest_head):
        raise _breach(ErrorCode.ENHANCE_YOUR_CALM, f"frame of type {kind} with {size} bytes", "frame_too_large")


def _breach(code: ErrorCode, message: str, detail: str) -> ConnectionBreachError:
    return ConnectionBreachError(code, message, detail)
