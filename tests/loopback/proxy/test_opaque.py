"""Connections into a pod, without namespaces: what they share, what is released at their end, what a new policy does."""

import random
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
import trio

from weft_agent.channel import memfd
from weft_agent.channel.layout import BUCKETS_BYTES
from weft_agent.channel.messages import Hello, Update
from weft_agent.proxy.context import Context
from weft_agent.proxy.dataplane import DRAIN_POLL_S, DataPlane
from weft_agent.proxy.inbound import Entrance, _Held
from weft_agent.proxy.inbound_door import plaintext_facts
from weft_agent.proxy.meter import Party
from weft_agent.proxy.opaque import OpaqueFlow
from weft_agent.proxy.outbound import ATTEMPTS, Leaving
from weft_agent.proxy.pod import Pod
from weft_agent.reactor import Reactor, TcpEnd
from weft_agent.telemetry.access_log import AccessLog
from weft_agent.telemetry.counters import CounterPage, new_page
from weft_agent.telemetry.series import SeriesTable
from weft_agent.worker.buckets import Buckets
from weft_contract.codec import digest, encode
from weft_contract.resources import Resource, Workload, resource_key
from weft_core.decision import Denied
from weft_core.errors import TunnelDrainedError, TunnelLostError, WeftError
from weft_core.policy.egress import leave
from weft_core.snapshot.destination import classify
from weft_testing.node_resources import NODE, workload
from weft_testing.reactor import LIMITS, running_reactor, tcp_pair, until

ADDRESS, PORT = "127.0.0.1", 8080
CALLER = Party("web", "shop", "", "web", "v1")


@dataclass
class Scene:
    """A pod in a data plane."""

    reactor: Reactor
    plane: DataPlane
    pod: Pod
    series: list[tuple[str, dict[str, str], int]] = field(default_factory=list)
    generation: int = 0
    sockets: list[socket.socket] = field(default_factory=list)
    """The other ends, closed at the end."""

    @property
    def context(self) -> Context:
        return self.plane._context

    def apply(self, *resources: Resource) -> None:
        self.generation += 1
        entries = [(resource_key(item), digest(data), data) for item in resources if (data := encode(item))]
        applied = self.plane.update(Update(generation=self.generation, whole=True), entries)
        assert not applied.refused
        self.pod.bind(self.context.snapshot.local(ADDRESS))

    def counted(self, name: str) -> int:
        cells = self.context.series.cells
        return sum(cells[index] for family, labels, index in self.series if family == name)

    def entrance(self, down: socket.socket) -> tuple[Entrance, TcpEnd]:
        """Let a connection arrive."""
        end = TcpEnd(self.reactor, down, LIMITS, downstream=True)
        self.pod.connections += 1
        entrance = Entrance(
            context=self.context, pod=self.pod, end=end, facts=plaintext_facts("10.0.0.9", ADDRESS, PORT, False),
            caller=CALLER, noted=self.pod.back_ports.note("10.0.0.9", 20_001, PORT), accepted=None,
            refused=lambda why: end.abort(),
        )  # fmt: skip
        return entrance, end

    def join(self) -> tuple[socket.socket, socket.socket]:
        """Join a caller with an application; return their ends."""
        client, down = tcp_pair()
        up, server = tcp_pair()
        self.sockets += [client, server]
        entrance, end = self.entrance(down)
        end.start(_Held(entrance))
        application = TcpEnd(self.reactor, up, LIMITS, downstream=False)
        application.start(_Held(entrance))
        entrance.join(leave(), application, self.pod.back_ports.choose("10.0.0.9", PORT), b"")
        return client, server


@asynccontextmanager
async def running_scene() -> AsyncIterator[Scene]:
    made: list[tuple[str, dict[str, str], int]] = []

    def announce(message: Any) -> None:
        made.extend((series.family, dict(series.labels), series.index) for series in message.series)

    async with running_reactor() as reactor:
        series = SeriesTable(CounterPage(new_page(0)), 10_000, announce)
        log = AccessLog(64, "json", lambda lost: None)
        buckets = Buckets(memfd.shared("buckets", BUCKETS_BYTES), alone=True)
        plane = DataPlane(reactor, series, log, lambda message: None, buckets=buckets, fd_directory="/proc/self/fd")
        plane.hello(Hello(worker=0, workers=1, limits={}))
        pod = Pod("shop/b", "uid-b", reactor, LIMITS, lambda message: None, random.Random(1))
        scene = Scene(reactor, plane, pod, made)
        scene.apply(*configuration())
        assert pod.table is not None
        yield scene
        for flow in list(plane._context.flows):
            flow.cut(WeftError("over"))
        for sock in scene.sockets:
            sock.close()


def configuration(**changes: Any) -> Sequence[Resource]:
    pod: Workload = msgspec.structs.replace(workload("b", ADDRESS), mtls="PERMISSIVE", **changes)
    return NODE, pod


def flow_of(scene: Scene) -> OpaqueFlow:
    (flow,) = scene.context.flows
    assert isinstance(flow, OpaqueFlow)
    return flow


@pytest.mark.trio
async def test_what_a_connection_took_is_released_at_its_end() -> None:
    async with running_scene() as scene:
        client, server = scene.join()
        assert len(scene.pod.back_ports._live) == 2
        client.send(b"ping")
        await until(lambda: bool(scene.context.flows) and flow_of(scene).relay.bytes_received == 4)
        assert server.recv(10) == b"ping"
        assert scene.pod.connections == 1
        client.close()
        server.close()
        await until(lambda: not scene.context.flows)
        assert scene.pod.connections == 0
        assert scene.pod.back_ports._live == set()
        scene.context.series.flush()
        assert scene.counted("istio_tcp_connections_opened_total") == 1
        assert scene.counted("istio_tcp_connections_closed_total") == 1
        assert scene.counted("istio_tcp_received_bytes_total") == 4


@pytest.mark.trio
async def test_connections_of_a_caller_share_what_they_have_in_common() -> None:
    async with running_scene() as scene:
        for _ in range(2):
            scene.join()
        first, second = (flow for flow in scene.context.flows if isinstance(flow, OpaqueFlow))
        assert first._views is second._views
        assert first._facts is second._facts
        assert first._where() == ("10.0.0.9", f"{ADDRESS}:{PORT}", f"{ADDRESS}:{PORT}")


@pytest.mark.trio
async def test_a_policy_that_refuses_cuts_what_lives() -> None:
    async with running_scene() as scene:
        client, _ = scene.join()
        flow = flow_of(scene)
        flow.recheck()
        assert scene.context.flows == {flow}
        scene.apply(*configuration(policies=("shop/missing",)))
        flow.recheck()
        assert scene.context.flows == set()
        assert scene.pod.connections == 0
        with pytest.raises(ConnectionResetError):
            client.recv(1)


@pytest.mark.trio
async def test_http_connections_of_a_caller_share_their_admission_and_renew_it() -> None:
    async with running_scene() as scene:
        for _ in range(2):
            client, down = tcp_pair()
            scene.sockets.append(client)
            entrance, end = scene.entrance(down)
            end.start(_Held(entrance))
            entrance.http(b"")
        (admission,) = scene.pod.callers.values()
        assert admission.pod is scene.pod
        assert not isinstance(admission.renew(), Denied)
        scene.apply(*configuration(policies=("shop/missing",)))
        assert scene.pod.callers == {}, "what was remembered of an old configuration goes with it"
        policy = admission.renew()
        assert isinstance(policy if isinstance(policy, Denied) else policy.tcp(), Denied)


# -- leaving ----------------------------------------------------------------------------------------------------------


def leaving(scene: Scene, listener: socket.socket) -> tuple[Leaving, socket.socket]:
    """Let a connection leave that waits for a socket of its pod, as others wait for a tunnel."""
    where: tuple[str, int] = listener.getsockname()
    client, down = tcp_pair()
    scene.sockets.append(client)
    end = TcpEnd(scene.reactor, down, LIMITS, downstream=True)
    scene.pod.connections += 1
    destination = classify(scene.context.snapshot, *where)
    return Leaving(scene.context, scene.pod, scene.plane._tunnels, end, where, destination, "10.0.0.9"), client


def give_socket(scene: Scene, attempts: int = 1) -> None:
    """Give a socket to each attempt that waits; one that was given up closes its own."""
    stock = [socket.socket() for _ in range(attempts)]
    for sock in stock:
        sock.setblocking(False)
    scene.pod.add_stock("upstream", 4, stock)


async def accepted(listener: socket.socket) -> socket.socket:
    listener.settimeout(5)
    return await trio.to_thread.run_sync(lambda: listener.accept()[0])


def lose(connection: Leaving, error: WeftError) -> None:
    """Let its attempt fail."""
    assert connection._reach is not None
    connection._reach.cancel()
    connection._not_reached(error)


@pytest.mark.trio
async def test_the_only_endpoint_is_reached_again_where_just_the_tunnel_to_it_drained() -> None:
    """An agent that is replaced says GOAWAY; a stream that was on its way then was acted on by nobody."""
    async with running_scene() as scene:
        with socket.create_server(("127.0.0.2", 0)) as listener:
            connection, client = leaving(scene, listener)
            client.send(b"\0ask")
            await until(lambda: connection._opaque)
            lose(connection, TunnelDrainedError("drains"))
            assert not scene.context.states, "nobody was at fault"
            give_socket(scene, 2)
            server = await accepted(listener)
            scene.sockets.append(server)
        await until(lambda: bool(scene.context.flows) and flow_of(scene).relay.bytes_received == 4)
        assert server.recv(10) == b"\0ask"


@pytest.mark.trio
@pytest.mark.parametrize(("error", "tries"), [(TunnelDrainedError("drains"), ATTEMPTS), (TunnelLostError("lost"), 1)])
async def test_after_some_tries_the_caller_is_told(error: WeftError, tries: int) -> None:
    async with running_scene() as scene:
        with socket.create_server(("127.0.0.2", 0)) as listener:
            connection, client = leaving(scene, listener)
            client.send(b"\0ask")
            await until(lambda: connection._opaque)
            for _ in range(tries):
                lose(connection, error)
            assert connection._reach is None
            with pytest.raises(ConnectionResetError):
                client.recv(1)
            assert scene.pod.connections == 0


# -- draining ---------------------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_a_drain_waits_for_a_connection_on_which_nobody_has_spoken_yet() -> None:
    """It was no flow yet, so the worker ended as if nothing were alive, and the caller's first request was answered by a FIN."""
    async with running_scene() as scene, trio.open_nursery() as nursery:
        scene.context.pods[scene.pod.uid] = scene.pod
        over = trio.Event()

        async def drain() -> None:
            assert await scene.plane.drain(5) == 0
            over.set()

        with socket.create_server(("127.0.0.2", 0)) as listener:
            _, client = leaving(scene, listener)
            give_socket(scene)
            server = await accepted(listener)
            scene.sockets.append(server)
            nursery.start_soon(drain)
            await until(lambda: scene.context.draining)
            await trio.sleep(3 * DRAIN_POLL_S)
            assert not over.is_set()
            client.send(b"\0ask")
            await until(lambda: bool(scene.context.flows) and flow_of(scene).relay.bytes_received == 4)
            assert server.recv(10) == b"\0ask"
            client.close()
            server.close()
            with trio.fail_after(5):
                await over.wait()


@pytest.mark.trio
async def test_a_session_that_begins_during_a_drain_answers_one_request() -> None:
    """It was told nothing, and lived on until the drain's limit, which closed it as its next request came."""
    async with running_scene() as scene:
        scene.apply(*configuration(policies=("shop/missing",)))
        scene.context.draining = True
        client, down = tcp_pair()
        scene.sockets.append(client)
        entrance, end = scene.entrance(down)
        end.start(_Held(entrance))
        entrance.http(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await until(lambda: not scene.context.flows)
        assert b"connection: close" in client.recv(65_536).lower()


@pytest.mark.trio
async def test_a_connection_to_the_outside_is_joined_counted_and_released() -> None:
    async with running_scene() as scene:
        with socket.create_server(("127.0.0.2", 0)) as listener:
            where: tuple[str, int] = listener.getsockname()
            _, client = leaving(scene, listener)
            give_socket(scene)
            client.send(b"\0ask")
            server = await accepted(listener)
            scene.sockets.append(server)
        await until(lambda: bool(scene.context.flows))
        flow = flow_of(scene)
        assert flow._where()[:2] == ("10.0.0.9", f"{where[0]}:{where[1]}")
        assert flow._standing() is None, "nothing is authorised on this side"
        await until(lambda: flow.relay.bytes_received == 4)
        assert server.recv(10) == b"\0ask"
        server.send(b"answer")
        await until(lambda: flow.relay.bytes_sent == 6)
        assert client.recv(10) == b"answer"
        client.close()
        server.close()
        await until(lambda: not scene.context.flows)
        assert scene.pod.connections == 0
        assert scene.pod.back_ports._live == set()
