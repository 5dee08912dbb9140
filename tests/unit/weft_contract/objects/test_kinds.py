"""The table of kinds is what the design names, and our own structs say enough to make schemas of."""

from collections.abc import Iterator
from typing import get_args

import msgspec
import pytest
from msgspec import inspect

from weft_contract import objects
from weft_contract.labels import API_VERSION
from weft_contract.objects import KINDS, LATER, Object, OwnObject


def test_the_design_is_covered() -> None:
    own = {kind for group, kind in KINDS if group == "weft.dev"}
    assert own == {"Mesh", "AuthorizationPolicy", "PeerAuthentication", "RateLimitPolicy"}
    assert not own & LATER
    assert {kind for group, kind in KINDS if group == "gateway.networking.k8s.io"} == {
        "HTTPRoute",
        "GRPCRoute",
        "TCPRoute",
        "TLSRoute",
        "ReferenceGrant",
    }
    assert {kind for group, kind in KINDS if group == "gateway.networking.x-k8s.io"} == {"XBackendTrafficPolicy"}
    assert len(KINDS) == len(get_args(Object))


def test_own_kinds_have_the_one_version() -> None:
    for (group, _), info in KINDS.items():
        if group == "weft.dev":
            assert info.versions == (API_VERSION,)
            assert info.strict


def test_the_door_is_complete() -> None:
    assert all(hasattr(objects, name) for name in objects.__all__)


def _fields(shape: inspect.Type, path: str) -> Iterator[tuple[str, inspect.Type, bool]]:
    """Yield every field below a type with whether it is described."""
    match shape:
        case inspect.Metadata():
            yield from _fields(shape.type, path)
        case inspect.StructType() if shape.cls.__module__ != objects.Metadata.__module__:
            for field in shape.fields:
                where = f"{path}.{field.encode_name}"
                described = isinstance(field.type, inspect.Metadata) and "description" in (
                    field.type.extra_json_schema or {}
                )
                yield where, field.type, described
                yield from _fields(field.type, where)
        case inspect.UnionType():
            for option in shape.types:
                yield from _fields(option, path)
        case inspect.VarTupleType():
            yield from _fields(shape.item_type, f"{path}[]")
        case inspect.DictType():
            yield from _fields(shape.value_type, f"{path}.*")
        case _:
            return


def _plain(shape: inspect.Type) -> inspect.Type:
    return _plain(shape.type) if isinstance(shape, inspect.Metadata) else shape


def _spec_fields(python_type: type[OwnObject]) -> list[tuple[str, inspect.Type, bool]]:
    spec = next(field.type for field in msgspec.structs.fields(python_type) if field.name == "spec")
    return list(_fields(inspect.type_info(spec), "$.spec"))


@pytest.mark.parametrize("python_type", get_args(OwnObject), ids=lambda item: item.__name__)
def test_every_field_of_our_own_kinds_is_described(python_type: type[OwnObject]) -> None:
    assert [path for path, _, described in _spec_fields(python_type) if not described] == []


@pytest.mark.parametrize("python_type", get_args(OwnObject), ids=lambda item: item.__name__)
def test_every_list_map_and_text_of_our_own_kinds_is_bounded(python_type: type[OwnObject]) -> None:
    # The API server refuses schemas whose validation could cost too much; lists without a bound are why.
    unbounded = []
    for path, shape, _ in _spec_fields(python_type):
        plain = _plain(shape)
        options = plain.types if isinstance(plain, inspect.UnionType) else (plain,)
        for option in map(_plain, options):
            needs_bound = isinstance(option, inspect.VarTupleType | inspect.DictType | inspect.StrType)
            is_port = path.rpartition(".")[2] in ("ports[]", "notPorts[]")
            if needs_bound and getattr(option, "max_length", None) is None and not is_port:
                unbounded.append(path)
    assert unbounded == []


@pytest.mark.parametrize("python_type", get_args(OwnObject), ids=lambda item: item.__name__)
def test_a_json_schema_can_be_made(python_type: type[OwnObject]) -> None:
    spec = next(field.type for field in msgspec.structs.fields(python_type) if field.name == "spec")
    schema = msgspec.json.schema(spec)
    assert all(entry["additionalProperties"] is False for entry in schema["$defs"].values() if "properties" in entry)
