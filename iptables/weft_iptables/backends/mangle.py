"""The mangle table of the calling thread's namespace, seen alike in both flavours of iptables."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from weft_iptables.kernel import nftables, xtables
from weft_iptables.kernel.netlink import NETLINK_NETFILTER, Netlink, attributes, text
from weft_iptables.plan import Family

Flavour = Literal["nft", "legacy"]
TABLES: Final = ("filter", "nat", "mangle", "raw", "security")
WORDS: Final[Mapping[Family, str]] = {4: "ip", 6: "ip6"}
_SET_NUMBERS_AT: Final[Mapping[str, tuple[int, ...]]] = {"set": (0,), "SET": (0, 4, 8)}
"""Where set numbers are in the data of iptables' set match and SET target: struct xt_set_info, whose first field it is."""
_NO_SET: Final = 0xFFFF


@dataclass(frozen=True, slots=True)
class MangleRule:
    """One rule; `jump` is the chain that it jumps to without condition, else empty."""

    chain: str
    body: bytes
    packets: int
    octets: int
    jump: str


@dataclass(frozen=True, slots=True)
class Mangle:
    """The table of one family; no chains where there is no table."""

    flags: bytes
    """Of the table; not zero means that it sleeps (nft flavour)."""
    hooks: Mapping[str, bytes]
    """Chain to how it hangs on the kernel's hook; empty for chains that are only jumped to, and in the legacy flavour."""
    rules: tuple[MangleRule, ...]

    def of(self, chain: str) -> list[MangleRule]:
        """Return the rules of one chain."""
        return [rule for rule in self.rules if rule.chain == chain]


_NOTHING: Final = Mangle(b"", {}, ())


def read(flavour: Flavour, family: Family, set_names: Mapping[int, str]) -> Mangle:
    """Read the table; one that does not exist is not made by that.

    Args:
        flavour: which of the two.
        family: 4 or 6.
        set_names: names of ipsets by their number, put in place of the number.
    """
    if flavour == "nft":
        with Netlink(NETLINK_NETFILTER) as netlink:
            return _read_nft(netlink, family, "mangle", set_names)
    return _read_legacy(family, "mangle", set_names)


def _read_nft(netlink: Netlink, family: Family, table: str, set_names: Mapping[int, str]) -> Mangle:
    word = WORDS[family]
    found = next((item for item in nftables.tables(netlink, word) if item.name == table), None)
    if found is None:
        return _NOTHING
    rules = nftables.rules(netlink, word, table, lambda name, data: _named_in_nft(name, data, set_names))
    return Mangle(
        found.flags,
        {chain.name: chain.hook for chain in nftables.chains(netlink, word, table)},
        tuple(MangleRule(r.chain, b"\0".join(r.expressions), r.packets, r.octets, r.jump) for r in rules),
    )


def _read_legacy(family: Family, table: str, set_names: Mapping[int, str]) -> Mangle:
    if table not in xtables.table_names(family):
        return _NOTHING
    chains, rules = xtables.rules(family, table, lambda name, data: _named(name, data, set_names))
    found = tuple(MangleRule(r.chain, r.body, r.packets, r.octets, r.jump) for r in rules)
    return Mangle(b"", dict.fromkeys(sorted(chains), b""), found)


def has_foreign_rules(flavour: Flavour, ours: frozenset[str]) -> str:
    """Return the first iptables table of a flavour with a rule that is not ours, as `ip6 filter`, or nothing.

    Args:
        flavour: which of the two.
        ours: our chains; rules in them and jumps to them do not count.
    """
    with Netlink(NETLINK_NETFILTER) as netlink:
        for family, word in WORDS.items():
            for table in TABLES:
                seen = _read_nft(netlink, family, table, {}) if flavour == "nft" else _read_legacy(family, table, {})
                if any(rule.chain not in ours and rule.jump not in ours for rule in seen.rules):
                    return f"{word} {table}"
    return ""


# -- set numbers --------------------------------------------------------------------------------------------------


def _named(name: str, data: bytes, set_names: Mapping[int, str]) -> bytes:
    """Put set names in place of set numbers in the data of a match or target."""
    for offset in _SET_NUMBERS_AT.get(name, ()):
        (number,) = struct.unpack_from("=H", data, offset)
        if number != _NO_SET:
            who = set_names.get(number, f"set number {number}")
            data = data[:offset] + b"\0\0" + data[offset + 2 :] + who.encode() + b"\0"
    return data


def _named_in_nft(name: str, data: bytes, set_names: Mapping[int, str]) -> bytes:
    """Do the same for an nf_tables expression that carries a match or target of iptables."""
    if name not in ("match", "target"):
        return data
    fields = dict(attributes(data))
    inner = text(fields[1])
    return inner.encode() + b"\0" + fields[2] + _named(inner, fields[3], set_names)
