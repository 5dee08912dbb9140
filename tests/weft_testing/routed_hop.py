"""A pod's requests on loopback as they leave it: real sessions, the real planner, a real snapshot, and servers that are sockets.

Theory: nothing here is captured. A caller's socket is given to a session whose planner believes that it called a Service's
address, and the endpoints are ports of 127.0.0.1 that are not in the mesh, so they are dialled in plain TCP with sockets
that the test supplies as control would.
"""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Final, cast

import trio

from weft_agent.channel.layout import BUCKETS_BYTES
from weft_agent.channel.memfd import shared
from weft_agent.channel.messages import AskGate, NeedStock
from weft_agent.proxy.context import Context
from weft_agent.proxy.http1 import Session
from weft_agent.proxy.outbound_http import OutboundHttp
from weft_agent.proxy.pod import Pod
from weft_agent.reactor import Listener, Reactor, TcpEnd
from weft_agent.telemetry.access_log import AccessLog
from weft_agent.telemetry.counters import CounterPage, new_page
from weft_agent.telemetry.series import SeriesTable
from weft_agent.worker.buckets import Buckets
from weft_contract.limits import Limits
from weft_contract.resources import Resource
from weft_core.snapshot import SnapshotBuilder, classify
from weft_testing.node_resources import NODE
from weft_testing.reactor import LIMITS, running_reactor
from weft_testing.wire import Port, Wire, connect, settled

ADDRESS: Final = ("10.96.0.1", 80)
"""What the caller believes to have called: the Service `shop/web`."""


class RoutedHop:
    """A pod that calls, and the servers that stand behind Services."""

    def __init__(self, reactor: Reactor, limits: Limits) -> None:
        self._reactor = reactor
        series = SeriesTable(CounterPage(new_page(0)), 1000, lambda made: None)
        self.context = Context(
            reactor, limits, series, AccessLog(100, "json", lambda count: None),
            Buckets(shared("test", BUCKETS_BYTES), alone=True), cast("Any", None), lambda event, detail: None,
        )  # fmt: skip
        self.pod = Pod("shop/client", "u", reactor, limits, self._supply, Random(1))
        self._builder = SnapshotBuilder()
        self._door = Port()
        self._listener = Listener(reactor, self._door.sock, self._accepted, lambda: None)
        self.servers: dict[str, Port] = {}
        self.wires: list[Wire] = []
        self.sessions: list[Session] = []

    def server(self, name: str) -> int:
        """Open a server and return its port."""
        self.servers[name] = Port()
        return self.servers[name].address[1]

    def configure(self, *resources: Resource) -> None:
        """Make these resources all there is."""
        snapshot, refusals = self._builder.apply([NODE, *resources], whole=True)
        assert refusals == []
        self.context.snapshot = snapshot
        self.context.generation += 1

    async def connect(self) -> Wire:
        """Return a caller whose session has begun."""
        count = len(self.sessions)
        wire = connect(self._door.address)
        self.wires.append(wire)
        with trio.fail_after(5):
            while len(self.sessions) == count:
                await settled()
        return wire

    async def accept(self, name: str) -> Wire:
        """Return a server's end of the next connection to it."""
        wire = await self.servers[name].accept()
        self.wires.append(wire)
        return wire

    def close(self) -> None:
        """Close whatever the test left open."""
        self._listener.stop()
        for server in self.servers.values():
            server.close()
        for wire in self.wires:
            wire.reset()
        self.pod.drop_parked()

    def _supply(self, asked: NeedStock | AskGate) -> None:
        assert isinstance(asked, NeedStock)
        kind = socket.AF_INET6 if asked.family == 6 else socket.AF_INET
        made = [socket.socket(kind, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) for _ in range(asked.count)]
        self._reactor.soon(lambda: self.pod.add_stock(asked.role, asked.family, made))

    def _accepted(self, sock: socket.socket, peer: tuple[str, int]) -> None:
        context = self.context
        end = TcpEnd(self._reactor, sock, context.limits, downstream=True)
        destination = classify(context.snapshot, *ADDRESS)
        self.pod.connections += 1
        planner = OutboundHttp(context, self.pod, cast("Any", None), ADDRESS, destination, peer[0])
        session = Session(self._reactor, end, context.limits, planner)
        planner.attach(session)
        self.sessions.append(session)
        end.start(session)


@asynccontextmanager
async def running_routed_hop(limits: Limits = LIMITS) -> AsyncIterator[RoutedHop]:
    """Run a hop; a fault in any callback fails the test, and so does anything of the pod's that is left over."""
    async with running_reactor() as reactor:
        hop = RoutedHop(reactor, limits)
        try:
            yield hop
        finally:
            hop.close()
            with trio.fail_after(5):
                while hop.pod.connections:
                    await settled()
            hop.pod.close()
    assert not hop.context.flows
