"""Splitting a document into what a struct knows and what it does not, so that the rest can be told instead of lost. Pure."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

from msgspec import inspect

MEANINGLESS: Final = frozenset({
    "apiVersion", "kind",
    # who pulls, schedules, logs and prices: nothing that traffic or a program could notice on one machine
    "imagePullPolicy", "imagePullSecrets", "terminationMessagePath", "terminationMessagePolicy", "schedulerName",
    "priority", "priorityClassName", "preemptionPolicy", "tolerations", "enableServiceLinks",
    "automountServiceAccountToken", "dnsPolicy", "stdin", "stdinOnce", "tty", "revisionHistoryLimit",
    "progressDeadlineSeconds", "managedFields", "selfLink", "internalTrafficPolicy", "sessionAffinity",
    "minReadySeconds", "ttlSecondsAfterFinished", "status", "seccompProfile", "allocateLoadBalancerNodePorts",
    "sizeLimit", "topologySpreadConstraints", "resizePolicy", "runtimeClassName", "immutable", "completionMode", "suspend",
})  # fmt: skip
"""Fields that are left out without a word where the lab has no use for them: their value changes nothing it does."""

_UNLESS: Final[Mapping[str, frozenset[object]]] = {
    "dnsPolicy": frozenset({"ClusterFirst", "ClusterFirstWithHostNet", "Default"}),
    "internalTrafficPolicy": frozenset({"Cluster"}),
    "sessionAffinity": frozenset({"None"}),
    "suspend": frozenset({False}),
    "completionMode": frozenset({"NonIndexed"}),
}
"""Of those, the fields that do mean something at another value."""


def prune(value: object, python_type: object) -> tuple[object, list[str]]:
    """Return the value without the fields that `python_type` does not know, and the paths of those that mattered.

    Args:
        value: plain JSON values.
        python_type: a msgspec struct type.
    """
    lost: list[str] = []
    return _prune(value, _info(python_type), "$", lost), lost


@lru_cache(maxsize=256)
def _info(python_type: object) -> inspect.Type:
    return inspect.type_info(python_type)


def _prune(value: object, shape: inspect.Type, path: str, lost: list[str]) -> object:
    if isinstance(shape, inspect.UnionType):
        structured = [option for option in shape.types if not isinstance(option, inspect.NoneType)]
        return _prune(value, structured[0], path, lost) if len(structured) == 1 else value
    if isinstance(shape, inspect.StructType) and isinstance(value, Mapping):
        return dict(_fields(value, shape, path, lost))
    if isinstance(shape, inspect.VarTupleType) and isinstance(value, list | tuple):
        return [_prune(item, shape.item_type, f"{path}[{index}]", lost) for index, item in enumerate(value)]
    return value


def _fields(
    value: Mapping[object, object], shape: inspect.StructType, path: str, lost: list[str]
) -> Iterator[tuple[str, object]]:
    known = {field.encode_name: field for field in shape.fields}
    for key, item in value.items():
        name = str(key)
        if name in known:
            # Kubernetes takes an explicit null for an absent field
            if item is not None:
                yield name, _prune(item, known[name].type, f"{path}.{name}", lost)
        elif not _meaningless(name, item):
            lost.append(f"{path}.{name}")


def _meaningless(name: str, item: object) -> bool:
    if item is None or name not in MEANINGLESS:
        return item is None
    allowed = _UNLESS.get(name)
    return allowed is None or (isinstance(item, str | bool) and item in allowed)
