"""IP blocks as ranges of packed addresses; IPv4-mapped IPv6 is IPv4, in rules and in facts alike.

Theory: a packed address (4 or 16 bytes, network order) compares like the integer it is, so a block is two byte strings
and a test is two comparisons. The length tells the family apart.
"""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from weft_core.text import UncompilableError, show_list

MAPPED_PREFIX_BITS: Final = 96
"""Length of ::ffff:0:0/96, the IPv6 form of IPv4 addresses (RFC 4291 §2.5.5.2)."""


@lru_cache(maxsize=4096)
def pack_address(text: str) -> bytes:
    """Return an address in network order, IPv4-mapped ones as IPv4.

    Raises:
        ValueError: not an IP address.
    """
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.packed
    return address.packed


class NetworkSet:
    """IP blocks of which one suffices.

    Args:
        blocks: CIDR or single addresses of either family; host bits are ignored.

    Raises:
        UncompilableError: a text that is neither.
    """

    __slots__ = ("_ranges", "shown")

    def __init__(self, blocks: Iterable[str]) -> None:
        blocks = tuple(blocks)
        self._ranges = _merge(_range(block) for block in blocks)
        self.shown = show_list(blocks)

    def matches(self, packed: bytes) -> bool:
        """Say whether one block holds the packed address."""
        return any(first <= packed <= last for first, last in self._ranges.get(len(packed), ()))


def _range(block: str) -> tuple[bytes, bytes]:
    try:
        network = ipaddress.ip_network(block, strict=False)
    except ValueError as exc:
        raise UncompilableError(f"IP block {block!r:.80} is neither CIDR nor address: {exc}") from exc
    first, last = network.network_address, network.broadcast_address
    if isinstance(first, ipaddress.IPv6Address) and network.prefixlen >= MAPPED_PREFIX_BITS and first.ipv4_mapped:
        return first.packed[-4:], last.packed[-4:]
    return first.packed, last.packed


def _merge(ranges: Iterable[tuple[bytes, bytes]]) -> dict[int, tuple[tuple[bytes, bytes], ...]]:
    """Sort ranges by family and join those that overlap."""
    merged: dict[int, list[tuple[bytes, bytes]]] = {}
    for first, last in sorted(ranges):
        family = merged.setdefault(len(first), [])
        if family and first <= family[-1][1]:
            family[-1] = (family[-1][0], max(last, family[-1][1]))
        else:
            family.append((first, last))
    return {size: tuple(family) for size, family in merged.items()}
