"""A whole agent with an operator: it serves what it is told, says so, and goes on when the operator is gone.

The operator is the stand-in; keeper, control, workers and their data plane are the real ones. No pod is captured here.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from weft_agent.__main__ import CONTROL
from weft_contract.codec import digest, encode
from weft_contract.resources import Resource, Service, TrustBundle
from weft_testing.agent_process import AgentProcess, environment, kill, require_root, until
from weft_testing.node_resources import NODE, workload
from weft_testing.standin_operator import StandinOperator, ThreadedOperator, in_thread

SERVICE = Service(namespace="shop", name="web", addresses=("10.96.0.1",))
QUICK = ("--limit", "operator_backoff_first_s=0.05,operator_backoff_max_s=0.2,snapshot_interval_s=0.1")


@pytest.fixture(autouse=True)
def _root() -> None:
    require_root()


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[ThreadedOperator]:
    directory = tmp_path / "operator"
    directory.mkdir()
    with in_thread(StandinOperator(directory)) as threaded:
        yield threaded


@pytest.fixture
def agent(tmp_path: Path, operator: ThreadedOperator) -> Iterator[AgentProcess]:
    told = operator.operator
    source = (
        "--operator", f"https://127.0.0.1:{told.port}", "--operator-roots", str(told.roots_path),
        "--token", str(told.token_path), "--snapshot", str(tmp_path / "disk"),
    )  # fmt: skip
    with AgentProcess(tmp_path, control=CONTROL, source=source, arguments=QUICK) as agent:
        yield agent


def put(operator: ThreadedOperator, *resources: Resource) -> None:
    operator.call(lambda: operator.operator.put(*resources))


def bundle(operator: ThreadedOperator) -> TrustBundle:
    return TrustBundle(trust_domain="cluster.local", roots=(operator.operator.authority.pem_text,))


def keys(agent: AgentProcess) -> set[str]:
    return {entry["key"] for entry in agent.admin("/config")["resources"]}


def test_it_serves_what_the_operator_says_and_says_so(agent: AgentProcess, operator: ThreadedOperator) -> None:
    put(operator, NODE, SERVICE)
    agent.start()
    status = agent.until_ready()
    assert operator.until_acked().refused == ()
    assert keys(agent) == {"Node/n1", "Service/shop/web"}
    assert status["operator"]["connected"]
    assert status["config"]["origin"] == "operator"
    assert agent.health("/healthz/ready")[1]["degraded"] == []
    assert agent.metric("weft_operator_connected") == 1
    assert agent.metric("weft_config_age_seconds") == 0
    bad = Service(namespace="shop", name="web", addresses=("nonsense",))
    put(operator, bad)
    ack = operator.until_acked()
    assert [refused[:2] for refused in ack.refused] == [("Service/shop/web", digest(encode(bad)))]
    (entry,) = [e for e in agent.admin("/config")["resources"] if e["key"] == "Service/shop/web"]
    assert entry["hash"] == digest(encode(SERVICE)), "the last good version"
    assert agent.metric("weft_config_refused_resources") == 2, "one resource in each of two workers"
    assert any("Service/shop/web" in text for text in agent.status()["warnings"])
    told = subprocess.run(
        [sys.executable, "-m", "weft_agent", "status", "--state", str(agent.state)],
        env=environment(), capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert f"operator https://127.0.0.1:{operator.operator.port}: connected" in told
    assert agent.stop() == 0


def test_after_the_death_of_everything_it_serves_from_the_snapshot_without_an_operator(
    agent: AgentProcess, operator: ThreadedOperator
) -> None:
    put(operator, NODE, SERVICE)
    agent.start()
    agent.until_ready()
    operator.until_acked()
    until(lambda: agent.metric("weft_snapshot_writes_total", outcome="written"), "the snapshot is written")
    pids = [agent.control_pid, *agent.worker_pids()]
    operator.stop()
    agent.keeper.kill()
    agent.keeper.wait(10)
    for pid in pids:
        kill(pid)
    agent.mark()
    agent.start()
    status = agent.until_ready()
    assert status["config"]["origin"] == "snapshot"
    assert keys(agent) == {"Node/n1", "Service/shop/web"}
    code, body = agent.health("/healthz/ready")
    assert code == 200
    assert "no operator for" in body["degraded"][0]
    assert agent.metric("weft_operator_connected") == 0
    assert agent.metric("weft_config_stale") == 1
    assert agent.metric("weft_operator_errors_total", reason="unreachable") >= 1
    until(lambda: agent.metric("weft_config_age_seconds") > 0, "the configuration grows older")
    operator.start()
    until(lambda: agent.metric("weft_operator_connected"), "the operator is found again")
    put(operator, Service(namespace="shop", name="new"))
    operator.until_acked()
    assert "Service/shop/new" in keys(agent)
    assert agent.health("/healthz/ready")[1]["degraded"] == []


def test_without_operator_and_snapshot_it_is_not_ready_and_says_why(
    agent: AgentProcess, operator: ThreadedOperator
) -> None:
    operator.stop()
    agent.start()
    agent.until_event("operator-away", reason="unreachable")
    code, body = agent.health("/healthz/ready")
    assert code == 503
    assert any(text.startswith("no configuration: no operator for") for text in body["missing"])
    put_later = operator.operator
    operator.start()
    operator.call(lambda: put_later.put(NODE))
    agent.until_ready()


def test_certificates_are_had_kept_and_handed_on_over_the_death_of_control(
    agent: AgentProcess, operator: ThreadedOperator
) -> None:
    """The pod of the workload does not exist, so the node is not ready; its certificate is asked for all the same."""
    put(operator, NODE, bundle(operator), workload("a", "10.0.0.1"))
    agent.start()
    until(lambda: agent.status().get("certificates"), "a certificate is there")
    (certificate,) = agent.admin("/certificates")
    assert certificate["identity"] == "spiffe://cluster.local/ns/shop/sa/a"
    assert certificate["leftSeconds"] > 80_000
    assert agent.metric("weft_certificate_requests_total", outcome="issued") == 1
    assert len(operator.operator.requests) == 1
    (session,) = operator.operator.alive
    operator.until(lambda: session.pods and session.pods[-1].waiting)
    assert session.pods[-1].waiting[0][0] == "shop/a"
    until(lambda: agent.metric("weft_snapshot_writes_total", outcome="written"), "the snapshot is written")
    operator.stop()
    before = agent.control_pid
    agent.mark()
    os.kill(before, signal.SIGKILL)
    until(lambda: agent.status().get("pid") not in {None, before}, "the next control answers")
    until(lambda: agent.status().get("certificates"), "the certificate is there again")
    assert len(operator.operator.requests) == 1


def test_a_refused_certificate_is_told(agent: AgentProcess, operator: ThreadedOperator) -> None:
    operator.operator.refuse_certificates = (403, "no pod of shop/a is on node n1")
    put(operator, NODE, bundle(operator), workload("a", "10.0.0.1"))
    agent.start()

    def told() -> list[str]:
        return [text for text in agent.status().get("warnings", ()) if "no pod of shop/a is on node n1" in text]

    assert until(told, "the refusal is told")[0].startswith(
        "no new certificate for spiffe://cluster.local/ns/shop/sa/a"
    )
    assert "no certificate for spiffe://cluster.local/ns/shop/sa/a" in agent.status()["warnings"]
    assert agent.metric("weft_certificate_requests_total", outcome="refused") >= 1
    operator.operator.refuse_certificates = None
    until(lambda: agent.status().get("certificates"), "it is asked for again", 30.0)
