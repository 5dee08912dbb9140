"""Which key is looked at when: each at most once at a time, the earliest wish counts, failures wait longer and longer.

Theory: a key is *waiting* (with the time it is due), *taken* (somebody works on it) or absent. A wish for a key that is
taken is kept until the work is done, so that what changed meanwhile is not missed; two wishes are one. Pure: time and
chance are arguments.
"""

import heapq
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)

FIRST_BACKOFF_S: Final = 0.5
MAX_BACKOFF_S: Final = 60.0


class Schedule(Generic[K]):
    """Keys and times.

    Args:
        rng: a number of [0, 1) at each call; spreads repetitions by half.
    """

    def __init__(self, rng: Callable[[], float]) -> None:
        self._rng = rng
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._count = 0
        self._taken: set[K] = set()
        self._failures: dict[K, int] = {}

    def __len__(self) -> int:
        """Keys that wait."""
        return len(self._due)

    def add(self, key: K, at: float) -> None:
        """Wish that a key be looked at, not before `at`; an earlier wish stands."""
        if at < self._due.get(key, float("inf")):
            self._due[key] = at
            self._count += 1
            heapq.heappush(self._heap, (at, self._count, key))

    def take(self, now: float) -> K | None:
        """Return a key that is due and that nobody works on; None: there is none now."""
        held: list[tuple[float, int, K]] = []
        found: K | None = None
        while self._heap and self._heap[0][0] <= now:
            entry = heapq.heappop(self._heap)
            at, _, key = entry
            if self._due.get(key) != at:
                continue
            if key in self._taken:
                held.append(entry)
                continue
            del self._due[key]
            self._taken.add(key)
            found = key
            break
        for entry in held:
            heapq.heappush(self._heap, entry)
        return found

    def next_at(self) -> float | None:
        """Return when the next key that nobody works on is due; None: there is none."""
        times = [at for key, at in self._due.items() if key not in self._taken]
        return min(times, default=None)

    def done(self, key: K, again_at: float | None = None) -> None:
        """Say that the work on a key is done in order, and when to look at it again."""
        self._taken.discard(key)
        self._failures.pop(key, None)
        if again_at is not None:
            self.add(key, again_at)

    def failed(self, key: K, now: float) -> float:
        """Say that the work on a key failed; return in how many seconds it is tried again."""
        self._taken.discard(key)
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        wait_s = min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(count, 30)) * (1 - self._rng() / 2)
        self.add(key, now + wait_s)
        return wait_s
