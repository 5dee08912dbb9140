"""What a worker knows of one captured pod: its resource, its listeners, its sockets in stock, its live connections."""

import socket
from collections.abc import Callable, Collection
from random import Random
from typing import TYPE_CHECKING, Final

from weft_agent.channel.messages import AskGate, Family, NeedStock, Role
from weft_agent.proxy.backports import BackPorts
from weft_agent.proxy.gate import GateDesk
from weft_agent.proxy.http1.upstream import Upstream
from weft_agent.proxy.meter import Party, TcpMeter, party_of
from weft_agent.proxy.stock import Stock, Taker
from weft_agent.reactor import Listener, Reactor
from weft_contract.identity import SpiffeId, parse_spiffe_id
from weft_contract.limits import Limits
from weft_core.snapshot import WorkloadTable

if TYPE_CHECKING:
    from weft_agent.proxy.inbound_http import Admission
    from weft_agent.proxy.opaque import View
    from weft_core.facts import ConnectionFacts

PARKED_MAX: Final = 256
"""Idle upstream connections kept per endpoint; more concurrent callers than this dial anew."""


class Pod:
    """One captured pod.

    Args:
        key: `namespace/name`.
        uid: Kubernetes' uid; a pod of the same name with another uid is another pod.
        reactor: the worker's loop.
        limits: how long to wait for sockets.
        ask: sends to control.
    """

    __slots__ = (
        "_ask", "_limits", "_parked", "_reactor", "_stocks", "admissions", "back_ports", "callers", "connections", "gate",
        "gone", "key", "learned", "leaving", "listeners", "on_stock_wait", "party", "table", "uid", "views",
    )  # fmt: skip

    def __init__(
        self,
        key: str,
        uid: str,
        reactor: Reactor,
        limits: Limits,
        ask: Callable[[NeedStock | AskGate], None],
        rng: Random,
    ) -> None:
        self.key = key
        self.uid = uid
        self._reactor = reactor
        self._limits = limits
        self._ask = ask
        self._stocks: dict[tuple[Role, Family], Stock] = {}
        self.back_ports = BackPorts(rng)
        self.gate = GateDesk(uid, reactor, ask)
        self.listeners: list[Listener] = []
        self.table: WorkloadTable | None = None
        self.party = Party()
        self.connections = 0
        self.gone = False
        self.leaving = False
        """Whether new connections pass the agent by, so that none is worth keeping for the next request."""
        self.on_stock_wait: Callable[[Role, Family], None] = lambda role, family: None
        self._parked: dict[tuple[str, int], list[Upstream]] = {}
        self.admissions: dict[tuple[str, str, int], Admission] = {}
        """How this pod's calls to pods of the same node are admitted, by their uid, address and port."""
        self.callers: dict[tuple[ConnectionFacts, Party], Admission] = {}
        """How HTTP connections to this pod are admitted, by what they have in common."""
        self.views: dict[TcpMeter, tuple[View]] = {}
        """What its opaque connections have in common, by meter."""
        self.learned: dict[int, str] = {}
        """Pod port → what its connections were found to speak (`opaque` where the server spoke first)."""

    def bind(self, table: WorkloadTable | None) -> None:
        """Take the workload's present tables; None: it is not in the configuration (any more)."""
        self.table = table if table is not None and table.workload.uid == self.uid else None
        self.views.clear()
        self.callers.clear()
        if self.table is not None:
            self.party = party_of(self.table.workload)

    @property
    def namespace(self) -> str:
        """The pod's namespace."""
        return self.key.partition("/")[0]

    @property
    def identity(self) -> SpiffeId | None:
        """Who this pod is; None while its resource is unknown."""
        return parse_spiffe_id(self.table.workload.identity) if self.table is not None else None

    @property
    def addresses(self) -> tuple[str, ...]:
        """The pod's own addresses."""
        return tuple(self.table.workload.addresses) if self.table is not None else ()

    def address(self, family: Family) -> str | None:
        """Return the pod's own address of a family."""
        if self.table is None:
            return None
        wanted = family == 6
        return next((text for text in self.table.workload.addresses if (":" in text) == wanted), None)

    # -- connections that rest between requests -----------------------------------------------------------------------

    def park(self, upstream: Upstream, idle_s: float) -> None:
        """Keep an idle upstream connection for this pod's next request to the same endpoint."""
        parked = self._parked.setdefault(upstream.key, [])
        if len(parked) >= PARKED_MAX:
            upstream.drop()
            return
        parked.append(upstream)
        before = upstream.on_gone
        if not upstream.parked_before:
            upstream.parked_before = True

            def gone(upstream: Upstream) -> None:
                if before is not None:
                    before(upstream)
                if upstream in parked:
                    parked.remove(upstream)

            upstream.on_gone = gone
        upstream.deadline = self._reactor.now + idle_s
        self._reactor.watch(upstream)

    def drop_parked(self, key: tuple[str, int] | None = None) -> None:
        """Close the connections that rest: to one endpoint, or all."""
        for parked in list(self._parked.values()) if key is None else [self._parked.get(key, [])]:
            for upstream in list(parked):
                upstream.drop()

    def drop_parked_at(self, addresses: Collection[str]) -> None:
        """Close the connections that rest, to whatever has one of these addresses."""
        for key in list(self._parked):
            if key[0] in addresses:
                self.drop_parked(key)

    def unpark(self, address: str, port: int) -> Upstream | None:
        """Take back the connection that was used last."""
        parked = self._parked.get((address, port))
        return parked.pop() if parked else None

    # -- sockets ------------------------------------------------------------------------------------------------------

    def take_socket(self, role: Role, family: Family, taker: Taker) -> None:
        """Get a prepared socket, now or when control sends one."""
        if self.gone:
            taker(None)
            return
        stock = self._stock(role, family)
        waits = stock.waits
        stock.take(taker)
        if stock.waits != waits:
            self.on_stock_wait(role, family)

    def add_stock(self, role: Role, family: Family, sockets: list[socket.socket]) -> None:
        """Take in what control made."""
        self._stock(role, family).add(sockets)

    def trim(self) -> None:
        """Give up sockets that idle kinds no longer need."""
        for stock in self._stocks.values():
            stock.trim()

    def reorder(self) -> None:
        """Ask a new control for what the old one still owed."""
        self.gate.reorder()
        for stock in self._stocks.values():
            stock.reorder()

    def _stock(self, role: Role, family: Family) -> Stock:
        stock = self._stocks.get((role, family))
        if stock is None:

            def ask(count: int) -> None:
                self._ask(NeedStock(uid=self.uid, role=role, family=family, count=count))

            stock = self._stocks[role, family] = Stock(self._reactor, ask, self._limits.stock_wait_s)
        return stock

    # -- end ----------------------------------------------------------------------------------------------------------

    def stop_accepting(self) -> None:
        """Close the listeners here; they live on where others hold them."""
        for listener in self.listeners:
            listener.stop()
        self.listeners.clear()

    def close(self) -> None:
        """Give up everything that is not a live connection."""
        self.gone = True
        self.stop_accepting()
        self.gate.close()
        for stock in self._stocks.values():
            stock.close()
        self._stocks.clear()
        self.drop_parked()
        self._parked.clear()
