"""Which streams are open, which ids were used, and which closed ones may still be heard of.

Theory: ids only go up (RFC 9113 §5.1.1), so two counters tell an idle id from a used one. Frames that arrive for a used id are
late or wrong. After we reset a stream its peer may not know yet: those ids are remembered, and their frames dropped. After
both sides ended a stream, or the peer reset it, nothing but WINDOW_UPDATE and RST_STREAM may follow. The memory is bounded;
what fell out of it is judged mildly, by a floor, so that a bound of ours never makes a fault of the peer's.
"""

from typing import TYPE_CHECKING, Final

from weft_core.tunnel import frames

if TYPE_CHECKING:
    from weft_core.tunnel.stream import TunnelStream

LARGEST_ID: Final = frames.LARGEST_ID


class StreamRoll:
    """The streams of one connection.

    Args:
        client: whether we are the client, whose ids are odd.
        remembered: reset ids to remember; as many as a peer may have open at once.
    """

    __slots__ = ("_client", "_floor", "_next_id", "_remembered", "_reset", "last_peer_id", "open")

    def __init__(self, *, client: bool, remembered: int) -> None:
        self._client = client
        self._next_id = 1
        self._remembered = remembered
        self._reset: dict[int, None] = {}
        self._floor = 0
        self.last_peer_id = 0
        """Highest id that the peer opened and we accepted."""
        self.open: dict[int, TunnelStream] = {}

    def next_id(self) -> int:
        """Use up and return the next id of ours; there must be one left."""
        self._next_id += 2
        return self._next_id - 2

    @property
    def exhausted(self) -> bool:
        """True once no id of ours is left."""
        return self._next_id > LARGEST_ID

    def remove(self, stream: "TunnelStream") -> bool:
        """Take a stream out; False: it was out already."""
        return self.open.get(stream.id) is stream and self.open.pop(stream.id, None) is not None

    def remember_reset(self, stream_id: int) -> None:
        """Remember that we reset (or gave up) an id, so that what its peer still sends is forgiven."""
        self._reset[stream_id] = None
        if len(self._reset) > self._remembered:
            oldest = next(iter(self._reset))
            del self._reset[oldest]
            self._floor = max(self._floor, oldest)

    def may_open(self, stream_id: int) -> bool:
        """Return whether the peer may open this id: of its parity, and never used."""
        return not self._client and stream_id % 2 == 1 and stream_id > self.last_peer_id

    def idle(self, stream_id: int) -> bool:
        """Return whether the id was never used."""
        if stream_id % 2 == 0:
            return True  # we never push, and refuse pushes
        return stream_id >= self._next_id if self._client else stream_id > self.last_peer_id

    def forgiven(self, stream_id: int) -> bool:
        """Return whether the peer may still be sending on this closed id in good faith."""
        return stream_id in self._reset or stream_id <= self._floor
