"""Pods come, change and go: captured whole, served by every worker, healed, released, and never open by accident."""

import os
import signal
import socket
from pathlib import Path

import pytest

from weft_agent.channel.messages import Family
from weft_contract.resources import Capture
from weft_testing.agent_process import until
from weft_testing.served_node import APP_PORT, ServedNode

pytestmark = pytest.mark.netns


@pytest.mark.parametrize("family", [4, 6])
def test_what_arrives_at_a_captured_pod_meets_a_worker(node: ServedNode, family: Family) -> None:
    node.capture(node.server)
    word = node.ask(node.server, family=family)
    assert word["direction"] == "inbound"
    assert word["destination"] == f"{node.server.address(family)}:{APP_PORT}"
    assert word["pid"] in node.agent.worker_pids()
    state = node.pod_state("server")
    assert state["state"] == "captured"
    assert state["listeners"] == ["inbound/4", "inbound/6", "outbound/4", "outbound/6"]
    assert node.agent.metric("weft_capture_state", pod="server", state="captured") == 1


@pytest.mark.parametrize("family", [4, 6])
def test_what_leaves_a_captured_pod_meets_a_worker(node: ServedNode, family: Family) -> None:
    node.capture(node.client)
    word = node.ask(node.server, family=family)
    assert word["direction"] == "outbound"
    assert word["destination"] == f"{node.server.address(family)}:{APP_PORT}"


def test_connections_reach_all_workers(node: ServedNode) -> None:
    node.capture(node.server)
    seen = {node.ask(node.server)["worker"] for _ in range(50)}
    assert seen <= {0, 1}
    workers = node.agent.worker_pids()
    os.kill(workers[0], signal.SIGSTOP)
    try:
        assert {node.ask(node.server)["worker"] for _ in range(10)} == {1}
        os.kill(workers[1], signal.SIGSTOP)
        os.kill(workers[0], signal.SIGCONT)
        assert {node.ask(node.server)["worker"] for _ in range(10)} == {0}
    finally:
        for worker in workers:
            os.kill(worker, signal.SIGCONT)


def test_workers_have_prepared_sockets_and_get_more_when_they_ask(node: ServedNode) -> None:
    node.capture(node.server)
    until(lambda: node.ask(node.server)["stock"] >= 2 * 2 * 2, "two of each role and family")
    before = node.agent.metric("weft_stock_sockets_total", role="upstream", family="4")
    node.ask(node.server, say=b"need")
    until(
        lambda: node.agent.metric("weft_stock_sockets_total", role="upstream", family="4") == before + 8, "eight more"
    )


def test_a_pod_that_leaves_the_mesh_is_left_as_it_was(node: ServedNode) -> None:
    before = node.server.shell(
        "nft list ruleset; ip rule; ip -6 rule; ip route show table all; sysctl -a -r fwmark 2>/dev/null"
    )
    node.capture(node.server)
    assert node.is_captured(node.server)
    node.configure()
    until(lambda: not node.pod_state("server"), "the pod is gone")
    after = node.server.shell(
        "nft list ruleset; ip rule; ip -6 rule; ip route show table all; sysctl -a -r fwmark 2>/dev/null"
    )
    assert after == before
    assert not node.server.shell("ss -Hltn").strip(), "and nobody listens there any more"
    with pytest.raises(ConnectionRefusedError):
        node.dial(node.server)


def test_a_changed_exclusion_changes_the_rules_and_nothing_else(node: ServedNode) -> None:
    node.capture(node.server)
    kept = node.dial(node.server)
    kept.recv(65536)
    excluded = Capture(netns=node.server.namespace_name, exclude_inbound_ports=((9000, 9000),))
    node.configure(node.workload(node.server, excluded))
    node.agent.until_ready()

    def refused() -> bool:
        try:
            node.dial(node.server, port=9000).close()
        except ConnectionRefusedError:
            return True  # it went to the pod, where nobody listens
        return False

    until(refused, "port 9000 is left alone")
    assert node.ask(node.server)["direction"] == "inbound"
    kept.sendall(b"still there")
    assert kept.recv(100) == b"still there"
    kept.close()


def test_flushed_rules_are_healed_within_a_second_and_counted(node: ServedNode) -> None:
    """Threat T10, fault F26; a second and a half, because this machine has other work to do."""
    node.capture(node.server)
    node.server.shell("nft flush ruleset")
    until(lambda: node.is_captured(node.server), "rules are back", patience_s=1.5)
    node.agent.until_event("capture-healed")
    assert node.agent.metric("weft_capture_drift_healed_total", pod="server") >= 1
    assert node.ask(node.server)["direction"] == "inbound"


def test_a_pod_whose_namespace_is_missing_is_told_and_captured_when_it_comes(node: ServedNode) -> None:
    late = Capture(netns=f"{node.world.prefix}late")
    node.configure(node.workload(node.server, late))
    until(lambda: node.pod_state("server").get("state") == "failed", "the pod is failed")
    status, body = node.agent.health("/healthz/ready")
    assert status == 503
    assert any(text.startswith("pod shop/server: failed") for text in body["missing"])
    pod = node.place.pod("late")
    node.configure(node.workload(pod, late, uid="uid-server", name="server"))
    node.agent.until_ready()
    assert node.ask(pod)["direction"] == "inbound"


@pytest.mark.parametrize(
    ("netns", "state"), [(None, "absent"), ("../net", "failed"), ("a/b", "failed"), ("..", "failed")]
)
def test_a_pod_without_a_usable_namespace_is_told(node: ServedNode, netns: str | None, state: str) -> None:
    node.configure(node.workload(node.server, Capture(netns=netns)))
    until(lambda: node.pod_state("server").get("state") == state, f"the pod is {state}")
    assert "weft.dev/netns" in node.pod_state("server")["error"]
    assert not node.is_captured(node.server)


def test_a_namespace_that_is_another_pods_is_refused(node: ServedNode) -> None:
    wrong = Capture(netns=node.client.namespace_name)
    node.configure(node.workload(node.server, wrong))
    until(lambda: "another pod's" in node.pod_state("server").get("error", ""), "the mix-up is told")
    assert not node.is_captured(node.client)


def test_the_nodes_own_namespace_is_never_captured(node: ServedNode) -> None:
    own = Capture(netns=node.place.namespace_name)
    node.configure(node.workload(node.server, own))
    until(lambda: "never captured" in node.pod_state("server").get("error", ""), "it is refused")
    assert "weft" not in node.place.shell("nft list tables")


def test_a_pod_of_the_same_name_that_was_made_anew_is_another_pod(node: ServedNode) -> None:
    node.capture(node.server)
    node.configure(node.workload(node.server, uid="uid-second"))
    until(lambda: node.pod_state("server").get("uid") == "uid-second", "the second one is there")
    node.agent.until_ready()
    assert node.is_captured(node.server)
    assert node.ask(node.server)["direction"] == "inbound"
    assert len(node.agent.status()["pods"]) == 1


def test_configuration_garbage_leaves_pods_captured(node: ServedNode) -> None:
    node.capture(node.server)
    node.agent.write_config(b"{")
    until(lambda: node.agent.status()["config"]["problems"], "it is refused")
    assert node.is_captured(node.server)
    assert node.ask(node.server)["direction"] == "inbound"


def test_a_stop_leaves_the_rules_so_that_nothing_passes_unguarded(own: ServedNode) -> None:
    """Threat T9, fault F5: fail closed."""
    node = own
    node.capture(node.server)
    app = node.server.run(lambda: socket.create_server(("0.0.0.0", APP_PORT)))
    assert node.agent.stop() == 0
    assert node.is_captured(node.server)
    with (
        pytest.raises(TimeoutError),
        node.client.run(lambda: socket.create_connection((node.server.address(4), APP_PORT), 1.0)),
    ):
        pass
    node.agent.start()
    node.agent.until_ready()
    assert node.ask(node.server)["direction"] == "inbound"
    app.close()


def test_a_stop_may_release_the_pods(tmp_path: Path) -> None:
    with ServedNode(tmp_path, arguments=("--remove-capture-on-exit",)) as node:
        node.capture(node.server)
        assert node.agent.stop() == 0
        assert not node.is_captured(node.server)
        assert node.agent.until_event("drained")["rules"] == "removed"


def test_the_kernels_packet_counts_become_metrics(node: ServedNode) -> None:
    node.capture(node.server)
    before = node.agent.metric("weft_capture_packets_total", pod="server", kind="udp")
    with node.client.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.sendto(b"x", (node.server.address(4), 9))
    node.ask(node.server)
    until(lambda: node.agent.metric("weft_capture_packets_total", pod="server", kind="udp") > before, "UDP is counted")
    assert node.agent.metric("weft_capture_packets_total", pod="server", direction="in") > 1
