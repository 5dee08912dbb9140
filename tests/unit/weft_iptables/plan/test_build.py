"""Planning a capture: what is excluded appears exactly, and the rules decide every packet as the theory says."""

from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from itertools import pairwise
from typing import assert_never

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_contract.ports import BACK_MARK, GATE_ADDRESS_V4, GATE_ADDRESS_V6, HEALTH_PORT, OUT_MARK, PROXY_MARK
from weft_contract.resources import Capture
from weft_iptables.errors import PlanError
from weft_iptables.plan import CapturePlan, Connection, Family, plan
from weft_iptables.plan.rule import (
    Action,
    AgentSocket,
    Chain,
    Divert,
    Intercept,
    KeptIn,
    LearnAndPass,
    LocalPortIn,
    Loopback,
    Marked,
    Match,
    NotForUs,
    NotTcp,
    Opening,
    Pass,
    Refuse,
    RemoteIs,
    RemoteNetworkIn,
    RemotePortIn,
    Tcp,
    Udp,
    Underway,
)
from weft_iptables.plan.values import IN_PORTS, LEARNED, OUT_PORTS, KeepSet, LearnedPorts, NetworkSet, PortSet

ports = st.integers(0, 65535)
ranges = st.lists(st.tuples(ports, ports).map(lambda pair: (min(pair), max(pair))), max_size=6).map(tuple)
networks4 = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(lambda at: f"{ip_address(at[0])}/{at[1]}")
networks6 = st.tuples(st.integers(0, 2**128 - 1), st.integers(0, 128)).map(
    lambda at: f"{ip_address(at[0] | 1 << 127)}/{at[1]}"
)
mapped = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(
    lambda at: f"::ffff:{ip_address(at[0])}/{96 + at[1]}"
)
captures = st.builds(
    Capture,
    exclude_inbound_ports=ranges,
    exclude_outbound_ports=ranges,
    exclude_outbound_networks=st.lists(st.one_of(networks4, networks6, mapped), max_size=6).map(tuple),
)


def port_set(wanted: CapturePlan, name: str) -> tuple[tuple[int, int], ...]:
    return next((item.ranges for item in wanted.sets if isinstance(item, PortSet) and item.name == name), ())


# -- what is excluded appears exactly -------------------------------------------------------------------------------


@given(captures, ports)
def test_exactly_the_excluded_ports_are_in_the_sets(capture: Capture, port: int) -> None:
    wanted = plan(capture)
    for name, given_ranges in (
        (IN_PORTS, capture.exclude_inbound_ports),
        (OUT_PORTS, capture.exclude_outbound_ports),
    ):
        interesting = {port, *(edge + step for span in given_ranges for edge in span for step in (-1, 0, 1))}
        for number in interesting:
            expected = any(first <= number <= last for first, last in given_ranges)
            assert any(first <= number <= last for first, last in port_set(wanted, name)) == expected


@given(captures)
def test_ranges_neither_touch_nor_overlap(capture: Capture) -> None:
    for name in (IN_PORTS, OUT_PORTS):
        spans = port_set(plan(capture), name)
        assert all(one[1] + 1 < other[0] for one, other in pairwise(spans))


@given(captures)
def test_exactly_the_excluded_networks_are_in_the_sets(capture: Capture) -> None:
    wanted = plan(capture)
    expected: dict[Family, list[IPv4Network | IPv6Network]] = {4: [], 6: []}
    for text in capture.exclude_outbound_networks:
        network = ip_network(text, strict=False)
        if text.startswith("::ffff:"):
            network = ip_network(f"{network.network_address.ipv4_mapped}/{network.prefixlen - 96}")  # type: ignore[union-attr]  # an IPv6 network
        expected[4 if network.version == 4 else 6].append(network)
    for family, wanted_networks in expected.items():
        found = [
            network
            for item in wanted.sets
            if isinstance(item, NetworkSet) and item.family == family
            for network in item.networks
        ]
        edges = [edge for network in (*wanted_networks, *found) for edge in (network[0], network[-1])]
        for edge in edges:
            assert any(edge in network for network in found) == any(edge in network for network in wanted_networks)
        assert all(not one.overlaps(other) for one in found for other in found if one is not other)


def test_order_and_repetition_of_exclusions_do_not_matter() -> None:
    one = Capture(
        exclude_inbound_ports=((1, 5), (4, 9), (20, 20)), exclude_outbound_networks=("10.0.0.0/9", "10.128.0.0/9")
    )
    other = Capture(exclude_inbound_ports=((20, 20), (1, 9), (2, 3)), exclude_outbound_networks=("10.1.2.3/8",))
    assert plan(one) == plan(other)


@pytest.mark.parametrize("span", [(5, 4), (-1, 4), (0, 65536)])
def test_a_range_that_is_none_is_refused(span: tuple[int, int]) -> None:
    for capture in (Capture(exclude_inbound_ports=(span,)), Capture(exclude_outbound_ports=(span,))):
        with pytest.raises(PlanError, match=f"{span[0]}-{span[1]}"):
            plan(capture)


@pytest.mark.parametrize("text", ["", "10.0.0.0/33", "host", "::/129", "10.0.0.0/8; drop", "1.2.3"])
def test_a_network_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(PlanError, match="is no network"):
        plan(Capture(exclude_outbound_networks=(text,)))


def test_sets_and_rules_are_made_where_they_are_needed_only() -> None:
    assert plan(Capture()).sets == ()
    inbound = plan(Capture(exclude_inbound_ports=((80, 80),)))
    assert [item.name for item in inbound.sets] == [IN_PORTS]
    assert not inbound.needs_sysctls
    outbound = plan(Capture(exclude_outbound_networks=("10.0.0.0/8",)))
    assert [type(item) for item in outbound.sets] == [NetworkSet, LearnedPorts]
    assert outbound.needs_sysctls


# -- families ---------------------------------------------------------------------------------------------------------


def test_a_family_that_is_absent_gets_nothing() -> None:
    wanted = plan(Capture(exclude_outbound_networks=("fd00::/8", "10.0.0.0/8")), captured=(4,))
    assert wanted.families == wanted.routing.families == (4,)
    assert [item.name for item in wanted.sets] == ["out_net4", LEARNED]
    assert {rule.family for rule in wanted.rules} == {4, None}
    assert all("ipv6" not in item.path for item in wanted.sysctls)


def test_a_family_that_cannot_be_captured_is_refused_both_ways() -> None:
    wanted = plan(Capture(), captured=(4,), refused=(6,))
    assert (wanted.captured, wanted.refused, wanted.routing.families) == ((4,), (6,), (4,))
    last = {
        chain: [rule for rule in wanted.rules_of(6) if rule.chain == chain][-1] for chain in ("WEFT_PRE", "WEFT_OUT")
    }
    assert all(isinstance(rule.action, Refuse) for rule in last.values())
    assert plan(Capture(), captured=(4, 6), refused=(6,)) == plan(Capture()), "what is captured need not be refused"


# -- connections older than the capture -----------------------------------------------------------------------------

_OUT4 = Connection("10.0.0.1", 40000, "192.0.2.1", 5432)
_IN6 = Connection("fd00::1", 8080, "fd00::2", 40001)


def test_kept_connections_are_sorted_and_make_sets_for_their_families_only() -> None:
    assert plan(Capture(), keep=[_OUT4]).sets == (KeepSet("keep4", 4),)
    wanted = plan(Capture(), keep=[_IN6, _OUT4, _IN6])
    assert wanted.keep == (_OUT4, _IN6)
    assert wanted.sets == (KeepSet("keep4", 4), KeepSet("keep6", 6))
    assert wanted.shape == plan(Capture(), keep=[_OUT4, _IN6.twin]).shape
    assert plan(Capture(), captured=(4,), keep=[_IN6]).keep == ()


def test_what_an_exclusion_covers_need_not_be_kept() -> None:
    both = [_OUT4, _IN6]
    assert plan(Capture(exclude_outbound_ports=((5432, 5432),)), keep=both).keep == (_IN6,)
    assert plan(Capture(exclude_outbound_networks=("192.0.2.0/24",)), keep=both).keep == (_IN6,)
    assert plan(Capture(exclude_inbound_ports=((8080, 8080),)), keep=both).keep == (_OUT4,)
    assert plan(Capture(exclude_inbound_ports=((40000, 40001),)), keep=both).keep == (_IN6,)


# -- the rules decide as the theory says ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Packet:
    """A packet as the rules see it."""

    chain: Chain
    family: Family = 4
    protocol: str = "tcp"
    loopback: bool = False
    mark: int = 0
    opening: bool = True
    local_port: int = 8080
    remote_address: str = "192.0.2.1"
    remote_port: int = 40000
    for_us: bool = True
    agent_socket: bool = False
    learned: bool = False
    kept: bool = False


def decide(wanted: CapturePlan, packet: Packet) -> Action:
    """Give the action of the first rule that matches; the kernel passes what no rule decides."""
    for rule in wanted.rules_of(packet.family):
        if rule.chain == packet.chain and all(matches(wanted, match, packet) for match in rule.matches):
            return rule.action
    return Pass()


def matches(wanted: CapturePlan, match: Match, packet: Packet) -> bool:
    tcp = packet.protocol == "tcp"
    match match:
        case Tcp():
            return tcp
        case Udp():
            return packet.protocol == "udp"
        case NotTcp():
            return not tcp
        case Loopback():
            return packet.loopback
        case Marked(mark=mark):
            return packet.mark & 0xFFF == mark
        case AgentSocket():
            return packet.agent_socket
        case Opening():
            return packet.opening
        case Underway():
            return not packet.opening
        case LocalPortIn(set_name="learned_ports"):
            return packet.learned
        case LocalPortIn(set_name=name):
            return any(first <= packet.local_port <= last for first, last in port_set(wanted, name))
        case RemotePortIn(set_name=name):
            return any(first <= packet.remote_port <= last for first, last in port_set(wanted, name))
        case RemoteNetworkIn(set_name=name):
            inside = next(item.networks for item in wanted.sets if isinstance(item, NetworkSet) and item.name == name)
            return any(ip_address(packet.remote_address) in network for network in inside)
        case RemoteIs(address=address, port=port):
            return (packet.remote_address, packet.remote_port) == (address, port)
        case KeptIn():
            return packet.kept
        case NotForUs():
            return not packet.for_us
        case _:
            assert_never(match)


EXCLUDING = plan(
    Capture(
        exclude_inbound_ports=((9090, 9090),),
        exclude_outbound_ports=((5432, 5432), (HEALTH_PORT, HEALTH_PORT)),
        exclude_outbound_networks=("198.51.100.0/24", "169.254.0.0/16", "2001:db8::/32", "fd00::/8"),
    ),
    keep=[Connection("10.0.0.1", 1, "10.0.0.2", 2), _IN6],
)
families = st.sampled_from([4, 6])
packets = st.builds(
    Packet,
    chain=st.sampled_from(["WEFT_PRE", "WEFT_OUT"]),
    family=families,
    loopback=st.booleans(),
    mark=st.sampled_from([0, PROXY_MARK, OUT_MARK, BACK_MARK, 0x1000 | OUT_MARK, 0x77]),
    opening=st.booleans(),
    local_port=st.sampled_from([8080, 9090, 40000]),
    remote_port=st.sampled_from([80, 5432, HEALTH_PORT, 40000]),
    for_us=st.booleans(),
    agent_socket=st.booleans(),
    learned=st.booleans(),
    kept=st.booleans(),
).flatmap(
    lambda packet: st.sampled_from(
        ["192.0.2.1", "198.51.100.7", GATE_ADDRESS_V4]
        if packet.family == 4
        else ["2001:db9::1", "2001:db8::7", GATE_ADDRESS_V6]
    ).map(lambda address: replace(packet, remote_address=address))
)


@given(packets)
def test_a_diverted_packet_is_intercepted_whatever_else_is_true(packet: Packet) -> None:
    back = replace(packet, chain="WEFT_PRE", loopback=True, mark=OUT_MARK)
    assert decide(EXCLUDING, back) == Intercept(15001)


@given(packets)
def test_a_first_segment_from_the_wire_is_judged_by_its_port_alone(packet: Packet) -> None:
    syn = replace(packet, chain="WEFT_PRE", loopback=False, opening=True, for_us=True)
    assert decide(EXCLUDING, syn) == (Pass() if syn.local_port == 9090 else Intercept(15006))


@given(packets)
def test_a_segment_that_nobody_announced_is_intercepted(packet: Packet) -> None:
    """Neither the agent's, nor learned, nor kept: however it is addressed, the application does not get it."""
    stray = replace(
        packet,
        chain="WEFT_PRE",
        loopback=False,
        opening=False,
        for_us=True,
        local_port=8080,
        agent_socket=False,
        learned=False,
        kept=False,
    )
    assert decide(EXCLUDING, stray) == Intercept(15006)


@given(packets)
def test_the_agents_own_packets_leave_as_they_are(packet: Packet) -> None:
    for mark in (PROXY_MARK, BACK_MARK):
        assert decide(EXCLUDING, replace(packet, chain="WEFT_OUT", mark=mark)) == Pass()


@given(packets)
def test_what_the_agent_answers_to_the_pod_is_marked_so_that_the_kernels_answer_comes_back(packet: Packet) -> None:
    answer = replace(packet, chain="WEFT_PRE", protocol="tcp", loopback=True, mark=PROXY_MARK)
    assert decide(EXCLUDING, answer) == Divert()


@given(packets)
def test_a_connection_that_the_pod_opens_is_diverted_unless_excluded(packet: Packet) -> None:
    syn = replace(packet, chain="WEFT_OUT", loopback=False, mark=0, opening=True)
    gate = syn.remote_address in (GATE_ADDRESS_V4, GATE_ADDRESS_V6) and syn.remote_port == HEALTH_PORT
    outside = syn.remote_address in ("192.0.2.1", "2001:db9::1") and syn.remote_port not in (5432, HEALTH_PORT)
    assert decide(EXCLUDING, syn) == (Divert() if gate or outside else LearnAndPass(LEARNED))


@given(packets)
def test_a_segment_leaves_directly_only_if_its_connection_did_from_the_start(packet: Packet) -> None:
    later = replace(packet, chain="WEFT_OUT", loopback=False, mark=0, opening=False)
    known = later.learned or later.kept or later.local_port == 9090
    assert decide(EXCLUDING, later) == Divert() or known


@given(families)
def test_other_protocols_pass(family: Family) -> None:
    for chain in ("WEFT_PRE", "WEFT_OUT"):
        for protocol in ("udp", "icmp", "sctp"):
            assert decide(EXCLUDING, Packet(chain=chain, family=family, protocol=protocol)) == Pass()


def test_a_packet_for_somebody_else_passes_through() -> None:
    assert decide(EXCLUDING, Packet(chain="WEFT_PRE", for_us=False)) == Pass()


def test_loopback_traffic_passes() -> None:
    for mark in (0, BACK_MARK):
        assert decide(EXCLUDING, Packet(chain="WEFT_PRE", loopback=True, mark=mark)) == Pass()
    assert decide(EXCLUDING, Packet(chain="WEFT_OUT", loopback=True)) == Pass()
