"""Bytes of lists and watches to objects, pruned while they are parsed. Pure.

Theory: an object of somebody else's kind is read straight into the few fields that the mesh uses; a Pod of 10 KB becomes
a value of some hundred bytes, and nothing between the two is ever made. Where that fails (an API server may write null for
"nothing") and for kinds whose every word counts, the bytes go the way that files go: plain values, cleaned, checked, and
salvaged where they are broken, so that both say the same about the same object.

Source: Kubernetes documentation "API Concepts": List, WatchEvent, bookmarks.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import msgspec

from weft_contract.objects import KINDS, Object
from weft_contract.problems import Problem
from weft_operator.access import ApiError, UnreachableError, error_of
from weft_operator.compile import Document, Held, hold, hold_document
from weft_operator.reflect.kinds import ReflectedKind

EventType: TypeAlias = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]


@dataclass(frozen=True, slots=True)
class Seen:
    """One object at one version."""

    kind: str
    key: str
    version: str
    """Its resource version."""
    held: Held | None
    """None: it is gone."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An object of which nothing could be kept."""

    kind: str
    key: str
    version: str
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list."""

    version: str
    items: list[Seen | Unreadable]


@dataclass(frozen=True, slots=True)
class Bookmark:
    """Nothing changed up to this version."""

    version: str


class _Metadata(msgspec.Struct, rename="camel", gc=False):
    name: str = ""
    namespace: str | None = None
    resource_version: str = ""


class _Head(msgspec.Struct, gc=False):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


class _List(msgspec.Struct):
    metadata: _Metadata
    items: list[msgspec.Raw] | None = None


class _Event(msgspec.Struct):
    type: EventType
    object: msgspec.Raw


class _Status(msgspec.Struct):
    code: int = 500


_heads: Final = msgspec.json.Decoder(_Head)
_lists: Final = msgspec.json.Decoder(_List)
_events: Final = msgspec.json.Decoder(_Event)
_statuses: Final = msgspec.json.Decoder(_Status)
_pruned: Final[dict[str, msgspec.json.Decoder[Any]]] = {  # one decoder per type; what they return is checked below
    kind: msgspec.json.Decoder(info.python_type) for (_, kind), info in KINDS.items() if not info.strict
}


def parse_page(kind: ReflectedKind, api_version: str, data: bytes) -> Page:
    """Read a part of a list.

    Args:
        kind: of its objects.
        api_version: it was asked for.
        data: a List.

    Raises:
        UnreachableError: it is something else.
    """
    try:
        found = _lists.decode(data)
        items = [_parse_object(kind, api_version, raw) for raw in found.items or ()]
    except msgspec.DecodeError as exc:
        raise UnreachableError(f"the API server's list of {kind.plural} cannot be read: {exc}") from exc
    return Page(found.metadata.resource_version, items)


def parse_event(kind: ReflectedKind, api_version: str, line: bytes) -> Seen | Unreadable | Bookmark:
    """Read an event of a watch.

    Raises:
        ApiError: it says that the watch failed; `ExpiredError` where the version is too old.
        UnreachableError: it is no event.
    """
    try:
        event = _events.decode(line)
        match event.type:
            case "ERROR":
                raise _error(kind, event.object)
            case "BOOKMARK":
                return Bookmark(_heads.decode(event.object).metadata.resource_version)
            case "DELETED":
                metadata = _heads.decode(event.object).metadata
                return Seen(kind.kind, _key(metadata), metadata.resource_version, None)
            case _:
                return _parse_object(kind, api_version, event.object)
    except msgspec.DecodeError as exc:
        raise UnreachableError(f"an event of {kind.plural} cannot be read: {exc}") from exc


def _error(kind: ReflectedKind, raw: msgspec.Raw) -> ApiError:
    return error_of(f"watch of {kind.plural}", _statuses.decode(raw).code, bytes(raw), {})


def _key(metadata: _Metadata) -> str:
    return f"{metadata.namespace}/{metadata.name}" if metadata.namespace else metadata.name


def _parse_object(kind: ReflectedKind, api_version: str, raw: msgspec.Raw) -> Seen | Unreadable:
    metadata = _heads.decode(raw).metadata
    key, version = _key(metadata), metadata.resource_version
    decoder = _pruned.get(kind.kind)
    if decoder is not None:
        try:
            item: Object = decoder.decode(raw)
            return Seen(kind.kind, key, version, hold(item))
        except msgspec.ValidationError:
            pass  # cleaned and checked below, which finds every problem
    body = {"apiVersion": api_version, "kind": kind.kind, **msgspec.json.decode(raw, type=dict[str, object])}
    found = hold_document(Document(source="", body=body))
    if isinstance(found, Held):
        return Seen(kind.kind, key, version, found)
    problems = found if isinstance(found, tuple) else (Problem(path="$.kind", message=found.note),)
    return Unreadable(kind.kind, key, version, problems)
