"""Two nodes' data planes on loopback: a pod that calls, a pod that serves, and the real tunnel between them.

Theory: nothing is captured, so that a listener's own address stands for the original destination. The caller's is that of a
Service whose one endpoint is the server's listener. Only the server's application cannot be where its listener is: sockets
towards it go to another port, whatever they are told. Sockets are supplied as control would; those towards the application
may be withheld, and then a stream that the server's agent took waits for its answer.
"""

import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
import trio
import trio.testing

from weft_agent.channel import memfd
from weft_agent.channel.layout import BUCKETS_BYTES
from weft_agent.channel.messages import Direction, Hello, Keys, NeedStock, PodListeners, Update
from weft_agent.proxy.dataplane import DataPlane
from weft_agent.proxy.pod import Pod
from weft_agent.proxy.tunnel_client import ClientTunnel
from weft_agent.proxy.tunnel_server import ServerTunnel
from weft_agent.reactor import Reactor
from weft_agent.telemetry.access_log import AccessLog
from weft_agent.telemetry.counters import CounterPage, new_page
from weft_agent.telemetry.series import SeriesTable
from weft_agent.worker.buckets import Buckets
from weft_contract.codec import digest, encode
from weft_contract.resources import Resource, Service, ServicePort, TrustBundle, resource_key
from weft_core.errors import WeftError
from weft_testing import pki
from weft_testing.node_resources import NODE, workload
from weft_testing.reactor import running_reactor, until
from weft_testing.routes import endpoint, endpoints
from weft_testing.tls_peers import key_pair_fd
from weft_testing.wire import Port, Wire, connect

CALLER_ADDRESS: Final = "127.0.0.9"
SERVER_ADDRESS: Final = "127.0.0.1"


class _Towards(socket.socket):
    """A socket that connects to one address, whatever it is told."""

    def __init__(self, address: tuple[str, int] | None) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._address = address

    def connect_ex(self, address: Any) -> int:
        return super().connect_ex(address if self._address is None else self._address)


class NodeOfOne:
    """A node's data plane with one pod, whose service account is called as it is."""

    def __init__(self, reactor: Reactor, name: str, address: str, application: tuple[str, int] | None = None) -> None:
        self._reactor = reactor
        self._application = application
        self._workload = msgspec.structs.replace(workload(name, address), mtls="STRICT")
        self._generation = 0
        self._roots: tuple[pki.Authority, ...] = ()
        self.withheld: list[NeedStock] | None = None
        """What was asked for towards the application while nothing is supplied; None: it is supplied."""
        series = SeriesTable(CounterPage(new_page(0)), 10_000, lambda made: None)
        self.plane = DataPlane(
            reactor, series, AccessLog(64, "json", lambda lost: None), self._asked,
            buckets=Buckets(memfd.shared("buckets", BUCKETS_BYTES), alone=True), fd_directory="/proc/self/fd",
        )  # fmt: skip
        self.plane.hello(Hello(worker=0, workers=1, limits={}))

    @property
    def pod(self) -> Pod:
        """The pod."""
        return self.plane._context.pods[self._workload.uid]

    @property
    def client_tunnels(self) -> list[ClientTunnel]:
        """Tunnels that leave and that new streams may use."""
        return [tunnel for tunnels in self.plane._tunnels._tunnels.values() for tunnel in tunnels]

    @property
    def server_tunnels(self) -> list[ServerTunnel]:
        """Tunnels that arrived, draining ones too."""
        return [flow for flow in self.plane._context.flows if isinstance(flow, ServerTunnel)]

    def listen(self, direction: Direction, *ports: Port) -> None:
        """Serve the pod's listeners."""
        listeners = PodListeners(
            pod=f"shop/{self._workload.name}", uid=self._workload.uid, listeners=tuple((direction, 4) for _ in ports)
        )
        self.plane.pod(listeners, [port.sock.dup() for port in ports])

    def configure(self, *resources: Resource, roots: tuple[pki.Authority, ...]) -> None:
        """Make these resources and the pod's own all there is, with these roots."""
        bundle = TrustBundle(trust_domain=pki.TRUST_DOMAIN, roots=tuple(root.pem_text for root in roots))
        entries = [
            (resource_key(item), digest(data), data)
            for item in (NODE, self._workload, bundle, *resources)
            if (data := encode(item))
        ]
        self._generation += 1
        applied = self.plane.update(Update(generation=self._generation, whole=not self._roots), entries)
        assert not applied.refused
        self._roots = roots

    def trust(self, *roots: pki.Authority) -> None:
        """Replace the roots alone."""
        self.configure(roots=roots)

    def certify(self, authority: pki.Authority) -> None:
        """Give the pod a new certificate."""
        issued = authority.issue(uris=(self._workload.identity,))
        keys = Keys(identity=self._workload.identity, chain=issued.chain_pem, not_after_unix_s=time.time() + pki.DAY_S)
        self.plane.keys(keys, key_pair_fd(issued))

    def supply(self) -> None:
        """Hand out what was withheld."""
        owed, self.withheld = self.withheld or [], None
        for asked in owed:
            self._asked(asked)

    def cut(self) -> None:
        """End everything."""
        context = self.plane._context
        context.reactor.refresh()
        for flow in list(context.flows):
            flow.cut(WeftError("over"))
        context.reactor.settle()

    def _asked(self, message: Any) -> None:
        if not isinstance(message, NeedStock):
            return
        if message.role == "app" and self.withheld is not None:
            self.withheld.append(message)
            return
        target = self._application if message.role == "app" else None
        made: list[socket.socket] = [_Towards(target) for _ in range(message.count)]
        self._reactor.soon(lambda: self.pod.add_stock(message.role, message.family, made))


class TwoNodes:
    """`alice` calls, `bob` serves; both below one root, which every certificate names."""

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self.root = pki.root()
        self.http, self.tcp, self.door, self.application = Port(), Port(), Port(), Port()
        self.alice = NodeOfOne(reactor, "alice", CALLER_ADDRESS)
        self.bob = NodeOfOne(reactor, "bob", SERVER_ADDRESS, self.application.address)
        self._wires: list[Wire] = []
        self.alice.configure(*self._service(), roots=(self.root,))
        self.bob.configure(roots=(self.root,))
        for node in (self.alice, self.bob):
            node.certify(self.root)
        self.alice.listen("outbound", self.http, self.tcp)
        self.bob.listen("inbound", self.door)

    def _service(self) -> list[Resource]:
        ports = {"http": self.http.address[1], "tcp": self.tcp.address[1]}
        declared = tuple(ServicePort(port=port, name=name, protocol=name) for name, port in ports.items())  # type: ignore[arg-type] # both are protocols
        server = endpoint(*self.door.address, account="bob")
        service = Service(namespace="shop", name="bob", addresses=(SERVER_ADDRESS,), ports=declared)
        return [service, *(endpoints("bob", server, port=port) for port in ports.values())]

    def call(self, port: Port) -> Wire:
        """Return a caller that is connected to one of the Service's ports."""
        wire = connect(port.address)
        self._wires.append(wire)
        return wire

    async def accept(self) -> Wire:
        """Return the application's end of the next connection to it."""
        wire = await self.application.accept()
        self._wires.append(wire)
        return wire

    def close(self) -> None:
        """Close whatever the test left open."""
        for wire in self._wires:
            wire.reset()
        for node in (self.alice, self.bob):
            node.pod.close()
            node.cut()
        for port in (self.http, self.tcp, self.door, self.application):
            port.close()


@asynccontextmanager
async def running_two_nodes() -> AsyncIterator[TwoNodes]:
    """Run both data planes; a fault in any callback fails the test, and so does anything that is left over."""
    async with running_reactor() as reactor, trio.open_nursery() as nursery:
        nodes = TwoNodes(reactor)
        for node in (nodes.alice, nodes.bob):
            nursery.start_soon(node.plane.run)
        await trio.testing.wait_all_tasks_blocked()
        try:
            yield nodes
        finally:
            nodes.close()
            await until(lambda: not nodes.alice.plane._context.flows and not nodes.bob.plane._context.flows)
            nursery.cancel_scope.cancel()
