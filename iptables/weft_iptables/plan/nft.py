"""A plan in the language of nft: one table for both families, one transaction.

Theory. The script only adds, and empties what it is about to refill, so it is the same for the first time and for a
repair; the kernel takes it whole or not at all. The set of learned ports is never emptied (the kernel fills it); the keep
sets become what the plan says. `replace` throws the table away first, in the same transaction, for the case that somebody
changed what cannot be changed in place (a chain's hook, a set's type); the caller then hands in the learned ports to save.

What the language forces: every `tproxy` needs `meta l4proto tcp` and its family in the same rule; where nobody listens
it does not drop but goes on to the next rule, so each is followed by a drop. No anonymous sets: the kernel numbers them,
which would make two equal rulesets look different.
"""

from collections.abc import Iterable, Iterator
from typing import Final, assert_never

from weft_contract.ports import MARK_MASK, OUT_MARK, PROXY_MARK
from weft_iptables.plan.line import Line
from weft_iptables.plan.restore import LOOPBACKS
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
    Tally,
    Tcp,
    Udp,
    Underway,
)
from weft_iptables.plan.values import CapturePlan, Connection, KeepSet, KernelSet, LearnedPorts, NetworkSet, PortSet

TABLE: Final = "weft"
CHAINS: Final = {
    "WEFT_PRE": "type filter hook prerouting priority mangle; policy accept;",
    "WEFT_OUT": "type route hook output priority mangle; policy accept;",
}
_WORD: Final[dict[Family, str]] = {4: "ip", 6: "ip6"}
_FLAGS: Final = "tcp flags & (fin | syn | rst | ack)"


def render_nft(
    plan: CapturePlan, *, stale_sets: Iterable[str] = (), learned: Iterable[int] = (), replace: bool = False
) -> str:
    """Return what to feed `nft -f -`.

    Args:
        plan: the capture.
        stale_sets: sets of our table that the plan does not have any more.
        learned: local ports to put into the set of learned ports, beside what the kernel put there.
        replace: throw away the table first.
    """
    out = [f"add table inet {TABLE}"]
    if replace:
        out += [f"delete table inet {TABLE}", f"add table inet {TABLE}"]
    for item in plan.sets:
        out += _set(item, plan, sorted(learned))
    for chain, hook in CHAINS.items():
        out += [f"add chain inet {TABLE} {chain} {{ {hook} }}", f"flush chain inet {TABLE} {chain}"]
    out += [f"add rule inet {TABLE} {line.chain} {line.text}" for line in nft_lines(plan)]
    out += [f"delete set inet {TABLE} {name}" for name in sorted(stale_sets)]
    return "\n".join([*out, ""])


def render_nft_removal() -> str:
    """Return the transaction that takes out all that is ours."""
    return f"delete table inet {TABLE}\n"


def nft_lines(plan: CapturePlan) -> tuple[Line, ...]:
    """Return the lines of our chains, in the order the kernel will hold them within each chain."""
    return tuple(line for rule in plan.rules for line in _lines(rule))


def _lines(rule: Rule) -> Iterator[Line]:
    family = [] if rule.family is None else [f"meta nfproto ipv{rule.family}"]
    matches = [part for match in rule.matches if (part := _match(match, rule))]
    head = " ".join([*family, *matches, "counter"])
    comment = f'comment "{rule.why}"'
    match rule.action:
        case Pass():
            yield Line(rule.chain, f"{head} return {comment}", rule.tally)
        case Refuse():
            yield Line(rule.chain, f"{head} drop {comment}", rule.tally)
        case LearnAndPass(set_name=name):
            yield Line(rule.chain, f"{head} add @{name} {{ tcp sport }} return {comment}", rule.tally)
        case Divert():
            yield Line(rule.chain, f"{head} {_set_mark(OUT_MARK)} return {comment}", rule.tally)
        case Intercept(port=port) if rule.family is not None:
            to = f"127.0.0.1:{port}" if rule.family == 4 else f"[{LOOPBACKS[6]}]:{port}"
            target = f"tproxy {_WORD[rule.family]} to {to} {_set_mark(PROXY_MARK)} accept"
            yield Line(rule.chain, f"{head} {target} {comment}", rule.tally)
            dropped: Tally | None = None if rule.tally is None else (rule.tally[0], "dropped")
            yield Line(rule.chain, f'{head} drop comment "nobody listens: dropped"', dropped)
        case Intercept():
            raise AssertionError("a rule that intercepts has a family")
        case _:
            assert_never(rule.action)


def _set_mark(mark: int) -> str:
    return f"meta mark set meta mark & {0xFFFFFFFF ^ MARK_MASK:#x} | {mark:#x}"


def _match(match: Match, rule: Rule) -> str:
    """Translate one match; local and remote become source and destination by the chain."""
    local, remote = ("d", "s") if rule.chain == "WEFT_PRE" else ("s", "d")
    word = _WORD[rule.family or 4]
    match match:
        case Tcp():
            return "meta l4proto tcp"
        case Udp():
            return "meta l4proto udp"
        case NotTcp():
            return "meta l4proto != tcp"
        case Loopback():
            return 'iif "lo"' if rule.chain == "WEFT_PRE" else 'oif "lo"'
        case Marked(mark=mark):
            return f"meta mark & {MARK_MASK:#x} == {mark:#x}"
        case AgentSocket():
            return "socket transparent 1"
        case Opening():
            return f"{_FLAGS} == syn"
        case Underway():
            return f"{_FLAGS} != syn"
        case LocalPortIn(set_name=name):
            return f"tcp {local}port @{name}"
        case RemotePortIn(set_name=name):
            return f"tcp {remote}port @{name}"
        case RemoteNetworkIn(set_name=name):
            return f"{word} {remote}addr @{name}"
        case RemoteIs(address=address, port=port):
            return f"{word} {remote}addr {address} tcp {remote}port {port}"
        case KeptIn(set_name=name):
            return f"{word} {local}addr . tcp {local}port . {word} {remote}addr . tcp {remote}port @{name}"
        case NotForUs():
            return "fib daddr type != local"
        case _:
            assert_never(match)


# -- sets ---------------------------------------------------------------------------------------------------------


def _set(item: KernelSet, plan: CapturePlan, learned: list[int]) -> Iterator[str]:
    match item:
        case PortSet():
            spans = [f"{first}-{last}" if first != last else f"{first}" for first, last in item.ranges]
            yield from _filled(item.name, "type inet_service; flags interval;", spans)
        case NetworkSet(family=family):
            networks = [str(network) for network in item.networks]
            yield from _filled(item.name, f"type ipv{family}_addr; flags interval;", networks)
        case LearnedPorts():
            yield f"add set inet {TABLE} {item.name} {{ type inet_service; size 65536; flags dynamic; }}"
            yield from _elements("add", item.name, [str(port) for port in learned])
        case KeepSet(family=family):
            key = f"type ipv{family}_addr . inet_service . ipv{family}_addr . inet_service;"
            kept = [keep_element(connection) for connection in plan.keep if connection.family == family]
            yield from _filled(item.name, key, kept)
        case _:
            assert_never(item)


def _filled(name: str, kind: str, elements: list[str]) -> Iterator[str]:
    yield f"add set inet {TABLE} {name} {{ {kind} }}"
    yield f"flush set inet {TABLE} {name}"
    yield from _elements("add", name, elements)


def _elements(verb: str, name: str, elements: list[str]) -> Iterator[str]:
    if elements:
        yield f"{verb} element inet {TABLE} {name} {{ {', '.join(elements)} }}"


def render_nft_keeping(name: str, connections: Iterable[Connection]) -> str:
    """Return the transaction that puts connections into a keep set."""
    return "\n".join([*_elements("add", name, [keep_element(connection) for connection in connections]), ""])


def render_nft_forgetting(name: str, gone: Iterable[Connection]) -> str:
    """Return the transaction that takes connections out of a keep set."""
    return "\n".join([*_elements("delete", name, [keep_element(connection) for connection in gone]), ""])


def keep_element(connection: Connection) -> str:
    """Return a connection as an element of a keep set."""
    return (
        f"{connection.local_address} . {connection.local_port} . {connection.remote_address} . {connection.remote_port}"
    )
