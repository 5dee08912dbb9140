"""What happened to objects: the old and the new of each, as the stages of the live compiler pass it on."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from weft_contract.objects import Object
from weft_contract.problems import Problem
from weft_operator.compile.view import ObjectKey

T = TypeVar("T")

ProblemKey: TypeAlias = tuple[str, str]
"""Which stage found problems, and with what: `("members", "shop/web")`."""


@dataclass(frozen=True, slots=True)
class Change:
    """One object before and after; None: it is not there."""

    old: Object | None
    new: Object | None


Changes: TypeAlias = Mapping[ObjectKey, Change]


def of_kind(changes: Changes, python_type: type[T]) -> Iterator[tuple[str, T | None, T | None]]:
    """Yield key, old and new of every changed object of one kind."""
    for (kind, key), change in changes.items():
        if kind == python_type.__name__:
            old = change.old if isinstance(change.old, python_type) else None
            new = change.new if isinstance(change.new, python_type) else None
            yield key, old, new


class ProblemBook:
    """Problems by who found them, with what changed since they were asked for last."""

    def __init__(self) -> None:
        self.all: dict[ProblemKey, tuple[Problem, ...]] = {}
        self._changed: set[ProblemKey] = set()

    def put(self, stage: str, key: str, problems: tuple[Problem, ...]) -> None:
        """Replace what a stage has found with one thing."""
        place = stage, key
        if problems != self.all.get(place, ()):
            self._changed.add(place)
            if problems:
                self.all[place] = problems
            else:
                del self.all[place]

    def take_changed(self) -> dict[ProblemKey, tuple[Problem, ...]]:
        """Return what changed since the last call, by place; empty: gone."""
        changed = {place: self.all.get(place, ()) for place in self._changed}
        self._changed.clear()
        return changed
