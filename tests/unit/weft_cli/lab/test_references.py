"""What a command line names."""

import pytest

from weft_cli.exits import USAGE
from weft_cli.lab.options import labels
from weft_cli.lab.references import references
from weft_cli.output import CommandError
from weft_lab.protocol import Reference


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("pods",), [("pods", None)]),
        (("pods,svc",), [("pods", None), ("svc", None)]),
        (("pod", "a", "b"), [("pod", "a"), ("pod", "b")]),
        (("pod/a", "deploy/b"), [("pod", "a"), ("deploy", "b")]),
    ],
)
def test_forms(words: tuple[str, ...], expected: list[tuple[str, str | None]]) -> None:
    found = references(words, "shop", {"a": "b"})
    assert [(item.kind, item.name) for item in found] == expected
    assert all(item.namespace == "shop" and item.selector == {"a": "b"} for item in found)


@pytest.mark.parametrize("words", [("gizmo",), ("pod/a", "b"), ("pod/",), ("/a",), ("pods,gizmo",), ("gizmo/a",)])
def test_mistakes(words: tuple[str, ...]) -> None:
    with pytest.raises(CommandError) as caught:
        references(words, "shop", {})
    assert caught.value.status == USAGE


def test_deleting_all_of_a_kind_must_be_said() -> None:
    with pytest.raises(CommandError):
        references(("pods",), "shop", {}, needs_name=True)
    assert references(("pods",), None, {}) == (Reference(kind="pods", namespace=None),)


def test_selectors() -> None:
    assert labels("a=b, c==d") == {"a": "b", "c": "d"}
    assert labels(None) == {}
    for text in ("a", "a!=b", "=b"):
        with pytest.raises(CommandError):
            labels(text)
