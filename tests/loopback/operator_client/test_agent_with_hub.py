"""A whole agent with the operator's real compiler, hub and authority: objects become what its workers enforce, and it says so."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from weft_agent.__main__ import CONTROL
from weft_testing import objects as o
from weft_testing.agent_process import AgentProcess, kill, require_root, until
from weft_testing.served_hub import TRUST_DOMAIN, ServedHub, served_hub

WEB = f"spiffe://{TRUST_DOMAIN}/ns/shop/sa/web"
QUICK = ("--limit", "operator_backoff_first_s=0.05,operator_backoff_max_s=0.2,snapshot_interval_s=0.1")


@pytest.fixture(autouse=True)
def _root() -> None:
    require_root()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[ServedHub]:
    directory = tmp_path / "hub"
    directory.mkdir()
    with served_hub(directory) as hub:
        hub.change(
            o.node("n1", "172.16.0.1"),
            o.namespace("shop"),
            o.pod("web", "10.0.0.1", node="n1", account="web"),
            o.service("web", 80, addresses=["10.96.0.1"]),
        )
        yield hub


def test_objects_are_enforced_certificates_had_and_both_outlive_everything(hub: ServedHub, tmp_path: Path) -> None:
    source = (
        "--operator", f"https://127.0.0.1:{hub.port}", "--operator-roots", str(hub.roots_path),
        "--token", str(hub.token_path("n1")), "--snapshot", str(tmp_path / "disk"),
    )  # fmt: skip
    with AgentProcess(tmp_path, control=CONTROL, source=source, arguments=QUICK) as agent:

        def in_step() -> bool:
            held = {entry["key"]: entry["hash"] for entry in agent.admin("/config")["resources"]}
            return held == hub.should_hold("n1")

        def settled() -> bool:
            return [each.behind for each in hub.call(lambda: hub.hub.nodes)] == [0]

        agent.start()
        until(lambda: agent.status().get("certificates"), "a certificate is there")
        assert [each["identity"] for each in agent.admin("/certificates")] == [WEB]
        until(in_step, "the agent holds what it should")
        hub.change(o.service("two", 80, addresses=["10.96.0.2"]))
        until(in_step, "a change is there")
        until(settled, "and acknowledged")
        (node,) = hub.call(lambda: hub.hub.nodes)
        assert not node.refused
        until(lambda: hub.call(lambda: hub.hub.nodes)[0].pods.waiting, "the pod without a namespace is told of")

        until(lambda: _kept(tmp_path), "the snapshot is written")
        hub.stop()
        pids = [agent.control_pid, *agent.worker_pids()]
        agent.keeper.kill()
        agent.keeper.wait(10)
        for pid in pids:
            kill(pid)
        agent.mark()
        agent.start()
        until(lambda: agent.status().get("certificates"), "the certificate is there again")
        assert agent.status()["config"]["origin"] == "snapshot"
        assert agent.status()["degraded"]
        assert not [event for event in agent.events() if event["event"] == "certificate-issued"]

        hub.start()
        hub.change(o.service("three", 80, addresses=["10.96.0.3"]))
        until(in_step, "it is brought up to date again")
        until(settled, "and acknowledged")
        assert agent.status()["degraded"] == []


def _kept(directory: Path) -> bool:
    snapshot = directory / "disk" / "snapshot"
    return snapshot.exists() and b"Service/shop/two" in snapshot.read_bytes()
