"""From a pod's capture resource to its plan: pure, total, the same answer for the same input.

Theory. Output only *marks* what is to be captured; a routing rule sends marked packets to the loopback device, where they
come back through prerouting and TPROXY gives them to the agent. What arrives from the wire meets TPROXY directly. There is
no address translation and no connection tracking, so every exclusion needs a rule for each direction and chain.

Invariants, and what breaks without them:

- A packet with the OUT mark on the loopback device is intercepted or dropped, never delivered in another way: while the
  agent is down, an application that listens on any address would answer in place of the real destination.
- What passes uncaptured is recognised by its SYN, or by what such a SYN left behind: the pod's port in a set (exclusions)
  or the pair of ends (connections older than the capture). "Not a SYN, from an excluded port" alone would let a stranger
  finish a SYN-cookie handshake with the application itself, past every policy, because the last segment of that handshake
  belongs to no socket yet. It also lets connections live on when an exclusion is added under them.
- Sockets of the agent are told by their marks in output and by being transparent in prerouting. A plain "socket exists"
  test would match the application's listeners and let new connections past. A SYN is never judged by sockets: one that
  meets a connection of the agent in TIME_WAIT would be let through and then given to whoever listens on the destination,
  which is the application; TPROXY finds the agent's listener instead.
- What was intercepted carries the agent's mark from then on, because the kernel's own answers to it (a RST, the last ACK)
  reflect its mark; with the mark it came with, they would be taken for traffic to be captured and never arrive.
- The agent's answers to the pod change marks the other way round, before they are delivered: what the kernel says to them for
  the pod (the last ACK, from TIME_WAIT; a RST) is to come back to the agent. With the agent's mark it would leave for the
  network, where nobody knows the connection; the agent's socket would stay in LAST_ACK for minutes, and a connection that
  uses the port again could not be opened as long.
- The gate address is captured whatever is excluded, else a pod with a wide exclusion would wait for ever to start.

Source: Documentation/networking/tproxy.rst; the matrix in tests/netns/capture.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Final

from weft_contract.ports import (
    BACK_MARK,
    GATE_ADDRESS_V4,
    GATE_ADDRESS_V6,
    HEALTH_PORT,
    INBOUND_PORT,
    LOOP_MASK,
    OUT_MARK,
    OUTBOUND_PORT,
    PROXY_MARK,
    ROUTE_TABLE,
    RULE_PRIORITY,
)
from weft_contract.resources import Capture
from weft_iptables.errors import PlanError
from weft_iptables.plan.exclusion import excluded
from weft_iptables.plan.rule import (
    AgentSocket,
    Chain,
    Divert,
    Family,
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
    Rule,
    Tcp,
    Udp,
    Underway,
)
from weft_iptables.plan.values import (
    IN_PORTS,
    KEEP,
    LEARNED,
    OUT_NETWORKS,
    OUT_PORTS,
    CapturePlan,
    Connection,
    KeepSet,
    KernelSet,
    LearnedPorts,
    Network,
    NetworkSet,
    PortRange,
    PortSet,
    Routing,
    Sysctl,
)

SYSCTLS: Final = (
    Sysctl("net/ipv4/tcp_fwmark_accept"),
    Sysctl("net/ipv4/fwmark_reflect"),
    Sysctl("net/ipv6/fwmark_reflect"),
)
"""Sockets that the application accepts inherit the mark of the agent's SYN, and replies without a socket (RST, ICMP) that
of the packet they answer, so that both find the way back to the agent.

Source: Documentation/networking/ip-sysctl.rst.
"""
ROUTING: Final = Routing(families=(4, 6), priority=RULE_PRIORITY, mark=OUT_MARK, mask=LOOP_MASK, table=ROUTE_TABLE)
_GATES: Final[dict[Family, str]] = {4: GATE_ADDRESS_V4, 6: GATE_ADDRESS_V6}
_ALL_MAPPED: Final = IPv6Network("::ffff:0:0/96")


def plan(
    capture: Capture,
    *,
    captured: Sequence[Family] = (4, 6),
    refused: Sequence[Family] = (),
    keep: Iterable[Connection] = (),
) -> CapturePlan:
    """Work out what a pod's namespace needs.

    Args:
        capture: what the pod's annotations leave alone.
        captured: families to capture; those the namespace's kernel can do (`Backend.survey`).
        refused: families that exist there but cannot be captured: their TCP is dropped.
        keep: connections older than the capture that shall go on as they are; those that an exclusion covers need no
            keeping and are left out.

    Raises:
        PlanError: a port range or network of the resource is not one.
    """
    in_ports = _ranges(capture.exclude_inbound_ports)
    out_ports = _ranges(capture.exclude_outbound_ports)
    families = tuple(sorted({*captured, *refused}))
    networks = {family: _networks(capture.exclude_outbound_networks, family) for family in families}
    exclusions = _exclusions(in_ports, out_ports, networks)
    there = {connection for connection in keep if connection.family in families}
    kept = tuple(sorted(there - excluded(exclusions, there)))
    sets = (*exclusions, *(KeepSet(KEEP[family], family) for family in sorted({item.family for item in kept})))
    names = {item.name for item in sets}
    refused_only = tuple(sorted(set(refused) - set(captured)))
    return CapturePlan(
        captured=tuple(sorted(set(captured))),
        refused=refused_only,
        sysctls=tuple(item for item in SYSCTLS if "ipv6" not in item.path or 6 in families),
        needs_sysctls=LEARNED in names,
        routing=replace(ROUTING, families=tuple(sorted(set(captured)))),
        sets=sets,
        rules=(*_prerouting(names, captured, refused_only), *_output(names, captured, refused_only)),
        keep=kept,
    )


# -- sets ---------------------------------------------------------------------------------------------------------


def _exclusions(
    in_ports: tuple[PortRange, ...], out_ports: tuple[PortRange, ...], networks: dict[Family, tuple[Network, ...]]
) -> tuple[KernelSet, ...]:
    sets: list[KernelSet] = []
    if in_ports:
        sets.append(PortSet(IN_PORTS, in_ports))
    if out_ports:
        sets.append(PortSet(OUT_PORTS, out_ports))
    sets += [NetworkSet(OUT_NETWORKS[family], family, found) for family, found in networks.items() if found]
    if out_ports or any(networks.values()):
        sets.append(LearnedPorts(LEARNED))
    return tuple(sets)


def _ranges(ranges: Iterable[PortRange]) -> tuple[PortRange, ...]:
    """Sort ranges and merge those that touch: the kernel's interval sets refuse overlaps."""
    merged: list[PortRange] = []
    for first, last in sorted(ranges):
        if not 0 <= first <= last <= 65535:
            raise PlanError(f"ports {first}-{last} are no range within 0-65535")
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return tuple(merged)


def _networks(texts: Iterable[str], family: Family) -> tuple[Network, ...]:
    """Return the networks of one family, IPv4-mapped ones as IPv4, merged where they overlap or touch."""
    found = [_network(text) for text in texts]
    if family == 4:
        return tuple(collapse_addresses(item for item in found if isinstance(item, IPv4Network)))
    return tuple(collapse_addresses(item for item in found if isinstance(item, IPv6Network)))


def _network(text: str) -> Network:
    try:
        network = ip_network(text, strict=False)
    except ValueError as exc:
        raise PlanError(f"{text!r:.80} is no network: {exc}") from exc
    if isinstance(network, IPv6Network) and network.subnet_of(_ALL_MAPPED):
        mapped = network.network_address.ipv4_mapped
        return ip_network(f"{mapped}/{network.prefixlen - 96}")
    return network


# -- chains -------------------------------------------------------------------------------------------------------


def _prerouting(names: set[str], captured: Sequence[Family], refused: Sequence[Family]) -> Iterator[Rule]:
    for family in sorted(captured):
        yield Rule(
            chain="WEFT_PRE",
            family=family,
            matches=(Loopback(), Marked(OUT_MARK), Tcp()),
            action=Intercept(OUTBOUND_PORT),
            tally=("out", "offered"),
            why="what output marked comes back here: to the agent, or nowhere",
        )
    yield Rule(
        chain="WEFT_PRE",
        matches=(Loopback(), Marked(PROXY_MARK), Tcp()),
        action=Divert(),
        why="the agent answers the pod: what the kernel says to that comes back to the agent",
    )
    yield Rule(
        chain="WEFT_PRE", matches=(Loopback(),), action=Pass(), why="the pod talks to itself, or the agent to it"
    )
    yield Rule(
        chain="WEFT_PRE", matches=(Udp(),), action=Pass(), tally=("in", "udp"), why="UDP is counted, not captured"
    )
    yield Rule(
        chain="WEFT_PRE", matches=(NotTcp(),), action=Pass(), tally=("in", "other"), why="neither TCP nor UDP: counted"
    )
    yield Rule(
        chain="WEFT_PRE",
        matches=(Tcp(), Underway(), AgentSocket()),
        action=Pass(),
        tally=("in", "captured"),
        why="a connection that the agent holds",
    )
    yield from _exclusions_in_prerouting(names)
    yield from _kept("WEFT_PRE", names)
    yield Rule(
        chain="WEFT_PRE",
        matches=(Tcp(), NotForUs()),
        action=Pass(),
        tally=("in", "transit"),
        why="not for this pod: it routes for another",
    )
    for family in sorted(captured):
        yield Rule(
            chain="WEFT_PRE",
            family=family,
            matches=(Tcp(),),
            action=Intercept(INBOUND_PORT),
            tally=("in", "offered"),
            why="all other TCP that arrives: to the agent, or nowhere",
        )
    for family in refused:
        yield _refusal("WEFT_PRE", family)


def _output(names: set[str], captured: Sequence[Family], refused: Sequence[Family]) -> Iterator[Rule]:
    for mark, why in ((PROXY_MARK, "the agent towards the network"), (BACK_MARK, "the agent towards the application")):
        yield Rule(chain="WEFT_OUT", matches=(Marked(mark),), action=Pass(), why=why)
    yield Rule(chain="WEFT_OUT", matches=(Loopback(),), action=Pass(), why="the pod talks to itself")
    yield Rule(
        chain="WEFT_OUT", matches=(Udp(),), action=Pass(), tally=("out", "udp"), why="UDP is counted, not captured"
    )
    yield Rule(
        chain="WEFT_OUT", matches=(NotTcp(),), action=Pass(), tally=("out", "other"), why="neither TCP nor UDP: counted"
    )
    yield from _exclusions_in_output(names, captured)
    yield from _kept("WEFT_OUT", names)
    for family in sorted(captured):
        yield Rule(
            chain="WEFT_OUT",
            family=family,
            matches=(Tcp(),),
            action=Divert(),
            tally=("out", "captured"),
            why="all other TCP that leaves: back over the loopback device to the agent",
        )
    for family in refused:
        yield _refusal("WEFT_OUT", family)


def _refusal(chain: Chain, family: Family) -> Rule:
    return Rule(
        chain=chain,
        family=family,
        matches=(Tcp(),),
        action=Refuse(),
        tally=("in" if chain == "WEFT_PRE" else "out", "refused"),
        why="this family cannot be captured here, so it may not pass",
    )


# -- what is let pass ---------------------------------------------------------------------------------------------


def _exclusions_in_prerouting(names: set[str]) -> Iterator[Rule]:
    if IN_PORTS in names:
        yield Rule(
            chain="WEFT_PRE",
            matches=(Tcp(), LocalPortIn(IN_PORTS)),
            action=Pass(),
            tally=("in", "excluded"),
            why="arrives at an excluded port",
        )
    for remote, family in _excluded_remotes(names):
        yield Rule(
            chain="WEFT_PRE",
            family=family,
            matches=(Tcp(), Underway(), LocalPortIn(LEARNED), remote),
            action=Pass(),
            tally=("in", "excluded"),
            why="answers a connection that the pod opened to an excluded destination",
        )


def _exclusions_in_output(names: set[str], captured: Sequence[Family]) -> Iterator[Rule]:
    if IN_PORTS in names:
        yield Rule(
            chain="WEFT_OUT",
            matches=(Tcp(), Underway(), LocalPortIn(IN_PORTS)),
            action=Pass(),
            tally=("out", "excluded"),
            why="answers from an excluded port",
        )
    if LEARNED in names:
        for family in sorted(captured):
            yield Rule(
                chain="WEFT_OUT",
                family=family,
                matches=(Tcp(), RemoteIs(_GATES[family], HEALTH_PORT)),
                action=Divert(),
                tally=("out", "captured"),
                why="the capture gate is asked through the capture, whatever is excluded",
            )
    for remote, only in _excluded_remotes(names):
        yield Rule(
            chain="WEFT_OUT",
            family=only,
            matches=(Tcp(), Opening(), remote),
            action=LearnAndPass(LEARNED),
            tally=("out", "excluded"),
            why="opens a connection to an excluded destination",
        )
        yield Rule(
            chain="WEFT_OUT",
            family=only,
            matches=(Tcp(), Underway(), LocalPortIn(LEARNED), remote),
            action=Pass(),
            tally=("out", "excluded"),
            why="goes on with a connection to an excluded destination",
        )


def _excluded_remotes(names: set[str]) -> Iterator[tuple[Match, Family | None]]:
    if OUT_PORTS in names:
        yield RemotePortIn(OUT_PORTS), None
    for family, name in OUT_NETWORKS.items():
        if name in names:
            yield RemoteNetworkIn(name), family


def _kept(chain: Chain, names: set[str]) -> Iterator[Rule]:
    for family, name in KEEP.items():
        if name in names:
            yield Rule(
                chain=chain,
                family=family,
                matches=(Tcp(), Underway(), KeptIn(name)),
                action=Pass(),
                tally=("in" if chain == "WEFT_PRE" else "out", "kept"),
                why="a connection older than the capture",
            )
