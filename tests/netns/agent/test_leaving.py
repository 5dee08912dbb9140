"""Pods that join and leave the mesh while they are at work: no connection is cut on either way, for as long as we wait."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from weft_agent.__main__ import CONTROL
from weft_contract.resources import InboundPort
from weft_testing.agent_process import until
from weft_testing.capture_world import PORT, Echo, dial, greeting
from weft_testing.netns import Pod
from weft_testing.served_node import ServedNode

pytestmark = pytest.mark.netns

FLAGS = ("--limit", "drain_timeout_s=3")


class Talk:
    """A connection to the server's application that is used now and then."""

    def __init__(self, node: ServedNode, family: int = 4) -> None:
        address = node.server.address(4 if family == 4 else 6)
        self._sock: socket.socket = dial(node.client, address, PORT)
        self.peer = greeting(self._sock)["peer"]

    def goes_on(self) -> bool:
        self._sock.sendall(b"still there")
        return self._sock.recv(100) == b"still there"

    def is_over(self) -> bool:
        try:
            self._sock.sendall(b"?")
            return not self._sock.recv(100)
        except OSError:
            return True

    def close(self) -> None:
        self._sock.close()


@pytest.fixture(params=["nft", "iptables"])
def node(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ServedNode]:
    with ServedNode(tmp_path, control=CONTROL, arguments=(*FLAGS, "--backend", str(request.param))) as made:
        echo = Echo(made.server, PORT)
        yield made
        echo.close()


def join(node: ServedNode) -> None:
    node.configure(node.workload(node.server, ports=(InboundPort(port=PORT, protocol="tcp"),)))
    node.agent.until_ready()


def carried_so_far(node: ServedNode) -> float:
    return node.agent.metric("istio_tcp_connections_opened_total", reporter="destination")


def rules(node: ServedNode) -> str:
    return node.server.shell("nft list ruleset; iptables-legacy-save 2>/dev/null; true")


@pytest.mark.parametrize("family", [4, 6])
def test_connections_older_than_the_capture_go_on_and_new_ones_are_captured(node: ServedNode, family: int) -> None:
    old = Talk(node, family)
    join(node)
    assert old.goes_on()
    new = Talk(node, family)
    assert new.goes_on()
    assert node.agent.until_event("pod-captured")["kept"] >= 1
    until(lambda: carried_so_far(node) == 1, "only the new one is carried")
    for talk in (old, new):
        talk.close()


@pytest.mark.parametrize("family", [4, 6])
def test_a_pod_that_leaves_keeps_its_connections_until_they_end(node: ServedNode, family: int) -> None:
    join(node)
    carried = Talk(node, family)
    assert carried.goes_on()
    node.configure()
    until(lambda: node.pod_state("server")["state"] == "leaving", "the pod leaves")
    assert carried.goes_on()

    def passes() -> bool:
        before = carried_so_far(node)
        with dial(node.client, node.server.address(4 if family == 4 else 6), PORT) as sock:
            return bool(greeting(sock)) and carried_so_far(node) == before

    until(passes, "new connections go past the agent")
    assert carried.goes_on()
    carried.close()
    until(lambda: not node.pod_state("server"), "the pod is gone when its last connection is")
    assert "weft" not in rules(node)
    direct = Talk(node, family)
    assert direct.goes_on()
    direct.close()


def test_a_connection_that_never_ends_is_waited_for_only_so_long(node: ServedNode) -> None:
    join(node)
    carried = Talk(node)
    node.configure()
    until(lambda: node.pod_state("server")["state"] == "leaving", "the pod leaves")
    until(lambda: not node.pod_state("server"), "the pod is gone all the same", patience_s=10)
    assert "weft" not in rules(node)
    assert carried.is_over()
    carried.close()


class Kept(BaseHTTPRequestHandler):
    """Answers, and keeps the connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def web(pod: Pod) -> Iterator[None]:
    server = pod.run(lambda: ThreadingHTTPServer(("0.0.0.0", PORT), Kept))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def get(sock: socket.socket) -> int:
    sock.sendall(b"GET / HTTP/1.1\r\nHost: server\r\n\r\n")
    answer = HTTPResponse(sock)
    answer.begin()
    answer.read()
    return answer.status


def test_connections_that_only_rest_hold_no_pod_back(tmp_path: Path) -> None:
    """Kept for the next request, by the caller, by the agent and by the application: closed at once, not after minutes."""
    flags = ("--limit", "drain_timeout_s=60,drain_rest_s=0.2")
    with ServedNode(tmp_path, control=CONTROL, arguments=flags) as node, web(node.server):
        workload = node.workload(node.server, ports=(InboundPort(port=PORT, protocol="http"),))
        other = node.workload(node.client)
        node.configure(workload, other)
        node.agent.until_ready()
        with dial(node.client, node.server.address(4), PORT) as sock:
            assert get(sock) == 200
            node.configure(other)
            until(lambda: not node.pod_state("server"), "the pod has left", patience_s=10)
        assert "weft" not in rules(node)
        with dial(node.client, node.server.address(4), PORT) as sock:
            assert get(sock) == 200
        node.configure()
        until(lambda: not node.pod_state("client"), "the caller has left too", patience_s=10)


def test_a_pod_that_changes_its_mind_is_captured_again(node: ServedNode) -> None:
    join(node)
    carried = Talk(node)
    node.configure()
    until(lambda: node.pod_state("server")["state"] == "leaving", "the pod leaves")
    before = carried_so_far(node)
    join(node)
    assert node.pod_state("server")["state"] == "captured"
    new = Talk(node)
    assert new.goes_on()
    until(lambda: carried_so_far(node) > before, "it is captured")
    for talk in (carried, new):
        talk.close()
