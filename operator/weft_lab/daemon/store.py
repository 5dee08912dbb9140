"""All objects of a lab, with revisions. Changes are told once per turn of the loop."""

import itertools
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

from msgspec.structs import replace

from weft_lab.model import Key, LabObject, Metadata
from weft_lab.plan.view import View


def timestamp(unix_s: float | None = None) -> str:
    """Return a time as the Kubernetes API writes it; without an argument, now."""
    moment = datetime.now(UTC) if unix_s is None else datetime.fromtimestamp(unix_s, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class Store:
    """Objects by key. Every object is immutable; a change is another object."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._objects: dict[Key, LabObject] = {}
        self._on_change = on_change
        self._revisions = itertools.count(1)
        self.revision = 0

    def view(self) -> View:
        """Return a look at the present state that stays as it is."""
        return View(dict(self._objects))

    def get(self, key: Key) -> LabObject | None:
        """Return an object, or None."""
        return self._objects.get(key)

    def create(self, key: Key, found: LabObject) -> LabObject:
        """Add an object, with uid and creation time."""
        metadata = replace(
            found.metadata,
            uid=found.metadata.uid or str(uuid.uuid4()),
            creation_timestamp=timestamp(),
            generation=1,
        )
        return self._put(key, replace(found, metadata=metadata))

    def update(self, key: Key, found: LabObject, *, generation: bool = False) -> LabObject:
        """Replace an object; uid and creation time stay.

        Args:
            key: names it; it is there.
            found: the new state.
            generation: whether what is wanted has changed, not only what is.
        """
        old = self._objects[key].metadata
        metadata = replace(
            found.metadata,
            uid=old.uid,
            creation_timestamp=old.creation_timestamp,
            generation=old.generation + (1 if generation else 0),
        )
        return self._put(key, replace(found, metadata=metadata))

    def delete(self, key: Key) -> None:
        """Remove an object; one that is not there is no error."""
        if self._objects.pop(key, None) is not None:
            self._changed()

    def _put(self, key: Key, found: LabObject) -> LabObject:
        self._changed()
        metadata: Metadata = replace(found.metadata, resource_version=str(self.revision))
        placed = replace(found, metadata=metadata)
        self._objects[key] = placed
        return placed

    def _changed(self) -> None:
        self.revision = next(self._revisions)
        self._on_change()
