"""Rules as one native nf_tables table, both families in one transaction.

Theory. `nft -f -` writes, netlink reads. The kernel raises a generation number with every change of any rule in the
namespace, so as long as it stands still what was read last time still holds. A repair refills chains and sets in place,
which leaves the learned ports alone; only if the kernel refuses that (a chain or set of our name is of another sort) is the
table replaced, still in one transaction.
"""

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Final

from weft_iptables.backends.drift import Key, State
from weft_iptables.backends.rules import BackendName, Count, KeptTest
from weft_iptables.backends.tools import find, run
from weft_iptables.errors import KernelRefusedError
from weft_iptables.kernel import nftables
from weft_iptables.kernel.netlink import NETLINK_NETFILTER, Netlink
from weft_iptables.plan import CapturePlan, Connection, Tally, nft_lines, render_nft
from weft_iptables.plan.nft import TABLE, render_nft_forgetting, render_nft_keeping, render_nft_removal
from weft_iptables.plan.values import KEEP, LEARNED, NetworkSet, PortSet

_FAMILY: Final = "inet"


class NftRules:
    """Reads and writes `table inet weft`; one object per namespace, for it remembers what it read."""

    name: BackendName = "nft"
    can_keep = True

    def __init__(self) -> None:
        self._read: tuple[int, CapturePlan, State] | None = None

    def check(self) -> None:
        """Look whether nft is installed; a table of our own mixes with anything."""
        find("nft")

    def present(self) -> bool:
        """Tell whether our table is here."""
        with Netlink(NETLINK_NETFILTER) as netlink:
            return self._table(netlink) is not None

    def _table(self, netlink: Netlink) -> nftables.Table | None:
        return next((item for item in nftables.tables(netlink, _FAMILY) if item.name == TABLE), None)

    # -- reading ----------------------------------------------------------------------------------------------------

    def state(self, plan: CapturePlan) -> State:
        """Read table, hooks, rules and sets; from memory while the generation stands still."""
        with Netlink(NETLINK_NETFILTER) as netlink:
            generation = nftables.generation(netlink)
            if self._read is not None and self._read[:2] == (generation, plan.shape):
                return self._read[2]
            state = self._state(netlink, plan)
        self._read = (generation, plan.shape, state)
        return state

    def _state(self, netlink: Netlink, plan: CapturePlan) -> State:
        table = self._table(netlink)
        if table is None:
            return {}
        state: dict[Key, tuple[bytes, ...]] = {("table", TABLE): (table.flags,)}
        for chain in nftables.chains(netlink, _FAMILY, TABLE):
            state["hook", chain.name] = (chain.hook,)
            state["chain", chain.name] = ()
        for rule in self._rules(netlink):
            state["chain", rule.chain] = (*state.get(("chain", rule.chain), ()), b"\0".join(rule.expressions))
        static = {item.name for item in plan.sets if isinstance(item, PortSet | NetworkSet)}
        for item in nftables.sets(netlink, _FAMILY, TABLE):
            state["set", item.name] = (item.shape,)
            if item.name in static:
                state["elements", item.name] = tuple(sorted(nftables.elements(netlink, _FAMILY, TABLE, item.name)))
        return state

    def _rules(self, netlink: Netlink) -> list[nftables.NftRule]:
        return nftables.rules(netlink, _FAMILY, TABLE, lambda _, data: data)

    def lines(self, plan: CapturePlan) -> Mapping[str, Sequence[str]]:
        """Return the text of each chain's rules."""
        found: dict[str, list[str]] = {}
        for line in nft_lines(plan):
            found.setdefault(line.chain, []).append(line.text)
        return found

    def tallies(self, plan: CapturePlan) -> Mapping[Tally, Count]:
        """Read the counters; rules and plan are matched by their place in the chain."""
        with Netlink(NETLINK_NETFILTER) as netlink:
            if self._table(netlink) is None:
                return {}
            rules = self._rules(netlink)
        found: dict[Tally, Count] = {}
        for chain, lines in _by_chain(plan).items():
            live = [rule for rule in rules if rule.chain == chain]
            if len(live) != len(lines):
                return {}
            for tally, rule in zip(lines, live, strict=True):
                if tally is not None:
                    found[tally] = found.get(tally, Count()) + Count(rule.packets, rule.octets)
        return found

    # -- writing ----------------------------------------------------------------------------------------------------

    def install(self, plan: CapturePlan, learned: Iterable[int]) -> None:
        """Refill the table, or replace it where it cannot be refilled."""
        ports = set(learned)
        with Netlink(NETLINK_NETFILTER) as netlink:
            present = self._table(netlink) is not None
            names = {item.name for item in nftables.sets(netlink, _FAMILY, TABLE)} if present else set()
            chains = {item.name for item in nftables.chains(netlink, _FAMILY, TABLE)} if present else set()
        stale = names - {item.name for item in plan.sets}
        foreign = chains - _by_chain(plan).keys()
        try:
            if not foreign:
                run(["nft", "-f", "-"], render_nft(plan, stale_sets=stale, learned=ports))
                return
        except KernelRefusedError:
            if not present:
                raise
        run(["nft", "-f", "-"], render_nft(plan, learned=ports | self._learned(), replace=True))

    def _learned(self) -> set[int]:
        with Netlink(NETLINK_NETFILTER) as netlink:
            if LEARNED not in {item.name for item in nftables.sets(netlink, _FAMILY, TABLE)}:
                return set()
            found = nftables.elements(netlink, _FAMILY, TABLE, LEARNED)
        return {int.from_bytes(key[:2], "big") for key in found if len(key) == 3}

    def uninstall(self) -> None:
        """Delete the table."""
        if self.present():
            run(["nft", "-f", "-"], render_nft_removal())

    # -- connections older than the capture ---------------------------------------------------------------------------

    def kept(self) -> KeptTest:
        """Return a test for membership in the keep sets."""
        everything = frozenset().union(*self._kept().values())
        return everything.__contains__

    def keep(self, connections: Iterable[Connection]) -> None:
        """Put connections into the keep sets of their families."""
        for name in self._kept():
            some = [item for item in connections if KEEP[item.family] == name]
            if some:
                run(["nft", "-f", "-"], render_nft_keeping(name, some))

    def keep_only(self, alive: frozenset[Connection]) -> int:
        """Forget connections that are gone."""
        left = 0
        for name, members in self._kept().items():
            gone = members - alive
            if gone:
                run(["nft", "-f", "-"], render_nft_forgetting(name, sorted(gone)))
            left += len(members) - len(gone)
        return left

    def _kept(self) -> dict[str, frozenset[Connection]]:
        with Netlink(NETLINK_NETFILTER) as netlink:
            names = {item.name for item in nftables.sets(netlink, _FAMILY, TABLE)} & set(KEEP.values())
            found = {name: nftables.elements(netlink, _FAMILY, TABLE, name) for name in sorted(names)}
        return {name: frozenset(map(_connection, keys)) for name, keys in found.items()}


def _connection(key: bytes) -> Connection:
    """Decode a key of a keep set: address, port padded to four bytes, twice, and the flag byte that we added."""
    size = 4 if len(key) == 2 * (4 + 4) + 1 else 16
    ends = []
    for start in (0, size + 4):
        port = int.from_bytes(key[start + size : start + size + 2], "big")
        ends.append((str(ip_address(key[start : start + size])), port))
    return Connection(*ends[0], *ends[1])


def _by_chain(plan: CapturePlan) -> dict[str, list[Tally | None]]:
    found: dict[str, list[Tally | None]] = {}
    for line in nft_lines(plan):
        found.setdefault(line.chain, []).append(line.tally)
    return found
