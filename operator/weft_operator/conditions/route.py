"""`status.parents` of Gateway API routes: what they are told at each Service that they are attached to.

Theory: `parentRef` is copied from the spec as the API server returned it, defaults included and nothing added: Flagger
compares the two field by field, and goes on only when `Accepted` is True with the route's own generation. Other
controllers' entries: `weft_operator.conditions.entries`.

Source: Gateway API `RouteStatus` ("controllers MUST read-modify-write"), GEP-1294; Flagger `pkg/router/gateway_api.go`.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from weft_contract.labels import GATEWAY_GROUP
from weft_operator.compile import ObjectResult, ParentResult, Verdict
from weft_operator.conditions.condition import Wanted, pending, truth
from weft_operator.conditions.entries import EntryList, WantedEntry
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
    entries = EntryList(name="parents", reference="parentRef", limit=MAX_PARENTS, controller=controller)
    return entries.edited(item, list(_wanted(item, result, progress)), now=now)


def _wanted(item: Mapping[str, object], result: ObjectResult | None, progress: Progress) -> Iterator[WantedEntry]:
    references = mesh_parents(item)
    judged = result is not None and len(result.parents) == len(references)
    outcomes = result.parents if result is not None and judged else (None,) * len(references)
    for reference, outcome in zip(references, outcomes, strict=True):
        yield WantedEntry(reference=reference, conditions=parent_conditions(outcome, progress))
