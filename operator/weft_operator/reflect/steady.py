"""A live compiler that outlives an error of its own: it begins anew, without what it cannot compile.

Theory: an engine that raised must not be used any more, and an object that makes it raise would do so again after every
restart: one object would stop the whole mesh. So the error is told, and a new engine is given everything. Raises that too, the
changes of the round are tried in halves until those are found that cannot be compiled. Each stands aside: its last good version
stays in force; one that never had any is given as a broken object, which refuses what it applies to; and only what raises even
so is left out. Whoever reads the deltas is told differences, as ever.

What stands aside is tried again with its next change.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import structlog

from weft_operator.compile import Held
from weft_operator.compile.view import ObjectKey
from weft_operator.live.delta import Delta
from weft_operator.live.difference import Told
from weft_operator.live.engine import Engine

WHY: Final = "weft could not compile this object because of an error of its own; see the operator's log"
Changes = Mapping[ObjectKey, Held | None]
Bundles = Mapping[str, tuple[str, ...]]
_log: Final = structlog.get_logger("weft_operator.reflect")


@dataclass(slots=True)
class _Attempt:
    """An engine and everything that it was given."""

    engine: Engine
    objects: dict[ObjectKey, Held]
    whole: Delta


class SteadyEngine:
    """An `Engine`, and another one when that fails.

    Args:
        make: makes an engine.
    """

    def __init__(self, make: Callable[[], Engine] = Engine) -> None:
        self._make = make
        self.engine = make()
        self._objects: dict[ObjectKey, Held] = {}
        self._bundles: Bundles | None = None
        self._told = Told()
        self.aside: dict[ObjectKey, str] = {}
        """Objects that are not compiled as they are now, and the error."""
        self.failures = 0
        """Errors of the compiler so far."""

    def apply(self, changed: Changes, bundles: Bundles | None = None) -> Delta:
        """Compile one round; as `Engine.apply`, but an error of one object is not one of all."""
        self._bundles = bundles if bundles is not None else self._bundles
        for key in changed:
            self.aside.pop(key, None)
        try:
            delta = self.engine.apply(changed, bundles)
        except Exception:
            self.failures += 1
            _log.exception("the compiler failed and begins anew", changes=len(changed))
            delta = self._begin_anew(changed)
        else:
            _put(self._objects, changed)
        self._told.apply(delta)
        return delta

    def _begin_anew(self, changed: Changes) -> Delta:
        found = self._attempt(self._objects, changed)
        if isinstance(found, Exception):
            found = self._search(changed)
        self.engine, self._objects = found.engine, found.objects
        return self._told.difference(found.whole)

    def _search(self, changed: Changes) -> _Attempt:
        """Take what can be compiled of a round.

        Raises:
            Exception: what was compiled before cannot be any more; there is nothing to begin with.
        """
        good = self._attempt(self._objects, {})
        if isinstance(good, Exception):
            raise good
        for part in _halves(list(changed.items())):
            good = self._take(good, dict(part))
        return good

    def _take(self, good: _Attempt, changes: Changes) -> _Attempt:
        found = self._attempt(good.objects, changes)
        if not isinstance(found, Exception):
            return found
        if len(changes) > 1:
            for part in _halves(list(changes.items())):
                good = self._take(good, dict(part))
            return good
        ((key, held),) = changes.items()
        return self._set_aside(good, key, held, found)

    def _set_aside(self, good: _Attempt, key: ObjectKey, held: Held | None, error: Exception) -> _Attempt:
        self.aside[key] = repr(error)
        kept = key in good.objects
        _log.error("an object cannot be compiled", object=f"{key[0]} {key[1]}", last_good_stays=kept, error=repr(error))
        if kept or held is None:
            return good
        found = self._attempt(good.objects, {key: replace(held, broken=WHY)})
        return good if isinstance(found, Exception) else found

    def _attempt(self, objects: Mapping[ObjectKey, Held], changed: Changes) -> _Attempt | Exception:
        """Compile objects with changes, from nothing."""
        wanted = dict(objects)
        _put(wanted, changed)
        engine = self._make()
        try:
            whole = engine.apply(wanted, self._bundles if self._bundles is not None else {})
        except Exception as exc:
            return exc
        return _Attempt(engine, wanted, whole)


def _put(objects: dict[ObjectKey, Held], changed: Changes) -> None:
    for key, held in changed.items():
        if held is None:
            objects.pop(key, None)
        else:
            objects[key] = held


def _halves(items: list[tuple[ObjectKey, Held | None]]) -> Iterable[list[tuple[ObjectKey, Held | None]]]:
    middle = (len(items) + 1) // 2
    return [part for part in (items[:middle], items[middle:]) if part]
