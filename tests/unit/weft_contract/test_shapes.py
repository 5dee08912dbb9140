"""Shape problems: everything that msgspec would refuse is found, with its place, and nothing that it accepts."""

from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_contract.codec import convert
from weft_contract.objects import AuthorizationPolicy
from weft_contract.problems import ContractError
from weft_contract.resources import Workload
from weft_contract.shapes import shape_problems


class _Inner(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    port_number: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    mode: Literal["On", "Off"] = "On"


class _Lenient(msgspec.Struct, rename="camel"):
    name: str


class _Circle(msgspec.Struct, tag_field="kind", tag="Circle", forbid_unknown_fields=True):
    radius: float


class _Square(msgspec.Struct, tag_field="kind", tag="Square", forbid_unknown_fields=True):
    side: float


class _Outer(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    inner: _Inner
    items: Annotated[tuple[_Inner, ...], msgspec.Meta(min_length=1, max_length=2)] = ()
    by_name: dict[str, _Inner] = {}
    maybe: _Inner | None = None
    either: int | str = 0
    shape: _Circle | _Square | None = None
    lenient: _Lenient | None = None
    anything: Any = None
    flag: bool = False


_GOOD: dict[str, Any] = {"inner": {"portNumber": 80}}


@pytest.mark.parametrize(
    ("change", "path", "message"),
    [
        ({"inner": 3}, "$.inner", "expected a mapping, found a number (3)"),
        ({"inner": None}, "$.inner", "expected a mapping, found nothing"),
        ({"inner": {}}, "$.inner", "required field 'portNumber' is missing"),
        ({"inner": {"portNumber": "80"}}, "$.inner.portNumber", "expected `int`, got `str`"),
        ({"inner": {"portNumber": True}}, "$.inner.portNumber", "expected `int`, got `bool`"),
        ({"inner": {"portNumber": 0}}, "$.inner.portNumber", "expected `int` >= 1"),
        ({"inner": {"portNumber": 1, "portNumbr": 1}}, "$.inner.portNumbr", "unknown field 'portNumbr'"),
        ({"inner": {"portNumber": 1, "mode": "on"}}, "$.inner.mode", "'on' is not allowed"),
        ({"inner": {"portNumber": 1, "mode": []}}, "$.inner.mode", "[] is not allowed"),
        ({"items": {}}, "$.items", "expected a list, found a mapping"),
        ({"items": []}, "$.items", "expected `array` of length >= 1"),
        ({"items": [{"portNumber": 1}] * 3}, "$.items", "expected `array` of length <= 2"),
        ({"items": [{"portNumber": 1}, 5]}, "$.items[1]", "expected a mapping"),
        ({"byName": []}, "$.byName", "expected a mapping, found a list"),
        ({"byName": {"a b": {}}}, "$.byName['a b']", "required field"),
        ({"maybe": {}}, "$.maybe", "required field"),
        ({"maybe": "x"}, "$.maybe", "expected a mapping, found a text ('x')"),
        ({"either": []}, "$.either", "expected int or str, found a list"),
        ({"shape": {"kind": "Circl", "radius": 1}}, "$.shape.kind", "'Circl' is not a known kind"),
        ({"shape": {"kind": "Circle", "side": 1}}, "$.shape.side", "unknown field 'side'"),
        ({"shape": {"radius": 1}}, "$.shape.kind", "None is not a known kind"),
        ({"lenient": {"name": 3, "more": 1}}, "$.lenient.name", "expected `str`, got `int`"),
        ({"flag": "yes"}, "$.flag", "expected `bool`, got `str`"),
        ({"flag": 1}, "$.flag", "expected `bool`, got `int`"),
    ],
)
def test_every_wrong_place_is_named(change: dict[str, object], path: str, message: str) -> None:
    value = _GOOD | change
    found = shape_problems(value, _Outer)
    assert any(problem.path == path and message in problem.message for problem in found), found
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(value, _Outer)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"items": [{"portNumber": 1}]},
        {"byName": {"a": {"portNumber": 65535, "mode": "Off"}}},
        {"maybe": None},
        {"either": "x"},
        {"either": 4},
        {"shape": {"kind": "Square", "side": 2}},
        {"lenient": {"name": "a", "whatever": [1]}},
        {"anything": {"a": [None]}},
    ],
)
def test_what_is_right_has_no_problems(change: dict[str, object]) -> None:
    assert shape_problems(_GOOD | change, _Outer) == []
    msgspec.convert(_GOOD | change, _Outer)


def test_a_near_name_is_suggested_and_otherwise_all_are_listed() -> None:
    near, far = shape_problems({"inner": {"portNumber": 1, "mod": 1, "zzz": 1}}, _Outer)
    assert near.remedy == "did you mean 'mode'?"
    assert far.remedy == "fields here: mode, portNumber"
    (literal,) = shape_problems({"inner": {"portNumber": 1, "mode": "Of"}}, _Outer)
    assert literal.remedy == "did you mean Off?"


def test_several_mistakes_are_all_found() -> None:
    found = shape_problems(
        {"inner": {"mode": "x"}, "items": [{"portNumber": 0}, {"portNumber": ""}], "nope": 1}, _Outer
    )
    assert len(found) == 5


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 70000) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=8,
)
_FIELDS = st.sampled_from(
    ["inner", "items", "byName", "maybe", "either", "shape", "lenient", "flag", "portNumber", "x"]
)


@given(st.dictionaries(_FIELDS, _JSON, max_size=4))
def test_msgspec_and_the_walk_agree(value: dict[str, object]) -> None:
    try:
        msgspec.convert(value, _Outer)
        accepted = True
    except msgspec.ValidationError:
        accepted = False
    if accepted:
        assert shape_problems(value, _Outer) == []
    else:
        with pytest.raises(ContractError) as caught:
            convert(value, _Outer)
        assert caught.value.problems
        assert all(problem.path.startswith("$") for problem in caught.value.problems)


@given(_JSON)
def test_any_value_for_a_real_type_is_refused_with_reasons(value: object) -> None:
    for python_type in (Workload, AuthorizationPolicy):
        with pytest.raises(ContractError) as caught:
            convert(value, python_type)
        assert caught.value.problems
