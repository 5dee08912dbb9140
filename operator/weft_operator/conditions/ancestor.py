"""`status.ancestors` of Gateway API policies: what they are told at each Service of the mesh that they target.

Source: Gateway API `PolicyStatus`, GEP-713. The ancestor of a policy in a mesh is its target, since no Gateway is between.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from weft_operator.compile import ObjectResult
from weft_operator.conditions.condition import Wanted, truth
from weft_operator.conditions.entries import EntryList, WantedEntry

MAX_ANCESTORS: Final = 16
"""As the Gateway API bounds the list."""


def targets_service(item: Mapping[str, object]) -> bool:
    """Whether a policy, as the API has it, may be the mesh's business."""
    spec = item.get("spec")
    targets = spec.get("targetRefs") if isinstance(spec, Mapping) else None
    return any(
        isinstance(target, Mapping) and target.get("group") == "" and target.get("kind") == "Service"
        for target in targets or ()
    )


def edited_ancestors(
    item: Mapping[str, object], result: ObjectResult | None, *, controller: str, now: str
) -> list[dict[str, object]]:
    """Return the ancestors of a policy's status with our entries as they should be.

    Args:
        item: the policy, just read.
        result: what became of this very generation; None: it targets no Service, so that nothing of ours is in its status.
        controller: our `controllerName`.
        now: the time, RFC 3339.

    Returns:
        A list equal to what is there where nothing is to be written.
    """
    entries = EntryList(name="ancestors", reference="ancestorRef", limit=MAX_ANCESTORS, controller=controller)
    return entries.edited(item, list(_wanted(result)) if result is not None else [], now=now)


def _wanted(result: ObjectResult) -> Iterator[WantedEntry]:
    for ancestor in result.ancestors:
        namespace, _, name = ancestor.service.partition("/")
        verdict = ancestor.accepted
        accepted = Wanted(type="Accepted", status=truth(verdict.holds), reason=verdict.reason, message=verdict.message)
        reference = {"group": "", "kind": "Service", "namespace": namespace, "name": name}
        yield WantedEntry(reference=reference, conditions=[accepted])
