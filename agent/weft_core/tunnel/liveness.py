"""Liveness of a tunnel: when to ask the peer for a sign of life, when to give up.

Theory: any byte received is a sign of life, so a busy tunnel needs no PING. The clock is only known at `tick`, and a byte
seen since the last tick may be as old as that tick: silence is counted from there, which asks a little early and never
late. Detection takes at most interval plus timeout (fault F23: 20 s). A tick that comes late (this process was stopped, the
machine slept) proves nothing about the peer, whose answer may wait in our socket: the wait begins anew.
"""

from enum import Enum
from typing import Final

LATE_S: Final = 1.0
"""A tick later than this behind its deadline is our own fault."""


class Verdict(Enum):
    """What a tick found."""

    ALIVE = "alive"
    ASK = "ask"
    """Send a PING."""
    DEAD = "dead"


class Liveness:
    """Watches one peer.

    Args:
        interval_s: silence before a PING.
        timeout_s: wait for an answer.
    """

    __slots__ = ("_asked_at", "_heard_at", "_interval_s", "_last_tick", "_timeout_s", "deadline", "heard")

    def __init__(self, interval_s: float, timeout_s: float) -> None:
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._heard_at: float | None = None
        self._asked_at: float | None = None
        self._last_tick = 0.0
        self.heard = False
        """Set by the connection whenever bytes arrive."""
        self.deadline = 0.0
        """When the next tick is due, known after the first."""

    def tick(self, now: float) -> Verdict:
        """Look at the clock.

        Args:
            now: monotonic seconds.
        """
        if self._heard_at is None:
            self._heard_at = now
        elif self.heard:
            self._heard_at = self._last_tick
            self._asked_at = None
        elif self._asked_at is not None and now - self.deadline > LATE_S:
            self._asked_at = now
        self.heard = False
        self._last_tick = now
        return self._judge(now, self._heard_at)

    def _judge(self, now: float, heard_at: float) -> Verdict:
        verdict = Verdict.ALIVE
        if self._asked_at is None and now >= heard_at + self._interval_s:
            self._asked_at = now
            verdict = Verdict.ASK
        if self._asked_at is None:
            self.deadline = heard_at + self._interval_s
        else:
            self.deadline = self._asked_at + self._timeout_s
            if now >= self.deadline:
                return Verdict.DEAD
        return verdict
