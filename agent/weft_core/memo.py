"""Memory of decisions that strangers cannot grow: many dictionaries under one budget, all forgotten when it is spent.

Theory: keys come from requests, so whoever sends requests chooses them. Forgetting everything at a bound is cheaper than
an order of use, needs nothing on a hit (which stays one `dict.get` of the owner), and costs an attacker's neighbour
nothing when each workload has a budget of its own.
"""

from collections.abc import Callable, Hashable
from typing import Final, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

ENTRIES_MAX: Final = 2048
"""Entries of one budget: the hot paths of a service, at about 1 KiB each with the sentences of refusals."""
KEY_BYTES_MAX: Final = 512
"""Longest key worth remembering; longer paths are decided anew each time."""


class MemoBudget:
    """One bound for the entries of any number of dictionaries.

    Args:
        entries_max: entries of all dictionaries together.
        key_bytes_max: longer keys are not remembered.
    """

    __slots__ = ("_clears", "_left", "entries_max", "key_bytes_max")

    def __init__(self, *, entries_max: int = ENTRIES_MAX, key_bytes_max: int = KEY_BYTES_MAX) -> None:
        self.entries_max = entries_max
        self.key_bytes_max = key_bytes_max
        self._left = entries_max
        self._clears: list[Callable[[], None]] = []

    def put(self, table: dict[K, V], key: K, value: V, key_bytes: int) -> None:
        """Remember `value` in `table`, after forgetting everything if the budget is spent.

        Args:
            table: a dictionary that only grows through this budget.
            key: not yet in the table.
            value: what to remember.
            key_bytes: size of the key's texts.
        """
        if key_bytes > self.key_bytes_max:
            return
        if self._left <= 0:
            self.forget()
        if not table:
            self._clears.append(table.clear)
        table[key] = value
        self._left -= 1

    def forget(self) -> None:
        """Empty every dictionary of this budget."""
        for clear in self._clears:
            clear()
        self._clears.clear()
        self._left = self.entries_max
