"""The reconciler: one object at a time, from what is known of it to the status it should have.

Theory: kopf keeps the last known body of every object fresh; whether anything is to be written is decided on that, without a
request. Only then the object is read again and decided about again, and written back with the version it was read at; if
somebody was faster, the same once more. So a status is never written over one that we have not seen.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

from weft_operator.conditions import notices, rfc3339
from weft_operator.controllers.events import Recorder
from weft_operator.controllers.forms import Item, conditions_of, generation_of
from weft_operator.controllers.outlook import Look, Outlook
from weft_operator.controllers.plan import Leave, Plan, Times, Wait, Write, plan
from weft_operator.controllers.resources import WATCHED, Reference, status_path
from weft_operator.controllers.store import ConflictError, Store

MAX_CONFLICTS: Final = 5
_log: Final = structlog.get_logger("weft_operator.controllers")


@dataclass(slots=True)
class _Known:
    """What is remembered of one object."""

    item: Item
    generation: int
    since: float
    """When this generation was seen first."""
    written: float = float("-inf")
    missed: float | None = None
    """Since when nodes are missing; None: none is."""

    def note(self, look: Look | None, now: float) -> None:
        """Remember since when nodes are missing."""
        if look is None or not look.progress.missing:
            self.missed = None
        elif self.missed is None:
            self.missed = now


class Reconciler:
    """Keeps the statuses of all watched objects right.

    Args:
        store: the API server.
        outlook: what the compiler and the nodes say.
        recorder: writes Events.
        clock: monotonic seconds.
        wall: seconds since 1970.
    """

    def __init__(
        self,
        store: Store,
        outlook: Outlook,
        recorder: Recorder,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._outlook, self._recorder = store, outlook, recorder
        self._clock, self._wall = clock, wall
        self._known: dict[Reference, _Known] = {}
        self.writes = 0
        """Statuses written so far."""

    @property
    def known(self) -> tuple[Reference, ...]:
        """Every object that is watched now."""
        return tuple(self._known)

    def saw(self, reference: Reference, item: Mapping[str, object] | None) -> None:
        """Take over an object as it is now; None: it is gone."""
        if item is None:
            self._known.pop(reference, None)
            self._recorder.forget(reference)
            return
        generation, known = generation_of(item), self._known.get(reference)
        if known is None or known.generation != generation:
            self._known[reference] = _Known(item=item, generation=generation, since=self._clock())
        else:
            known.item = item

    async def reconcile(self, reference: Reference) -> float | None:
        """Make one object's status right.

        Returns:
            In how many seconds to look again; None: when something changes.
        """
        for _ in range(MAX_CONFLICTS):
            known = self._known.get(reference)
            if known is None:
                return None
            decided = self._plan(reference, known)
            if not isinstance(decided, Write):
                return decided.seconds if isinstance(decided, Wait) else None
            item = await self._store.get(status_path(_api_version(known.item), reference))
            self.saw(reference, item)
            known = self._known.get(reference)
            if item is None or known is None:
                return None
            decided = self._plan(reference, known)
            if isinstance(decided, Wait):
                return decided.seconds
            if isinstance(decided, Leave) or await self._write(reference, item, decided.status):
                return None
        raise ConflictError(f"{reference} was written by somebody else {MAX_CONFLICTS} times in a row")

    def _plan(self, reference: Reference, known: _Known) -> Plan:
        look, now = self._outlook.look(reference.kind, reference.key), self._clock()
        known.note(look, now)
        return plan(
            known.item,
            look,
            Times(
                now=now, since=known.since, written=known.written, missed=now if known.missed is None else known.missed
            ),
            form=WATCHED[reference.kind].form,
            stamp=rfc3339(self._wall()),
        )

    async def _write(self, reference: Reference, item: dict[str, Any], status: dict[str, object]) -> bool:
        """Write a status; say whether nobody was faster."""
        path = status_path(_api_version(item), reference)
        try:
            written = await self._store.replace(f"{path}/status", {**item, "status": status})
        except ConflictError:
            return False
        self.saw(reference, written)
        known = self._known.get(reference)
        if known is not None:
            known.written = self._clock()
        self.writes += 1
        _log.info("status written", object=str(reference), generation=generation_of(item))
        await self._tell(reference, item, status)
        return True

    async def _tell(self, reference: Reference, item: dict[str, Any], status: dict[str, object]) -> None:
        form = WATCHED[reference.kind].form
        before = dict(conditions_of(item, item.get("status") or {}, form))
        for where, conditions in conditions_of(item, status, form):
            for notice in notices(before.get(where, []), conditions, where):
                await self._recorder.tell(reference, item, notice)


def _api_version(item: Mapping[str, object]) -> str:
    return str(item.get("apiVersion", ""))
