"""SETTINGS: what we tell the peer, and what the peer told us.

Source: RFC 9113 §6.5; RFC 8441 (ENABLE_CONNECT_PROTOCOL is not ours and ignored like any unknown setting).
"""

from dataclasses import dataclass
from typing import Final

from weft_contract.limits import Limits
from weft_core.tunnel import frames
from weft_core.tunnel.breach import ConnectionBreachError
from weft_core.tunnel.frames import ErrorCode

ENTRY_BYTES: Final = frames.SETTING.size
MAX_ENTRIES: Final = 64
"""Per frame; six settings are known, and no setting needs saying ten times."""


def own_settings(limits: Limits, *, client: bool) -> bytes:
    """Return our SETTINGS frame."""
    pairs = [
        (frames.HEADER_TABLE_SIZE, 0),
        (frames.INITIAL_WINDOW_SIZE, min(limits.tunnel_stream_window_bytes, frames.LARGEST_WINDOW)),
        (frames.MAX_FRAME_SIZE, own_max_frame(limits)),
        (frames.MAX_HEADER_LIST_SIZE, limits.tunnel_head_bytes),
    ]
    pairs.append((frames.ENABLE_PUSH, 0) if client else (frames.MAX_CONCURRENT_STREAMS, limits.tunnel_streams))
    return frames.settings_frame(pairs)


def own_max_frame(limits: Limits) -> int:
    """Return the largest frame we accept, within what the RFC lets us say."""
    return max(frames.SMALLEST_MAX_FRAME, min(limits.tunnel_frame_bytes, frames.LARGEST_MAX_FRAME))


@dataclass(slots=True)
class PeerSettings:
    """What the peer allows us. Before its first SETTINGS: what RFC 9113 says, and as many streams as we would allow."""

    client: bool
    """Whether we are the client, which a server must not push to."""
    max_streams: int
    window: int = frames.DEFAULT_WINDOW
    max_frame: int = frames.SMALLEST_MAX_FRAME
    max_head_bytes: int = frames.LARGEST_WINDOW

    def apply(self, payload: memoryview) -> None:
        """Take the entries of one SETTINGS frame in order.

        Raises:
            ConnectionBreachError: an entry has a value that it must not have, or there are far too many.
        """
        size = len(payload)
        if size % ENTRY_BYTES:
            raise ConnectionBreachError(
                ErrorCode.FRAME_SIZE_ERROR, "SETTINGS is not a list of six-byte entries", "settings"
            )
        if size > MAX_ENTRIES * ENTRY_BYTES:
            raise ConnectionBreachError(
                ErrorCode.ENHANCE_YOUR_CALM, f"SETTINGS with more than {MAX_ENTRIES} entries", "settings"
            )
        for key, value in frames.SETTING.iter_unpack(payload):
            self._take(key, value)

    def _take(self, key: int, value: int) -> None:
        match key:
            case frames.MAX_CONCURRENT_STREAMS:
                self.max_streams = value
            case frames.MAX_HEADER_LIST_SIZE:
                self.max_head_bytes = value
            case frames.INITIAL_WINDOW_SIZE:
                if value > frames.LARGEST_WINDOW:
                    raise _wrong(ErrorCode.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE", value)
                self.window = value
            case frames.MAX_FRAME_SIZE:
                if not frames.SMALLEST_MAX_FRAME <= value <= frames.LARGEST_MAX_FRAME:
                    raise _wrong(ErrorCode.PROTOCOL_ERROR, "MAX_FRAME_SIZE", value)
                self.max_frame = value
            case frames.ENABLE_PUSH:
                if value > (0 if self.client else 1):
                    raise _wrong(ErrorCode.PROTOCOL_ERROR, "ENABLE_PUSH", value)
            case _:
                pass  # HEADER_TABLE_SIZE binds an encoder that uses a table; unknown ones are to be ignored (§6.5.2)


def _wrong(code: ErrorCode, name: str, value: int) -> ConnectionBreachError:
    return ConnectionBreachError(code, f"SETTINGS_{name} must not be {value}", "settings")
