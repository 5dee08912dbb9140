"""Telling an object's owner by Events what the operator may not write into a condition: once each, however often it is found."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from weft_contract.objects import Namespace, Pod, Service
from weft_operator.conditions import Notice
from weft_operator.controllers.events import Recorder

Foreign: TypeAlias = Pod | Service | Namespace
"""What has no condition of ours."""


@dataclass(slots=True)
class Teller:
    """Tells each owner once, and again when something else is wrong.

    Args:
        recorder: writes Events.
        told: notes that were written, by uid of the object and reason.
    """

    recorder: Recorder
    told: dict[tuple[str, str], str] = field(default_factory=dict)

    async def tell(self, found: Iterable[tuple[Foreign, Notice]]) -> int:
        """Write Events for what was not told before; forget objects that are right again or gone. Returns how many."""
        now = {(item.metadata.uid, notice.reason): (item, notice) for item, notice in found}
        self.told = {key: note for key, note in self.told.items() if key in now}
        count = 0
        for key, (item, notice) in now.items():
            if self.told.get(key) != notice.note:
                self.told[key] = notice.note
                await self.recorder.tell(key, _document(item), notice)
                self.recorder.forget(key)
                count += 1
        return count


def _document(item: Foreign) -> dict[str, object]:
    metadata = {"name": item.metadata.name, "namespace": item.metadata.namespace, "uid": item.metadata.uid}
    return {"apiVersion": "v1", "kind": item.kind, "metadata": metadata}
