"""Shapes to structural schemas: each keyword, and what cannot be said is an error."""

from typing import Annotated, Literal

import pytest
from msgspec import Meta, field

from weft_contract.objects.shape import Own, PortOrText
from weft_operator.crds import Rule, Schema, SchemaError, schema_of


class Inner(Own, frozen=True, kw_only=True):
    """One thing."""

    mode: Annotated[Literal["On", "Off"], Meta(description="A mode.")] = "On"


class Outer(Own, frozen=True, kw_only=True):
    """Many things.

    With a second paragraph that is nobody's business.
    """

    name: Annotated[str, Meta(description="A name.", min_length=1, max_length=9, pattern="^[a-z]+$")]
    ratio: Annotated[float, Meta(description="A ratio.", gt=0, le=1)] = 0.5
    count: Annotated[int, Meta(description="A count.", ge=1, le=100)] = 7
    big: Annotated[int | None, Meta(description="A big count.")] = None
    flag: Annotated[bool, Meta(description="A switch.")] = False
    texts: Annotated[
        tuple[Annotated[str, Meta(max_length=5)], ...], Meta(description="Texts.", min_length=1, max_length=3)
    ] = ()
    ports: Annotated[tuple[PortOrText, ...], Meta(description="Ports.", max_length=2)] = ()
    inner: Annotated[Inner, Meta(description="Inside.")] = Inner()
    maybe: Annotated[Inner | None, Meta(description="Perhaps.")] = None
    labels: Annotated[dict[str, Annotated[str, Meta(max_length=63)]], Meta(description="Labels.", max_length=4)] = (
        field(default_factory=dict)
    )


def properties(schema: Schema) -> dict[str, Schema]:
    found = schema["properties"]
    assert isinstance(found, dict)
    return found


def test_every_keyword_of_a_struct() -> None:
    schema = schema_of(Outer, {})
    assert list(schema) == ["description", "type", "x-kubernetes-preserve-unknown-fields", "required", "properties"]
    assert (schema["description"], schema["required"]) == ("Many things.", ["name"])
    assert properties(schema) == {
        "name": {"description": "A name.", "type": "string", "minLength": 1, "maxLength": 9, "pattern": "^[a-z]+$"},
        "ratio": {
            "description": "A ratio.",
            "type": "number",
            "minimum": 0,
            "exclusiveMinimum": True,
            "maximum": 1,
            "default": 0.5,
        },
        "count": {
            "description": "A count.",
            "type": "integer",
            "format": "int32",
            "minimum": 1,
            "maximum": 100,
            "default": 7,
        },
        "big": {"description": "A big count.", "type": "integer", "format": "int64"},
        "flag": {"description": "A switch.", "type": "boolean", "default": False},
        "texts": {
            "description": "Texts.",
            "type": "array",
            "x-kubernetes-list-type": "atomic",
            "minItems": 1,
            "maxItems": 3,
            "items": {"type": "string", "maxLength": 5},
        },
        "ports": {
            "description": "Ports.",
            "type": "array",
            "x-kubernetes-list-type": "atomic",
            "maxItems": 2,
            "items": {
                "x-kubernetes-int-or-string": True,
                "minimum": 1,
                "maximum": 65535,
                "pattern": "^[0-9]{1,5}$",
                "maxLength": 5,
            },
        },
        "inner": {
            "description": "Inside.",
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": True,
            "properties": {
                "mode": {"description": "A mode.", "type": "string", "enum": ["Off", "On"], "default": "On"}
            },
            "default": {},
        },
        "maybe": {
            "description": "Perhaps.",
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": True,
            "properties": {
                "mode": {"description": "A mode.", "type": "string", "enum": ["Off", "On"], "default": "On"}
            },
        },
        "labels": {
            "description": "Labels.",
            "type": "object",
            "maxProperties": 4,
            "additionalProperties": {"type": "string", "maxLength": 63},
        },
    }


def test_a_status_shows_no_defaults_and_keeps_nothing_unknown() -> None:
    schema = schema_of(Outer, {}, for_users=False)
    assert "x-kubernetes-preserve-unknown-fields" not in str(schema)
    assert "default" not in str(schema)


def test_rules_go_with_their_struct_wherever_it_stands() -> None:
    schema = schema_of(Outer, {Inner: [Rule(rule="self.mode == 'On'", message="never off", field=".mode")]})
    rule = [{"rule": "self.mode == 'On'", "message": "never off", "fieldPath": ".mode"}]
    assert properties(schema)["inner"]["x-kubernetes-validations"] == rule
    assert properties(schema)["maybe"]["x-kubernetes-validations"] == rule
    assert "x-kubernetes-validations" not in schema


@pytest.mark.parametrize(
    ("python_type", "what"),
    [
        (tuple[Annotated[str, Meta(max_length=1)], ...], "list without a bound"),
        (Annotated[tuple[str, ...], Meta(max_length=1)], r"\$\[\] is a text without a bound"),
        (dict[str, int], "mapping without a bound"),
        (str, "text without a bound"),
        (int | dict[str, int], "one of several shapes"),
        (Literal[1, 2], "no structural schema"),
        (bytes, "no structural schema"),
    ],
)
def test_what_cannot_be_said_is_an_error(python_type: object, what: str) -> None:
    with pytest.raises(SchemaError, match=what):
        schema_of(python_type, {})


def test_a_field_that_explains_nothing_is_an_error() -> None:
    class Mute(Own, frozen=True, kw_only=True):
        """Mute."""

        count: int = 0

    with pytest.raises(SchemaError, match=r"\$\.count has no description"):
        schema_of(Mute, {})
