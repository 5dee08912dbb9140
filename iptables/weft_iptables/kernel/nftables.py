"""The nf_tables ruleset of this namespace: tables, chains, rules and set elements as bytes that can be compared.

Theory. A rule is compared by the bytes of its expressions as the kernel dumps them, with the counters taken out, so two
rules are equal exactly when the kernel does the same for both. Handles, positions and comments do not count. Bytes of one
kernel are only ever compared with bytes of the same kernel (`backends.reference`), so no meaning has to be read into them
but for three things: counters, jumps, and the set numbers inside iptables' own matches (`normalise`).

Source: include/uapi/linux/netfilter/nf_tables.h.
"""

import errno
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from weft_iptables.kernel.netlink import NLM_F_ACK, NLM_F_REQUEST, Netlink, attribute, attributes, text

NFPROTO: Final = {"inet": 1, "ip": 2, "ip6": 10}

_SUBSYSTEM: Final = 10 << 8
_GETTABLE: Final = _SUBSYSTEM | 1
_DELTABLE: Final = _SUBSYSTEM | 2
_GETCHAIN: Final = _SUBSYSTEM | 4
_DELCHAIN: Final = _SUBSYSTEM | 5
_GETRULE: Final = _SUBSYSTEM | 7
_GETSET: Final = _SUBSYSTEM | 10
_GETSETELEM: Final = _SUBSYSTEM | 13
_GETGEN: Final = _SUBSYSTEM | 16
_BATCH_BEGIN: Final = 0x10
_BATCH_END: Final = 0x11
_BATCH_GENID: Final = 1

_ACCEPT: Final = 1

_counts = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class Table:
    """A table; `flags` not 0 means that its chains sleep."""

    family: str
    name: str
    flags: bytes


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain; `hook` is empty for one that is only jumped to."""

    table: str
    name: str
    hook: bytes
    """Hook, priority, type and policy, as dumped."""
    accepts: bool
    """Whether it hangs on a hook and lets pass what its rules do not decide."""


@dataclass(frozen=True, slots=True)
class NftRule:
    """A rule of a chain, in the kernel's order."""

    table: str
    chain: str
    expressions: tuple[bytes, ...]
    """Name and data of each expression; counters have no data."""
    packets: int
    octets: int
    jump: str
    """The chain it jumps to without condition or count, else empty."""


@dataclass(frozen=True, slots=True)
class NftSet:
    """A set of a table, without its elements."""

    table: str
    name: str
    shape: bytes
    """Flags, key and size, as dumped."""


def _payload(family: str, *parts: bytes) -> bytes:
    return struct.pack("=BBH", NFPROTO[family], 0, 0) + b"".join(parts)


def _named(kind: int, name: str) -> bytes:
    return attribute(kind, name.encode() + b"\0")


def generation(netlink: Netlink) -> int:
    """Return the number that every change of any nf_tables rule in this namespace raises."""
    for _, payload in netlink.ask(_GETGEN, _payload("inet")):
        for kind, value in attributes(payload, 4):
            if kind == 1:
                return int.from_bytes(value, "big")
    raise OSError("the kernel gave no nf_tables generation")


def tables(netlink: Netlink, family: str) -> list[Table]:
    """Return the tables of one family; a kernel without nf_tables has none."""
    found = []
    try:
        entries = netlink.dump(_GETTABLE, _payload(family))
    except OSError as exc:
        if exc.errno == errno.EINVAL:
            return []
        raise
    for _, payload in entries:
        fields = dict(attributes(payload, 4))
        found.append(Table(family, text(fields[1]), fields.get(2, bytes(4))))
    return found


def chains(netlink: Netlink, family: str, table: str) -> list[Chain]:
    """Return the chains of one table."""
    found = []
    for _, payload in netlink.dump(_GETCHAIN, _payload(family)):
        fields = dict(attributes(payload, 4))
        if text(fields[1]) == table:
            hook = b"".join(fields.get(kind, b"") for kind in (4, 5, 7)) if 4 in fields else b""
            accepts = 4 in fields and int.from_bytes(fields.get(5, b"\1"), "big") == _ACCEPT
            found.append(Chain(table, text(fields[3]), hook, accepts))
    return found


def rules(netlink: Netlink, family: str, table: str, normalise: Callable[[str, bytes], bytes]) -> list[NftRule]:
    """Return the rules of one table, chain by chain, in order.

    Args:
        netlink: a socket of NETLINK_NETFILTER.
        family: `inet`, `ip` or `ip6`.
        table: its name.
        normalise: given an expression's name and data, returns the data to compare.
    """
    found = []
    for _, payload in netlink.dump(_GETRULE, _payload(family, _named(1, table))):
        fields = dict(attributes(payload, 4))
        if text(fields[1]) == table:
            found.append(_rule(table, text(fields[2]), fields.get(4, b""), normalise))
    return found


def _rule(table: str, chain: str, data: bytes, normalise: Callable[[str, bytes], bytes]) -> NftRule:
    expressions, packets, octets, jumps = [], 0, 0, []
    for name, body in _expressions(data):
        if name == "counter":
            numbers = dict(attributes(body))
            octets, packets = _counts.unpack(numbers[1])[0], _counts.unpack(numbers[2])[0]
            expressions.append(b"counter")
            continue
        if name == "immediate":
            jumps.append(_jump(body))
        expressions.append(name.encode() + b"\0" + normalise(name, body))
    plain = [item for item in expressions if item != b"counter"]
    return NftRule(table, chain, tuple(expressions), packets, octets, jumps[0] if jumps and len(plain) == 1 else "")


def _expressions(data: bytes) -> Iterator[tuple[str, bytes]]:
    for _, element in attributes(data):
        fields = dict(attributes(element))
        yield text(fields[1]), fields.get(2, b"")


def _jump(body: bytes) -> str:
    """Return the chain that an immediate expression's verdict names: NFTA_IMMEDIATE_DATA, _VERDICT, _CHAIN."""
    data = dict(attributes(body)).get(2, b"")
    verdict = dict(attributes(data)).get(2, b"")
    return text(dict(attributes(verdict)).get(2, b""))


def sets(netlink: Netlink, family: str, table: str) -> list[NftSet]:
    """Return the named sets of one table."""
    found = []
    for _, payload in netlink.dump(_GETSET, _payload(family, _named(1, table))):
        fields = dict(attributes(payload, 4))
        if text(fields[1]) == table:
            shape = b"".join(fields.get(kind, b"-") for kind in (3, 4, 5, 9))
            found.append(NftSet(table, text(fields[2]), shape))
    return found


def elements(netlink: Netlink, family: str, table: str, name: str) -> frozenset[bytes]:
    """Return the keys of one set's elements; the end of an interval has a trailing byte of 1, all others of 0.

    The end of nothing that nft puts at the bottom of a new set of intervals, but not of one it fills again, is left out.
    """
    found: set[bytes] = set()
    for _, payload in netlink.dump(_GETSETELEM, _payload(family, _named(1, table), _named(2, name))):
        for kind, value in attributes(payload, 4):
            if kind == 3:
                found.update(_key(element) for _, element in attributes(value))
    return frozenset(key for key in found if any(key[:-1]) or key[-1] == 0)


def _key(element: bytes) -> bytes:
    fields = dict(attributes(element))
    key = dict(attributes(fields.get(1, b""))).get(1, b"")
    return key + bytes([int.from_bytes(fields.get(3, b""), "big") & 1])


def delete(
    netlink: Netlink, family: str, table: str, chain_names: Iterable[str] | None, unless_changed_since: int
) -> None:
    """Delete chains of a table, or the table, provided that no rule of the namespace changed since a generation.

    Args:
        netlink: a socket of NETLINK_NETFILTER.
        family: `inet`, `ip` or `ip6`.
        table: its name.
        chain_names: the chains; None for the table.
        unless_changed_since: the generation.

    Raises:
        OSError: ERESTART if something changed; everything is untouched then.
    """
    limits = struct.pack(">BBH", 0, 0, 10)
    begin = limits + attribute(_BATCH_GENID, struct.pack(">I", unless_changed_since))
    where = _named(1, table)
    if chain_names is None:
        deletions = [(_DELTABLE, _payload(family, where))]
    else:
        deletions = [(_DELCHAIN, _payload(family, where, _named(3, name))) for name in chain_names]
    netlink.batch(
        [
            (_BATCH_BEGIN, NLM_F_REQUEST, begin),
            *((message, NLM_F_REQUEST | NLM_F_ACK, payload) for message, payload in deletions),
            (_BATCH_END, NLM_F_REQUEST, limits),
        ]
    )
