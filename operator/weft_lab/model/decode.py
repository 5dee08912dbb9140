"""Documents to objects: every shape problem at once, and a warning for each field that the lab does not carry out."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from weft_contract.codec import convert
from weft_contract.objects import RegexError, Skipped, decode_object, problems
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
    document: dict[str, object]


def decode(document: object, *, source: str, regex: RegexError, namespace: str = DEFAULT_NAMESPACE) -> Decoded:
    """Read one document.

    Args:
        document: what the YAML parser returned.
        source: file and document number, for the problems.
        regex: tells what is wrong with a regular expression (RE2).
        namespace: where namespaced objects go that do not say it.

    Returns:
        The object, or the reasons why there is none.
    """
    head = _head(document, source)
    if head is None:
        message = "apiVersion and kind are missing: not a Kubernetes object"
        return Decoded((Problem(path="$", message=message, source=source),))
    kind = kind_of_document(head.api_version, head.kind)
    try:
        if kind is None:
            return _not_kept(head)
        key = _key(head, kind, namespace)
        placed = head.document | {"metadata": _placed(head.document.get("metadata"), key)}
        found, notes = _mesh_object(placed, head, regex) if kind.type is Foreign else _lab_object(placed, head, kind)
    except ContractError as exc:
        return Decoded(exc.problems, kind)
    checked = [replace(item, source=head.source, subject=head.subject) for item in check(key, found)]
    result = Decoded((*checked, *notes), kind, key, found)
    return Decoded(result.problems, kind, key) if result.failed else result


def _mesh_object(placed: dict[str, object], head: _Head, regex: RegexError) -> tuple[Foreign, list[Problem]]:
    """Keep the document as it is, once the contract has judged it: the compiler reads it later, word for word."""
    item = decode_object(placed, head.source)
    found = convert({"metadata": placed["metadata"], "document": placed}, Foreign)
    return found, [] if isinstance(item, Skipped) else problems(item, regex, source=head.source)


def _lab_object(placed: dict[str, object], head: _Head, kind: Kind) -> tuple[LabObject, list[Problem]]:
    pruned, lost = prune(placed, kind.type)
    found = convert(pruned, kind.type, source=head.source, subject=head.subject)
    message = "is not carried out in the lab"
    return found, [
        Problem(path=path, message=message, source=head.source, subject=head.subject, warning=True) for path in lost
    ]


def _not_kept(head: _Head) -> Decoded:
    """Say why a document is not for the lab; of our own group and the Gateway API nothing passes without judgement."""
    note = "it is not run in the lab and was skipped"
    if is_mesh_group(head.api_version):
        item = decode_object(head.document, head.source)
        note = item.note if isinstance(item, Skipped) else note
    message = f"{head.api_version} {head.kind}: {note}"
    return Decoded((Problem(path="$.kind", message=message, source=head.source, subject=head.subject, warning=True),))


def _head(document: object, source: str) -> _Head | None:
    if not isinstance(document, Mapping):
        return None
    plain = {str(name): value for name, value in document.items()}
    api_version, kind = plain.get("apiVersion"), plain.get("kind")
    if not isinstance(api_version, str) or not isinstance(kind, str):
        return None
    metadata = plain.get("metadata")
    given = metadata if isinstance(metadata, Mapping) else {}
    name = "/".join(str(part) for part in (given.get("namespace"), given.get("name")) if part)
    return _Head(api_version, kind, source, f"{kind} {name}".strip(), plain)


def _key(head: _Head, kind: Kind, namespace: str) -> Key:
    given = {"metadata": head.document.get("metadata") or {}}
    metadata = convert(given, _Named, source=head.source, subject=head.subject).metadata
    return Key(kind.name, (metadata.namespace or namespace) if kind.namespaced else "", metadata.name)


def _placed(metadata: object, key: Key) -> dict[str, object]:
    """Return metadata with the namespace filled in, or taken out where the kind has none."""
    plain = {str(name): value for name, value in metadata.items()} if isinstance(metadata, Mapping) else {}
    plain.pop("namespace", None)
    return plain | ({"namespace": key.namespace} if key.namespace else {})
