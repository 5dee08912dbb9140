"""What can still be read of a broken object: its name and what it applies to, so that it can refuse in its own place.

A policy that cannot be understood must not silently let things pass. It is therefore kept with as much of its scope as is
readable; a scope that is not readable is the widest the object could have had, its whole namespace.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from weft_contract.codec import convert
from weft_contract.objects.decode import prepared, read_header
from weft_contract.objects.kinds import KINDS, KindInfo, Object
from weft_contract.problems import ContractError

SCOPE_FIELDS: Final = ("selector", "targetRefs", "parentRefs", "mode", "action", "trustDomain", "clusterDomain")
"""Fields of a spec that say where an object holds and whether it enforces, and the names all identities hang on."""


def salvage(doc: Mapping[str, object]) -> Object | None:
    """Return a broken object with nothing but its metadata and its readable scope.

    Args:
        doc: a document that `decode_object` refused.

    Returns:
        The remains, for a strict kind (policies, routes) whose name is readable; else None.
    """
    header = read_header(doc)
    info = KINDS.get((header.group, header.kind))
    if info is None or not info.strict or not header.name:
        return None
    plain = prepared(doc, info, header, [])
    remains: dict[str, object] = {
        "apiVersion": info.versions[0],
        "kind": header.kind,
        "metadata": _metadata(plain.get("metadata"), header.name, header.namespace),
        "spec": _scope(plain.get("spec"), info),
    }
    try:
        return convert(remains, info.python_type)
    except ContractError:
        return None


def _metadata(given: object, name: str, namespace: str) -> dict[str, object]:
    metadata: dict[str, object] = {"name": name, "namespace": namespace}
    if isinstance(given, Mapping):
        if isinstance(given.get("generation"), int):
            metadata["generation"] = given["generation"]
        if isinstance(given.get("creationTimestamp"), str):
            metadata["creationTimestamp"] = given["creationTimestamp"]
    return metadata


def _scope(given: object, info: KindInfo) -> dict[str, object]:
    if not isinstance(given, Mapping):
        return {}
    spec_type = next(field.type for field in msgspec.structs.fields(info.python_type) if field.name == "spec")
    scope: dict[str, object] = {}
    for field in msgspec.structs.fields(spec_type):
        if field.encode_name in SCOPE_FIELDS and field.encode_name in given:
            try:
                convert(given[field.encode_name], field.type)
            except ContractError:
                continue
            scope[field.encode_name] = given[field.encode_name]
    return scope
