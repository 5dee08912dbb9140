"""The seams of the tunnel: what sits on a stream, what sits on a connection.

`Receiver` equals the one of the agent's reactor, which this room may not import; a `TunnelStream` fits its `End`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from weft_core.errors import WeftError
from weft_core.facts import Header

if TYPE_CHECKING:
    from weft_core.tunnel.breach import StreamBreachError
    from weft_core.tunnel.stream import TunnelStream

Buffer = bytes | bytearray | memoryview


class Receiver(Protocol):
    """What sits on top of a stream."""

    def feed(self, data: Buffer) -> None:
        """Take bytes that arrived; consume or copy them before returning."""

    def eof(self) -> None:
        """Note that the peer finished sending."""

    def drained(self) -> None:
        """Note that the stream takes bytes again after `write` returned False."""

    def lost(self, error: WeftError | None) -> None:
        """Note that the stream is gone; None: both directions had finished in order."""


class HeadReceiver(Receiver, Protocol):
    """A receiver that also wants header blocks: response heads on streams we opened, trailers on any stream.

    A receiver without `headers` sees trailers as `eof()` alone.
    """

    def headers(self, headers: list[Header], end_stream: bool) -> None:
        """Take a head (1xx ones included) or trailers; the raw block is in `stream.block` during the call.

        Args:
            headers: pseudo headers first, names in lower case, as sent.
            end_stream: the peer finished sending with it; `eof()` does not follow.
        """


class TunnelHandler(Protocol):
    """What sits on top of a connection."""

    def opened(self, stream: "TunnelStream", headers: list[Header], end_stream: bool) -> None:
        """Take a stream that the peer opened: set `stream.receiver` (and perhaps `pause()` it), or `reset()` it.

        The raw block is in `stream.block` during the call. With `end_stream`, `eof()` does not follow.
        """

    def wants_flush(self) -> None:
        """Note that `out` went from empty to non-empty."""

    def broken(self, error: WeftError) -> None:
        """Note that the connection ended in error; its streams were told. `out` may hold a last GOAWAY to be sent."""

    def goaway(self) -> None:
        """Note that the peer drains (or misbehaves so much that we do): open no more here."""


class StreamOwner(Protocol):
    """The connection, as a stream of its own sees it; not for others."""

    draining: bool

    def refill(self, stream: "TunnelStream") -> None:
        """Give receive window back if enough was consumed."""

    def sent_end(self, stream: "TunnelStream") -> None:
        """Note END_STREAM sent; forget the stream if the peer's came too."""

    def reset(self, stream: "TunnelStream", code: int) -> None:
        """Send RST_STREAM and forget the stream."""

    def breach(self, stream: "TunnelStream", error: "StreamBreachError") -> None:
        """Reset the stream because the peer broke a rule, and tell its receiver."""

    def send_head(
        self, stream: "TunnelStream", headers: Sequence[Header], end_stream: bool, block: bytes | None
    ) -> None:
        """Check and send a head or trailers of ours."""


class _Silence:
    """Receiver of streams that nobody listens to."""

    def feed(self, data: Buffer) -> None:
        """Drop."""

    def eof(self) -> None:
        """Ignore."""

    def drained(self) -> None:
        """Ignore."""

    def lost(self, error: WeftError | None) -> None:
        """Ignore."""


SILENCE: Final = _Silence()
