"""`status.parents` of Gateway API routes: our entries edited, everybody else's left exactly as they are.

Theory: the list belongs to all controllers that a route is attached to, and is replaced as a whole by whoever writes it. So
an edit starts from a fresh copy, and is written back with the version it was read at. `parentRef` is copied from the spec as
the API server returned it, defaults included and nothing added: Flagger compares the two field by field, and goes on only
when `Accepted` is True with the route's own generation.

Source: Gateway API `RouteStatus` ("controllers MUST read-modify-write"), GEP-1294; Flagger `pkg/router/gateway_api.go`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from weft_contract.labels import GATEWAY_GROUP
from weft_operator.compile import ObjectResult, ParentResult, Verdict
from weft_operator.conditions.condition import Wanted, merged, pending, truth
from weft_operator.conditions.progress import Progress, programmed

MAX_PARENTS: Final = 32
"""As the Gateway API bounds the list."""


def parent_conditions(parent: ParentResult | None, progress: Progress) -> list[Wanted]:
    """Return the conditions of a route at one parent; None: it was not judged yet."""
    if parent is None:
        return [pending(name) for name in ("Accepted", "ResolvedRefs", "Programmed")]
    return [
        _verdict("Accepted", parent.accepted),
        _verdict("ResolvedRefs", parent.resolved_refs),
        programmed(parent.accepted, progress),
    ]


def _verdict(name: str, verdict: Verdict) -> Wanted:
    return Wanted(type=name, status=truth(verdict.holds), reason=verdict.reason, message=verdict.message)


def mesh_parents(item: Mapping[str, object]) -> list[Mapping[str, object]]:
    """Return the parents of a route that are Services, as the API has them (the same choice that the compiler makes)."""
    spec = item.get("spec")
    parents = spec.get("parentRefs") if isinstance(spec, Mapping) else None
    return [parent for parent in parents or () if isinstance(parent, Mapping) and _is_service(parent)]


def _is_service(parent: Mapping[str, object]) -> bool:
    return parent.get("kind") == "Service" and parent.get("group") in (None, "", GATEWAY_GROUP)


def edited_parents(
    item: Mapping[str, object],
    result: ObjectResult | None,
    progress: Progress,
    *,
    controller: str,
    now: str,
) -> list[dict[str, object]]:
    """Return the parents of a route's status with our entries as they should be.

    Args:
        item: the route, just read.
        result: what became of this very generation; None: it was not judged yet.
        progress: where it is in force.
        controller: our `controllerName`.
        now: the time, RFC 3339.

    Returns:
        A list equal to what is there where nothing is to be written. A route that is attached to no Service (any more) has
        no entry of ours.
    """
    status = item.get("status")
    given = status.get("parents") if isinstance(status, Mapping) else None
    current = [entry for entry in given or () if isinstance(entry, Mapping)]
    ours = {_key(entry): entry for entry in current if _is_ours(entry, controller)}
    wanted = {_key(entry): entry for entry in _entries(item, result, progress, ours, controller, now)}
    new = [entry for key, entry in wanted.items() if key not in ours]
    return [*_in_place(current, wanted, controller), *new][:MAX_PARENTS]


def _in_place(
    current: Sequence[Mapping[str, object]], wanted: Mapping[str, dict[str, object]], controller: str
) -> Iterator[dict[str, object]]:
    """Yield what is there, our entries replaced where they stand; those no longer wanted are left out."""
    for entry in current:
        if not _is_ours(entry, controller):
            yield dict(entry)
        elif (replacement := wanted.get(_key(entry))) is not None:
            yield replacement


def _entries(
    item: Mapping[str, object],
    result: ObjectResult | None,
    progress: Progress,
    ours: Mapping[str, Mapping[str, object]],
    controller: str,
    now: str,
) -> Iterator[dict[str, object]]:
    metadata = item.get("metadata")
    generation = metadata.get("generation") if isinstance(metadata, Mapping) else None
    references = mesh_parents(item)
    judged = result is not None and len(result.parents) == len(references)
    outcomes = result.parents if result is not None and judged else (None,) * len(references)
    for reference, outcome in zip(references, outcomes, strict=True):
        entry: dict[str, object] = {"parentRef": dict(reference), "controllerName": controller}
        conditions = ours.get(_key(entry), {}).get("conditions")
        yield {
            **entry,
            "conditions": merged(
                conditions if isinstance(conditions, list | tuple) else (),
                parent_conditions(outcome, progress),
                generation=generation if isinstance(generation, int) else 0,
                now=now,
            ),
        }


def _is_ours(entry: Mapping[str, object], controller: str) -> bool:
    return entry.get("controllerName") == controller


def _key(entry: Mapping[str, object]) -> str:
    """Return the reference of an entry as a text that equal references share."""
    reference = entry.get("parentRef")
    return repr(sorted(reference.items()) if isinstance(reference, Mapping) else reference)
