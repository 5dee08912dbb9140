"""Service addresses for pods outside the mesh and for nodes: the small kube-proxy, as text for nft. Pure.

Theory: one table, replaced whole in one transaction, so there is no moment without rules; connections that exist are kept
by conntrack. Each Service port is one entry of a verdict map; its chain picks a backend at random and rewrites the
destination. A pod that reaches itself through its Service would answer itself directly, so such connections get the
node's address as their source (hairpin). What is still addressed to the Service network after translation (a Service
without backends, an address that is nobody's) is refused at once instead of timing out.

Source: kube-proxy's nftables mode (KEP-3866); Linux nf_tables `numgen random`, `vmap`.
"""

from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import Final

from weft_lab.addressing import AddressPlan, Pair
from weft_lab.names import short_hash
from weft_lab.plan.endpoints import Backend, ServiceRule

TABLE: Final = "weft_lab"
HAIRPIN_MARK: Final = 0x4000
"""The same bit as kube-proxy's masquerade mark; it is set in node namespaces only, where the agent's marks never are."""

_PROTOCOLS: Final = ("TCP", "UDP", "SCTP")


def translation_table(rules: Iterable[ServiceRule], node: Pair, plan: AddressPlan) -> str:
    """Return the nft transaction that makes a node translate exactly these Services.

    Args:
        rules: Service addresses with their backends, in a fixed order.
        node: the node's own addresses, the source of hairpin connections.
        plan: the lab's networks.
    """
    found = list(rules)
    body = [*_maps(found), *_translating(node), *_refusing(plan), *(line for rule in found for line in _chains(rule))]
    inner = "\n".join(f"  {line}" for line in body)
    return f"table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n{inner}\n}}\n"


def _maps(rules: list[ServiceRule]) -> Iterator[str]:
    for family, kind in ((4, "ipv4_addr"), (6, "ipv6_addr")):
        for protocol in _PROTOCOLS:
            mine = [rule for rule in rules if rule.protocol == protocol and _family(rule.address) == family]
            elements = ", ".join(f"{rule.address} . {rule.port} : goto {_chain(rule)}" for rule in mine)
            yield f"map {_map(family, protocol)} {{ type {kind} . inet_service : verdict;"
            yield f"  elements = {{ {elements} }} }}" if mine else "}"


def _translating(node: Pair) -> Iterator[str]:
    yield "chain services {"
    for family, word in ((4, "ip"), (6, "ip6")):
        for protocol in _PROTOCOLS:
            name = protocol.lower()
            yield f"  {word} daddr . {name} dport vmap @{_map(family, protocol)}"
    yield "}"
    yield "chain prerouting { type nat hook prerouting priority dstnat; jump services; }"
    yield "chain output { type nat hook output priority -100; jump services; }"
    yield "chain postrouting { type nat hook postrouting priority srcnat;"
    for kind, word, address in (("ipv4", "ip", node.v4), ("ipv6", "ip6", node.v6)):
        yield f"  meta mark & {HAIRPIN_MARK:#x} != 0 meta nfproto {kind} snat {word} to {address}"
    yield "}"


def _refusing(plan: AddressPlan) -> Iterator[str]:
    yield "chain refused {"
    for word, network in (("ip", plan.services_v4), ("ip6", plan.services_v6)):
        yield f"  {word} daddr {network} meta l4proto tcp reject with tcp reset"
        yield f"  {word} daddr {network} reject with icmpx type port-unreachable"
    yield "}"
    yield "chain forward { type filter hook forward priority filter; jump refused; }"
    yield "chain own { type filter hook output priority filter; jump refused; }"


def _chains(rule: ServiceRule) -> Iterator[str]:
    word = "ip" if _family(rule.address) == 4 else "ip6"
    name = _chain(rule)
    for index, backend in enumerate(rule.backends):
        yield f"chain {name}_{index} {{"
        yield f"  {word} saddr {backend.address} meta mark set meta mark | {HAIRPIN_MARK:#x}"
        yield f"  {rule.protocol.lower()} dport {rule.port} dnat {word} to {_target(backend)}"
        yield "}"
    picks = ", ".join(f"{index} : goto {name}_{index}" for index in range(len(rule.backends)))
    yield f"chain {name} {{ # {rule.service}"
    if rule.backends:
        yield f"  numgen random mod {len(rule.backends)} vmap {{ {picks} }}"
    yield "}"


def _target(backend: Backend) -> str:
    return (
        f"[{backend.address}]:{backend.port}" if _family(backend.address) == 6 else f"{backend.address}:{backend.port}"
    )


def _chain(rule: ServiceRule) -> str:
    return f"svc_{short_hash(f'{rule.address} {rule.protocol} {rule.port}', 12)}"


def _map(family: int, protocol: str) -> str:
    return f"{protocol.lower()}{family}"


def _family(address: str) -> int:
    return ip_address(address).version
