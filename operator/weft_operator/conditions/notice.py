"""Events: what is worth telling when a status changes. Changes only, and each once.

An Event's name is made of what it says, so that a second operator, or the same one after a restart, that comes to the same
conclusion finds it told already.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Literal

from weft_operator.conditions.condition import Wanted, shortened

MAX_NOTE: Final = 1024
"""Bound of `note` in events.k8s.io/v1."""
_NAME_BYTES: Final = 8
_MAX_OBJECT_NAME: Final = 253


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing to tell about an object."""

    type: Literal["Normal", "Warning"]
    reason: str
    note: str

    def event_name(self, name: str, uid: str, generation: int) -> str:
        """Return a name that the same notice about the same generation of the same object has every time."""
        text = "\0".join((uid, str(generation), self.type, self.reason, self.note))
        suffix = blake2b(text.encode(), digest_size=_NAME_BYTES).hexdigest()
        return f"{name[: _MAX_OBJECT_NAME - len(suffix) - 1].rstrip('.-')}.{suffix}"


def notices(before: Sequence[Mapping[str, object]], after: Sequence[Wanted], where: str = "") -> list[Notice]:
    """Return what changed for the people who look at an object.

    Args:
        before: its conditions until now.
        after: its conditions from now on.
        where: a parent, for routes.
    """
    old = {str(item.get("type")): (item.get("status"), item.get("reason")) for item in before}
    found = []
    for condition in after:
        if old.get(condition.type) != (condition.status, condition.reason):
            notice = _notice(condition, f"{where}: " if where else "")
            if notice is not None:
                found.append(notice)
    return found


def _notice(condition: Wanted, where: str) -> Notice | None:
    """Return what a new condition is worth: a verdict always, progress only where a node refused."""
    message = shortened(f"{where}{condition.message}" if condition.message else where.rstrip(": "), MAX_NOTE)
    match condition.type, condition.status, condition.reason:
        case "Accepted", "True", _:
            return Notice(type="Normal", reason="Accepted", note=message or "accepted")
        case "Accepted", "False", reason:
            return Notice(type="Warning", reason="Rejected", note=shortened(f"{reason}: {message}", MAX_NOTE))
        case "ResolvedRefs", "False", reason if reason != "TargetNotFound":
            return Notice(type="Warning", reason="Unresolved", note=shortened(f"{reason}: {message}", MAX_NOTE))
        case "Programmed", "False", "Refused":
            return Notice(type="Warning", reason="Refused", note=message)
        case _:
            return None
