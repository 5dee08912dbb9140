"""YAML texts to documents: places, lines, nothing guessed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_operator.compile import Document, read_documents


def _one(text: str) -> Document:
    parsed = read_documents([("a.yaml", text)])
    assert parsed.problems == ()
    assert parsed.complete
    (document,) = parsed.documents
    return document


def _problem(text: str) -> str:
    parsed = read_documents([("a.yaml", text)])
    assert not parsed.complete
    (problem,) = parsed.problems
    return str(problem)


def test_documents_are_numbered_and_empty_ones_count_and_are_left_out() -> None:
    parsed = read_documents([("a.yaml", "---\n# nothing\n---\nkind: A\n---\nkind: B\n"), ("b.yaml", "kind: C")])
    assert [(item.source, item.body["kind"]) for item in parsed.documents] == [
        ("a.yaml#2", "A"),
        ("a.yaml#3", "B"),
        ("b.yaml#1", "C"),
    ]


def test_json_is_yaml() -> None:
    assert _one('{"kind": "A", "x": [1, 2.5, true, null, "\\u00e9"]}').body == {
        "kind": "A",
        "x": [1, 2.5, True, None, "é"],
    }


def test_an_empty_text_holds_nothing() -> None:
    assert read_documents([("a.yaml", ""), ("b.yaml", "# x\n"), ("c.yaml", "---\n")]) == read_documents([])


@pytest.mark.parametrize(
    ("text", "source", "line"),
    [
        ("a: [", "a.yaml#1", "line 2"),
        ("a: 1\n---\nb: 'x\n", "a.yaml#2", "line"),
        ("a: 1\n b: 2\n", "a.yaml#1", "line 2"),
        ("a: *nobody\n", "a.yaml#1", "line 1"),
        ("a: \x01\n", "a.yaml#1", "character 1"),
        ("a: 1\n---\n\tb: 1\n", "a.yaml#2", "line 3"),
    ],
)
def test_mistakes_are_named_with_document_and_line(text: str, source: str, line: str) -> None:
    message = _problem(text)
    assert message.startswith(source)
    assert line in message


def test_what_stands_before_a_mistake_is_kept_and_the_reading_is_marked_incomplete() -> None:
    parsed = read_documents([("a.yaml", "kind: A\n---\nb: [\n"), ("b.yaml", "kind: C")])
    assert [item.source for item in parsed.documents] == ["a.yaml#1", "b.yaml#1"]
    assert not parsed.complete


@pytest.mark.parametrize("text", ["- a\n- b\n", "just text", "3", '"x"'])
def test_a_document_has_to_be_a_mapping(text: str) -> None:
    assert "a document is a mapping" in _problem(text)


def test_a_key_given_twice_makes_the_document_broken() -> None:
    document = _one("kind: A\nspec:\n  rules: [1]\n  rules: [2]\n")
    (problem,) = document.problems
    assert (problem.path, problem.source) == ("$.spec.rules", "a.yaml#1")
    assert "line 4: key 'rules' is given twice" in problem.message


def test_lists_are_taken_apart() -> None:
    text = """
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Pod, metadata: {name: a}}
- {apiVersion: v1, kind: List, items: [{kind: X}]}
---
apiVersion: v1
kind: PodList
items:
- metadata: {name: b}
"""
    parsed = read_documents([("a.yaml", text)])
    assert [(item.source, item.body["kind"]) for item in parsed.documents] == [
        ("a.yaml#1.items[0]", "Pod"),
        ("a.yaml#1.items[1].items[0]", "X"),
        ("a.yaml#2.items[0]", "Pod"),
    ]
    assert parsed.documents[2].body["apiVersion"] == "v1"


def test_an_item_that_is_no_object_is_a_problem() -> None:
    assert "a.yaml#1: $.items[0]: not an object" in _problem("{apiVersion: v1, kind: List, items: [3]}")


def test_a_broken_list_breaks_its_items() -> None:
    parsed = read_documents([("a.yaml", "kind: List\nkind: List\nitems: [{kind: A}]")])
    assert parsed.documents[0].problems


def test_a_text_that_is_no_unicode_is_refused() -> None:
    assert "save the file as UTF-8" in _problem("a: \ud800")


@given(st.text(max_size=80) | st.text(alphabet="ab:&*<>[]{}-? \n0x1_.'\"|!%~#,e", max_size=40))
def test_any_text_gives_documents_or_problems(text: str) -> None:
    parsed = read_documents([("a.yaml", text)])
    assert parsed.complete == (not parsed.problems)
    assert all(isinstance(item.body, dict) for item in parsed.documents)
