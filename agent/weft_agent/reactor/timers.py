"""Timers of the reactor: a coarse wheel for the many deadlines that hardly ever fire, a heap for the few that must be sharp.

Theory: an idle timeout is moved forward by every message and fires once in a thousand connections. So a `Deadline` holder
sits in one bucket of the wheel and its deadline is only an attribute that the hot path overwrites; when the bucket comes
round, a holder whose deadline moved on is put into a later bucket. Cost per message: one attribute store. Precision: one
tick late at most, never early. `Timer` (route timeouts, connect timeouts, detection) goes to a heap and is cancelled lazily.
"""

import heapq
from collections.abc import Callable
from itertools import count
from typing import Final, Protocol

TICK_S: Final = 0.25
"""Width of a wheel bucket: idle timeouts are tens of seconds, a quarter late is within every bar."""
BUCKETS: Final = 512
"""128 s per round; longer deadlines are re-bucketed once per round."""


class Deadline(Protocol):
    """An object that sits in the wheel; `deadline` is in seconds of the reactor's clock, 0.0 leaves the wheel."""

    deadline: float
    in_wheel: bool

    def expire(self) -> None:
        """Called once the deadline has passed; the holder has left the wheel by then."""


class Timer:
    """One sharp timer; `cancel()` is cheap and idempotent."""

    __slots__ = ("callback", "deadline")

    def __init__(self, deadline: float, callback: Callable[[], None]) -> None:
        self.deadline = deadline
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Make the timer do nothing when its time comes."""
        self.callback = None

    def fire(self) -> None:
        """Call back unless cancelled meanwhile."""
        callback, self.callback = self.callback, None
        if callback is not None:
            callback()


class Timers:
    """Wheel and heap together; pure, driven by `advance(now)`."""

    __slots__ = ("_cursor", "_heap", "_held", "_order", "_slots")

    def __init__(self, now: float) -> None:
        self._cursor = int(now / TICK_S)
        self._slots: list[list[Deadline]] = [[] for _ in range(BUCKETS)]
        self._held = 0
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = count()

    def watch(self, holder: Deadline) -> None:
        """Put a holder into the wheel; its `deadline` may be overwritten freely from then on."""
        if not holder.in_wheel:
            holder.in_wheel = True
            self._held += 1
            self._place(holder)

    def at(self, deadline: float, callback: Callable[[], None]) -> Timer:
        """Return a sharp timer that calls `callback` at `deadline`."""
        timer = Timer(deadline, callback)
        heapq.heappush(self._heap, (deadline, next(self._order), timer))
        return timer

    def next_due(self) -> float | None:
        """Return when `advance` wants to be called next; None: nothing is waiting."""
        while self._heap and self._heap[0][2].callback is None:
            heapq.heappop(self._heap)
        due = self._heap[0][0] if self._heap else None
        if self._held:
            tick = (self._cursor + 1) * TICK_S
            due = tick if due is None or tick < due else due
        return due

    def advance(self, now: float) -> list[Callable[[], None]]:
        """Return what is due, in order; the caller calls it."""
        due: list[Callable[[], None]] = []
        while self._heap and self._heap[0][0] <= now:
            timer = heapq.heappop(self._heap)[2]
            if timer.callback is not None:
                due.append(timer.fire)
        target = int(now / TICK_S)
        if target - self._cursor > BUCKETS:  # the clock jumped: every bucket is due once
            self._cursor = target - BUCKETS
        while self._cursor < target:
            self._cursor += 1
            self._sweep(now, due)
        return due

    def _sweep(self, now: float, due: list[Callable[[], None]]) -> None:
        index = self._cursor % BUCKETS
        holders, self._slots[index] = self._slots[index], []
        for holder in holders:
            if holder.deadline > now:
                self._place(holder)
                continue
            holder.in_wheel = False
            self._held -= 1
            if holder.deadline:
                due.append(holder.expire)

    def _place(self, holder: Deadline) -> None:
        tick = int(holder.deadline / TICK_S) + 1
        ahead = min(max(tick - self._cursor, 1), BUCKETS)
        self._slots[(self._cursor + ahead) % BUCKETS].append(holder)
