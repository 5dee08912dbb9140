"""Lists in a status that belong to several controllers: our entries edited, everybody else's left exactly as they are.

Theory: such a list (`parents` of routes, `ancestors` of policies) is replaced as a whole by whoever writes it. So an edit
starts from a fresh copy, and is written back with the version it was read at. An entry is found again by its reference and
its controller.

Source: Gateway API `RouteStatus` and `PolicyStatus` ("MUST be treated as a map"; controllers read, modify and write).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from weft_operator.conditions.condition import Wanted, merged


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedEntry:
    """What one entry of ours should say."""

    reference: Mapping[str, object]
    conditions: Sequence[Wanted]


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryList:
    """One kind of list, and who we are in it."""

    name: str
    """Of the list in the status."""
    reference: str
    """Of the field that says what an entry is about."""
    limit: int
    """As the API bounds the list."""
    controller: str
    """Our `controllerName`."""

    def edited(self, item: Mapping[str, object], wanted: Sequence[WantedEntry], *, now: str) -> list[dict[str, object]]:
        """Return the list of an object with our entries as they should be.

        Args:
            item: the object, just read.
            wanted: all our entries.
            now: the time, RFC 3339.

        Returns:
            A list equal to what is there where nothing is to be written. A full list takes no further entries.
        """
        status = item.get("status")
        given = status.get(self.name) if isinstance(status, Mapping) else None
        current = [entry for entry in given or () if isinstance(entry, Mapping)]
        ours = {self._key(entry): entry for entry in current if self._is_ours(entry)}
        entries = {self._key(entry): entry for entry in self._entries(item, wanted, ours, now)}
        new = [entry for key, entry in entries.items() if key not in ours]
        return [*self._in_place(current, entries), *new][: self.limit]

    def _in_place(
        self, current: Sequence[Mapping[str, object]], wanted: Mapping[str, dict[str, object]]
    ) -> Iterator[dict[str, object]]:
        """Yield what is there, our entries replaced where they stand; those no longer wanted are left out."""
        for entry in current:
            if not self._is_ours(entry):
                yield dict(entry)
            elif (replacement := wanted.get(self._key(entry))) is not None:
                yield replacement

    def _entries(
        self,
        item: Mapping[str, object],
        wanted: Sequence[WantedEntry],
        ours: Mapping[str, Mapping[str, object]],
        now: str,
    ) -> Iterator[dict[str, object]]:
        metadata = item.get("metadata")
        generation = metadata.get("generation") if isinstance(metadata, Mapping) else None
        for each in wanted:
            entry: dict[str, object] = {self.reference: dict(each.reference), "controllerName": self.controller}
            conditions = ours.get(self._key(entry), {}).get("conditions")
            yield {
                **entry,
                "conditions": merged(
                    conditions if isinstance(conditions, list | tuple) else (),
                    each.conditions,
                    generation=generation if isinstance(generation, int) else 0,
                    now=now,
                ),
            }

    def _is_ours(self, entry: Mapping[str, object]) -> bool:
        return entry.get("controllerName") == self.controller

    def _key(self, entry: Mapping[str, object]) -> str:
        """Return the reference of an entry as a text that equal references share."""
        reference = entry.get(self.reference)
        return repr(sorted(reference.items()) if isinstance(reference, Mapping) else reference)
