"""Sockets made inside a pod's namespace for processes that may not make them: listeners, and stock to connect with.

Theory. An unprivileged process can bind such a socket to a foreign address and connect it, because the transparent option
was set by whoever made it. Marks decide how the packets travel: PROXY is never captured again, BACK makes the replies of
the application come back to us (`weft_iptables.plan.build`). All of them are transparent, upstream ones too: prerouting
tells the agent's connections by that. Nothing listens on the pod's address; TPROXY reaches listeners on loopback.

`IP_BIND_ADDRESS_NO_PORT` lets a socket that is bound to an address only take its port at connect, when the kernel knows
the other end too, so that ports are not used up by the pod address alone.

Source: ip(7), ipv6(7), Documentation/networking/tproxy.rst.
"""

import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Literal, NamedTuple

from weft_contract.ports import BACK_MARK, INBOUND_PORT, OUTBOUND_PORT, PROXY_MARK, Mark
from weft_iptables.errors import NamespaceError
from weft_iptables.namespaces import run_in

Family = Literal[4, 6]
Role = Literal["upstream", "app"]
Direction = Literal["outbound", "inbound"]

BACKLOG: Final = 4096
"""Connections that wait to be accepted; the kernel clamps it to net.core.somaxconn, 4096 by default."""

_IP_TRANSPARENT: Final = 19
_IP_BIND_ADDRESS_NO_PORT: Final = 24
_IPV6_TRANSPARENT: Final = 75
_SO_MARK: Final = 36
_MARKS: Final[dict[Role, Mark]] = {"upstream": PROXY_MARK, "app": BACK_MARK}
_PORTS: Final[dict[Direction, int]] = {"outbound": OUTBOUND_PORT, "inbound": INBOUND_PORT}
_LOOPBACKS: Final[dict[Family, str]] = {4: "127.0.0.1", 6: "::1"}
_FAMILIES: Final[dict[Family, socket.AddressFamily]] = {4: socket.AF_INET, 6: socket.AF_INET6}
_KIND: Final = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC


class Listener(NamedTuple):
    """A listening socket and what arrives at it."""

    direction: Direction
    family: Family
    socket: socket.socket


def make_listeners(ns_fd: int, families: Sequence[Family]) -> list[Listener]:
    """Make the listeners of one pod: outbound and inbound of each family, listening already.

    A second set can be made while the first lives (SO_REUSEPORT); the kernel shares connections between them.

    Args:
        ns_fd: the pod's namespace.
        families: those that are captured.

    Raises:
        NamespaceError: a port is taken by somebody who does not share it, or privilege is missing.
    """
    wanted: list[tuple[Direction, Family]] = [(direction, family) for family in families for direction in _PORTS]
    made = _made(ns_fd, [partial(listen, _PORTS[way], family) for way, family in wanted])
    return [Listener(way, family, made[at]) for at, (way, family) in enumerate(wanted)]


def make_stock(ns_fd: int, role: Role, family: Family, count: int) -> list[socket.socket]:
    """Make sockets to connect with: neither bound nor connected, non-blocking.

    Args:
        ns_fd: the pod's namespace.
        role: `upstream` goes to the network, `app` to the pod's own application.
        family: 4 or 6.
        count: how many.

    Raises:
        NamespaceError: privilege or descriptors are missing; none is left open then.
    """
    return _made(ns_fd, [partial(_prepared, family, _MARKS[role])] * count)


def listen(port: int, family: Family) -> socket.socket:
    """Make a listener for captured connections in the namespace of the calling thread.

    Raises:
        OSError: the port is taken, or privilege is missing.
    """
    made = _prepared(family, PROXY_MARK)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind((_LOOPBACKS[family], port))
        made.listen(BACKLOG)
    except OSError:
        made.close()
        raise
    return made


def _made(ns_fd: int, makers: Sequence[Callable[[], socket.socket]]) -> list[socket.socket]:
    """Run all makers in the namespace, in one thread; all or none."""

    def make() -> list[socket.socket]:
        made: list[socket.socket] = []
        try:
            for maker in makers:
                made.append(maker())
        except OSError as exc:
            for item in made:
                item.close()
            raise NamespaceError(f"socket {len(made) + 1} of {len(makers)} cannot be made in the pod: {exc}") from exc
        return made

    return run_in(ns_fd, make)


def _prepared(family: Family, mark: Mark) -> socket.socket:
    made = socket.socket(_FAMILIES[family], _KIND)
    try:
        if family == 4:
            made.setsockopt(socket.SOL_IP, _IP_TRANSPARENT, 1)
        else:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.setsockopt(socket.IPPROTO_IPV6, _IPV6_TRANSPARENT, 1)
        made.setsockopt(socket.SOL_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        made.setsockopt(socket.SOL_SOCKET, _SO_MARK, mark)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        made.close()
        raise
    return made
