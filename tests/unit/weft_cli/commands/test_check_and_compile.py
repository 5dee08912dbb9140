"""`weft check` and `weft compile` as processes: all problems, exit statuses, and what is or is not written."""

from pathlib import Path

import pytest

from weft_contract.codec import decode_document
from weft_testing.lab import REPOSITORY, run_weft

EXAMPLES = REPOSITORY / "manifests" / "examples"
NODE = """
apiVersion: v1
kind: Node
metadata: {name: node-1}
status: {addresses: [{type: InternalIP, address: 10.0.0.1}]}
"""
BROKEN = """
apiVersion: weft.dev/v1alpha1
kind: AuthorizationPolicy
metadata: {name: a, namespace: shop}
spec: {acton: ALLOW, rules: [{fro: []}]}
---
apiVersion: weft.dev/v1alpha1
kind: PeerAuthentication
metadata: {name: b, namespace: shop}
spec: {mtls: {mode: STRICTLY}}
"""


def test_examples_are_in_order() -> None:
    ran = run_weft("check", "-f", str(EXAMPLES / "demo.yaml"))
    assert ran.status == 0, ran.err
    assert "0 errors" in ran.out


def test_all_problems_of_all_documents_come_with_their_places(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text(BROKEN)
    (tmp_path / "torn.yaml").write_text("a: [1\n")
    ran = run_weft("check", "-f", str(tmp_path))
    assert ran.status == 1
    for part in (
        "broken.yaml#1",
        "acton",
        "did you mean 'action'",
        "fro",
        "broken.yaml#2",
        "STRICTLY",
        "torn.yaml#1",
        "line",
    ):
        assert part in ran.err
    assert "error" in ran.out


def test_warnings_count_only_where_asked() -> None:
    path = str(EXAMPLES / "default-deny.yaml")
    assert run_weft("check", "-f", path).status == 0
    assert run_weft("check", "--strict", "-f", path).status == 1


def test_standard_input_and_quiet() -> None:
    ran = run_weft("check", "-q", "-f", "-", text=NODE)
    assert (ran.status, ran.out) == (0, "")


def test_compiling_writes_a_document_for_each_node_and_removes_old_ones(tmp_path: Path) -> None:
    out = tmp_path / "out"
    ran = run_weft("compile", "-f", "-", "-o", str(out), text=NODE + "---" + NODE.replace("node-1", "node-2"))
    assert ran.status == 0, ran.err
    assert sorted(path.name for path in out.iterdir()) == ["node-1.json", "node-2.json"]
    document = decode_document((out / "node-1.json").read_bytes(), source="x", node="node-1")
    assert document.node == "node-1"
    assert "1 unchanged, 1 removed" in run_weft("compile", "-f", "-", "-o", str(out), text=NODE).out


def test_nothing_is_written_because_of_an_error_unless_allowed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    ran = run_weft("compile", "-f", "-", "-o", str(out), text=NODE + "---" + BROKEN)
    assert ran.status == 1
    assert "nothing was written" in ran.err
    assert not out.exists()
    ran = run_weft("compile", "-f", "-", "-o", str(out), "--allow-broken", text=NODE + "---" + BROKEN)
    assert ran.status == 1
    assert (out / "node-1.json").exists()
    ran = run_weft("compile", "-f", "-", "-o", str(tmp_path / "no"), "--allow-broken", text=NODE + "---\na: [1\n")
    assert ran.status == 1
    assert not (tmp_path / "no").exists()


def test_roots_go_into_the_documents(tmp_path: Path) -> None:
    ca, identity, out = (str(tmp_path / name) for name in ("ca", "identity", "out"))
    assert run_weft("ca", "init", "--ca", ca).status == 0
    assert run_weft("ca", "issue", "--ca", ca, "-o", identity, "shop/web").status == 0
    assert run_weft("compile", "-f", "-", "-o", out, "--roots", identity, text=NODE).status == 0
    document = decode_document((Path(out) / "node-1.json").read_bytes(), source="x")
    assert "TrustBundle/cluster.local" in {entry.key for entry in document.resources}


@pytest.mark.parametrize("words", [("--roots", "."), ("-o", "/proc/nope")])
def test_places_that_cannot_be_used_are_named(tmp_path: Path, words: tuple[str, str]) -> None:
    given = {"-o": str(tmp_path / "out"), "-f": "-"} | {words[0]: words[1]}
    ran = run_weft("compile", *(part for pair in given.items() for part in pair), text=NODE)
    assert ran.status in {1, 2}
    assert "Traceback" not in ran.err


def test_without_files_a_cluster_is_checked_and_without_either_both_are_named(tmp_path: Path) -> None:
    ran = run_weft("check", KUBECONFIG=str(tmp_path / "none"), KUBERNETES_SERVICE_HOST="")
    assert ran.status == 3
    assert "give --kubeconfig FILE or set KUBECONFIG" in ran.err
    assert "files are checked with -f FILE" in ran.err
    ran = run_weft("check", "--pre", "-f", str(EXAMPLES / "demo.yaml"))
    assert (ran.status, "leave out -f" in ran.err) == (2, True)
