"""Budgets: how much of what does no work a peer may send before it is told to calm down.

Theory: two token buckets per connection. *Glitches* are frames that move nothing (PING, SETTINGS, PRIORITY, unknown types,
frames on closed streams, WINDOW_UPDATE): each costs a token, tokens come back with time and with bytes that really moved,
so a busy tunnel earns its own control frames. *Resets* are streams given up before they got anything for being opened, and
streams that we reset because the peer broke a rule on them: both make us work for nothing (CVE-2023-44487, CVE-2025-8671), and no
traffic pays for them. At a quarter left the connection drains, at nothing left it ends; so an application that resets a
lot costs new tunnels, not the streams beside it.

A reset of a stream that had got an answer, or the connection it asked for, is not counted: a process that dies with a
thousand connections open must not take its neighbours' tunnel with it, and it did not get there cheaply.
"""

from typing import Final

from weft_contract.limits import Limits
from weft_core.tunnel.breach import ConnectionBreachError
from weft_core.tunnel.frames import ErrorCode

WORK_BYTES_PER_TOKEN: Final = 16 * 1024
"""Moved either way; our own peers send one control frame per 128 KiB or less often."""
DRAIN_SHARE: Final = 0.25
"""Source: HAProxy sends GOAWAY at three quarters of its glitch threshold."""


class Budget:
    """A token bucket that is full at first.

    Args:
        burst: tokens it holds.
        rate: tokens per second that come back.
    """

    __slots__ = ("_burst", "_rate", "tokens")

    def __init__(self, burst: float, rate: float) -> None:
        self._burst = burst
        self._rate = rate
        self.tokens = burst

    def spend(self, cost: float = 1.0) -> bool:
        """Take tokens; False: there were not enough."""
        self.tokens -= cost
        return self.tokens >= 0

    def refill(self, elapsed_s: float) -> None:
        """Give back what time brings."""
        self.tokens = min(self._burst, self.tokens + elapsed_s * self._rate)

    def earn(self, moved_bytes: int) -> None:
        """Give back what useful bytes bring."""
        self.tokens = min(self._burst, self.tokens + moved_bytes / WORK_BYTES_PER_TOKEN)

    @property
    def low(self) -> bool:
        """True once the connection should drain."""
        return self.tokens < self._burst * DRAIN_SHARE

    @property
    def full(self) -> bool:
        """True while nothing is missing."""
        return self.tokens >= self._burst


class Guard:
    """The budgets of one connection; a spent one is a breach, answered ENHANCE_YOUR_CALM.

    Args:
        limits: burst and rate of each.
    """

    __slots__ = ("_empty_at", "_empty_frames", "_empty_in_a_row", "_glitches", "_moved_bytes", "_resets")

    def __init__(self, limits: Limits) -> None:
        self._glitches = Budget(limits.tunnel_glitch_burst, limits.tunnel_glitch_rate)
        self._resets = Budget(limits.reset_burst, limits.reset_rate)
        self._empty_frames = limits.tunnel_empty_frames
        self._empty_in_a_row = 0
        self._empty_at = 0
        self._moved_bytes = 0

    def glitch(self, cost: float, moved_bytes: int) -> None:
        """Charge a frame that moves nothing.

        Args:
            cost: in frames.
            moved_bytes: what the connection moved so far, both ways.
        """
        self._glitches.earn(moved_bytes - self._moved_bytes)
        self._moved_bytes = moved_bytes
        if not self._glitches.spend(cost):
            raise _calm("frames that move nothing", "glitch_flood")

    def reset(self) -> None:
        """Charge a stream that was given up for nothing."""
        if not self._resets.spend():
            raise _calm("streams reset", "reset_flood")

    def empty(self, received_bytes: int) -> None:
        """Count an empty DATA frame; any byte in between ends the row."""
        self._empty_in_a_row = self._empty_in_a_row + 1 if received_bytes == self._empty_at else 1
        self._empty_at = received_bytes
        if self._empty_in_a_row > self._empty_frames:
            raise _calm("empty DATA frames in a row", "empty_data_flood")

    def refill(self, elapsed_s: float) -> None:
        """Give back what time brings."""
        self._glitches.refill(elapsed_s)
        self._resets.refill(elapsed_s)

    @property
    def low(self) -> bool:
        """True once the connection should drain."""
        return self._glitches.low or self._resets.low

    @property
    def full(self) -> bool:
        """True while time brings nothing."""
        return self._glitches.full and self._resets.full


def _calm(what: str, detail: str) -> ConnectionBreachError:
    return ConnectionBreachError(ErrorCode.ENHANCE_YOUR_CALM, f"too many {what}", detail)
