"""Scalars, keys, aliases: what JSON can say and no more."""

import pytest

from weft_operator.compile import read_documents


def _value(text: str) -> object:
    parsed = read_documents([("a.yaml", f"x: {text}")])
    (document,) = parsed.documents
    assert not document.problems, document.problems
    return document.body["x"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("abc", "abc"),
        ('"5"', "5"),
        ("'true'", "true"),
        ("true", True),
        ("False", False),
        ("yes", True),
        ("off", False),
        ("y", "y"),
        ("null", None),
        ("~", None),
        ("", None),
        ("5", 5),
        ("-5", -5),
        ("+7", 7),
        ("0", 0),
        ("010", 8),
        ("0o10", 8),
        ("0x1F", 31),
        ("0b11", 3),
        ("1_000", 1000),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("22:22", "22:22"),
        ("12:30:45", "12:30:45"),
        ("2026-01-01", "2026-01-01"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("10.0.0.1", "10.0.0.1"),
        ("1.2.3", "1.2.3"),
        ("0.1.0", "0.1.0"),
        ("*.example.com".replace("*", "'*") + "'", "*.example.com"),
        ("|\n  a\n  b", "a\nb"),
        ("9223372036854775807", 2**63 - 1),
        ("=", "="),
        ("<<", "<<"),
        ("._", "._"),
        ("0b_", "0b_"),
        ("08", 8.0),
        ("-a", "-a"),
        ("0x", "0x"),
    ],
)
def test_scalars(text: str, expected: object) -> None:
    found = _value(text)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    "text", ["99999999999999999999999", "9" * 5000, "0x" + "f" * 17, "-9223372036854775809", "1e999"]
)
def test_numbers_that_do_not_fit_are_problems(text: str) -> None:
    (document,) = read_documents([("a.yaml", f"x: {text}")]).documents
    assert "too large" in document.problems[0].message


@pytest.mark.parametrize(
    "text",
    [
        "!!binary aGk=",
        "!!python/object/apply:os.system [x]",
        "!mine a",
        "!mine {a: 1}",
        "!!set {a}",
        "!!timestamp 2026-01-01",
    ],
)
def test_tags_beyond_json_are_refused(text: str) -> None:
    parsed = read_documents([("a.yaml", f"x: {text}")])
    assert not parsed.complete
    assert parsed.documents == ()


def test_keys_are_texts() -> None:
    (document,) = read_documents([("a.yaml", "8080: a\ntrue: b\n1.10: c\n'x': d\n~: e\n0x10: f")]).documents
    assert document.body == {"8080": "a", "true": "b", "1.10": "c", "x": "d", "~": "e", "16": "f"}


def test_keys_that_become_equal_are_given_twice() -> None:
    (document,) = read_documents([("a.yaml", "8080: a\n'8080': b")]).documents
    assert document.problems


def test_a_key_that_is_no_scalar_is_refused() -> None:
    assert not read_documents([("a.yaml", "? [a]\n: b")]).complete


def test_aliases_and_merges() -> None:
    (document,) = read_documents(
        [("a.yaml", "a: &a {x: 1, y: 2}\nb: *a\nc: {<<: *a, y: 3}\nd: {<<: [{x: 9}, *a]}")]
    ).documents
    assert document.body["b"] == {"x": 1, "y": 2}
    assert document.body["c"] == {"x": 1, "y": 3}
    assert document.body["d"] == {"x": 9, "y": 2}


def test_a_merge_of_something_else_is_a_problem() -> None:
    (document,) = read_documents([("a.yaml", "a: {<<: 3}")]).documents
    assert "<< takes a mapping" in document.problems[0].message


def test_aliases_cannot_unfold_into_gigabytes() -> None:
    lines = ["a0: &a0 [1,1,1,1,1,1,1,1,1,1]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    parsed = read_documents([("bomb.yaml", "\n".join(lines))])
    assert parsed.documents == ()
    assert "repeats over" in parsed.problems[0].message


def test_an_alias_of_itself_ends() -> None:
    parsed = read_documents([("a.yaml", "a: &a [*a]")])
    assert "nested deeper" in parsed.problems[0].message


def test_a_large_document_without_aliases_is_fine() -> None:
    text = "kind: X\nitems:\n" + "\n".join("- [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]" for _ in range(12_000))
    parsed = read_documents([("a.yaml", text)])
    assert parsed.complete
