"""A plan in the language of iptables-restore, and the sets it needs in the terms of ipset.

Theory. `iptables-restore --noflush` with `:CHAIN` lines empties and refills our own chains in one step. Jumps from the
built-in chains are not ours to flush, so the caller says how many there are; they are taken out and one is put in at the
top, within the same transaction: a rule somebody puts before ours could accept a packet past the capture.

What the language forces: `--syn`, `-m socket` and TPROXY each need `-p tcp` in the same rule; `-j SET` and `-j MARK` go on
to the next rule, so such a rule takes two lines; TPROXY drops by itself where nobody listens and can count nothing then, so
it also sets a bit on what it delivered, which a chain on INPUT counts: dropped is offered less delivered.
A set of connections needs five numbers and ipset's largest type has three, so a connection is in two sets that are asked
together: (pod address, pod port, other address) and (other address, other port, pod address).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, assert_never

from weft_contract.ports import INBOUND_PORT, MARK_MASK, OUT_MARK, OUTBOUND_PORT, PROXY_MARK
from weft_iptables.plan.line import Line
from weft_iptables.plan.rule import (
    AgentSocket,
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
from weft_iptables.plan.values import CapturePlan, Connection, KeepSet, LearnedPorts, NetworkSet, PortSet

JUMPS: Final[Mapping[str, str]] = {"PREROUTING": "WEFT_PRE", "OUTPUT": "WEFT_OUT", "INPUT": "WEFT_IN"}
"""Built-in chain to our chain, in the mangle table."""
LOOPBACKS: Final[Mapping[Family, str]] = {4: "127.0.0.1", 6: "::1"}
PREFIX: Final = "weft_"
NEAR: Final = "near"
FAR: Final = "far"

_DELIVERED: Final[Mapping[int, int]] = {OUTBOUND_PORT: 0x1000, INBOUND_PORT: 0x2000}
"""Bits outside `MARK_MASK` on packets that TPROXY gave to a socket; they live inside the pod's namespace only."""


def render_iptables(plan: CapturePlan, family: Family, present: Mapping[str, int] | None = None) -> str:
    """Return what to feed `iptables-restore --noflush` (or ip6tables-restore).

    Args:
        plan: the capture.
        family: 4 or 6.
        present: how many jumps to our chains each built-in chain of the mangle table holds now; absent means none.
    """
    present = present or {}
    out = ["*mangle", *(f":{chain} - [0:0]" for chain in JUMPS.values())]
    for hook, chain in JUMPS.items():
        out += [f"-D {hook} -j {chain}"] * present.get(hook, 0)
        out.append(f"-I {hook} 1 -j {chain}")
    out += [f"-A {line.chain} {line.text}".rstrip() for line in iptables_lines(plan, family)]
    return "\n".join([*out, "COMMIT", ""])


def render_iptables_removal(present: Mapping[str, int], chains: frozenset[str]) -> str:
    """Return the transaction that takes out jumps and chains of ours, and nothing else."""
    out = ["*mangle"]
    for hook, chain in JUMPS.items():
        out += [f"-D {hook} -j {chain}"] * present.get(hook, 0)
    out += [f"-F {chain}" for chain in sorted(chains)]
    out += [f"-X {chain}" for chain in sorted(chains)]
    return "\n".join([*out, "COMMIT", ""])


def iptables_lines(plan: CapturePlan, family: Family) -> tuple[Line, ...]:
    """Return the lines of our chains in one family, in the order the kernel will hold them."""
    return tuple(line for rule in plan.rules_of(family) for line in _lines(rule, family)) + tuple(_deliveries())


def _deliveries() -> Iterator[Line]:
    for port, direction in ((OUTBOUND_PORT, "out"), (INBOUND_PORT, "in")):
        bit = f"{_DELIVERED[port]:#x}"
        way: Literal["in", "out"] = "out" if direction == "out" else "in"
        yield Line("WEFT_IN", f"-m mark --mark {bit}/{bit} -j RETURN", (way, "delivered"))


def _lines(rule: Rule, family: Family) -> Iterator[Line]:
    matches = " ".join(part for match in rule.matches for part in _match(match, rule, family))
    head = f"{matches} " if matches else ""
    match rule.action:
        case Pass():
            yield Line(rule.chain, f"{head}-j RETURN", rule.tally)
        case Refuse():
            yield Line(rule.chain, f"{head}-j DROP", rule.tally)
        case LearnAndPass(set_name=name):
            yield Line(rule.chain, f"{head}-j SET --add-set {PREFIX}{name} src")
            yield Line(rule.chain, f"{head}-j RETURN", rule.tally)
        case Divert():
            yield Line(rule.chain, f"{head}-j MARK --set-xmark {OUT_MARK:#x}/{MARK_MASK:#x}")
            yield Line(rule.chain, f"{head}-j RETURN", rule.tally)
        case Intercept(port=port):
            mark = f"{_DELIVERED[port] | PROXY_MARK:#x}/{_DELIVERED[port] | MARK_MASK:#x}"
            target = f"-j TPROXY --on-port {port} --on-ip {LOOPBACKS[family]} --tproxy-mark {mark}"
            yield Line(rule.chain, f"{head}{target}", rule.tally)
        case _:
            assert_never(rule.action)


def _match(match: Match, rule: Rule, family: Family) -> Iterator[str]:
    """Translate one match; local and remote become source and destination by the chain."""
    local, remote = ("dst", "src") if rule.chain == "WEFT_PRE" else ("src", "dst")
    match match:
        case Tcp():
            yield "-p tcp"
        case Udp():
            yield "-p udp"
        case NotTcp():
            yield "! -p tcp"
        case Loopback():
            yield "-i lo" if rule.chain == "WEFT_PRE" else "-o lo"
        case Marked(mark=mark):
            yield f"-m mark --mark {mark:#x}/{MARK_MASK:#x}"
        case AgentSocket():
            yield "-m socket --transparent"
        case Opening():
            yield "-m tcp --syn"
        case Underway():
            yield "-m tcp ! --syn"
        case LocalPortIn(set_name=name):
            yield f"-m set --match-set {PREFIX}{name} {local}"
        case RemotePortIn(set_name=name) | RemoteNetworkIn(set_name=name):
            yield f"-m set --match-set {PREFIX}{name} {remote}"
        case RemoteIs(address=address, port=port):
            yield f"{'-s' if remote == 'src' else '-d'} {address}"
            yield f"-m tcp --{'sport' if remote == 'src' else 'dport'} {port}"
        case KeptIn(set_name=name):
            yield f"-m set --match-set {PREFIX}{name}_{NEAR} {local},{local},{remote}"
            yield f"-m set --match-set {PREFIX}{name}_{FAR} {remote},{remote},{local}"
        case NotForUs():
            yield "-m addrtype ! --dst-type LOCAL"
        case _:
            assert_never(match)


# -- sets ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IpsetSet:
    """One set as ipset knows it. Entries: `(first, last)` for ports, CIDR text, or `(address, port, address)`."""

    name: str
    kind: Literal["bitmap:port", "hash:net", "hash:ip,port,ip"]
    family: Family
    entries: frozenset[tuple[int, int] | str | tuple[str, int, str]]
    static: bool
    """False: the kernel adds to it, so its content is not compared with the plan."""


def ipset_sets(plan: CapturePlan) -> tuple[IpsetSet, ...]:
    """Return the sets that the plan's iptables rules name, in order of creation."""
    return tuple(made for item in plan.sets for made in _ipset(item, plan))


def _ipset(item: PortSet | NetworkSet | LearnedPorts | KeepSet, plan: CapturePlan) -> Iterator[IpsetSet]:
    name = f"{PREFIX}{item.name}"
    match item:
        case PortSet(ranges=ranges):
            yield IpsetSet(name, "bitmap:port", 4, frozenset(ranges), static=True)
        case LearnedPorts():
            yield IpsetSet(name, "bitmap:port", 4, frozenset(), static=False)
        case NetworkSet(family=family):
            entries = frozenset(text for network in item.networks for text in _halves(str(network)))
            yield IpsetSet(name, "hash:net", family, entries, static=True)
        case KeepSet(family=family):
            kept = [connection for connection in plan.keep if connection.family == family]
            yield IpsetSet(f"{name}_{NEAR}", "hash:ip,port,ip", family, frozenset(map(near, kept)), static=False)
            yield IpsetSet(f"{name}_{FAR}", "hash:ip,port,ip", family, frozenset(map(far, kept)), static=False)
        case _:
            assert_never(item)


def near(connection: Connection) -> tuple[str, int, str]:
    """Return the entry that names the pod's port."""
    return connection.local_address, connection.local_port, connection.remote_address


def far(connection: Connection) -> tuple[str, int, str]:
    """Return the entry that names the other end's port."""
    return connection.remote_address, connection.remote_port, connection.local_address


def _halves(network: str) -> tuple[str, ...]:
    """Return the network, or its two halves if it is everything: hash:net has no prefix of length 0."""
    return {"0.0.0.0/0": ("0.0.0.0/1", "128.0.0.0/1"), "::/0": ("::/1", "8000::/1")}.get(network, (network,))
