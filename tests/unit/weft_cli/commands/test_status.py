"""`weft status`: what it says of a mesh whose operator is gone."""

from contextlib import nullcontext

import pytest
from click.testing import CliRunner

from weft_cli.cluster.metrics import read_samples
from weft_cli.cluster.objects import Fetched, document
from weft_cli.commands import status
from weft_cli.overview.facts import Facts
from weft_testing import objects as o


def test_without_any_operator_it_says_what_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    agent = {"kind": "Pod", "metadata": {"name": "agent-1"}, "spec": {"nodeName": "n1"}, "status": ready}
    facts = Facts(
        server="https://test",
        server_version="v1.35.4",
        namespace="weft-system",
        fetched=Fetched(documents=(document(o.node("n1", "172.20.0.1")),), unreadable=()),
        agents=[agent],
        operators=[],
        metrics={"agent-1": list(read_samples("weft_operator_connected 0"))},
        silent={},
        leaders=[],
        missing=(),
    )
    monkeypatch.setattr(status, "open_session", lambda kubeconfig, context: nullcontext())
    monkeypatch.setattr(status, "gather", lambda session, namespace: facts)
    ran = CliRunner().invoke(status.status, [])
    assert ran.exit_code == 1
    assert "no operator runs: traffic goes on as it is" in ran.stderr
    assert "no operator is connected" in ran.stdout
