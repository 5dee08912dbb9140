"""The TCP connections of the calling thread's namespace, as sock_diag lists them.

Theory. A connection is *direct* when nothing of the agent is part of it: its mark is none of the agent's (which tells the
agent's own sockets and what the application accepted from them), and the namespace has no socket with the same four
numbers turned around (a captured connection of the application has its twin in the socket the agent accepted).

Read here and not by pyroute2's DiagSocket, which does not report the kernel's errors and decodes at 30 µs a socket.

Source: include/uapi/linux/inet_diag.h, sock_diag.h.
"""

import socket
import struct
from ipaddress import IPv6Address, ip_address
from typing import Final

from weft_contract.ports import BACK_MARK, MARK_MASK, PROXY_MARK
from weft_iptables.kernel.netlink import NETLINK_SOCK_DIAG, Netlink, attributes
from weft_iptables.plan import Connection

_BY_FAMILY: Final = 20
_MARK: Final = 15
_OPEN_STATES: Final = sum(1 << state for state in (1, 3, 4, 5, 8, 9, 11))
"""All but SYN_SENT (its SYN is sent again, and captured then), TIME_WAIT, CLOSE and LISTEN, as bits."""
_INODE_AT: Final = 68
_ATTRIBUTES_AT: Final = 72
_BEGINNING: Final = (1, 3)
"""ESTABLISHED and SYN_RECV: without an inode they wait to be accepted; in any later state nobody holds them."""
_AGENT_MARKS: Final = (PROXY_MARK, BACK_MARK)

_request = struct.Struct("=BBBxI48s")
_ends = struct.Struct(">HH16s16s")


def direct_connections() -> frozenset[Connection]:
    """Return the pod's connections that nothing of the agent is part of, those over the loopback device left out."""
    everything = _everything()
    return frozenset(
        connection
        for connection, (mark, _) in everything.items()
        if mark & MARK_MASK not in _AGENT_MARKS and connection.twin not in everything
    )


def carried_connections() -> frozenset[Connection]:
    """Return the connections in the namespace that the agent holds an end of, or that the application accepted from it.

    Those that nobody holds any more, and whose last segments the kernel sends alone, are left out.
    """
    return frozenset(
        connection for connection, (mark, held) in _everything().items() if held and mark & MARK_MASK in _AGENT_MARKS
    )


def _everything() -> dict[Connection, tuple[int, bool]]:
    """Return every open connection, its mark, and whether a process holds it or soon will."""
    found: dict[Connection, tuple[int, bool]] = {}
    with Netlink(NETLINK_SOCK_DIAG) as netlink:
        for family in (socket.AF_INET, socket.AF_INET6):
            payload = _request.pack(family, socket.IPPROTO_TCP, 0, _OPEN_STATES, bytes(48))
            for _, message in netlink.dump(_BY_FAMILY, payload):
                connection, mark = _decode(message)
                held = message[1] in _BEGINNING or message[_INODE_AT:_ATTRIBUTES_AT] != bytes(4)
                found[connection] = mark, held
    return found


def _decode(message: bytes) -> tuple[Connection, int]:
    local_port, remote_port, local, remote = _ends.unpack_from(message, 4)
    mark = dict(attributes(message, _ATTRIBUTES_AT)).get(_MARK, bytes(4))
    size = 4 if message[0] == socket.AF_INET else 16
    connection = Connection(_address(local[:size]), local_port, _address(remote[:size]), remote_port)
    return connection, int.from_bytes(mark, "little")


def _address(packed: bytes) -> str:
    address = ip_address(packed)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)
