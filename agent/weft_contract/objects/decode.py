"""From a parsed document to an object, with every problem at once; what is somebody else's is skipped with a note.

Nulls: in foreign kinds `field: null` means absent, as the API server reads it. In our own kinds and in routes a null is a
problem, as it is for the API server with a schema: `from:` with nothing behind it would otherwise match every caller.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from weft_contract.codec import convert
from weft_contract.labels import API_VERSION, GROUP
from weft_contract.names import is_label, is_subdomain
from weft_contract.objects.kinds import KINDS, LATER, KindInfo, Object, nearest_own_kind, skip_note
from weft_contract.problems import ContractError, Problem

MAX_DEPTH: Final = 100
"""Nesting of a document; the API server's own limit is of this order."""
DEFAULT_NAMESPACE: Final = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A document that is not for the mesh."""

    source: str
    api_version: str
    kind: str
    name: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What every document says of itself, as far as it can be read."""

    api_version: str
    kind: str
    namespace: str
    name: str

    @property
    def group(self) -> str:
        """API group, empty for the core."""
        return self.api_version.rpartition("/")[0]

    @property
    def subject(self) -> str:
        """Kind and name for problems: `AuthorizationPolicy shop/web`."""
        key = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {key}".strip()


def read_header(doc: Mapping[str, object]) -> Header:
    """Read kind and name of a document, whatever else is wrong with it."""
    metadata = doc.get("metadata")
    given = metadata if isinstance(metadata, Mapping) else {}
    kind, api_version = _text(doc.get("kind")), _text(doc.get("apiVersion"))
    info = KINDS.get((api_version.rpartition("/")[0], kind))
    namespace = _text(given.get("namespace"))
    if info is not None:
        namespace = (namespace or DEFAULT_NAMESPACE) if info.namespaced else ""
    return Header(api_version=api_version, kind=kind, namespace=namespace, name=_text(given.get("name")))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def decode_object(doc: Mapping[str, object], source: str) -> Object | Skipped:
    """Turn a parsed document into an object.

    Args:
        doc: what a YAML or JSON parser returned.
        source: where it came from (`web.yaml#2`), for the problems.

    Returns:
        The object, or `Skipped` where the kind is not the mesh's business.

    Raises:
        ContractError: with every problem of the document's shape. What the shape cannot say is found by
            `weft_contract.objects.problems`.
    """
    header = read_header(doc)
    info = _kind_info(header, source)
    if info is None:
        note = skip_note(header.group, header.kind)
        return Skipped(source=source, api_version=header.api_version, kind=header.kind, name=header.name, note=note)
    found = list(_name_problems(header, info))
    plain = prepared(doc, info, header, found)
    try:
        result = convert(plain, info.python_type, source=source, subject=header.subject)
    except ContractError as exc:
        raise ContractError([*_located(found, header, source), *exc.problems]) from exc
    if found:
        raise ContractError(_located(found, header, source))
    return result


def _located(found: list[Problem], header: Header, source: str) -> Iterator[Problem]:
    return (replace(problem, source=source, subject=header.subject) for problem in found)


def _kind_info(header: Header, source: str) -> KindInfo | None:
    """Look the kind up; None: somebody else's."""

    def refuse(path: str, message: str, remedy: str) -> ContractError:
        problem = Problem(path=path, message=message, remedy=remedy, source=source, subject=header.subject)
        return ContractError([problem])

    if not header.kind:
        raise refuse("$.kind", "required field 'kind' is missing", "add kind")
    if not header.api_version:
        raise refuse("$.apiVersion", "required field 'apiVersion' is missing", "add apiVersion")
    info = KINDS.get((header.group, header.kind))
    if info is not None and header.api_version not in info.versions:
        message = f"{header.api_version!r} of {header.kind} is not known"
        raise refuse("$.apiVersion", message, f"write {info.versions[0]}")
    if info is None and header.group == GROUP:
        if header.kind in LATER:
            message = f"{API_VERSION} does not have {header.kind} yet in this release, so it would not be carried out"
            raise refuse("$.kind", message, "take it out until a release has it")
        raise refuse("$.kind", f"{API_VERSION} has no kind {header.kind!r:.80}", nearest_own_kind(header.kind))
    return info


def _name_problems(header: Header, info: KindInfo) -> Iterator[Problem]:
    if not header.name:
        yield Problem(path="$.metadata.name", message="the object has no name", remedy="add metadata.name")
    elif not is_subdomain(header.name):
        message = f"{header.name!r:.80} is not a name: a-z, 0-9, '-' and '.', at most 253"
        yield Problem(path="$.metadata.name", message=message)
    if info.namespaced and not is_label(header.namespace):
        message = f"{header.namespace!r:.80} is not a namespace: a-z, 0-9 and '-', at most 63"
        yield Problem(path="$.metadata.namespace", message=message)


def prepared(doc: Mapping[str, object], info: KindInfo, header: Header, found: list[Problem]) -> dict[str, object]:
    """Return the document as msgspec wants it: names as texts, nulls out, the namespace filled in.

    Args:
        doc: the document.
        info: its kind.
        header: its names.
        found: takes the problems of nulls in strict kinds and of too deep nesting.
    """
    plain: dict[str, object] = {}
    for key, value in doc.items():
        strict = info.strict and key not in {"metadata", "status"}
        if value is not None:
            plain[str(key)] = _cleaned(value, f"$.{key}", strict, found)
        elif strict:
            found.append(_nothing(f"$.{key}"))
    metadata = plain.get("metadata")
    if isinstance(metadata, dict):
        plain["metadata"] = {**metadata, "namespace": header.namespace}
    return plain


def _cleaned(value: object, path: str, strict: bool, found: list[Problem], depth: int = 1) -> object:
    """Return `value` with text keys and without the nulls of its mappings; strict: nulls are problems, in lists too."""
    if depth > MAX_DEPTH:
        found.append(Problem(path=path[:200], message=f"nested deeper than {MAX_DEPTH}"))
        return None
    if isinstance(value, Mapping):
        mapping: dict[str, object] = {}
        for key, item in value.items():
            if item is not None:
                mapping[str(key)] = _cleaned(item, f"{path}.{key}", strict, found, depth + 1)
            elif strict:
                found.append(_nothing(f"{path}.{key}"))
        return mapping
    if isinstance(value, list | tuple):
        items: list[object] = []
        for index, item in enumerate(value):
            if item is None and strict:
                found.append(_nothing(f"{path}[{index}]"))
            else:
                items.append(_cleaned(item, f"{path}[{index}]", strict, found, depth + 1))
        return items
    return value


def _nothing(path: str) -> Problem:
    return Problem(path=path, message="nothing is given here", remedy="give a value or leave the field out")
