"""One call over cleartext HTTP/2, looked at while it passes: its head is shown before anything of it goes on.

Pure. For callers that make one request per connection, as a kubelet's gRPC probe does. What goes on are the bytes as they
came. Until the head has come, only frames that set a connection up may; behind it no second head may come, so whoever has
judged the head has judged all there is. The header block is read without state, which is enough for the first of a
connection: nothing can refer to a dynamic table in which there is nothing yet.

Source: RFC 9113 §3.4, §4.1, §6; RFC 7541; grpc-go `internal/transport/http2_client.go`.
"""

from typing import Final, NamedTuple

from weft_core.errors import RemoteProtocolError
from weft_core.tunnel.breach import ConnectionBreachError, StreamBreachError
from weft_core.tunnel.frames import (
    DATA,
    END_HEADERS,
    FRAME,
    GOAWAY,
    HEADER_BYTES,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    WITH_PRIORITY,
)
from weft_core.tunnel.hpack import scan

MAX_FRAME_BYTES: Final = 16 * 1024
"""What a peer may send before it was allowed more (RFC 9113 §4.2); allowances are not looked at."""
MAX_FIELDS: Final = 32
MAX_HEAD_BYTES: Final = 8 * 1024

_SETUP: Final = frozenset({SETTINGS, WINDOW_UPDATE, PING, PRIORITY})
_AFTER: Final = _SETUP | {DATA, RST_STREAM, GOAWAY}
_STREAM_ID: Final = 0x7FFFFFFF


class Passing(NamedTuple):
    """What came of some bytes."""

    before: bytes
    """Goes on whatever is thought of the head."""
    head: tuple[bytes, bytes] | None
    """Method and path, when the head has come with these bytes."""
    behind: bytes
    """Goes on if the head is accepted; without a head in these bytes, empty."""


class SingleCall:
    """The client's direction of one connection."""

    __slots__ = ("_buffer", "_headed", "_prefaced")

    def __init__(self) -> None:
        self._buffer = b""
        self._prefaced = False
        self._headed = False

    def feed(self, data: bytes) -> Passing:
        """Take bytes and return what may go on; what is not a whole frame yet is kept.

        Raises:
            RemoteProtocolError: this is not one call.
        """
        self._buffer += data
        before, head, behind = b"", None, b""
        if not self._prefaced:
            before = self._preface()
        while self._prefaced and (size := self._frame_size()):
            frame, self._buffer = self._buffer[:size], self._buffer[size:]
            if frame[3] == HEADERS:
                head = self._head(frame)
            elif frame[3] not in (_AFTER if self._headed else _SETUP):
                raise _broken(f"a frame of type {frame[3]}", "unexpected_frame")
            if self._headed:
                behind += frame
            else:
                before += frame
        return Passing(before, head, behind) if head is not None else Passing(before + behind, None, b"")

    def _preface(self) -> bytes:
        if len(self._buffer) < len(PREFACE):
            if not PREFACE.startswith(self._buffer):
                raise _broken("it does not begin as HTTP/2", "preface")
            return b""
        if not self._buffer.startswith(PREFACE):
            raise _broken("it does not begin as HTTP/2", "preface")
        self._prefaced = True
        self._buffer = self._buffer[len(PREFACE) :]
        return PREFACE

    def _frame_size(self) -> int:
        """Return the size of the frame that is there; 0: it is not whole yet."""
        if len(self._buffer) < HEADER_BYTES:
            return 0
        length = int.from_bytes(self._buffer[:3], "big")
        if length > MAX_FRAME_BYTES:
            raise _broken(f"a frame of {length} bytes", "frame_size")
        size = HEADER_BYTES + length
        return size if len(self._buffer) >= size else 0

    def _head(self, frame: bytes) -> tuple[bytes, bytes]:
        if self._headed:
            raise _broken("a second call", "unexpected_frame")
        self._headed = True
        _, flags, stream = FRAME.unpack_from(frame)
        if not flags & END_HEADERS or not stream & _STREAM_ID & 1:
            raise _broken("a head in pieces, or on a stream that no client opens", "unexpected_frame")
        try:
            fields, _ = scan(_block(frame[HEADER_BYTES:], flags), count=MAX_FIELDS, size_bytes=MAX_HEAD_BYTES)
        except (ConnectionBreachError, StreamBreachError, IndexError) as exc:
            raise _broken(str(exc), "hpack") from exc
        pseudo = [(name, value) for name, value in fields if name in (b":method", b":path")]
        if sorted(name for name, _ in pseudo) != [b":method", b":path"]:
            raise _broken("a head without method and path, or with two", "pseudo_header")
        found = dict(pseudo)
        return found[b":method"], found[b":path"]


def _block(payload: bytes, flags: int) -> bytes:
    """Return the header block of a HEADERS payload."""
    padding = 0
    if flags & PADDED:
        padding, payload = payload[0], payload[1:]
    if flags & WITH_PRIORITY:
        payload = payload[5:]
    if padding > len(payload):
        raise _broken("more padding than payload", "padding")
    return payload[: len(payload) - padding]


def _broken(why: str, detail: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"not one HTTP/2 call: {why}", detail=detail)
