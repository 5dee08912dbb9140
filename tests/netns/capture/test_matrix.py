"""Every way a connection can go between two captured pods and their node, both families, every back end."""

import socket
import threading

import pytest

from weft_contract.ports import GATE_ADDRESS_V4, GATE_ADDRESS_V6, HEALTH_PORT
from weft_contract.resources import Capture
from weft_testing.capture_world import (
    BOUND_PORT,
    CLOSED_PORT,
    EXCLUDED_IN,
    EXCLUDED_OUT,
    NODE_PORT,
    PORT,
    SHORT_S,
    VIP_A,
    VIP_B,
    WAIT_S,
    Agent,
    CaptureWorld,
    call,
    dial,
    number,
)
from weft_testing.netns import Family

pytestmark = pytest.mark.netns


def ways(agent: Agent) -> list[str]:
    """Directions of the connections that the agent saw, in alphabetical order: each is noted by a thread of its own."""
    return sorted(line["direction"] for line in agent.drain())


@pytest.mark.parametrize("size", [1000, 20_000_000])
def test_a_service_address_leads_to_a_pod_that_sees_the_client(
    shared: CaptureWorld, agent: Agent, family: Family, size: int
) -> None:
    reply = call(shared.a, VIP_B[family], 80, size)
    assert reply.echoed == size
    assert reply.peer[0] == shared.a.address(family)
    assert reply.local == (shared.b.address(family), PORT)
    outbound = agent.expect(direction="outbound")
    assert (outbound["target"], outbound["peer"]) == ([VIP_B[family], 80], list(reply.client))
    inbound = agent.expect(direction="inbound")
    assert (inbound["target"], inbound["peer"][0]) == ([shared.b.address(family), PORT], shared.a.address(family))


@pytest.mark.parametrize("port", [PORT, BOUND_PORT])
def test_a_pod_address_is_captured_on_both_sides(shared: CaptureWorld, agent: Agent, family: Family, port: int) -> None:
    reply = call(shared.a, shared.b.address(family), port)
    assert (reply.peer[0], reply.local) == (shared.a.address(family), (shared.b.address(family), port))
    assert ways(agent) == ["inbound", "outbound"]


def test_an_excluded_inbound_port_is_left_alone(shared: CaptureWorld, agent: Agent, family: Family) -> None:
    reply = call(shared.a, shared.b.address(family), EXCLUDED_IN)
    assert reply.peer[0] == shared.a.address(family)
    assert ways(agent) == ["outbound"]


def test_an_excluded_outbound_port_is_left_alone(shared: CaptureWorld, agent: Agent, family: Family) -> None:
    reply = call(shared.a, shared.b.address(family), EXCLUDED_OUT, 2_000_000)
    assert reply.echoed == 2_000_000
    assert ways(agent) == ["inbound"]


def test_a_connection_excluded_on_both_sides_meets_no_agent(shared: CaptureWorld, agent: Agent, family: Family) -> None:
    reply = call(shared.node, shared.a.address(family), EXCLUDED_IN)
    assert reply.peer[0] == shared.node.gateways[family]
    assert ways(agent) == []


def test_the_node_is_reached_through_the_capture(shared: CaptureWorld, agent: Agent, family: Family) -> None:
    reply = call(shared.a, shared.node.gateways[family], NODE_PORT)
    assert reply.peer[0] == shared.a.address(family)
    assert ways(agent) == ["outbound"]


def test_a_pod_reaches_itself_through_its_service(shared: CaptureWorld, agent: Agent, family: Family) -> None:
    reply = call(shared.a, VIP_A[family], 80)
    assert reply.local == (shared.a.address(family), PORT)
    assert ways(agent) == ["outbound"]


@pytest.mark.parametrize("port", [PORT, BOUND_PORT])
def test_a_pods_own_address_is_not_captured(shared: CaptureWorld, agent: Agent, family: Family, port: int) -> None:
    reply = call(shared.a, shared.a.address(family), port)
    assert reply.peer == reply.client
    assert ways(agent) == []


def test_loopback_is_not_captured(shared: CaptureWorld, agent: Agent, family: Family) -> None:
    reply = call(shared.a, "127.0.0.1" if family == 4 else "::1", PORT)
    assert reply.peer == reply.client
    assert ways(agent) == []


@pytest.mark.parametrize("port", [PORT, BOUND_PORT])
def test_a_probe_from_the_node_is_captured_and_keeps_its_source(
    shared: CaptureWorld, agent: Agent, family: Family, port: int
) -> None:
    reply = call(shared.node, shared.a.address(family), port)
    assert reply.peer[0] == shared.node.gateways[family]
    inbound = agent.expect(direction="inbound")
    assert inbound["peer"] == list(reply.client)


@pytest.mark.parametrize("port", [15001, 15006, 15008])
def test_capture_ports_cannot_be_dialled(shared: CaptureWorld, agent: Agent, family: Family, port: int) -> None:
    with pytest.raises(OSError, match=r"reset|refused"):
        call(shared.node, shared.a.address(family), port)
    assert agent.expect(direction="inbound")["refused"] == "loop"


@pytest.mark.parametrize("port", [15001, 15006])
def test_the_application_cannot_talk_to_the_agents_listeners(
    shared: CaptureWorld, agent: Agent, family: Family, port: int
) -> None:
    with pytest.raises(OSError, match=r"reset|refused|closed"):
        call(shared.a, "127.0.0.1" if family == 4 else "::1", port)
    assert agent.expect(refused="loop")["target"][1] == port
    with pytest.raises(ConnectionRefusedError):
        call(shared.a, shared.a.address(family), port)


def test_a_closed_port_is_a_reset_for_pod_and_node(shared: CaptureWorld, agent: Agent, family: Family) -> None:
    for caller in (shared.a, shared.node):
        with pytest.raises(OSError, match=r"reset|refused|closed"):
            call(caller, shared.b.address(family), CLOSED_PORT)
    assert agent.expect(direction="inbound")["error"].endswith("refused")


def test_the_gate_is_answered_whatever_is_excluded(shared: CaptureWorld, agent: Agent, family: Family) -> None:
    gate = GATE_ADDRESS_V4 if family == 4 else GATE_ADDRESS_V6
    dial(shared.a, gate, HEALTH_PORT).close()
    assert agent.expect(direction="outbound", gate="open")["target"] == [gate, HEALTH_PORT]
    wide = Capture(exclude_outbound_ports=((1, 65535),), exclude_outbound_networks=("0.0.0.0/0", "::/0"))
    try:
        shared.capture(shared.a, wide)
        dial(shared.a, gate, HEALTH_PORT).close()
        assert agent.expect(direction="outbound", gate="open")
    finally:
        shared.capture(shared.a)


def test_three_hundred_connections_at_once(shared: CaptureWorld, family: Family) -> None:
    done: list[int] = []

    def one() -> None:
        done.append(call(shared.a, VIP_B[family], 80).echoed)

    threads = [threading.Thread(target=one) for _ in range(300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(4 * WAIT_S)
    assert done == [1000] * 300


def test_forced_syn_cookies_change_nothing(shared: CaptureWorld, agent: Agent, family: Family) -> None:
    for pod in (shared.a, shared.b):
        pod.shell("echo 2 > /proc/sys/net/ipv4/tcp_syncookies")
    try:
        assert call(shared.a, VIP_B[family], 80).peer[0] == shared.a.address(family)
        assert call(shared.node, shared.a.address(family), BOUND_PORT).echoed == 1000
        assert call(shared.node, shared.a.address(family), EXCLUDED_IN).echoed == 1000
        assert call(shared.a, shared.b.address(family), EXCLUDED_OUT).echoed == 1000
    finally:
        for pod in (shared.a, shared.b):
            pod.shell("echo 1 > /proc/sys/net/ipv4/tcp_syncookies")
    assert ways(agent) == ["inbound", "inbound", "inbound", "outbound"]


def test_strict_reverse_path_filtering_changes_nothing(shared: CaptureWorld, agent: Agent) -> None:
    """Many nodes have rp_filter=1, and pods inherit it."""
    for pod in (shared.a, shared.b):
        pod.shell("for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 1 > $f; done")
    assert call(shared.a, VIP_B[4], 80).peer[0] == shared.a.address(4)
    assert call(shared.a, VIP_A[4], 80).local == (shared.a.address(4), PORT)
    assert call(shared.a, shared.b.address(4), EXCLUDED_OUT).echoed == 1000
    assert ways(agent) == ["inbound", "inbound", "outbound", "outbound"]


def test_udp_passes(shared: CaptureWorld, family: Family) -> None:
    def receiver() -> socket.socket:
        made = socket.socket(number(family), socket.SOCK_DGRAM)
        made.bind((shared.b.address(family), 5353))
        made.settimeout(WAIT_S)
        return made

    with (
        shared.b.run(receiver) as there,
        shared.a.run(lambda: socket.socket(number(family), socket.SOCK_DGRAM)) as here,
    ):
        here.sendto(b"question", (shared.b.address(family), 5353))
        data, peer = there.recvfrom(100)
        assert (data, peer[0]) == (b"question", shared.a.address(family))
        there.sendto(b"answer", peer)
        here.settimeout(WAIT_S)
        assert here.recv(100) == b"answer"


def test_nothing_is_tracked(shared: CaptureWorld, family: Family) -> None:
    call(shared.a, VIP_B[family], 80)
    call(shared.a, shared.b.address(family), EXCLUDED_OUT)
    for pod in (shared.a, shared.b):
        assert pod.shell("cat /proc/sys/net/netfilter/nf_conntrack_count").strip() == "0"


def test_a_stranger_cannot_pass_by_choosing_an_excluded_source_port(
    shared: CaptureWorld, agent: Agent, family: Family
) -> None:
    """A pod that excludes port 9999 outbound must not take replies "from port 9999" for its own."""
    with dial(
        shared.node, shared.b.address(family), PORT, timeout_s=SHORT_S * 4, source=("", EXCLUDED_OUT)
    ) as connection:
        assert connection.getsockname()[1] == EXCLUDED_OUT
        assert agent.expect(direction="inbound")["peer"][1] == EXCLUDED_OUT
