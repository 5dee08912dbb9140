"""Documents to files: whole, only what changed, nothing of others touched."""

import os
from pathlib import Path

import pytest

from weft_contract.codec import decode_document
from weft_operator.compile import Compiled, Written, write_documents
from weft_testing import objects as o


def _compiled(*nodes: str) -> Compiled:
    return o.compiled(o.namespace("shop"), *(o.node(node, f"172.16.0.{index}") for index, node in enumerate(nodes, 1)))


def test_a_directory_holds_exactly_the_documents(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "config"
    assert write_documents(_compiled("n1", "n2"), target) == Written(changed=("n1", "n2"), unchanged=(), removed=())
    assert sorted(path.name for path in target.iterdir()) == ["n1.json", "n2.json"]
    for node in ("n1", "n2"):
        path = target / f"{node}.json"
        assert decode_document(path.read_bytes(), source=str(path), node=node).node == node


def test_unchanged_files_are_left_alone_and_nodes_that_are_gone_removed(tmp_path: Path) -> None:
    write_documents(_compiled("n1", "n2", "n3"), tmp_path)
    before = (tmp_path / "n1.json").stat()
    written = write_documents(_compiled("n1", "n2"), str(tmp_path))
    assert written == Written(changed=(), unchanged=("n1", "n2"), removed=("n3",))
    assert (tmp_path / "n1.json").stat().st_ino == before.st_ino
    assert not (tmp_path / "n3.json").exists()


def test_a_changed_file_is_replaced_whole(tmp_path: Path) -> None:
    write_documents(_compiled("n1"), tmp_path)
    with (tmp_path / "n1.json").open("rb") as old:
        size = len(old.read())
        (tmp_path / "n1.json").chmod(0o600)
        changed = o.compiled(o.namespace("shop"), o.node("n1", "172.16.0.9", "fd77::9"))
        assert write_documents(changed, tmp_path).changed == ("n1",)
        old.seek(0)
        assert len(old.read()) == size, "who had the file open still reads the old one"
    assert (tmp_path / "n1.json").read_bytes() == changed.document_bytes("n1")


def test_what_an_interrupted_writer_left_is_cleared_and_other_files_are_not_ours(tmp_path: Path) -> None:
    (tmp_path / "n9.json.partial").write_text("{")
    (tmp_path / "package.json").write_text('{"name": "not a document"}')
    (tmp_path / "notes.txt").write_text("keep")
    (tmp_path / "old.json").write_bytes(_compiled("old").document_bytes("old"))
    assert write_documents(_compiled("n1"), tmp_path).removed == ("old",)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["n1.json", "notes.txt", "package.json"]


def test_no_document_without_the_whole_of_it_on_a_failure(tmp_path: Path) -> None:
    write_documents(_compiled("n1"), tmp_path)
    before = (tmp_path / "n1.json").read_bytes()
    (tmp_path / "n1.json.partial").mkdir()
    changed = o.compiled(o.namespace("shop"), o.node("n1", "172.16.0.9"))
    with pytest.raises(OSError, match=r".+"):
        write_documents(changed, tmp_path)
    assert (tmp_path / "n1.json").read_bytes() == before


def test_a_node_name_cannot_lead_out_of_the_directory(tmp_path: Path) -> None:
    good = _compiled("n1")
    evil = Compiled(nodes={"../n1": good.nodes["n1"]}, problems=(), results=(), encoded=good.encoded)
    with pytest.raises(ValueError, match="not a node name"):
        write_documents(evil, tmp_path / "config")
    assert not (tmp_path / "n1.json").exists()
    assert os.listdir(tmp_path) == []
