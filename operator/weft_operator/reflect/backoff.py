"""How long to wait after failures in a row: twice as long each time, with jitter, up to a bound. Pure."""

from collections.abc import Callable
from typing import Final

FIRST_S: Final = 0.5
MAX_S: Final = 30.0
"""After an outage everything is fresh again within half a minute."""


class Backoff:
    """Counts failures.

    Args:
        rng: a number of [0, 1) at each call; spreads waits over their upper half.
    """

    def __init__(self, rng: Callable[[], float], first_s: float = FIRST_S, max_s: float = MAX_S) -> None:
        self._rng, self._first_s, self._max_s = rng, first_s, max_s
        self.failures = 0

    def succeeded(self) -> None:
        """Begin anew."""
        self.failures = 0

    def failed(self) -> float:
        """Count a failure; return how many seconds to wait."""
        wait_s: float = min(self._max_s, self._first_s * 2.0 ** min(self.failures, 16))
        self.failures += 1
        return wait_s * (1 - self._rng() / 2)
