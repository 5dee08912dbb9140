"""Conditions: merged into a list as the Kubernetes API conventions want it, and equal to it where nothing changed.

`lastTransitionTime` moves only when `status` does, `observedGeneration` always says which generation was judged, and what
somebody else put into the list stays. A caller writes only where the result differs from what is there.

Source: Kubernetes API conventions, "Typical status properties"; `metav1.Condition`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias

from weft_operator.conditions.model import MAX_MESSAGE

Conditions: TypeAlias = Sequence[Mapping[str, object]]
"""A list of conditions as the API has it."""
Truth: TypeAlias = Literal["True", "False", "Unknown"]

_CUT: Final = " …"


def truth(holds: bool) -> Truth:
    """Return a condition's status as the API writes it."""
    return "True" if holds else "False"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What one condition should say."""

    type: str
    status: Truth
    reason: str
    message: str = ""


def pending(name: str) -> Wanted:
    """Return a condition that nothing is known about yet."""
    return Wanted(type=name, status="Unknown", reason="Pending", message="not judged yet")


def merged(current: Conditions, wanted: Sequence[Wanted], *, generation: int, now: str) -> list[dict[str, object]]:
    """Return `current` with the wanted conditions in it.

    Args:
        current: what the object has now.
        wanted: what it should say.
        generation: the generation that was judged.
        now: the time, RFC 3339.

    Returns:
        A list equal to `current` if and only if nothing is to be written; ours first, in the order wanted.
    """
    by_type = {str(item.get("type")): item for item in current}
    if all(_says(by_type.get(item.type), item, generation) for item in wanted):
        return [dict(item) for item in current]
    ours = [_document(item, by_type.get(item.type), generation, now) for item in wanted]
    types = {item.type for item in wanted}
    return [*ours, *(dict(item) for item in current if item.get("type") not in types)]


def _says(current: Mapping[str, object] | None, wanted: Wanted, generation: int) -> bool:
    return (
        current is not None
        and {
            "status": wanted.status,
            "reason": wanted.reason,
            "message": shortened(wanted.message),
            "observedGeneration": generation,
        }.items()
        <= {"observedGeneration": 0, **current}.items()
    )


def _document(wanted: Wanted, current: Mapping[str, object] | None, generation: int, now: str) -> dict[str, object]:
    same = current is not None and current.get("status") == wanted.status
    since = str(current.get("lastTransitionTime") or now) if current is not None and same else now
    return {
        "type": wanted.type,
        "status": wanted.status,
        "observedGeneration": generation,
        "lastTransitionTime": since,
        "reason": wanted.reason,
        "message": shortened(wanted.message),
    }


def shortened(text: str, limit: int = MAX_MESSAGE) -> str:
    """Return a text that fits, its end marked where it was cut."""
    return text if len(text) <= limit else text[: limit - len(_CUT)] + _CUT


def rfc3339(unix_s: float) -> str:
    """Return a time as the Kubernetes API writes it: UTC, whole seconds."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
