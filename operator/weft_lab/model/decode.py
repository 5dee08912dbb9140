"""Documents to objects: every shape problem at once, and a warning for each field that the lab does not carry out."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from weft_contract.codec import convert
from weft_contract.problems import ContractError, Problem
from weft_lab.model.check import check
from weft_lab.model.kinds import Kind, is_mesh_group, kind_of_document
from weft_lab.model.meta import Key, Metadata, Model
from weft_lab.model.objects import Foreign, LabObject
from weft_lab.model.prune import prune

DEFAULT_NAMESPACE: Final = "default"


@dataclass(frozen=True, slots=True)
class Decoded:
    """What one document is: an object with its kind and key, or None where it cannot be used or is not for the lab."""

    problems: tuple[Problem, ...]
    kind: Kind | None = None
    key: Key | None = None
    object: LabObject | None = None

    @property
    def failed(self) -> bool:
        """Whether the document must be refused."""
        return any(not problem.warning for problem in self.problems)


class _Named(Model, frozen=True, kw_only=True):
    metadata: Metadata


@dataclass(frozen=True, slots=True)
class _Head:
    api_version: str
    kind: str
    source: str
    subject: str


def decode(document: object, *, source: str, namespace: str = DEFAULT_NAMESPACE) -> Decoded:
    """Read one document.

    Args:
        document: what the YAML parser returned.
        source: file and document number, for the problems.
        namespace: where namespaced objects go that do not say it.

    Returns:
        The object, or the reasons why there is none.
    """
    head = _head(document, source)
    if head is None or not isinstance(document, Mapping):
        message = "apiVersion and kind are missing: not a Kubernetes object"
        return Decoded((Problem(path="$", message=message, source=source),))
    kind = kind_of_document(head.api_version, head.kind)
    if kind is None:
        return Decoded((_unknown(head),))
    try:
        key = _key(document, kind, namespace, head)
        return _object(document, head, kind, key)
    except ContractError as exc:
        return Decoded(exc.problems, kind)


def _object(document: Mapping[object, object], head: _Head, kind: Kind, key: Key) -> Decoded:
    placed = dict(document) | {"metadata": _placed(document.get("metadata"), key)}
    if kind.type is Foreign:
        plain = {str(name): value for name, value in placed.items()}
        found: LabObject = convert({"metadata": placed["metadata"], "document": plain}, Foreign)
        lost: list[str] = []
    else:
        pruned, lost = prune(placed, kind.type)
        found = convert(pruned, kind.type, source=head.source, subject=head.subject)
    warnings = [_unsupported(path, head) for path in lost]
    checked = [replace(item, source=head.source, subject=head.subject) for item in check(key, found)]
    result = Decoded((*checked, *warnings), kind, key, found)
    return Decoded(result.problems, kind, key) if result.failed else result


def _head(document: object, source: str) -> _Head | None:
    if not isinstance(document, Mapping):
        return None
    api_version, kind = document.get("apiVersion"), document.get("kind")
    if not isinstance(api_version, str) or not isinstance(kind, str):
        return None
    metadata = document.get("metadata")
    plain = metadata if isinstance(metadata, Mapping) else {}
    name = "/".join(str(part) for part in (plain.get("namespace"), plain.get("name")) if part)
    return _Head(api_version, kind, source, f"{kind} {name}".strip())


def _unknown(head: _Head) -> Problem:
    message = f"{head.api_version} {head.kind} is not run in the lab"
    ours = is_mesh_group(head.api_version)
    remedy = "this version of weft does not have the kind" if ours else "it was skipped"
    return Problem(
        path="$.kind", message=message, remedy=remedy, source=head.source, subject=head.subject, warning=not ours
    )


def _key(document: Mapping[object, object], kind: Kind, namespace: str, head: _Head) -> Key:
    whole = convert({"metadata": document.get("metadata") or {}}, _Named, source=head.source, subject=head.subject)
    metadata = whole.metadata
    return Key(kind.name, (metadata.namespace or namespace) if kind.namespaced else "", metadata.name)


def _placed(metadata: object, key: Key) -> dict[str, object]:
    plain = {str(name): value for name, value in metadata.items()} if isinstance(metadata, Mapping) else {}
    plain.pop("namespace", None)
    return plain | ({"namespace": key.namespace} if key.namespace else {})


def _unsupported(path: str, head: _Head) -> Problem:
    message = "is not carried out in the lab"
    return Problem(path=path, message=message, source=head.source, subject=head.subject, warning=True)
