"""Connecting: to a pod's own application with the client's address, and to the network from a pod's namespace.

Theory: an application-facing socket is bound to the client's own address and to a source port that cannot be mistaken
(`backports`), then connected to the original destination; its mark sends the packets round the loop to the application and
the answers back to us. The kernel has the last word on the four-tuple: EADDRINUSE and EADDRNOTAVAIL draw another port.
Nothing is delivered to an application without a `Permit`.
"""

import errno
import socket
from collections.abc import Callable
from typing import Final

from weft_agent.channel.messages import Family, Role
from weft_agent.proxy.backports import Peer
from weft_agent.proxy.pod import Pod
from weft_agent.reactor import Connect, Reactor, TcpEnd
from weft_contract.limits import Limits
from weft_core.decision import Permit
from weft_core.errors import ConnectFailedError, StockEmptyError, WeftError

PORT_ATTEMPTS: Final = 8
_TAKEN: Final = frozenset({errno.EADDRINUSE, errno.EADDRNOTAVAIL})

Dialled = Callable[[TcpEnd, Peer | None], None]
"""Takes the connected end, not started yet, and its source port, to be released when the connection is gone."""
Undialled = Callable[[WeftError], None]


class Dial:
    """One attempt to reach an address, from `begin()` on; `cancel()` forgets it."""

    __slots__ = (
        "_address",
        "_attempts",
        "_connect",
        "_dialled",
        "_failed",
        "_limits",
        "_over",
        "_peer",
        "_pod",
        "_reactor",
        "_role",
        "_source",
    )

    def __init__(  # noqa: PLR0913 - one attempt has these seven facts, and a context object would name them again
        self,
        reactor: Reactor,
        limits: Limits,
        pod: Pod,
        role: Role,
        address: tuple[str, int],
        source: str | None,
        dialled: Dialled,
        failed: Undialled,
    ) -> None:
        self._reactor = reactor
        self._limits = limits
        self._pod = pod
        self._role = role
        self._address = address
        self._source = source
        self._dialled = dialled
        self._failed = failed
        self._connect: Connect | None = None
        self._peer: Peer | None = None
        self._attempts = 0
        self._over = False

    def begin(self) -> None:
        """Start; either callback may come before this returns."""
        self._take()

    def cancel(self) -> None:
        """Forget the attempt; no callback follows."""
        if self._over:
            return
        self._over = True
        if self._connect is not None:
            self._connect.cancel()
        self._release()

    def _take(self) -> None:
        family: Family = 6 if ":" in self._address[0] else 4
        self._pod.take_socket(self._role, family, self._have_socket)

    def _have_socket(self, sock: socket.socket | None) -> None:
        if self._over:
            if sock is not None:
                sock.close()
            return
        if sock is None:
            self._fail(StockEmptyError(f"no socket for pod {self._pod.key} in {self._limits.stock_wait_s:g} s"))
            return
        self._attempts += 1
        if self._source is not None:
            self._peer = self._pod.back_ports.choose(self._source, self._address[1])
            try:
                sock.bind((self._source, self._peer[1]))
            except OSError as exc:
                sock.close()
                self._refused(exc.errno or errno.EINVAL, f"cannot bind to the client's address {self._source}: {exc}")
                return
        self._connect = Connect(
            self._reactor, sock, self._address, self._limits.connect_patience_s, self._connected, self._not_connected
        )

    def _connected(self, sock: socket.socket) -> None:
        self._over = True
        self._dialled(TcpEnd(self._reactor, sock, self._limits, downstream=False), self._peer)

    def _not_connected(self, error: WeftError, code: int) -> None:
        if code in _TAKEN and self._source is not None:
            self._refused(code, str(error))
        else:
            self._fail(error)

    def _refused(self, code: int, why: str) -> None:
        """Draw another source port where this one was taken."""
        self._release()
        if code in _TAKEN and self._attempts < PORT_ATTEMPTS:
            self._take()
        else:
            self._fail(ConnectFailedError(why))

    def _fail(self, error: WeftError) -> None:
        if not self._over:
            self._over = True
            self._release()
            self._failed(error)

    def _release(self) -> None:
        self._pod.back_ports.release(self._peer)
        self._peer = None


def dial_application(  # noqa: PLR0913 - as for `Dial`
    permit: Permit,
    reactor: Reactor,
    limits: Limits,
    pod: Pod,
    address: tuple[str, int],
    client: str,
    dialled: Dialled,
    failed: Undialled,
) -> Dial:
    """Prepare to connect to `pod`'s own application at `address`, as `client` where the pod preserves sources."""
    preserve = pod.table is not None and pod.table.workload.capture.preserve_source
    same_family = (":" in client) == (":" in address[0])
    return Dial(reactor, limits, pod, "app", address, client if preserve and same_family else None, dialled, failed)


def dial_network(
    reactor: Reactor, limits: Limits, pod: Pod, address: tuple[str, int], dialled: Dialled, failed: Undialled
) -> Dial:
    """Prepare to connect to `address` from `pod`'s namespace, never captured again."""
    return Dial(reactor, limits, pod, "upstream", address, None, dialled, failed)
