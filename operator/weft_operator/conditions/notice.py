"""Events: what is worth telling when a status changes. Changes only, and each once.

An Event's name is made of what it says and of when that began, so that a second operator, or the same one after a restart,
that comes to the same conclusion finds it told already.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Literal

from weft_operator.conditions.condition import shortened

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
    since: str = ""
    """When the condition became so; what returns is told again."""

    def event_name(self, name: str, uid: str) -> str:
        """Return a name that the same notice about the same object has every time."""
        text = "\0".join((uid, self.type, self.reason, self.note, self.since))
        suffix = blake2b(text.encode(), digest_size=_NAME_BYTES).hexdigest()
        return f"{name[: _MAX_OBJECT_NAME - len(suffix) - 1].rstrip('.-')}.{suffix}"


def notices(
    before: Sequence[Mapping[str, object]], after: Sequence[Mapping[str, object]], where: str = ""
) -> list[Notice]:
    """Return what changed for the people who look at an object.

    Args:
        before: its conditions until now.
        after: its conditions from now on.
        where: a parent, for routes.
    """
    old = {item.get("type"): (item.get("status"), item.get("reason")) for item in before}
    new = [item for item in after if old.get(item.get("type")) != (item.get("status"), item.get("reason"))]
    return [notice for item in new if (notice := _notice(item, where)) is not None]


def _notice(condition: Mapping[str, object], where: str) -> Notice | None:
    """Return what a new condition is worth: a verdict always, progress only where a node refused."""
    message = ": ".join(filter(None, (where, str(condition.get("message") or ""))))
    reason, since = str(condition.get("reason")), str(condition.get("lastTransitionTime"))

    def warning(name: str, text: str) -> Notice:
        return Notice(type="Warning", reason=name, note=shortened(text, MAX_NOTE), since=since)

    match condition.get("type"), condition.get("status"), reason:
        case "Accepted", "True", _:
            return Notice(
                type="Normal", reason="Accepted", note=shortened(message or "accepted", MAX_NOTE), since=since
            )
        case "Accepted", "False", _:
            return warning("Rejected", f"{reason}: {message}")
        case "ResolvedRefs", "False", _ if reason != "TargetNotFound":
            return warning("Unresolved", f"{reason}: {message}")
        case "Programmed", "False", "Refused":
            return warning("Refused", message)
        case _:
            return None
