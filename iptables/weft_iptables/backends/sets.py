"""The ipsets of a plan, brought to what it says while rules may be using them."""

from collections.abc import Iterable, Mapping
from typing import Final

from weft_iptables.backends.drift import Key
from weft_iptables.kernel import ipsets
from weft_iptables.kernel.netlink import Netlink
from weft_iptables.plan import Connection, Family, IpsetSet
from weft_iptables.plan.restore import FAR, NEAR, PREFIX, far, near
from weft_iptables.plan.values import KEEP, LEARNED

_ASIDE: Final = f"{PREFIX}aside"
"""The name of a set while it is filled, before it takes the place of the old one."""
_READ_AT_MOST: Final = 1024
"""A static set with more elements is compared by their number alone: a port range of all would take 65536 reads."""


def numbers(netlink: Netlink) -> Mapping[int, str]:
    """Return the names of our sets by the number that rules use."""
    found = {}
    for name in _ours(netlink):
        number = ipsets.number(netlink, name)
        if number is not None:
            found[number] = name
    return found


def state(netlink: Netlink, wanted: Iterable[IpsetSet]) -> dict[Key, tuple[bytes, ...]]:
    """Read what our sets are, and what the static ones hold."""
    static = {item.name for item in wanted if item.static}
    found: dict[Key, tuple[bytes, ...]] = {}
    for name in sorted(_ours(netlink)):
        header = ipsets.header(netlink, name)
        if header is None:
            continue
        found["set", name] = (header.kind.encode(), bytes([header.family]))
        if name in static:
            count = ipsets.count(netlink, name)
            elements = ipsets.elements(netlink, name) if count <= _READ_AT_MOST else ()
            found["elements", name] = (str(count).encode(), *sorted(elements))
    return found


def misfits(netlink: Netlink, wanted: Iterable[IpsetSet]) -> list[str]:
    """Return the sets that have our names and are of another kind than they should be."""
    found = []
    for item in wanted:
        header = ipsets.header(netlink, item.name)
        if header is not None and header.kind != item.kind:
            found.append(item.name)
    return found


def bring(netlink: Netlink, wanted: Iterable[IpsetSet], learned: Iterable[int]) -> None:
    """Make or refill every set. One that is in use is filled aside and swapped in; learned ports are only added to.

    Raises:
        KernelRefusedError: a set cannot be made, filled or swapped.
    """
    present = _ours(netlink)
    if _ASIDE in present:
        ipsets.destroy(_ASIDE)
    for item in wanted:
        if item.name == f"{PREFIX}{LEARNED}":
            if item.name not in present:
                ipsets.create(item)
            ipsets.add(netlink, item.name, item.family, [(port, port) for port in sorted(learned)])
        elif item.name not in present:
            ipsets.create(item)
            ipsets.add(netlink, item.name, item.family, item.entries)
        else:
            ipsets.create(item, _ASIDE)
            ipsets.add(netlink, _ASIDE, item.family, item.entries)
            ipsets.swap(_ASIDE, item.name)
            ipsets.destroy(_ASIDE)


def drop(netlink: Netlink, but: Iterable[str] = ()) -> None:
    """Destroy our sets, except those named; no rule may use them any more.

    Raises:
        KernelRefusedError: one is still in use.
    """
    for name in sorted(_ours(netlink) - set(but)):
        ipsets.destroy(name)


def _ours(netlink: Netlink) -> frozenset[str]:
    return frozenset(name for name in ipsets.names(netlink) if name.startswith(PREFIX))


# -- connections older than the capture ---------------------------------------------------------------------------


class KeepPairs:
    """The two keep sets of each family, read once; a connection is kept if both have its part."""

    def __init__(self, netlink: Netlink) -> None:
        present = _ours(netlink)
        self._netlink = netlink
        self._names: dict[Family, tuple[str, str]] = {}
        self._near: dict[Family, frozenset[tuple[str, int, str]]] = {}
        self._far: dict[Family, frozenset[tuple[str, int, str]]] = {}
        for family, name in KEEP.items():
            pair = f"{PREFIX}{name}_{NEAR}", f"{PREFIX}{name}_{FAR}"
            if present.issuperset(pair):
                self._names[family] = pair
                self._near[family], self._far[family] = (ipsets.pair_elements(netlink, item) for item in pair)

    def has(self, connection: Connection) -> bool:
        """Tell whether the rules let this connection pass."""
        family = connection.family
        return family in self._names and near(connection) in self._near[family] and far(connection) in self._far[family]

    def add(self, connections: Iterable[Connection]) -> None:
        """Put connections in, where their family has sets."""
        for family, (near_name, far_name) in self._names.items():
            some = [item for item in connections if item.family == family]
            ipsets.add(self._netlink, near_name, family, map(near, some))
            ipsets.add(self._netlink, far_name, family, map(far, some))

    def keep_only(self, alive: Iterable[Connection]) -> int:
        """Take out what no connection of `alive` needs; return how many connections are left."""
        left = [item for item in alive if self.has(item)]
        for family, (near_name, far_name) in self._names.items():
            nears = {near(item) for item in left if item.family == family}
            fars = {far(item) for item in left if item.family == family}
            ipsets.discard(self._netlink, near_name, family, self._near[family] - nears)
            ipsets.discard(self._netlink, far_name, family, self._far[family] - fars)
        return len(left)
