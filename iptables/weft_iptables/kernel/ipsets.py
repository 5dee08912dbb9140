"""The ipsets of this namespace: what they hold, what number they have, and how they change.

Theory. Sets are created, swapped and destroyed through pyroute2. Their elements are written and read here, many to a
message: a pod that is enrolled with a thousand connections must not be half captured for a second. An element is compared
by the bytes the kernel dumps. Rules name sets by number, so a set whose content changes is filled beside the old one and
swapped, which leaves the number and whoever uses it alone.

Source: include/uapi/linux/netfilter/ipset/ip_set.h.
"""

import errno
import socket
import struct
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import islice
from typing import Any, Final

from pyroute2.ipset import IPSet
from pyroute2.netlink.exceptions import NetlinkError

from weft_iptables.errors import KernelRefusedError
from weft_iptables.kernel.netlink import Netlink, attribute, attributes, text
from weft_iptables.plan import Family, IpsetSet

Entry = tuple[int, int] | str | tuple[str, int, str]

_SUBSYSTEM: Final = 6 << 8
_LIST: Final = _SUBSYSTEM | 7
_ADD: Final = _SUBSYSTEM | 9
_DEL: Final = _SUBSYSTEM | 10
_HEADER: Final = _SUBSYSTEM | 12
_BY_NAME: Final = _SUBSYSTEM | 14
_PROTOCOL: Final = b"\x07"
_NAMES_ONLY: Final = struct.pack(">I", 1 << 1)
_HEADERS_ONLY: Final = struct.pack(">I", 1 << 2)
_NESTED: Final = 0x8000
_ORDERED: Final = 0x4000
"""The flag "in network byte order", which ipset insists on."""
_PER_MESSAGE: Final = 256
_NOT_THERE: Final = 4103
"""IPSET_ERR_EXIST: an element to add is there already, one to delete is not."""
_IN_USE: Final = 4100
"""IPSET_ERR_BUSY."""
_BUSY_ATTEMPTS: Final = 100
_BUSY_PAUSE_S: Final = 0.01
_LEAST_MAXIMUM: Final = 65536

_FAMILIES: Final[dict[Family, socket.AddressFamily]] = {4: socket.AF_INET, 6: socket.AF_INET6}


@dataclass(frozen=True, slots=True)
class SetHeader:
    """A set without its elements."""

    kind: str
    family: int


def _payload(*parts: bytes, family: int = socket.AF_INET) -> bytes:
    return struct.pack("=BBH", family, 0, 0) + attribute(1, _PROTOCOL) + b"".join(parts)


def _name(name: str, kind: int = 2) -> bytes:
    return attribute(kind, name.encode() + b"\0")


# -- reading ------------------------------------------------------------------------------------------------------


def names(netlink: Netlink) -> frozenset[str]:
    """Return the names of all sets; a kernel that cannot have sets has none."""
    try:
        entries = netlink.dump(_LIST, _payload(attribute(6 | _ORDERED, _NAMES_ONLY)))
    except OSError as exc:
        if exc.errno == errno.EINVAL:
            return frozenset()
        raise
    return frozenset(text(value) for _, payload in entries for kind, value in attributes(payload, 4) if kind == 2)


def header(netlink: Netlink, name: str) -> SetHeader | None:
    """Return what a set is, or None if there is none of that name."""
    try:
        answers = netlink.ask(_HEADER, _payload(_name(name)))
    except FileNotFoundError:
        return None
    fields = dict(attributes(answers[0][1], 4))
    return SetHeader(text(fields[3]), fields[5][0])


def number(netlink: Netlink, name: str) -> int | None:
    """Return the number by which rules know the set, or None if there is none of that name."""
    try:
        answers = netlink.ask(_BY_NAME, _payload(_name(name)))
    except FileNotFoundError:
        return None
    return int.from_bytes(dict(attributes(answers[0][1], 4))[11], "big")


def elements(netlink: Netlink, name: str) -> frozenset[bytes]:
    """Return the elements of a set, as dumped."""
    found: set[bytes] = set()
    for _, payload in netlink.dump(_LIST, _payload(_name(name))):
        for kind, value in attributes(payload, 4):
            if kind == 8:
                found.update(element for _, element in attributes(value))
    return frozenset(found)


def count(netlink: Netlink, name: str) -> int:
    """Return how many elements a set has, without reading them."""
    for _, payload in netlink.dump(_LIST, _payload(_name(name), attribute(6 | _ORDERED, _HEADERS_ONLY))):
        fields = dict(attributes(payload, 4))
        return int.from_bytes(dict(attributes(fields[7]))[24], "big")
    return 0


def pair_elements(netlink: Netlink, name: str) -> frozenset[tuple[str, int, str]]:
    """Return the elements of a hash:ip,port,ip set."""
    found = set()
    for element in elements(netlink, name):
        fields = dict(attributes(element))
        first, second = (str(ip_address(dict(attributes(fields[kind])).popitem()[1])) for kind in (1, 20))
        found.add((first, int.from_bytes(fields[4], "big"), second))
    return frozenset(found)


# -- changing -----------------------------------------------------------------------------------------------------


@contextmanager
def _ipset() -> Iterator[Any]:
    """Give pyroute2's ipset client; its refusals become ours."""
    try:
        with IPSet() as client:
            yield client
    except NetlinkError as exc:
        raise KernelRefusedError(f"ipset: {exc}") from exc


def create(item: IpsetSet, name: str | None = None) -> None:
    """Create an empty set of the item's kind.

    Raises:
        KernelRefusedError: it exists, or the kernel lacks the type.
    """
    arguments: dict[str, Any] = {"bitmap_ports_range": (0, 65535)}
    if item.kind != "bitmap:port":
        arguments = {"maxelem": max(_LEAST_MAXIMUM, 2 * len(item.entries))}
    with _ipset() as client:
        client.create(name or item.name, stype=item.kind, family=_FAMILIES[item.family], **arguments)


def swap(first: str, second: str) -> None:
    """Exchange the contents of two sets of one kind; rules that use them do not notice.

    Raises:
        KernelRefusedError: they are of different kinds, or one is not there.
    """
    with _ipset() as client:
        client.swap(first, second)


def destroy(name: str) -> None:
    """Destroy a set. One whose last rule went a moment ago is waited for: nf_tables lets go of sets in the background.

    Raises:
        KernelRefusedError: a rule still uses it, or it is not there.
    """
    pause = threading.Event()
    for patience in range(_BUSY_ATTEMPTS, 0, -1):
        try:
            with IPSet() as client:
                client.destroy(name)
            return
        except NetlinkError as exc:
            if exc.code != _IN_USE or patience == 1:
                raise KernelRefusedError(f"ipset {name}: {exc}") from exc
        pause.wait(_BUSY_PAUSE_S)


def add(netlink: Netlink, name: str, family: Family, entries: Iterable[Entry]) -> None:
    """Add elements, whether they are there or not.

    Raises:
        KernelRefusedError: the set is full or of another kind.
    """
    _change(netlink, _ADD, name, family, entries)


def discard(netlink: Netlink, name: str, family: Family, entries: Iterable[Entry]) -> None:
    """Take elements out, whether they are there or not.

    Raises:
        KernelRefusedError: the set is of another kind.
    """
    for entry in entries:
        try:
            _change(netlink, _DEL, name, family, [entry])
        except KernelRefusedError as exc:
            if not isinstance(exc.__cause__, OSError) or exc.__cause__.errno != _NOT_THERE:
                raise


def _change(netlink: Netlink, message: int, name: str, family: Family, entries: Iterable[Entry]) -> None:
    line = attribute(9, bytes(4))
    waiting = iter(entries)
    while some := list(islice(waiting, _PER_MESSAGE)):
        body = b"".join(attribute(7 | _NESTED, _element(entry)) for entry in some)
        try:
            netlink.ask(message, _payload(_name(name), attribute(8 | _NESTED, body), line, family=_FAMILIES[family]))
        except OSError as exc:
            raise KernelRefusedError(f"ipset {name}: the kernel refused an element ({exc})") from exc


def _element(entry: Entry) -> bytes:
    match entry:
        case str():
            address, _, prefix = entry.partition("/")
            return _address(1, address) + attribute(3, bytes([int(prefix)]))
        case (int() as first, int() as last):
            return _port(4, first) + _port(5, last)
        case (str() as address, int() as port, str() as other):
            return (
                _address(1, address) + _port(4, port) + attribute(7, bytes([socket.IPPROTO_TCP])) + _address(20, other)
            )
        case _:
            raise AssertionError(f"{entry!r} is no element")


def _address(kind: int, address: str) -> bytes:
    parsed = ip_address(address)
    return attribute(kind | _NESTED, attribute((1 if parsed.version == 4 else 2) | _ORDERED, parsed.packed))


def _port(kind: int, port: int) -> bytes:
    return attribute(kind | _ORDERED, struct.pack(">H", port))
