"""Golden cases: `cases/<name>/in.yaml` compiles to exactly `<node>.json` and `problems.txt`.

`WEFT_UPDATE_CASES=1 pytest …` writes what is compiled now; read the difference before you commit it.
"""

import os
import random
from pathlib import Path

import msgspec
import pytest

from weft_contract.codec import decode_document
from weft_operator.compile import Compiled, Document, compile_cluster, read_documents, read_view

_CASES = sorted(path for path in (Path(__file__).parent / "cases").iterdir() if path.is_dir())
_BUNDLES = {"cluster.local": ["root of cluster.local"], "corp.example": ["old root", "new root"]}
_UPDATE = os.environ.get("WEFT_UPDATE_CASES") == "1"


def _documents(case: Path) -> list[Document]:
    parsed = read_documents([("in.yaml", (case / "in.yaml").read_text())])
    assert parsed.complete
    return list(parsed.documents)


def _files(compiled: Compiled) -> dict[str, str]:
    files = {
        f"{node}.json": msgspec.json.format(compiled.document_bytes(node), indent=2).decode() + "\n"
        for node in compiled.nodes
    }
    files["problems.txt"] = "".join(
        f"{'warning' if problem.warning else 'error'}: {problem}\n" for problem in compiled.problems
    )
    return files


@pytest.mark.parametrize("case", _CASES, ids=lambda path: path.name)
def test_a_case_compiles_to_what_is_committed(case: Path) -> None:
    files = _files(compile_cluster(read_view(_documents(case), _BUNDLES)))
    if _UPDATE:
        for path in case.iterdir():
            if path.name != "in.yaml" and path.name not in files:
                path.unlink()
        for name, text in files.items():
            (case / name).write_text(text)
    committed = {path.name: path.read_text() for path in case.iterdir() if path.name != "in.yaml"}
    assert files == committed


@pytest.mark.parametrize("case", _CASES, ids=lambda path: path.name)
def test_the_order_of_documents_and_fields_does_not_matter(case: Path) -> None:
    documents = _documents(case)
    expected = _files(compile_cluster(read_view(documents, _BUNDLES)))
    for seed in range(10):
        rng = random.Random(seed)
        shuffled = [
            Document(source=item.source, body=_shuffled(item.body, rng), problems=item.problems) for item in documents
        ]
        rng.shuffle(shuffled)
        found = _files(compile_cluster(read_view(shuffled, _BUNDLES)))
        assert {name: text for name, text in found.items() if name != "problems.txt"} == {
            name: text for name, text in expected.items() if name != "problems.txt"
        }
        assert sorted(found["problems.txt"].splitlines()) == sorted(expected["problems.txt"].splitlines())


def _shuffled(body: dict[str, object], rng: random.Random) -> dict[str, object]:
    """The same mapping with its fields in another order, at every depth; lists keep theirs, because it has a meaning."""
    keys = list(body)
    rng.shuffle(keys)
    return {key: _shuffled_value(body[key], rng) for key in keys}


def _shuffled_value(value: object, rng: random.Random) -> object:
    if isinstance(value, dict):
        return _shuffled(value, rng)
    return [_shuffled_value(item, rng) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("case", _CASES, ids=lambda path: path.name)
def test_agents_accept_every_document(case: Path) -> None:
    compiled = compile_cluster(read_view(_documents(case), _BUNDLES))
    for node, document in compiled.nodes.items():
        assert decode_document(compiled.document_bytes(node), source=node, node=node) == document
