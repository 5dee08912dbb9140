"""The status of an object of our own kinds."""

from collections.abc import Mapping, Sequence
from typing import Final

from weft_operator.compile import ObjectResult, Verdict
from weft_operator.conditions.condition import Wanted, merged, pending, truth
from weft_operator.conditions.progress import Progress, programmed
from weft_operator.conditions.target import target_text

WITH_REFERENCES: Final = frozenset({"AuthorizationPolicy", "RateLimitPolicy"})
"""Kinds that can refer to other objects."""
MAX_WARNINGS: Final = 5


def policy_conditions(kind: str, result: ObjectResult | None, progress: Progress) -> list[Wanted]:
    """Return the conditions of an object of ours.

    Args:
        kind: its kind.
        result: what became of it; None: it was not compiled yet.
        progress: where it is in force.
    """
    if result is None:
        types = ["Accepted", *(["ResolvedRefs"] if kind in WITH_REFERENCES else []), "Programmed"]
        return [pending(name) for name in types]
    conditions = [_accepted(result)]
    if kind in WITH_REFERENCES:
        conditions.append(_resolved(result.accepted))
    return [*conditions, programmed(result.accepted, progress)]


def _accepted(result: ObjectResult) -> Wanted:
    verdict = result.accepted
    message = verdict.message or _warnings(result)
    return Wanted(type="Accepted", status=truth(verdict.holds), reason=verdict.reason, message=message)


def _warnings(result: ObjectResult) -> str:
    """Return what an accepted object should be told all the same."""
    texts = [f"{problem.path}: {problem.message}" for problem in result.problems]
    more = len(texts) - MAX_WARNINGS
    return "; ".join(texts[:MAX_WARNINGS]) + (f"; and {more} more" if more > 0 else "")


def _resolved(accepted: Verdict) -> Wanted:
    missing = accepted.reason == "TargetNotFound" and not accepted.holds
    if missing:
        return Wanted(type="ResolvedRefs", status="False", reason=accepted.reason, message=accepted.message)
    return Wanted(type="ResolvedRefs", status="True", reason="ResolvedRefs")


def policy_status(
    item: Mapping[str, object],
    result: ObjectResult | None,
    progress: Progress,
    *,
    now: str,
) -> dict[str, object]:
    """Return the whole status of an object of ours; equal to what it has where nothing is to be written.

    Args:
        item: the object as the API has it.
        result: what became of it, of this very generation; None: nothing yet.
        progress: where it is in force.
        now: the time, RFC 3339.
    """
    metadata, spec, status = (_part(item, name) for name in ("metadata", "spec", "status"))
    kind, generation = str(item.get("kind", "")), metadata.get("generation")
    current = status.get("conditions")
    fields: dict[str, object] = {
        "conditions": merged(
            current if isinstance(current, Sequence) and not isinstance(current, str) else (),
            policy_conditions(kind, result, progress),
            generation=generation if isinstance(generation, int) else 0,
            now=now,
        ),
        "target": target_text(kind, str(metadata.get("namespace", "")), spec),
    }
    if result is not None:
        fields |= {"nodes": progress.text, "pods": result.pods}
        if result.overridden_by:
            fields["conflicts"] = result.overridden_by
    return fields


def _part(item: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = item.get(name)
    return value if isinstance(value, Mapping) else {}
