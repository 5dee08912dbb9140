"""From a msgspec type to a structural schema of OpenAPI v3, as `apiextensions.k8s.io/v1` accepts it.

Theory: a structural schema says `type` at every level and knows no `$ref`, no `anyOf` with shapes, no `type: null`. So
structs are written out in place, `X | None` is an optional `X`, and int-or-text is the extension made for it. Every list,
mapping and text needs a bound: without one the API server multiplies its own guess of millions into the cost of each CEL
rule, and a user could store a megabyte in one field. A shape without a bound is an error here, not a missing keyword.

**Unknown fields are kept** (`x-kubernetes-preserve-unknown-fields` on every object of a spec). The API server's habit is to
drop them, with a warning at most: `acton: DENY` would be stored as an ALLOW policy. Kept, they reach the webhook, which
refuses them with the name that was probably meant, and where there is no webhook the compiler, whose verdict stands in the
status. See `docs/decisions/unknown-fields-are-kept.md`.

Source: Kubernetes documentation, "Custom resources: structural schemas"; KEP-2876 (CEL cost).
"""

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import msgspec
from msgspec import inspect

from weft_contract.objects.shape import PortOrText
from weft_operator.crds.rules import Rule

Schema: TypeAlias = dict[str, object]
"""Plain JSON values, in the order they are written out."""
RuleTable: TypeAlias = Mapping[type, Sequence[Rule]]
"""Rules by the struct they judge."""

_PORT: Final[Schema] = {
    "x-kubernetes-int-or-string": True,
    "minimum": 1,
    "maximum": 65535,
    "pattern": "^[0-9]{1,5}$",
    "maxLength": 5,
}
_PORT_OR_TEXT: Final = inspect.type_info(PortOrText)
_INT32: Final = range(-(2**31), 2**31)


class SchemaError(Exception):
    """A type cannot be written as a structural schema; the message names the field."""


def schema_of(python_type: object, rules: RuleTable, *, for_users: bool = True) -> Schema:
    """Return the structural schema of a type.

    Args:
        python_type: a msgspec struct, or a type that one has as a field.
        rules: CEL rules by struct; a struct that occurs in several places takes its rules along.
        for_users: written by users, so that fields the schema does not have are kept (to be judged instead of dropped) and
            defaults are shown; False for a status, which only we write.

    Raises:
        SchemaError: something is unbounded or cannot be said structurally.
    """
    return _Writer(rules, for_users).write(inspect.type_info(python_type), "$")


class _Writer:
    def __init__(self, rules: RuleTable, for_users: bool) -> None:
        self._rules, self._for_users = rules, for_users

    def write(self, shape: inspect.Type, path: str) -> Schema:
        """Return the schema of one place; `path` is for errors."""
        if shape == _PORT_OR_TEXT:
            return dict(_PORT)
        match shape:
            case inspect.Metadata():
                return self._annotated(shape, path)
            case inspect.StructType():
                return self._struct(shape, path)
            case inspect.VarTupleType():
                return self._list(shape, path)
            case inspect.DictType():
                return self._mapping(shape, path)
            case inspect.UnionType():
                return self._optional(shape, path)
            case _:
                return _scalar(shape, path)

    def _annotated(self, shape: inspect.Metadata, path: str) -> Schema:
        """Add the description of a field, which says more than that of its type."""
        inner = self.write(shape.type, path)
        inner.pop("description", "")
        extra = {key: value for key, value in (shape.extra_json_schema or {}).items() if key != "examples"}
        return {**extra, **inner}

    def _struct(self, shape: inspect.StructType, path: str) -> Schema:
        properties = {field.encode_name: self.field(field, f"{path}.{field.encode_name}") for field in shape.fields}
        schema: Schema = {"description": first_line(shape.cls), "type": "object"}
        if self._for_users:
            schema["x-kubernetes-preserve-unknown-fields"] = True
        required = [field.encode_name for field in shape.fields if field.required]
        if required:
            schema["required"] = required
        rules = self._rules.get(shape.cls, ())
        if rules:
            schema["x-kubernetes-validations"] = [rule.document() for rule in rules]
        return {**schema, "properties": properties}

    def field(self, field: inspect.Field, path: str) -> Schema:
        """Return the schema of a field with the default that the API should show."""
        schema = self.write(field.type, path)
        if not schema.get("description"):
            raise SchemaError(f"{path} has no description, so `kubectl explain` could not explain it")
        default = field.default
        if not self._for_users:
            return schema
        if isinstance(default, msgspec.Struct):
            return with_default(schema)
        if isinstance(default, str | int | float) and default != "":
            return {**schema, "default": default}
        return schema

    def _list(self, shape: inspect.VarTupleType, path: str) -> Schema:
        if shape.max_length is None:
            raise SchemaError(f"{path} is a list without a bound")
        schema: Schema = {"type": "array", "x-kubernetes-list-type": "atomic", "maxItems": shape.max_length}
        if shape.min_length:
            schema["minItems"] = shape.min_length
        return {**schema, "items": self.write(shape.item_type, f"{path}[]")}

    def _mapping(self, shape: inspect.DictType, path: str) -> Schema:
        if shape.max_length is None:
            raise SchemaError(f"{path} is a mapping without a bound")
        values = self.write(shape.value_type, f"{path}{{}}")
        return {"type": "object", "maxProperties": shape.max_length, "additionalProperties": values}

    def _optional(self, shape: inspect.UnionType, path: str) -> Schema:
        options = [option for option in shape.types if not isinstance(option, inspect.NoneType)]
        if len(options) != 1:
            raise SchemaError(f"{path} is one of several shapes, which a structural schema cannot say")
        return self.write(options[0], path)


def _scalar(shape: inspect.Type, path: str) -> Schema:
    match shape:
        case inspect.LiteralType() if all(isinstance(value, str) for value in shape.values):
            return {"type": "string", "enum": list(shape.values)}
        case inspect.StrType():
            return _text(shape, path)
        case inspect.IntType():
            narrow = shape.ge is not None and shape.le is not None and shape.ge in _INT32 and shape.le in _INT32
            return {"type": "integer", "format": "int32" if narrow else "int64", **_bounds(shape)}
        case inspect.FloatType():
            return {"type": "number", **_bounds(shape)}
        case inspect.BoolType():
            return {"type": "boolean"}
        case _:
            raise SchemaError(f"{path} is a {type(shape).__name__}, which has no structural schema")


def _text(shape: inspect.StrType, path: str) -> Schema:
    if shape.max_length is None:
        raise SchemaError(f"{path} is a text without a bound")
    schema: Schema = {"type": "string", "maxLength": shape.max_length}
    if shape.min_length:
        schema["minLength"] = shape.min_length
    if shape.pattern:
        schema["pattern"] = shape.pattern
    return schema


def _bounds(shape: inspect.IntType | inspect.FloatType) -> Schema:
    """Return the bounds as OpenAPI v3.0 writes them: exclusive ones by a switch."""
    schema: Schema = {}
    for keyword, inclusive, exclusive in (("minimum", shape.ge, shape.gt), ("maximum", shape.le, shape.lt)):
        if inclusive is not None:
            schema[keyword] = inclusive
        elif exclusive is not None:
            schema[keyword] = exclusive
            schema[f"exclusive{keyword.capitalize()}"] = True
    return schema


def with_default(schema: Schema) -> Schema:
    """Let an object that is left out be an empty one, which takes the defaults of its own fields, if it has any."""
    properties = schema.get("properties")
    shows = isinstance(properties, dict) and any("default" in item for item in properties.values())
    return {**schema, "default": {}} if shows else schema


def first_line(python_type: type) -> str:
    """Return the first line of a docstring, which is what a struct is called in `kubectl explain`."""
    return (python_type.__doc__ or "").strip().partition("\n")[0]
