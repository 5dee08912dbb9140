"""YAML texts to documents: each with its place (`web.yaml#2`), every mistake with its line, Lists taken apart."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import yaml

from weft_contract.problems import Problem
from weft_operator.compile.yaml_nodes import Loader, NodeReader, is_empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One parsed document."""

    source: str
    """File and number, `web.yaml#2`; items of a List say so: `web.yaml#2.items[0]`."""
    body: dict[str, object]
    problems: tuple[Problem, ...] = ()
    """What makes the document broken although it could be read: keys given twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """What the texts held."""

    documents: tuple[Document, ...]
    problems: tuple[Problem, ...]
    """Problems of what could not be read at all; those of a document stay with it."""
    complete: bool
    """False where something could not be read: a policy may be missing, so the last good state must be kept."""


def read_documents(texts: Iterable[tuple[str, str]]) -> Parsed:
    """Parse YAML (or JSON) texts.

    Args:
        texts: pairs of file name and content.

    Returns:
        The documents in their order, Lists taken apart, empty ones left out, and every problem.
    """
    documents: list[Document] = []
    problems: list[Problem] = []
    for name, text in texts:
        for found in _of_text(name, text):
            if isinstance(found, Document):
                documents += _flattened(found, problems)
            else:
                problems.append(found)
    return Parsed(documents=tuple(documents), problems=tuple(problems), complete=not problems)


def _of_text(name: str, text: str) -> Iterator[Document | Problem]:
    try:
        loader = Loader(text)
    except UnicodeEncodeError as exc:
        message = f"not text: character {exc.start + 1} cannot be written in UTF-8"
        yield Problem(path="$", message=message, remedy="save the file as UTF-8", source=f"{name}#1")
        return
    number = 1
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is not None and not is_empty(node):
                yield from _document(node, f"{name}#{number}")
            number += 1
    except yaml.YAMLError as exc:
        yield _syntax_problem(exc, f"{name}#{number}")
    finally:
        loader.dispose()


def _syntax_problem(exc: yaml.YAMLError, source: str) -> Problem:
    line, what = "", str(exc)
    if isinstance(exc, yaml.MarkedYAMLError):
        mark = exc.problem_mark or exc.context_mark
        line = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        what = " ".join(part for part in (exc.context, exc.problem) if part)
    elif isinstance(exc, yaml.reader.ReaderError):
        what = f"character {exc.character!r} at position {exc.position} is not allowed"
    return Problem(path="$", message=f"not YAML: {line}{what}", remedy="correct the text", source=source)


def _document(node: yaml.Node, source: str) -> Iterator[Document | Problem]:
    reader = NodeReader()
    body = reader.plain(node, "$", 1)
    problems = tuple(replace(problem, source=source) for problem in reader.problems)
    if reader.broken:
        yield from problems
    elif isinstance(body, dict):
        yield Document(source=source, body=body, problems=problems)
    else:
        message = f"line {node.start_mark.line + 1}: a document is a mapping with apiVersion, kind and metadata"
        yield Problem(path="$", message=message, source=source)


def _flattened(document: Document, problems: list[Problem]) -> Iterator[Document]:
    """Take a List apart; items of typed lists (`PodList`) take their kind from it."""
    kind, items = document.body.get("kind"), document.body.get("items")
    if not isinstance(kind, str) or not kind.endswith("List") or not isinstance(items, list):
        yield document
        return
    api_version = document.body.get("apiVersion")
    given = {} if kind == "List" else {"apiVersion": api_version, "kind": kind.removesuffix("List")}
    for index, item in enumerate(items):
        source = f"{document.source}.items[{index}]"
        if isinstance(item, dict):
            inner = Document(source=source, body={**given, **item}, problems=document.problems)
            yield from _flattened(inner, problems)
        else:
            problems.append(Problem(path=f"$.items[{index}]", message="not an object", source=document.source))
