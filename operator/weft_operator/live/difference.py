"""What tells two states of all shelves apart, as one delta: for an engine that begins anew behind readers that do not. Pure."""

from collections.abc import Mapping
from typing import TypeVar

from weft_contract.problems import Problem
from weft_operator.compile import ObjectResult
from weft_operator.compile.view import ObjectKey
from weft_operator.live.changes import ProblemKey
from weft_operator.live.delta import Delta, Item, Shelf

K = TypeVar("K")
V = TypeVar("V")


class Told:
    """Everything that was told by deltas so far."""

    def __init__(self) -> None:
        self._shelves: dict[Shelf, dict[str, Item]] = {}
        self._nodes: dict[str, tuple[Shelf, ...]] = {}
        self._results: dict[ObjectKey, ObjectResult] = {}
        self._problems: dict[ProblemKey, tuple[Problem, ...]] = {}

    def apply(self, delta: Delta) -> None:
        """Take over one round."""
        for shelf, changed in delta.shelves.items():
            items = self._shelves.setdefault(shelf, {})
            _apply(items, changed)
            if not items:
                del self._shelves[shelf]
        _apply(self._nodes, delta.nodes)
        _apply(self._results, delta.results)
        for place, problems in delta.problems.items():
            if problems:
                self._problems[place] = problems
            else:
                self._problems.pop(place, None)

    def difference(self, whole: Delta) -> Delta:
        """Return what must be told so that everything that was told becomes `whole`.

        Args:
            whole: the first delta of an engine that began with nothing: it says everything.
        """
        shelves: dict[Shelf, Mapping[str, Item | None]] = {}
        for shelf in self._shelves.keys() | whole.shelves.keys():
            old, new = self._shelves.get(shelf, {}), whole.shelves.get(shelf, {})
            changed = {
                key: item
                for key, item in _difference(old, new).items()
                if item is None or key not in old or old[key].hash != item.hash
            }
            if changed:
                shelves[shelf] = changed
        problems = _difference(self._problems, {place: found for place, found in whole.problems.items() if found})
        return Delta(
            shelves=shelves,
            nodes=_difference(self._nodes, whole.nodes),
            results=_difference(self._results, whole.results),
            problems={place: found or () for place, found in problems.items()},
        )


def _apply(table: dict[K, V], changed: Mapping[K, V | None]) -> None:
    for key, value in changed.items():
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value


def _difference(old: Mapping[K, V], new: Mapping[K, V | None]) -> dict[K, V | None]:
    """Return what is new or other, and None for what is gone."""
    found: dict[K, V | None] = {key: None for key in old if new.get(key) is None}
    for key, value in new.items():
        if value is not None and old.get(key) != value:
            found[key] = value
    return found
