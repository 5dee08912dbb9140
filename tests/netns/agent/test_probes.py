"""Probes as a kubelet sends them, from the node's own address, under STRICT and default deny; and what is no probe, refused."""

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest

from weft_agent.__main__ import CONTROL
from weft_contract.resources import Node, Probe
from weft_testing.capture_world import dial
from weft_testing.netns import Family
from weft_testing.served_node import ServedNode

pytestmark = pytest.mark.netns

HTTP, TCP, GRPC = 8080, 8081, 9000
CHECK = "/grpc.health.v1.Health/Check"


class App:
    """Serves until closed: one thread for each port, one connection at a time."""

    def __init__(self, node: ServedNode, port: int, serve: Callable[[socket.socket], None]) -> None:
        self.accepted = 0
        self._serve = serve
        self._listener = node.server.run(
            lambda: socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            with connection:
                connection.settimeout(5)
                try:
                    self._serve(connection)
                except OSError:
                    continue

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


def answer_http(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")


def hold(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def answer_health(connection: socket.socket) -> None:
    link = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    link.initiate_connection()
    connection.sendall(link.data_to_send())
    while data := connection.recv(65536):
        for event in link.receive_data(data):
            if isinstance(event, h2.events.StreamEnded) and event.stream_id is not None:
                link.send_headers(event.stream_id, [(":status", "200"), ("content-type", "application/grpc")])
                link.send_data(event.stream_id, bytes([0, 0, 0, 0, 2, 8, 1]))
                link.send_headers(event.stream_id, [("grpc-status", "0")], end_stream=True)
        connection.sendall(link.data_to_send())


class Probed:
    def __init__(self, node: ServedNode) -> None:
        self.node = node
        self.apps = {
            HTTP: App(node, HTTP, answer_http),
            TCP: App(node, TCP, hold),
            GRPC: App(node, GRPC, answer_health),
        }
        gateways = tuple(node.place.gateways.values())
        probes = (
            Probe(kind="http", port=HTTP, path="/ready"),
            Probe(kind="tcp", port=TCP),
            Probe(kind="grpc", port=GRPC, path=""),
        )
        workload = node.workload(node.server, mtls="STRICT", probes=probes)
        node.configure(Node(name="n1", trust_domain="cluster.local", addresses=gateways), workload)
        node.agent.until_ready()

    def dial(self, port: int, family: Family, *, by_node: bool = True) -> socket.socket:
        place = self.node.place if by_node else self.node.client
        return dial(place, self.node.server.address(family), port)

    def http(self, path: str, family: Family, **options: Any) -> bytes:
        with self.dial(HTTP, family, **options) as sock:
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n".encode())
            return heard(sock)

    def call(self, path: str, family: Family, calls: int = 1, **options: Any) -> list[str]:
        """Call by gRPC as a kubelet's client does: settings first, the call once the server's have come."""
        link = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        link.initiate_connection()
        statuses: list[str] = []
        with self.dial(GRPC, family, **options) as sock:
            sock.sendall(link.data_to_send())
            started = 0
            try:
                while len(statuses) < calls and (data := sock.recv(65536)):
                    for event in link.receive_data(data):
                        if isinstance(event, h2.events.TrailersReceived) and event.headers is not None:
                            statuses += [str(value) for name, value in event.headers if str(name) == "grpc-status"]
                    if started == len(statuses) and started < calls:
                        stream = link.get_next_available_stream_id()
                        link.send_headers(stream, [(":method", "POST"), (":scheme", "http"), (":path", path),
                                                   (":authority", "pod"), ("content-type", "application/grpc"),
                                                   ("te", "trailers")])  # fmt: skip
                        link.send_data(stream, bytes(5), end_stream=True)
                        started += 1
                    sock.sendall(link.data_to_send())
            except ConnectionError:
                return statuses
        return statuses

    def close(self) -> None:
        for app in self.apps.values():
            app.close()


def heard(sock: socket.socket) -> bytes:
    data = b""
    try:
        while piece := sock.recv(65536):
            data += piece
    except ConnectionError:
        pass
    return data


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probed]:
    with ServedNode(tmp_path_factory.mktemp("probed"), control=CONTROL) as node:
        made = Probed(node)
        yield made
        made.close()


FAMILIES: list[Family] = [4, 6]


@pytest.mark.parametrize("family", FAMILIES)
def test_an_http_probe_passes_and_other_requests_of_the_node_do_not(probed: Probed, family: Family) -> None:
    assert probed.http("/ready", family).endswith(b"ok")
    assert b"200 OK" not in probed.http("/secret", family)
    assert b"200 OK" not in probed.http("/ready", family, by_node=False)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tcp_probe_reaches_the_application_and_bytes_do_not(probed: Probed, family: Family) -> None:
    app = probed.apps[TCP]
    before = app.accepted
    with probed.dial(TCP, family):
        pass
    with probed.dial(TCP, family) as sock:
        sock.sendall(b"anything")
        assert heard(sock) == b""
    assert app.accepted >= before


@pytest.mark.parametrize("family", FAMILIES)
def test_a_grpc_probe_passes_and_no_other_call_does(probed: Probed, family: Family) -> None:
    assert probed.call(CHECK, family) == ["0"]
    assert probed.call("/shop.Admin/Drop", family) == []
    assert probed.call(CHECK, family, by_node=False) == []


def test_a_second_call_on_a_probes_connection_is_refused(probed: Probed) -> None:
    assert probed.call(CHECK, 4, calls=2) == ["0"]


def test_http_1_on_a_grpc_probes_port_is_refused(probed: Probed) -> None:
    with probed.dial(GRPC, 4) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n")
        assert not heard(sock).startswith(b"HTTP/1.1 200")
