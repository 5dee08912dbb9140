"""Header blocks put together from HEADERS and CONTINUATION frames, bounded in bytes and in frames.

Source: RFC 9113 §6.2, §6.10; CVE-2024-27316 (CONTINUATION flood).
"""

from typing import Final

from weft_core.tunnel import frames
from weft_core.tunnel.breach import ConnectionBreachError
from weft_core.tunnel.frames import ErrorCode

_PRIORITY_BYTES: Final = 5


class HeadAssembly:
    """At most one header block is being put together, and no other frame may come between (§4.3).

    Args:
        head_bytes: largest block.
        continuations: most CONTINUATION frames of one block.
    """

    __slots__ = ("_block", "_continuations", "_frames", "_head_bytes", "end_stream", "stream_id")

    def __init__(self, head_bytes: int, continuations: int) -> None:
        self._head_bytes = head_bytes
        self._continuations = continuations
        self._block = bytearray()
        self._frames = 0
        self.stream_id = 0
        """Whose block is open; 0: none is."""
        self.end_stream = False

    @property
    def largest_payload(self) -> int:
        """Bytes that a HEADERS or CONTINUATION frame may have here, padding and priority included."""
        return self._head_bytes + 256 + _PRIORITY_BYTES

    def begin(self, flags: int, stream_id: int, payload: memoryview) -> bytes | None:
        """Take a HEADERS frame; return its block if that is all of it."""
        fragment = _strip(flags, payload)
        self.end_stream = bool(flags & frames.END_STREAM)
        if flags & frames.END_HEADERS and len(fragment) <= self._head_bytes:
            return bytes(fragment)
        self.stream_id = stream_id
        self._frames = 0
        return self._add(flags, fragment)

    def extend(self, flags: int, payload: memoryview) -> bytes | None:
        """Take a CONTINUATION frame; return the block if that completes it."""
        self._frames += 1
        if self._frames > self._continuations:
            raise ConnectionBreachError(
                ErrorCode.ENHANCE_YOUR_CALM,
                f"more than {self._continuations} CONTINUATION frames",
                "continuation_flood",
            )
        return self._add(flags, payload)

    def _add(self, flags: int, fragment: memoryview) -> bytes | None:
        self._block += fragment
        if len(self._block) > self._head_bytes:
            raise ConnectionBreachError(
                ErrorCode.ENHANCE_YOUR_CALM, f"header block above {self._head_bytes} bytes", "head_too_large"
            )
        if not flags & frames.END_HEADERS:
            return None
        block = bytes(self._block)
        self._block.clear()
        self.stream_id = 0
        return block


def _strip(flags: int, payload: memoryview) -> memoryview:
    """Remove padding and the priority fields, which are deprecated and ignored (§5.3.2)."""
    start, end = 0, len(payload)
    if flags & frames.PADDED:
        if not end:
            raise ConnectionBreachError(ErrorCode.FRAME_SIZE_ERROR, "padded HEADERS without pad length", "frame_size")
        start, end = 1, end - payload[0]
    if flags & frames.WITH_PRIORITY:
        start += _PRIORITY_BYTES
    if start > len(payload):
        raise ConnectionBreachError(ErrorCode.FRAME_SIZE_ERROR, "HEADERS shorter than its own fields", "frame_size")
    if start > end:
        raise ConnectionBreachError(ErrorCode.PROTOCOL_ERROR, "padding as long as the HEADERS frame", "padding")
    return payload[start:end]
