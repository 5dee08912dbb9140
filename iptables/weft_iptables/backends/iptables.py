"""Rules by iptables-restore, in either flavour, with ipset for what is excluded or kept.

Theory. Order makes the steps safe one by one: sets before the rules that name them, the rules of one family in one
transaction, sets that are not needed any more last. Rules name sets by number, and numbers differ between namespaces, so
before rules are compared each number is replaced by its set's name. The nft flavour lives in `table ip mangle`, which is
made on first use and taken away with us as far as it is empty then.

The two flavours are two rule lists that both apply. Rules of other people in the other flavour mean that this host uses
that one, and two lists that decide about one packet are a riddle to whoever debugs it, so we refuse.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from weft_iptables.backends import mangle, sets
from weft_iptables.backends.drift import Key, State
from weft_iptables.backends.mangle import WORDS, Flavour, Mangle
from weft_iptables.backends.rules import BackendName, Count, KeptTest
from weft_iptables.backends.tools import find, run
from weft_iptables.errors import CaptureRefusedError
from weft_iptables.kernel import nftables
from weft_iptables.kernel.netlink import NETLINK_NETFILTER, Netlink
from weft_iptables.plan import CapturePlan, Connection, Family, Tally, ipset_sets, iptables_lines, render_iptables
from weft_iptables.plan.restore import JUMPS, render_iptables_removal
from weft_iptables.plan.rule import KeptIn, LearnAndPass, LocalPortIn, RemoteNetworkIn, RemotePortIn

_OURS: Final = frozenset(JUMPS.values())
_PROGRAMS: Final[Mapping[Family, str]] = {4: "iptables", 6: "ip6tables"}
_FAMILIES: Final[tuple[Family, ...]] = (4, 6)
_OTHER: Final[Mapping[Flavour, Flavour]] = {"nft": "legacy", "legacy": "nft"}
_LOCK_WAIT_S: Final = "5"


class IptablesRules:
    """Reads and writes our chains in the mangle table of one flavour."""

    can_keep = True

    def __init__(self, flavour: Flavour) -> None:
        self._flavour: Flavour = flavour
        self.name: BackendName = "iptables-nft" if flavour == "nft" else "iptables-legacy"
        self._seen: tuple[int, Mapping[int, str], dict[Family, Mangle]] | None = None

    def check(self) -> None:
        """Look for the programs, and for foreign rules of the other flavour."""
        for program in _PROGRAMS.values():
            find(f"{program}-{self._flavour}-restore")
        other = _OTHER[self._flavour]
        table = mangle.has_foreign_rules(other, _OURS)
        if table:
            raise CaptureRefusedError(
                f"table {table} has rules of the {other} flavour of iptables here; "
                f"capture with iptables-{other} or nft instead of mixing both flavours"
            )

    def present(self) -> bool:
        """Tell whether a chain of ours or a jump to one is here."""
        return any(_chains(seen) or any(_jumps(seen).values()) for seen in self._read({}).values())

    def _read(self, set_names: Mapping[int, str]) -> dict[Family, Mangle]:
        return {family: mangle.read(self._flavour, family, set_names) for family in _FAMILIES}

    # -- reading ----------------------------------------------------------------------------------------------------

    def state(self, plan: CapturePlan) -> State:
        """Read tables, hooks, jumps, chains and sets."""
        with Netlink(NETLINK_NETFILTER) as netlink:
            state = sets.state(netlink, ipset_sets(plan))
            set_names = sets.numbers(netlink)
            tables = self._read(set_names) if self._flavour == "legacy" else self._read_if_changed(netlink, set_names)
        for family, seen in tables.items():
            state |= _state(family, seen)
        return state

    def _read_if_changed(self, netlink: Netlink, set_names: Mapping[int, str]) -> dict[Family, Mangle]:
        """Read the tables, or remember them while the generation of nf_tables stands still."""
        generation = nftables.generation(netlink)
        if self._seen is None or self._seen[:2] != (generation, set_names):
            self._seen = (generation, set_names, self._read(set_names))
        return self._seen[2]

    def lines(self, plan: CapturePlan) -> Mapping[str, Sequence[str]]:
        """Return the text of each chain's rules."""
        found: dict[str, list[str]] = {}
        for family in plan.families:
            for line in iptables_lines(plan, family):
                found.setdefault(f"{WORDS[family]} {line.chain}", []).append(line.text)
        return found

    def tallies(self, plan: CapturePlan) -> Mapping[Tally, Count]:
        """Read the counters; rules and plan are matched by their place in the chain."""
        found: dict[Tally, Count] = {}
        seen = self._read({})
        for family in plan.families:
            lines = iptables_lines(plan, family)
            for chain in _OURS:
                wanted = [line for line in lines if line.chain == chain]
                live = seen[family].of(chain)
                if len(live) != len(wanted):
                    return {}
                for line, rule in zip(wanted, live, strict=True):
                    if line.tally is not None:
                        found[line.tally] = found.get(line.tally, Count()) + Count(rule.packets, rule.octets)
        return found

    # -- writing ----------------------------------------------------------------------------------------------------

    def install(self, plan: CapturePlan, learned: Iterable[int]) -> None:
        """Bring the sets, then the rules of each family, then drop sets that nothing names any more."""
        wanted = ipset_sets(plan)
        with Netlink(NETLINK_NETFILTER) as netlink:
            misfits = sets.misfits(netlink, wanted)
            if misfits:
                self._restore(_without_sets(plan))
                sets.drop(netlink)
            sets.bring(netlink, wanted, learned)
            self._restore(plan)
            sets.drop(netlink, but=[item.name for item in wanted])

    def _restore(self, plan: CapturePlan) -> None:
        for family, seen in self._read({}).items():
            if family in plan.families:
                self._feed(family, render_iptables(plan, family, _jumps(seen)))
            else:
                self._remove(family, seen)

    def uninstall(self) -> None:
        """Take out jumps and chains, the table if it was made for us, and sets unless the other flavour uses them."""
        for family, seen in self._read({}).items():
            self._remove(family, seen)
        if not IptablesRules(_OTHER[self._flavour]).present():
            with Netlink(NETLINK_NETFILTER) as netlink:
                sets.drop(netlink)

    def _remove(self, family: Family, seen: Mangle) -> None:
        chains, jumps = _chains(seen), _jumps(seen)
        if chains or any(jumps.values()):
            self._feed(family, render_iptables_removal(jumps, chains))
            if self._flavour == "nft":
                _tidy(family)

    def _feed(self, family: Family, script: str) -> None:
        command = f"{_PROGRAMS[family]}-{self._flavour}-restore"
        run([command, "-w", _LOCK_WAIT_S, "--noflush"], script)

    # -- connections older than the capture ---------------------------------------------------------------------------

    def kept(self) -> KeptTest:
        """Return a test for membership in both keep sets."""
        with Netlink(NETLINK_NETFILTER) as netlink:
            return sets.KeepPairs(netlink).has

    def keep(self, connections: Iterable[Connection]) -> None:
        """Put connections into the keep sets of their families."""
        with Netlink(NETLINK_NETFILTER) as netlink:
            sets.KeepPairs(netlink).add(list(connections))

    def keep_only(self, alive: frozenset[Connection]) -> int:
        """Forget connections that are gone."""
        with Netlink(NETLINK_NETFILTER) as netlink:
            return sets.KeepPairs(netlink).keep_only(alive)


def _state(family: Family, seen: Mangle) -> dict[Key, tuple[bytes, ...]]:
    word = WORDS[family]
    chains = _chains(seen)
    jumps = _jumps(seen)
    if not chains and not any(jumps.values()):
        return {}
    state: dict[Key, tuple[bytes, ...]] = {("table", f"{word} mangle"): (seen.flags,)}
    for chain in sorted(chains):
        state["chain", f"{word} {chain}"] = tuple(rule.body for rule in seen.of(chain))
    for hook, chain in JUMPS.items():
        rules = seen.of(hook)
        first = rules[0].jump.encode() if rules else b""
        state["hook", f"{word} {hook}"] = (seen.hooks.get(hook, b"missing"),)
        state["jump", f"{word} {hook} -> {chain}"] = (first, bytes([min(255, jumps[hook])]))
    return state


def _chains(seen: Mangle) -> frozenset[str]:
    return _OURS & seen.hooks.keys()


def _jumps(seen: Mangle) -> dict[str, int]:
    return {hook: sum(rule.jump == chain for rule in seen.of(hook)) for hook, chain in JUMPS.items()}


def _without_sets(plan: CapturePlan) -> CapturePlan:
    """Return the plan that captures everything: what holds while a set of a wrong kind is exchanged."""
    asks = LocalPortIn | RemotePortIn | RemoteNetworkIn | KeptIn
    rules = tuple(
        rule
        for rule in plan.rules
        if not isinstance(rule.action, LearnAndPass) and not any(isinstance(match, asks) for match in rule.matches)
    )
    return replace(plan, sets=(), rules=rules, keep=())


def _tidy(family: Family) -> None:
    """Delete the built-in chains that iptables left behind empty, and the table if it has no others."""
    with Netlink(NETLINK_NETFILTER) as netlink:
        generation = nftables.generation(netlink)
        chains = nftables.chains(netlink, WORDS[family], "mangle")
        used = {rule.chain for rule in mangle.read("nft", family, {}).rules}
        idle = {chain.name for chain in chains if chain.accepts and chain.name in JUMPS and chain.name not in used}
        whole = idle == {chain.name for chain in chains}
        try:
            if chains:
                names = None if whole else sorted(idle)
                nftables.delete(netlink, WORDS[family], "mangle", names, unless_changed_since=generation)
        except OSError:
            return  # somebody is using them just now, so they are theirs
