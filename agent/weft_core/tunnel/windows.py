"""Receive windows of streams: given back as their bytes are consumed, and grown for flows that keep them full.

Theory of operation. A stream starts with a small window. Bytes handed to a receiver are consumed; bytes kept for a paused
one are not, so a paused stream's peer stops after one window. Credit goes back once half of the window was consumed.

Whether a flow is held up by its window is found without a clock: with a WINDOW_UPDATE goes a PING, and when its answer is
back one round trip has passed. A flow that moved a third of a window or more in that time doubles it (half a window is the
most that can be under way when half of it was given back). A flow that did not is asked again after it has moved as much
again, so that a slow one costs next to nothing. One probe per connection is under
way at a time. All growth together is bounded by the connection's window, so a thousand bulk streams do not keep a thousand
large windows.

The connection's own window (see `intake`) is given back on receipt: it bounds what one turn brings, not what paused streams
keep. Otherwise a few slow receivers would stop every other stream of the tunnel, which direct TCP connections never do to
each other, and applications that wait for one connection before reading another would deadlock.

Source: the estimate of gRPC (bandwidth-delay product by PING); ztunnel's windows.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from weft_contract.limits import Limits
from weft_core.tunnel import frames
from weft_core.tunnel.outlet import Outlet

if TYPE_CHECKING:
    from weft_core.tunnel.stream import TunnelStream

PROBE: Final = b"weft-rtt"
FILLED_SHARE: Final = 3
"""A flow fills its window if it moves one part of so many in a round trip. gRPC's estimator takes 2/3 of a whole window."""
PROBE_EVERY_WINDOWS: Final = 64
"""A flow that does not fill its window is asked at least this often: it may become a bulk flow late."""


class Windows:
    """What the receiving side offers each stream.

    Args:
        limits: first and largest window of a stream, window of the connection, bytes that make a flow bulk.
        outlet: where WINDOW_UPDATE and PING go.
    """

    __slots__ = (
        "_bulk_bytes",
        "_growth_left",
        "_largest",
        "_mark",
        "_outlet",
        "_probed",
        "bulk_streams",
        "opening",
        "start",
    )

    def __init__(self, limits: Limits, outlet: Outlet) -> None:
        self._outlet = outlet
        self.start = max(1, min(limits.tunnel_stream_window_bytes, frames.LARGEST_WINDOW))
        self._largest = min(max(limits.tunnel_stream_window_max_bytes, self.start), frames.LARGEST_WINDOW)
        self._growth_left = limits.tunnel_connection_window_bytes
        self._bulk_bytes = limits.bulk_flow_bytes
        self._probed: TunnelStream | None = None
        self._mark = 0
        self.opening = max(self.start, frames.DEFAULT_WINDOW)
        """What the peer may believe until it acknowledged our SETTINGS (RFC 9113 §6.9.2)."""
        self.bulk_streams = 0
        """Open streams that moved so much that the tunnel should be left to them."""

    def acknowledged(self, streams: Iterable["TunnelStream"]) -> None:
        """The peer applied our SETTINGS: windows it opened with the default one are smaller from now on."""
        shrink = self.start - self.opening
        self.opening = self.start
        if shrink:
            for stream in streams:
                stream._window += shrink
                stream._advertised += shrink

    def refill(self, stream: "TunnelStream") -> None:
        """Give back what was consumed, if that is half a window."""
        consumed = stream._size - stream._window - stream.unread_bytes
        if consumed * 2 < stream._size:
            return
        self._offer(stream, consumed)
        self.weigh(stream)
        if stream._size < self._largest:
            self._probe(stream)

    def weigh(self, stream: "TunnelStream") -> None:
        """Notice that a stream became a bulk flow."""
        if not stream._bulk and stream.moved_bytes >= self._bulk_bytes:
            stream._bulk = True
            self.bulk_streams += 1

    def forget(self, stream: "TunnelStream") -> None:
        """Take back what a stream that ended had grown by."""
        self._growth_left += stream._size - self.start
        self.bulk_streams -= stream._bulk

    def probe_answered(self) -> bool:
        """One round trip has passed for the probed flow; False: there was no probe."""
        stream, self._probed = self._probed, None
        if stream is None:
            return False
        moved = stream.bytes_in - self._mark
        if stream._refill_at < 0 or stream._paused:
            pass  # ended, or held up by its receiver
        elif moved * FILLED_SHARE >= stream._size:
            self._grow(stream)
        else:
            wait = min(stream.bytes_in, PROBE_EVERY_WINDOWS * stream._size)
            stream._probe_at = stream.bytes_in + wait
        return True

    def _probe(self, stream: "TunnelStream") -> None:
        if self._probed is None and self._growth_left > 0 and stream.bytes_in >= stream._probe_at:
            self._probed = stream
            self._mark = stream.bytes_in
            self._outlet.send(frames.ping_frame(PROBE))

    def _grow(self, stream: "TunnelStream") -> None:
        more = min(stream._size, self._largest - stream._size, self._growth_left)
        if more > 0:
            self._growth_left -= more
            stream._size += more
            stream._refill_at = stream._size // 2
            self._offer(stream, more)

    def _offer(self, stream: "TunnelStream", increment: int) -> None:
        stream._window += increment
        stream._advertised += increment
        self._outlet.send(frames.window_frame(stream.id, increment))
