"""A mesh in one process: real namespaces, capture, TLS and data planes; control's part is played by this module.

Theory: every node has a data plane with a reactor of its own in the test's trio loop. Clients and servers are sockets made in
pods' namespaces and driven by the test, so that a test sees both ends of a connection and everything between them.
"""

import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Literal

import trio
import trio.testing

from weft_agent.channel import memfd
from weft_agent.channel.layout import BUCKETS_BYTES
from weft_agent.channel.messages import AskGate, GateWord, Hello, Keys, NeedStock, PodListeners, Report, Stock, Update
from weft_agent.proxy.dataplane import DataPlane
from weft_agent.reactor import Reactor
from weft_agent.telemetry.access_log import AccessLog
from weft_agent.telemetry.counters import CounterPage, new_page
from weft_agent.telemetry.series import SeriesTable
from weft_agent.worker.buckets import Buckets
from weft_contract.codec import digest, encode
from weft_contract.identity import spiffe_id
from weft_contract.limits import DEFAULT_LIMITS
from weft_contract.resources import (
    Capture,
    Endpoint,
    Endpoints,
    InboundPort,
    Node,
    Resource,
    Service,
    ServicePort,
    TrustBundle,
    Workload,
    resource_key,
)
from weft_iptables.backends import open_backend
from weft_iptables.plan import plan
from weft_iptables.sockets import make_listeners, make_stock
from weft_testing.netns import Family, Pod, World
from weft_testing.netns import Node as NodePlace
from weft_testing.pki import Authority, root

TRUST_DOMAIN: Final = "mesh.test"
NAMESPACE: Final = "shop"


@dataclass
class MeshPod:
    """One pod: its namespace and its resource."""

    place: Pod
    name: str
    node: "MeshNode"
    meshed: bool
    capture: Capture = field(default_factory=Capture)

    @property
    def identity(self) -> str:
        return str(spiffe_id(TRUST_DOMAIN, NAMESPACE, self.name))

    def address(self, family: Family = 4) -> str:
        return self.place.address(family)

    def socket(self, family: Family = 4) -> socket.socket:
        """Make a socket in the pod, non-blocking."""
        kind = socket.AF_INET if family == 4 else socket.AF_INET6
        sock = self.place.run(lambda: socket.socket(kind, socket.SOCK_STREAM))
        sock.setblocking(False)
        return sock

    async def connect(self, address: str, port: int) -> trio.SocketStream:
        """Connect from the pod."""
        sock = trio.socket.from_stdlib_socket(self.socket(6 if ":" in address else 4))
        try:
            await sock.connect((address, port))
        except BaseException:
            sock.close()
            raise
        return trio.SocketStream(sock)

    def listen(self, port: int, family: Family = 4) -> trio.SocketListener:
        """Listen in the pod on all its addresses."""
        sock = self.socket(family)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(("0.0.0.0" if family == 4 else "::", port))
        sock.listen(256)
        return trio.SocketListener(trio.socket.from_stdlib_socket(sock))


class MeshNode:
    """One node: a data plane, and what control would do for it."""

    def __init__(self, mesh: "Mesh", name: str, place: NodePlace) -> None:
        self.mesh = mesh
        self.name = name
        self.place = place
        self.faults: list[Exception] = []
        self.reports: list[Report] = []
        self.refused: list[tuple[str, str]] = []
        self.reactor = Reactor(1 << 20, self.faults.append)
        page = CounterPage(new_page(0))
        self.series = SeriesTable(page, 10_000, lambda made: None)
        self.access_log = AccessLog(4096, "json", lambda lost: None)
        read_end, write_end = os.pipe2(os.O_NONBLOCK)
        self.log_fd = read_end
        self.access_log.attach(write_end)
        buckets = Buckets(memfd.shared("buckets", BUCKETS_BYTES), alone=True)
        self.plane = DataPlane(
            self.reactor, self.series, self.access_log, self._from_plane, buckets=buckets, fd_directory="/proc/self/fd"
        )
        self.plane.hello(Hello(worker=0, workers=1, limits={}))
        self.generation = 0
        self.waiting = ""
        """What pods are told at their gate; empty: they are ready."""
        self.pods: dict[str, MeshPod] = {}

    def _from_plane(self, message: NeedStock | AskGate | Report) -> None:
        if isinstance(message, Report):
            self.reports.append(message)
            return
        if isinstance(message, AskGate):
            word = GateWord(uid=message.uid, waiting=self.waiting)
            self.reactor.soon(lambda: self.plane.gate(word))
            return
        pod = self.pods[message.uid]
        sockets = make_stock(pod.place.namespace.fd, message.role, message.family, message.count)
        stock = Stock(uid=message.uid, role=message.role, family=message.family)
        self.reactor.soon(lambda: self.plane.stock(stock, sockets))

    def apply(self, resources: Sequence[Resource]) -> None:
        """Bring a whole configuration into force."""
        self.generation += 1
        entries = [(resource_key(item), digest(data), data) for item in resources if (data := encode(item))]
        applied = self.plane.update(Update(generation=self.generation, whole=True), entries)
        self.refused = list(applied.refused)

    def capture(self, pod: MeshPod, backend: str = "nft") -> None:
        """Capture a pod as control does."""
        self.pods[pod.name] = pod
        name: Literal["nft", "iptables-nft"] = "nft" if backend == "nft" else "iptables-nft"
        open_backend(name, pod.place.namespace).apply(plan(pod.capture))
        issued = self.mesh.authority.issue(uris=(pod.identity,))
        key_fd = memfd.sealed("key-pair", issued.key_pem + issued.chain_pem)
        self.plane.keys(Keys(identity=pod.identity, chain=issued.chain_pem, not_after_unix_s=0.0), key_fd)
        made = make_listeners(pod.place.namespace.fd, (4, 6))
        listeners = tuple((item.direction, item.family) for item in made)
        message = PodListeners(pod=f"{NAMESPACE}/{pod.name}", uid=pod.name, listeners=listeners)
        self.plane.pod(message, [item.socket for item in made])


@dataclass
class ServiceSpec:
    """A Service of the test mesh: its port, and who stands behind it."""

    name: str
    vips: tuple[str, ...]
    port: int
    backends: tuple[tuple[MeshPod, int], ...]
    protocol: str = "auto"


class Mesh:
    """Nodes and pods; `apply()` compiles what the tests say into resources, by hand."""

    def __init__(self, world: World, nursery: trio.Nursery) -> None:
        self.world = world
        self.nursery = nursery
        self.authority: Authority = root()
        self.nodes: list[MeshNode] = []
        self.pods: list[MeshPod] = []
        self.services: list[ServiceSpec] = []
        self.extra: list[Resource] = []
        self.changes: dict[str, dict[str, object]] = {}
        """Fields of Workload resources that a test sets, by pod name."""

    async def node(self, name: str) -> MeshNode:
        """Add a node and run its data plane."""
        node = MeshNode(self, name, self.world.node(name))
        self.nodes.append(node)
        for task in (node.reactor.run, node.plane.run, node.access_log.run):
            self.nursery.start_soon(task)
        await trio.testing.wait_all_tasks_blocked()
        return node

    def pod(self, node: MeshNode, name: str, *, meshed: bool = True, capture: Capture | None = None) -> MeshPod:
        """Add a pod; it is captured by `apply`."""
        pod = MeshPod(node.place.pod(name), name, node, meshed, capture or Capture())
        self.pods.append(pod)
        return pod

    def service(self, name: str, port: int, *backends: tuple[MeshPod, int], protocol: str = "auto") -> ServiceSpec:
        """Add a Service with addresses of both families."""
        number = len(self.services) + 10
        spec = ServiceSpec(name, (f"10.96.0.{number}", f"fd96::{number}"), port, backends, protocol)
        self.services.append(spec)
        return spec

    def resources(self, node: MeshNode) -> list[Resource]:
        """Return what this node enforces."""
        out: list[Resource] = [
            Node(name=node.name, trust_domain=TRUST_DOMAIN, addresses=tuple(node.place.address(f) for f in (4, 6))),
            TrustBundle(trust_domain=TRUST_DOMAIN, roots=(self.authority.pem_text,)),
            *self.extra,
        ]
        for spec in self.services:
            port = ServicePort(port=spec.port, protocol=spec.protocol)  # type: ignore[arg-type]  # tests say it as text
            out.append(Service(namespace=NAMESPACE, name=spec.name, addresses=spec.vips, ports=(port,)))
            endpoints = tuple(
                Endpoint(
                    address=pod.address(family), port=number, identity=pod.identity if pod.meshed else "",
                    node=pod.node.name, workload=f"{NAMESPACE}/{pod.name}",
                )
                for pod, number in spec.backends
                for family in (4, 6)
            )  # fmt: skip
            out.append(Endpoints(namespace=NAMESPACE, service=spec.name, port=spec.port, endpoints=endpoints))
        out += [self._workload(pod) for pod in self.pods if pod.meshed and pod.node is node]
        return out

    def _workload(self, pod: MeshPod) -> Workload:
        ports = tuple(
            InboundPort(port=number, protocol=spec.protocol, services=(f"{NAMESPACE}/{spec.name}",))  # type: ignore[arg-type]  # as above
            for spec in self.services
            for backend, number in spec.backends
            if backend is pod
        )
        fields: dict[str, object] = {
            "namespace": NAMESPACE, "name": pod.name, "uid": pod.name, "service_account": pod.name,
            "identity": pod.identity, "addresses": (pod.address(4), pod.address(6)), "capture": pod.capture, "ports": ports,
        } | self.changes.get(pod.name, {})  # fmt: skip
        return Workload(**fields)  # type: ignore[arg-type]  # a builder of tests

    def apply(self) -> None:
        """Bring everything into force and capture pods that are not yet."""
        for node in self.nodes:
            node.apply(self.resources(node))
            for pod in self.pods:
                if pod.node is node and pod.meshed and pod.name not in node.pods:
                    node.capture(pod)


@asynccontextmanager
async def running_mesh() -> AsyncIterator[Mesh]:
    """Run a mesh; faults of any callback fail the test."""
    with World() as world:
        async with trio.open_nursery() as nursery:
            mesh = Mesh(world, nursery)
            yield mesh
            nursery.cancel_scope.cancel()
        for node in mesh.nodes:
            node.reactor.close()
        faults = [fault for node in mesh.nodes for fault in node.faults]
        if faults:
            raise ExceptionGroup("callbacks failed", faults)


async def serve_each(listener: trio.SocketListener, handler: Callable[[trio.SocketStream], Awaitable[None]]) -> None:
    """Serve connections until cancelled; resets end their own connection only."""

    async def guarded(stream: trio.SocketStream) -> None:
        try:
            await handler(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            await stream.aclose()

    await trio.serve_listeners(guarded, [listener])


DEFAULTS = DEFAULT_LIMITS
