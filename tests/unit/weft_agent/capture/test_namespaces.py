"""Namespaces are refused before anything is opened where their name, or the node's proc filesystem, cannot be used."""

from pathlib import Path

import pytest

from weft_agent.capture.namespaces import NodeNamespaces, PodAbsentError
from weft_contract.resources import Capture, Workload
from weft_iptables.errors import NamespaceError


def workload(netns: str | None = None) -> Workload:
    return Workload(
        namespace="shop", name="web", uid="u-1", service_account="default", identity="spiffe://x/ns/shop/sa/default",
        addresses=("10.0.0.1",), capture=Capture(netns=netns),
    )  # fmt: skip


@pytest.mark.parametrize("name", [".", "..", "../x", "/etc/passwd", "a/b"])
def test_what_is_no_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(NamespaceError, match=r"weft\.dev/netns"):
        NodeNamespaces(named=tmp_path).open(workload(name))


def test_a_name_without_a_file_is_told_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(NamespaceError, match=str(tmp_path / "web-1")):
        NodeNamespaces(named=tmp_path).open(workload("web-1"))


def test_a_pod_without_a_process_is_absent(tmp_path: Path) -> None:
    with pytest.raises(PodAbsentError, match=r"u-1 .* weft\.dev/netns"):
        NodeNamespaces(proc=tmp_path, named=tmp_path).open(workload())


def test_a_proc_that_is_not_mounted_is_a_fault_and_not_an_absent_pod(tmp_path: Path) -> None:
    with pytest.raises(NamespaceError, match="--proc") as caught:
        NodeNamespaces(proc=tmp_path / "none", named=tmp_path).open(workload())
    assert not isinstance(caught.value, PodAbsentError)


def test_where_the_nodes_own_namespace_cannot_be_told_nothing_is_captured(tmp_path: Path) -> None:
    process = tmp_path / "7"
    process.mkdir()
    (process / "cgroup").write_text("0::/kubepods/podu-1/c\n")
    with pytest.raises(NamespaceError, match="CAP_SYS_PTRACE"):
        NodeNamespaces(proc=tmp_path, named=tmp_path).open(workload())
