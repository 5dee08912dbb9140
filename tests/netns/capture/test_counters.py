"""What the kernel counts of a captured pod: every packet that passed for a reason, and those that were dropped."""

import socket
import threading
from collections.abc import Callable
from functools import partial

import pytest

from weft_contract.resources import Capture
from weft_iptables.backends import Count, choose_backend, prove
from weft_iptables.backends.choose import BACKENDS
from weft_iptables.plan import Tally
from weft_testing.capture_world import (
    EXCLUDED_IN,
    EXCLUDED_OUT,
    PORT,
    SHORT_S,
    USUAL,
    VIP_A,
    VIP_B,
    WAIT_S,
    CaptureWorld,
    call,
    dial,
    number,
)
from weft_testing.netns import Family

pytestmark = pytest.mark.netns


def _until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(int(WAIT_S / 0.02)):
        if condition():
            return
        pause.wait(0.02)
    raise AssertionError("it did not happen in time")


def packets(own: CaptureWorld) -> dict[Tally, int]:
    """Return the counts of pod b."""
    return {tally: count.packets for tally, count in own.backends["b"].counters(own.plans["b"]).items()}


def test_captured_and_excluded_traffic_is_counted_apart(own: CaptureWorld, family: Family) -> None:
    own.capture(own.b)
    own.start_agent()
    nothing = packets(own)
    assert {tally for tally, count in nothing.items() if count and tally[1] != "other"} == set()

    call(own.node, own.b.address(family), PORT)
    captured = packets(own)
    assert captured["in", "offered"] == captured["in", "delivered"] == 1, "the SYN; the rest belongs to a socket"
    assert captured["in", "captured"] >= 4
    assert captured["in", "excluded"] == captured["out", "captured"] == captured["out", "excluded"] == 0

    call(own.node, own.b.address(family), EXCLUDED_IN)
    excluded = packets(own)
    assert excluded["in", "excluded"] >= 4
    assert excluded["out", "excluded"] >= 4
    assert excluded["in", "captured"] == captured["in", "captured"]

    call(own.b, VIP_A[family], 80)
    outbound = packets(own)
    assert outbound["out", "captured"] >= 4
    assert outbound["out", "offered"] == outbound["out", "delivered"] == outbound["out", "captured"]
    assert outbound["out", "excluded"] == excluded["out", "excluded"]

    call(own.b, own.a.address(family), EXCLUDED_OUT)
    assert packets(own)["out", "excluded"] > outbound["out", "excluded"]
    assert packets(own)["out", "captured"] == outbound["out", "captured"]
    assert packets(own)["in", "dropped"] == packets(own)["out", "dropped"] == 0


def test_udp_and_other_protocols_are_counted(own: CaptureWorld, family: Family) -> None:
    own.capture(own.b, Capture())
    before = packets(own)
    datagrams = partial(socket.socket, number(family), socket.SOCK_DGRAM)
    with own.node.run(datagrams) as there, own.b.run(datagrams) as here:
        there.bind((own.node.gateways[family], 5353))
        here.bind((own.b.address(family), 5353))
        for _ in range(5):
            there.sendto(b"x" * 100, here.getsockname())
        for _ in range(3):
            here.sendto(b"y", there.getsockname())
        there.sendto(b"to a closed port", (own.b.address(family), 5354))  # answered by ICMP
        here.sendto(b"to a closed port", (own.node.gateways[family], 5354))
    _until(lambda: packets(own)["in", "other"] > before["in", "other"])
    after = packets(own)
    assert after["in", "udp"] - before["in", "udp"] == 6
    assert after["out", "udp"] - before["out", "udp"] == 4
    assert own.backends["b"].counters(own.plans["b"])["in", "udp"].octets >= 5 * 128
    assert after["out", "other"] > before["out", "other"]


def test_what_meets_no_agent_is_counted_as_dropped_in_each_direction(own: CaptureWorld, family: Family) -> None:
    own.capture(own.b, USUAL)
    with pytest.raises(TimeoutError):
        dial(own.node, own.b.address(family), PORT, timeout_s=SHORT_S)
    inbound = packets(own)
    assert inbound["in", "dropped"] >= 1
    assert inbound["out", "dropped"] == 0
    with pytest.raises(TimeoutError):
        dial(own.b, VIP_B[family], 80, timeout_s=SHORT_S)
    outbound = packets(own)
    assert outbound["out", "dropped"] >= 1
    assert outbound["in", "delivered"] == outbound["out", "delivered"] == 0


def test_a_pod_that_routes_for_others_is_not_in_the_way(own: CaptureWorld, family: Family) -> None:
    """Packets for addresses that are not the pod's own pass it, and are counted as transit."""
    own.capture(own.b, Capture())
    behind = "192.0.2.77" if family == 4 else "2001:db8:77::1"
    own.b.shell("echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding")
    own.node.shell(f"ip route add {behind} via {own.b.address(family)}")
    with pytest.raises(OSError, match=r"timed out|unreachable|No route"):
        dial(own.node, behind, 80, timeout_s=SHORT_S)
    assert packets(own)["in", "transit"] >= 1
    assert packets(own)["in", "dropped"] == 0


def test_rules_that_are_not_the_plans_give_no_counts(own: CaptureWorld) -> None:
    own.capture(own.b, Capture())
    before = own.plans["b"]
    own.capture(own.b, USUAL)
    assert own.backends["b"].counters(before) == {}
    own.backends["b"].remove()
    assert own.backends["b"].counters(own.plans["b"]) == {}


def test_counts_add_and_never_go_below_zero() -> None:
    assert Count(1, 2) + Count(3, 4) == Count(4, 6)
    assert Count(1, 2) - Count(3, 1) == Count(0, 1)


# -- the proof ------------------------------------------------------------------------------------------------------


def test_every_way_of_writing_rules_is_proved_here() -> None:
    assert {name: prove(name) for name in BACKENDS} == dict.fromkeys(BACKENDS, "")
    assert choose_backend().name == "nft"
    assert choose_backend("iptables").name == "iptables-nft"


def test_rules_that_do_not_capture_are_not_taken_for_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is accepted by the kernel, and connections go elsewhere: that is what the proof is for."""
    from weft_iptables.backends import choose
    from weft_iptables.backends.nft import NftRules

    class Idle(NftRules):
        def install(self, plan: object, learned: object) -> None:
            """Install nothing."""

    monkeypatch.setattr(choose, "BACKENDS", {"nft": Idle})
    monkeypatch.setattr(choose, "_PATIENCE_S", SHORT_S)
    assert "a connection is not captured (IPv4)" in prove("nft")
