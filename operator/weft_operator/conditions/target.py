"""The column Target: what a policy is attached to, in a few characters."""

from collections.abc import Mapping

from weft_contract.objects import ROOT_NAMESPACE
from weft_operator.conditions.condition import shortened

MAX_TARGET = 1024


def target_text(kind: str, namespace: str, spec: Mapping[str, object]) -> str:
    """Return what an object of ours is attached to.

    Args:
        kind: its kind.
        namespace: where it is; policies of the root namespace without a target hold in the whole mesh.
        spec: as the API has it, whatever is wrong with it.

    Returns:
        `app=web,tier=front`, `Service/web:http`, `namespace` or `mesh`.
    """
    parts = [*_labels(spec.get("selector")), *_services(spec.get("targetRefs"))]
    if parts:
        return shortened(",".join(parts), MAX_TARGET)
    return "mesh" if kind == "Mesh" or namespace == ROOT_NAMESPACE else "namespace"


def _labels(selector: object) -> list[str]:
    labels = selector.get("matchLabels") if isinstance(selector, Mapping) else None
    return [f"{key}={value}" for key, value in sorted(labels.items())] if isinstance(labels, Mapping) else []


def _services(targets: object) -> list[str]:
    if not isinstance(targets, list | tuple):
        return []
    return [_service(item) for item in targets if isinstance(item, Mapping)]


def _service(target: Mapping[str, object]) -> str:
    name = f"{target.get('kind', 'Service')}/{target.get('name', '')}"
    section = target.get("sectionName")
    return f"{name}:{section}" if section else name
