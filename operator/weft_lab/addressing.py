"""Address plan: every lab has blocks of its own, both families, and hands out addresses of them. Pure.

A lab's index (0-63) selects `10.(64+index).0.0/16` for nodes and pods, `10.(128+index).0.0/16` for Services and
`fd57:1ab:<index>::/48` for all three. Source: RFC 1918, RFC 4193 (unique local addresses).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

MAX_LABS: Final = 64
MAX_NODES: Final = 64
"""One /24 for each node, and the last /24 of the block for the nodes themselves; kept well below that for the machine's sake."""
POD_GATEWAY_V4: Final = IPv4Address("169.254.1.1")
POD_GATEWAY_V6: Final = IPv6Address("fe80::1")
"""Next hop of every pod: the node's end of the pod's link (the same on all links, as Calico does it)."""

_FIRST_POD: Final = 2
_FIRST_SERVICE: Final = 10


class AddressesExhaustedError(Exception):
    """A block has no free address left."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One address of each family."""

    v4: IPv4Address
    v6: IPv6Address

    def texts(self) -> tuple[str, str]:
        """Return both as canonical texts, IPv4 first."""
        return str(self.v4), str(self.v6)


@dataclass(frozen=True, slots=True)
class AddressPlan:
    """The blocks of one lab."""

    index: int

    @property
    def nodes_v4(self) -> IPv4Network:
        """The network that joins the nodes."""
        return IPv4Network(f"10.{64 + self.index}.255.0/24")

    @property
    def nodes_v6(self) -> IPv6Network:
        """The network that joins the nodes."""
        return IPv6Network(f"fd57:1ab:{self.index:x}:ffff::/64")

    @property
    def services_v4(self) -> IPv4Network:
        """Cluster IPs."""
        return IPv4Network(f"10.{128 + self.index}.0.0/16")

    @property
    def services_v6(self) -> IPv6Network:
        """Cluster IPs."""
        return IPv6Network(f"fd57:1ab:{self.index:x}:fffe::/112")

    def pods_v4(self, node: int) -> IPv4Network:
        """Pods of the node with that number (from 1)."""
        return IPv4Network(f"10.{64 + self.index}.{node}.0/24")

    def pods_v6(self, node: int) -> IPv6Network:
        """Pods of the node with that number (from 1)."""
        return IPv6Network(f"fd57:1ab:{self.index:x}:{node:x}::/64")

    def node(self, node: int) -> Pair:
        """Addresses of a node."""
        return Pair(self.nodes_v4[node], self.nodes_v6[node])

    def node_pods(self, node: int) -> "Pool":
        """A fresh pool of pod addresses for a node."""
        return Pool(self.pods_v4(node), self.pods_v6(node), _FIRST_POD)

    def services(self) -> "Pool":
        """A fresh pool of cluster IPs."""
        return Pool(self.services_v4, self.services_v6, _FIRST_SERVICE)


@dataclass(slots=True)
class Pool:
    """Free addresses of a block, in pairs with equal host parts.

    A freed address is the last to come again, so that a mesh which confuses an old pod with a new one of the same
    address is not helped by luck, and not provoked at each turn either.
    """

    v4: IPv4Network
    v6: IPv6Network
    first: int
    _taken: set[int] = field(default_factory=set)
    _next: int = 0

    def take(self) -> Pair:
        """Return a free pair.

        Raises:
            AddressesExhaustedError: all are taken.
        """
        for host in self._candidates():
            if host not in self._taken:
                self._taken.add(host)
                self._next = host + 1
                return Pair(self.v4[host], self.v6[host])
        raise AddressesExhaustedError(f"no free address left in {self.v4}")

    def take_v4(self, address: IPv4Address) -> Pair | None:
        """Return the pair with this IPv4 address, or None if it is taken or outside of the block."""
        host = int(address) - int(self.v4.network_address)
        return self._take_host(host)

    def take_v6(self, address: IPv6Address) -> Pair | None:
        """Return the pair with this IPv6 address, or None if it is taken or outside of the block."""
        host = int(address) - int(self.v6.network_address)
        return self._take_host(host)

    def free(self, pair: Pair) -> None:
        """Give a pair back; giving it back twice does no harm."""
        self._taken.discard(int(pair.v4) - int(self.v4.network_address))

    def _take_host(self, host: int) -> Pair | None:
        if host in self._taken or not 0 < host < self.v4.num_addresses - 1:
            return None
        self._taken.add(host)
        return Pair(self.v4[host], self.v6[host])

    def _candidates(self) -> Iterator[int]:
        last = self.v4.num_addresses - 1
        start = max(self._next, self.first)
        yield from range(start, last)
        yield from range(self.first, min(start, last))


def free_index(taken: set[int]) -> int:
    """Return the lowest lab index that is not taken.

    Raises:
        AddressesExhaustedError: there are as many labs as the address plan has room for.
    """
    for index in range(MAX_LABS):
        if index not in taken:
            return index
    raise AddressesExhaustedError(f"{MAX_LABS} labs are up already; take one down with `weft lab down --name NAME`")
