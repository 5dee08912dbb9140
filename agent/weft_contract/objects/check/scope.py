"""Rules of selectors and targets, the same for every policy kind."""

from collections.abc import Iterator

from weft_contract.objects.target import TargetReference, WorkloadSelector
from weft_contract.problems import Problem


def scope_problems(selector: WorkloadSelector | None, targets: tuple[TargetReference, ...]) -> Iterator[Problem]:
    """Yield what is wrong with what a policy is attached to."""
    if selector is not None and targets:
        message = "selector and targetRefs cannot both be given"
        yield Problem(path="$.spec", message=message, remedy="attach to pods by selector or to Services by targetRefs")
    seen: set[tuple[str, str | None]] = set()
    for index, target in enumerate(targets):
        path = f"$.spec.targetRefs[{index}]"
        if (target.group, target.kind) != ("", "Service"):
            what = f"{target.group}/{target.kind}".lstrip("/")
            remedy = (
                "leave targetRefs out to cover the whole namespace" if target.kind == "Namespace" else "use Service"
            )
            yield Problem(path=path, message=f"policies do not attach to {what:.120}", remedy=remedy)
        if (target.name, target.section_name) in seen:
            yield Problem(path=path, message=f"Service {target.name} is there twice", warning=True)
        seen.add((target.name, target.section_name))
