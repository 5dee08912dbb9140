"""Finding namespaces by name, and sharing descriptors among pods."""

import resource
from pathlib import Path

import pytest

from weft_agent.capture.network import NamedNamespaces
from weft_agent.capture.stockroom import SMALLEST_BATCH, batch_size
from weft_agent.channel.messages import MAX_FDS
from weft_contract.resources import Capture, Workload
from weft_iptables.errors import NamespaceError


def workload(netns: str | None) -> Workload:
    return Workload(
        namespace="shop", name="web", uid="u", service_account="default", identity="spiffe://x/ns/shop/sa/default",
        addresses=("10.0.0.1",), capture=Capture(netns=netns),
    )  # fmt: skip


def test_a_name_is_a_file_below_the_directory(tmp_path: Path) -> None:
    assert NamedNamespaces(tmp_path).find(workload("web-1")) == tmp_path / "web-1"


@pytest.mark.parametrize("name", [None, "", ".", "..", "../x", "/etc/passwd", "a/b"])
def test_what_is_no_name_is_refused(tmp_path: Path, name: str | None) -> None:
    with pytest.raises(NamespaceError, match=r"weft\.dev/netns"):
        NamedNamespaces(tmp_path).find(workload(name))


@pytest.mark.parametrize("pods", [0, 1, 10, 100, 1000, 100_000])
def test_a_batch_fits_a_message_and_the_share_of_a_pod(pods: int) -> None:
    batch = batch_size(pods)
    assert SMALLEST_BATCH <= batch <= MAX_FDS
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert batch == SMALLEST_BATCH or batch * 4 * max(1, pods) <= limit * 0.25
