"""Finding every shape problem of a document: msgspec stops at the first, users deserve all of them.

Theory: decoding first runs msgspec, which is fast and accepts or refuses the whole. Only when it refuses does this walk
compare the plain value with the type, branch by branch, and note what is wrong at each place. The walk never accepts what
msgspec refused: if it finds nothing, msgspec's own message is reported.
"""

import difflib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import inspect

from weft_contract.problems import Problem

_SCALARS: Final[dict[type[inspect.Type], Any]] = {
    inspect.StrType: str,
    inspect.IntType: int,
    inspect.FloatType: float,
    inspect.BoolType: bool,
    inspect.NoneType: None,
    inspect.BytesType: bytes,
}
_CONSTRAINTS: Final = ("gt", "ge", "lt", "le", "multiple_of", "pattern", "min_length", "max_length")


def shape_problems(value: object, python_type: object) -> list[Problem]:
    """Return every place where `value` (plain JSON values) does not have the shape of `python_type`."""
    return list(_walk(value, inspect.type_info(python_type), "$"))


def _walk(value: object, shape: inspect.Type, path: str) -> Iterator[Problem]:
    match shape:
        case inspect.Metadata():
            yield from _walk(value, shape.type, path)
        case inspect.StructType():
            yield from _walk_struct(value, shape, path)
        case inspect.UnionType():
            yield from _walk_union(value, shape, path)
        case inspect.VarTupleType() | inspect.ListType() | inspect.SetType() | inspect.FrozenSetType():
            if not isinstance(value, list | tuple):
                yield Problem(path=path, message=f"expected a list, found {_describe(value)}")
                return
            for index, item in enumerate(value):
                yield from _walk(item, shape.item_type, f"{path}[{index}]")
            yield from _leaf_problem([], value, shape, path)
        case inspect.DictType():
            if not isinstance(value, Mapping):
                yield Problem(path=path, message=f"expected a mapping, found {_describe(value)}")
                return
            for key, item in value.items():
                yield from _walk(item, shape.value_type, _join(path, str(key)))
        case _:
            yield from _leaf(value, shape, path)


def _walk_struct(value: object, shape: inspect.StructType, path: str) -> Iterator[Problem]:
    if not isinstance(value, Mapping):
        yield Problem(path=path, message=f"expected a mapping, found {_describe(value)}")
        return
    if shape.tag_field is not None and value.get(shape.tag_field) != shape.tag:
        found = value.get(shape.tag_field)
        yield Problem(path=_join(path, shape.tag_field), message=f"expected {shape.tag!r}, found {found!r}")
        return
    known = {field.encode_name: field for field in shape.fields}
    for key in value:
        if key == shape.tag_field:
            continue
        if key not in known and shape.forbid_unknown_fields:
            yield _unknown_field(str(key), sorted(known), path)
    for name, field in known.items():
        if name in value:
            yield from _walk(value[name], field.type, _join(path, name))
        elif field.required:
            yield Problem(path=path, message=f"required field {name!r} is missing", remedy=f"add {name}")


def _unknown_field(key: str, known: list[str], path: str) -> Problem:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    remedy = f"did you mean {near[0]!r}?" if near else f"fields here: {', '.join(known)}"
    return Problem(path=_join(path, key), message=f"unknown field {key!r}", remedy=remedy)


def _walk_union(value: object, shape: inspect.UnionType, path: str) -> Iterator[Problem]:
    if any(not list(_walk(value, option, path)) for option in shape.types):
        return
    options = [option for option in shape.types if not isinstance(option, inspect.NoneType)]
    structs = [option for option in options if isinstance(option, inspect.StructType)]
    if len(options) == 1:
        yield from _walk(value, options[0], path)
    elif structs and isinstance(value, Mapping):
        yield from _walk_tagged(value, structs, path)
    else:
        names = " or ".join(type(option).__name__.removesuffix("Type").lower() for option in options)
        yield Problem(path=path, message=f"expected {names}, found {_describe(value)}")


def _walk_tagged(value: Mapping[Any, object], structs: list[inspect.StructType], path: str) -> Iterator[Problem]:
    field = structs[0].tag_field or "kind"
    tags = {option.tag: option for option in structs}
    tag = value.get(field)
    if isinstance(tag, str | int) and tag in tags:
        yield from _walk_struct(value, tags[tag], path)
        return
    known = ", ".join(sorted(str(name) for name in tags))
    yield Problem(path=_join(path, field), message=f"{tag!r} is not a known {field}", remedy=f"one of {known}")


def _leaf(value: object, shape: inspect.Type, path: str) -> Iterator[Problem]:
    if isinstance(shape, inspect.AnyType | inspect.RawType):
        return
    if isinstance(shape, inspect.LiteralType):
        if value not in shape.values:
            choices = [str(choice) for choice in shape.values]
            near = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(choices)}"
            yield Problem(path=path, message=f"{value!r:.80} is not allowed", remedy=hint)
        return
    yield from _leaf_problem(_SCALARS.get(type(shape), Any), value, shape, path)


def _leaf_problem(python_type: Any, value: object, shape: inspect.Type, path: str) -> Iterator[Problem]:
    """Let msgspec judge one place, so that its rules and ours cannot differ."""
    rules = {name: limit for name in _CONSTRAINTS if (limit := getattr(shape, name, None)) is not None}
    expected: Any = list[Any] if python_type == [] else python_type
    try:
        msgspec.convert(value, Annotated[expected, msgspec.Meta(**rules)] if rules else expected)
    except msgspec.ValidationError as exc:
        message = str(exc)
        yield Problem(path=path, message=message[:1].lower() + message[1:])


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if key.replace("_", "").replace("-", "").isalnum() else f"{path}[{key!r}]"


def _describe(value: object) -> str:
    names: list[tuple[type, str]] = [(bool, "a boolean"), (int, "a number"), (float, "a number"), (str, "a text")]
    if value is None:
        return "nothing"
    for kind, name in names:
        if isinstance(value, kind):
            return f"{name} ({value!r:.40})"
    return "a list" if isinstance(value, list | tuple) else "a mapping"
