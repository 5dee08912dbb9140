"""Bytes and values: canonical encoding, content hashes, and decoding that reports all problems of a document at once."""

import hashlib
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final, TypeVar, cast

import msgspec

from weft_contract.problems import ContractError, Problem
from weft_contract.resources.document import SCHEMA, Entry, NodeDocument, Resource, resource_key
from weft_contract.shapes import shape_problems

T = TypeVar("T")

HASH_CHARACTERS: Final = 32
"""128 bits of SHA-256 in hexadecimal: no accidental collision, short enough for a log line."""

_encoder: Final = msgspec.json.Encoder(order="deterministic")
_resource_decoder: Final = msgspec.json.Decoder(cast("type[Resource]", Resource))


def encode(value: object) -> bytes:
    """Return the canonical JSON bytes of a value: same value, same bytes, on every machine."""
    return _encoder.encode(_canonical(value))


def _canonical(value: object) -> object:
    """Return an equal value in which everything equal to a default *is* the default.

    msgspec leaves out a field whose value is the default object itself; one that is merely equal (a text that came out
    of a parser, a number that was computed) is written, so that equal values would have different bytes and hashes.
    """
    if isinstance(value, msgspec.Struct):
        fields = _defaults(type(value))
        found = [getattr(value, name) for name, _ in fields]
        plain = [_settled(item, default) for item, (_, default) in zip(found, fields, strict=True)]
        if all(new is old for new, old in zip(plain, found, strict=True)):
            return value
        return type(value)(**{name: item for (name, _), item in zip(fields, plain, strict=True)})
    if type(value) is tuple:
        items = tuple(_canonical(item) for item in value)
        return value if all(new is old for new, old in zip(items, value, strict=True)) else items
    return value


def _settled(item: object, default: object) -> object:
    if item is default:
        return item
    plain = _canonical(item)
    return default if type(plain) is type(default) and plain == default else plain


@lru_cache(maxsize=256)
def _defaults(python_type: type[msgspec.Struct]) -> tuple[tuple[str, object], ...]:
    """Return the fields of a struct with their defaults."""
    return tuple((field.name, field.default) for field in msgspec.structs.fields(python_type))


def digest(data: bytes) -> str:
    """Return the content hash of canonical bytes."""
    return hashlib.sha256(data).hexdigest()[:HASH_CHARACTERS]


def decode_resource(data: bytes) -> Resource:
    """Decode one resource from its canonical bytes.

    Raises:
        ContractError: the bytes are not a resource of this schema version.
    """
    try:
        return _resource_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise ContractError([Problem(path="$", message=str(exc))]) from exc


def convert(value: object, python_type: type[T], *, source: str = "", subject: str = "") -> T:
    """Turn plain JSON values into `python_type`, strictly.

    Args:
        value: what a JSON or YAML parser returned.
        python_type: a msgspec struct or any type msgspec knows.
        source: where the value came from, for the problems.
        subject: kind and name of the object, for the problems.

    Raises:
        ContractError: with every problem of the value.
    """
    try:
        return msgspec.convert(value, python_type)
    except msgspec.ValidationError as exc:
        found = shape_problems(value, python_type) or [_from_message(str(exc))]
        raise ContractError(replace(problem, source=source, subject=subject) for problem in found) from exc


def _from_message(message: str) -> Problem:
    text, _, path = message.partition(" - at `")
    return Problem(path=path.rstrip("`") or "$", message=text)


def document(node: str, resources: list[Resource]) -> NodeDocument:
    """Build a node's document: entries sorted by key, each with its hash."""
    entries = [Entry(key=resource_key(item), hash=digest(encode(item)), spec=item) for item in resources]
    return NodeDocument(schema=SCHEMA, node=node, resources=tuple(sorted(entries, key=lambda entry: entry.key)))


def decode_document(data: bytes, *, source: str, node: str | None = None) -> NodeDocument:
    """Decode and check a node's document.

    Args:
        data: the file's bytes.
        source: its path, for the problems.
        node: the name the document must be for; None accepts any.

    Raises:
        ContractError: with every problem: shape, schema version, wrong node, wrong or doubled keys, wrong hashes.
    """
    try:
        plain = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        message = f"not JSON: {exc}"
        raise ContractError(
            [Problem(path="$", message=message, source=source, remedy="write it with `weft compile -o DIR`")]
        ) from exc
    _check_schema(plain, source)
    result = convert(plain, NodeDocument, source=source)
    problems = [replace(problem, source=source) for problem in _document_problems(result, node)]
    if problems:
        raise ContractError(problems)
    return result


def _check_schema(plain: Any, source: str) -> None:
    found = plain.get("schema") if isinstance(plain, dict) else None
    if found != SCHEMA:
        message = f"schema is {found!r:.60}, this agent reads {SCHEMA!r}"
        remedy = "compile with the weft version of this agent"
        raise ContractError([Problem(path="$.schema", message=message, remedy=remedy, source=source)])


def _document_problems(result: NodeDocument, node: str | None) -> list[Problem]:
    problems: list[Problem] = []
    if node is not None and result.node != node:
        message = f"document is for node {result.node!r}, this agent is {node!r}"
        problems.append(Problem(path="$.node", message=message, remedy="give --node or the file its right name"))
    seen: set[str] = set()
    for index, entry in enumerate(result.resources):
        path = f"$.resources[{index}]"
        if entry.key != resource_key(entry.spec):
            expected = resource_key(entry.spec)
            problems.append(Problem(path=f"{path}.key", message=f"key {entry.key!r} should be {expected!r}"))
        if entry.key in seen:
            problems.append(Problem(path=f"{path}.key", message=f"{entry.key} is there twice", remedy="remove one"))
        seen.add(entry.key)
        if entry.hash != digest(encode(entry.spec)):
            message = f"{entry.key} was changed after it was compiled: hash does not match"
            problems.append(Problem(path=f"{path}.hash", message=message, remedy="edit the YAML and compile again"))
    if sum(1 for entry in result.resources if entry.key.startswith("Node/")) != 1:
        problems.append(Problem(path="$.resources", message="exactly one Node resource is needed"))
    return problems
