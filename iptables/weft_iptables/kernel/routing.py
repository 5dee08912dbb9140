"""Routing rules and the local route that bring marked packets back, of the calling thread's namespace.

Theory. What counts is where the kernel would send a packet that carries the mark, so the check asks it exactly that; a rule
that somebody put before ours is found too. Rules and routes are changed through pyroute2. A rule of ours also remembers, in
its protocol number (free for whoever makes a rule), what the namespace's settings were before the capture, so that they
can be put back by a process that did not change them.

Source: include/uapi/linux/fib_rules.h, rtnetlink.h.
"""

import errno
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from weft_iptables.errors import KernelRefusedError
from weft_iptables.kernel.netlink import Netlink, attribute, attributes
from weft_iptables.plan import Family
from weft_iptables.plan.values import Routing

_NEWROUTE: Final = 24
_GETROUTE: Final = 26
_GETRULE: Final = 34
_LOCAL: Final = 2
"""RTN_LOCAL."""
_HOST_SCOPE: Final = 254
"""RT_SCOPE_HOST, which IPv4 wants of a local route."""
_FAMILIES: Final[dict[Family, socket.AddressFamily]] = {4: socket.AF_INET, 6: socket.AF_INET6}
_ANYWHERE: Final[dict[Family, str]] = {4: "203.0.113.1", 6: "2001:db8::1"}
"""Documentation addresses (RFC 5737, RFC 3849): no namespace has a route of its own for them."""
_DEFAULT: Final[dict[Family, str]] = {4: "0.0.0.0/0", 6: "::/0"}
_LOOPBACK: Final = 1
"""Index of the loopback device in every network namespace."""


@dataclass(frozen=True, slots=True)
class MarkRule:
    """A routing rule that looks at the mark."""

    priority: int
    mark: int
    mask: int
    table: int
    protocol: int


def mark_rules(netlink: Netlink, family: Family) -> list[MarkRule]:
    """Return the routing rules of a family that look at a mark, in no order."""
    found = []
    try:
        entries = netlink.dump(_GETRULE, struct.pack("=8BI", _FAMILIES[family], *bytes(7), 0))
    except OSError as exc:
        if exc.errno == errno.EAFNOSUPPORT:
            return []
        raise
    for _, payload in entries:
        fields = dict(attributes(payload, 12))
        if 10 in fields:
            priority, mark, mask, table = (_number(fields.get(kind, bytes(4))) for kind in (6, 10, 16, 15))
            found.append(MarkRule(priority, mark, mask, table, _number(fields.get(21, b"\0"))))
    return found


def loops_back(netlink: Netlink, family: Family, mark: int) -> bool:
    """Tell whether a packet that leaves with this mark would come back over the loopback device, whatever it is for."""
    address = socket.inet_pton(_FAMILIES[family], _ANYWHERE[family])
    header = struct.pack("=8BI", _FAMILIES[family], 8 * len(address), *bytes(6), 0)
    try:
        answers = netlink.ask(_GETROUTE, header + attribute(1, address) + attribute(16, struct.pack("=I", mark)))
    except OSError:
        return False
    for message, payload in answers:
        if message == _NEWROUTE:
            fields = dict(attributes(payload, 12))
            return payload[7] == _LOCAL and _number(fields.get(4, bytes(4))) == _LOOPBACK
    return False


def has_local_route(netlink: Netlink, family: Family, table: int) -> bool:
    """Tell whether a table has the route that makes every address local."""
    header = struct.pack("=8BI", _FAMILIES[family], *bytes(7), 0)
    try:
        entries = netlink.dump(_GETROUTE, header + attribute(15, struct.pack("=I", table)))
    except FileNotFoundError:
        return False
    for _, payload in entries:
        fields = dict(attributes(payload, 12))
        in_table = _number(fields.get(15, payload[4:5])) == table
        default = payload[0] == _FAMILIES[family] and payload[1] == 0 and payload[7] == _LOCAL
        if in_table and default and _number(fields.get(4, bytes(4))) == _LOOPBACK:
            return True
    return False


def _number(value: bytes) -> int:
    return int.from_bytes(value, "little")


# -- changing -----------------------------------------------------------------------------------------------------


@contextmanager
def _iproute(what: str) -> Iterator[Any]:
    """Give pyroute2's client; its refusals become ours."""
    try:
        with IPRoute() as client:
            yield client
    except NetlinkError as exc:
        raise KernelRefusedError(f"{what}: {exc}") from exc


def install(netlink: Netlink, routing: Routing, protocol: int) -> None:
    """Make rule and route for each family of `routing` that lacks them, and remove rules that only look like ours.

    Args:
        netlink: a socket of NETLINK_ROUTE.
        routing: what the plan says.
        protocol: the number that remembers the settings before the capture.

    Raises:
        KernelRefusedError: the loopback device is down, or the family is switched off.
    """
    for family in routing.families:
        ours = [rule for rule in mark_rules(netlink, family) if _is_ours(rule, routing)]
        with _iproute(f"routing of marked packets, IPv{family}") as client:
            for rule in ours[1:]:
                _rule(client, "del", family, routing, rule.protocol)
            if not ours:
                _rule(client, "add", family, routing, protocol)
            if not has_local_route(netlink, family, routing.table):
                _route(client, "add", family, routing)


def uninstall(netlink: Netlink, routing: Routing) -> None:
    """Remove rules and routes of both families, as far as they are there."""
    for family in _FAMILIES:
        ours = [rule for rule in mark_rules(netlink, family) if _is_ours(rule, routing)]
        with _iproute(f"routing of marked packets, IPv{family}") as client:
            for rule in ours:
                _rule(client, "del", family, routing, rule.protocol)
            if has_local_route(netlink, family, routing.table):
                _route(client, "del", family, routing)


def remembered(netlink: Netlink, routing: Routing) -> int | None:
    """Return the protocol number of a rule of ours, or None if there is no rule."""
    for family in _FAMILIES:
        for rule in mark_rules(netlink, family):
            if _is_ours(rule, routing):
                return rule.protocol
    return None


def _is_ours(rule: MarkRule, routing: Routing) -> bool:
    wanted = (routing.priority, routing.mark, routing.mask, routing.table)
    return (rule.priority, rule.mark, rule.mask, rule.table) == wanted


def _rule(client: Any, verb: str, family: Family, routing: Routing, protocol: int) -> None:
    client.rule(
        verb,
        family=_FAMILIES[family],
        priority=routing.priority,
        fwmark=routing.mark,
        fwmask=routing.mask,
        table=routing.table,
        protocol=protocol,
    )


def _route(client: Any, verb: str, family: Family, routing: Routing) -> None:
    client.route(
        verb,
        family=_FAMILIES[family],
        dst=_DEFAULT[family],
        oif=_LOOPBACK,
        table=routing.table,
        type="local",
        scope=_HOST_SCOPE if family == 4 else 0,
    )
