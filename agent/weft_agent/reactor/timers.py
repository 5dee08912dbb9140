"""Timers of the reactor: a coarse wheel for the many deadlines that hardly ever fire, a heap for the few that must be sharp.

Theory: an idle timeout is moved on by every message and fires once in a thousand connections. So a `Deadline` holder waits
in one bucket of the wheel and its deadline is only an attribute that the hot path overwrites; when the bucket comes round, a
holder whose deadline moved on is put into a later bucket. Cost per message: one attribute store. Precision: one tick late at
most, never early. The wheel looks at a holder within the tick after its `wheel_at`: whoever makes a deadline *earlier* than
that must call `watch` again, or it will be noticed too late (`if holder.deadline < holder.wheel_at`). Buckets are sets, so that a
holder whose connection is gone can leave at once instead of being kept in memory until its bucket comes round.

`Timer` (route timeouts, connect timeouts, detection) goes to a heap and is cancelled lazily; the heap is swept when it has
grown to twice of what was alive at the last sweep, since most timers are cancelled long before their time.
"""

import heapq
from collections.abc import Callable
from itertools import count
from typing import Final, Protocol

TICK_S: Final = 0.25
"""Width of a wheel bucket: idle timeouts are tens of seconds, a quarter late is within every bar. A power of two, so that
moments of ticks are exact floats."""
BUCKETS: Final = 512
"""128 s per round; longer deadlines are re-bucketed once per round."""
OUTSIDE: Final = float("inf")
"""`wheel_at` of a holder that is not in the wheel."""
SWEEP_MIN: Final = 128
"""Timers in the heap below which cancelled ones are not worth a sweep."""


class Deadline(Protocol):
    """An object that waits in the wheel; `deadline` is in seconds of the reactor's clock, 0.0 leaves the wheel in silence."""

    deadline: float
    wheel_at: float
    """Deadlines from here on are noticed in time; `OUTSIDE` to begin with, written by the wheel alone."""

    def expire(self) -> None:
        """Called once the deadline has passed; the holder has left the wheel by then."""


class Timer:
    """One sharp timer; `cancel()` is cheap and idempotent."""

    __slots__ = ("callback", "deadline", "fired")

    def __init__(self, deadline: float, callback: Callable[[], None]) -> None:
        self.deadline = deadline
        self.callback: Callable[[], None] | None = callback
        self.fired: Callable[[], None] | None = None

    def cancel(self) -> None:
        """Make the timer do nothing when its time comes."""
        self.callback = None

    def fire(self) -> None:
        """Call back unless cancelled meanwhile."""
        self.fired, self.callback = self.callback, None
        if self.fired is not None:
            self.fired()

    def crash(self) -> None:
        """Pass on that the callback failed, to whoever it belongs to."""
        crash = getattr(getattr(self.fired, "__self__", None), "crash", None)
        if crash is not None:
            crash()


class Timers:
    """Wheel and heap together; pure, driven by `advance(now)`."""

    __slots__ = ("_cursor", "_heap", "_held", "_order", "_slots", "_sweep_at")

    def __init__(self, now: float) -> None:
        self._cursor = int(now / TICK_S)
        self._slots: list[set[Deadline]] = [set() for _ in range(BUCKETS)]
        self._held = 0
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = count()
        self._sweep_at = SWEEP_MIN

    def watch(self, holder: Deadline) -> float:
        """Put a holder into the wheel, or look at it earlier; its `deadline` may move on freely from then on.

        Returns:
            When `advance` wants to be called at the latest, to turn the wheel.
        """
        if holder.deadline < holder.wheel_at:  # else the wheel looks early enough
            if holder.wheel_at == OUTSIDE:
                self._held += 1
            else:
                self._slot(holder).discard(holder)
            self._place(holder)
        return (self._cursor + 1) * TICK_S

    def unwatch(self, holder: Deadline) -> None:
        """Take a holder out of the wheel."""
        if holder.wheel_at != OUTSIDE:
            self._slot(holder).discard(holder)
            holder.wheel_at = OUTSIDE
            self._held -= 1

    def at(self, deadline: float, callback: Callable[[], None]) -> Timer:
        """Return a sharp timer that calls `callback` at `deadline`."""
        if len(self._heap) >= self._sweep_at:
            self._sweep_heap()
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
            self._turn_wheel(now, due)
        return due

    def _turn_wheel(self, now: float, due: list[Callable[[], None]]) -> None:
        index = self._cursor % BUCKETS
        holders = self._slots[index]
        if not holders:
            return
        self._slots[index] = set()
        for holder in holders:
            if holder.deadline > now:
                self._place(holder)
                continue
            holder.wheel_at = OUTSIDE
            self._held -= 1
            if holder.deadline:
                due.append(holder.expire)

    def _place(self, holder: Deadline) -> None:
        tick = int(holder.deadline / TICK_S) + 1
        tick = min(max(tick, self._cursor + 1), self._cursor + BUCKETS)
        holder.wheel_at = (tick - 1) * TICK_S
        self._slots[tick % BUCKETS].add(holder)

    def _slot(self, holder: Deadline) -> set[Deadline]:
        return self._slots[(int(holder.wheel_at / TICK_S) + 1) % BUCKETS]

    def _sweep_heap(self) -> None:
        self._heap = [entry for entry in self._heap if entry[2].callback is not None]
        heapq.heapify(self._heap)
        self._sweep_at = max(SWEEP_MIN, 2 * len(self._heap))
