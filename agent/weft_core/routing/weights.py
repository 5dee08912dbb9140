"""Choice by weight with a random integer from outside: every share exact to one part in 2^32."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Generic, TypeVar

T = TypeVar("T")


class Weighted(Generic[T]):
    """Alternatives with weights, of which one is chosen.

    Args:
        items: alternatives and their weights; those of weight 0 or less are never chosen.
        otherwise: what is chosen where nothing has any weight.
    """

    __slots__ = ("_bounds", "_items", "_total", "only")

    def __init__(self, items: Sequence[tuple[T, int]], otherwise: T) -> None:
        weighted = [(item, weight) for item, weight in items if weight > 0] or [(otherwise, 1)]
        self._items = tuple(item for item, _ in weighted)
        self._bounds = tuple(accumulate(weight for _, weight in weighted))
        self._total = self._bounds[-1]
        self.only: T | None = self._items[0] if len(self._items) == 1 else None
        """The one that is always chosen, if there is just one."""

    def choose(self, rng_u32: int) -> T:
        """Choose one.

        Args:
            rng_u32: uniform over 0 … 2^32 - 1.
        """
        if self.only is not None:
            return self.only
        return self._items[bisect_right(self._bounds, rng_u32 * self._total >> 32)]

    @property
    def shares(self) -> tuple[tuple[T, float], ...]:
        """What may be chosen and with which probability, for whoever explains; an item given twice is there twice."""
        weights = (bound - before for before, bound in zip((0, *self._bounds), self._bounds, strict=False))
        return tuple((item, weight / self._total) for item, weight in zip(self._items, weights, strict=True))
