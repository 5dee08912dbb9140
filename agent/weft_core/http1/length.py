"""Bodies of known length: a counter, so that the one rule about them is written once."""


class LengthBody:
    """Counts a body down.

    Args:
        length_bytes: what the head announced; not negative.
    """

    __slots__ = ("remaining",)

    def __init__(self, length_bytes: int) -> None:
        self.remaining = length_bytes
        """Bytes still to come."""

    @property
    def finished(self) -> bool:
        """True once the body is complete."""
        return self.remaining == 0

    def take(self, available_bytes: int) -> int:
        """Return how many of the next bytes belong to this body; what is behind them is the next message's."""
        taken = min(self.remaining, available_bytes)
        self.remaining -= taken
        return taken
