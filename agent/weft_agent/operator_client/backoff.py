"""How long to wait before the next attempt: doubling, bounded, with jitter, so that a restarted operator is not stormed.

Theory: the first wait is drawn from half to one and a half of `first_s`, and each further one from twice as much, up to
`longest_s`. A server that says when to come back is believed, and the jitter is put on top, since it says the same to all.
Chance is an argument.

Source: exponential backoff with equal jitter, Brooker, "Exponential Backoff And Jitter" (AWS, 2015).
"""

from random import Random
from typing import Final

MOST_DOUBLINGS: Final = 30


class Backoff:
    """Waits of one series of attempts.

    Args:
        rng: chance.
        first_s: middle of the first wait.
        longest_s: no wait is longer, whatever came before; a server's own wish apart.
    """

    def __init__(self, rng: Random, first_s: float, longest_s: float) -> None:
        self._rng = rng
        self._first_s = first_s
        self._longest_s = longest_s
        self._failures = 0

    def reset(self) -> None:
        """Begin anew: an attempt succeeded."""
        self._failures = 0

    def next_s(self, asked_s: float = 0.0) -> float:
        """Return the wait before the next attempt.

        Args:
            asked_s: seconds the server asks for; 0: it asks for nothing.
        """
        middle_s = self._first_s * 2.0 ** min(self._failures, MOST_DOUBLINGS)
        self._failures += 1
        own_s = min(self._longest_s, middle_s * self._rng.uniform(0.5, 1.5))
        if asked_s <= 0:
            return own_s
        return max(own_s, asked_s * self._rng.uniform(1.0, 1.25))
