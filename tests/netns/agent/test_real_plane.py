"""The agent with its real data plane: an application behind a captured pod is reached, sees its client, and is counted."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from weft_agent.__main__ import CONTROL
from weft_contract.resources import InboundPort, Telemetry
from weft_testing.agent_process import until
from weft_testing.served_node import APP_PORT, ServedNode

pytestmark = pytest.mark.netns


class App:
    """An HTTP server of a few lines that answers with its peer's address."""

    def __init__(self, node: ServedNode) -> None:
        self._listener = node.server.run(lambda: socket.create_server(("0.0.0.0", APP_PORT)))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, peer = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                connection.recv(65536)
                body = peer[0].encode()
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (len(body), body)
                )

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ServedNode]:
    with ServedNode(tmp_path, control=CONTROL) as node:
        app = App(node)
        ports = (InboundPort(port=APP_PORT, protocol="http"),)
        node.configure(node.workload(node.server, ports=ports), Telemetry(access_log="all"))
        node.agent.until_ready()
        yield node
        app.close()


def get(node: ServedNode) -> bytes:
    with node.dial(node.server) as sock:
        sock.sendall(b"GET /path?secret=1 HTTP/1.1\r\nHost: server\r\nConnection: close\r\n\r\n")
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
        return answer


def test_a_request_arrives_with_its_clients_address_and_is_counted_and_logged(served: ServedNode) -> None:
    for _ in range(5):
        answer = get(served)
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(served.client.address(4).encode())
    until(
        lambda: served.agent.metric("istio_requests_total", reporter="destination", response_code="200") == 5,
        "five requests are counted",
    )
    until(
        lambda: served.agent.metric("weft_connections_active", direction="inbound", protocol="http") == 0,
        "connections that ended are counted so",
    )
    assert served.agent.metric("weft_connections_total", direction="inbound", protocol="http") == 5
    with served.dial(served.server) as held:
        held.sendall(b"GET / HTTP/1.1\r\nHost: server\r\n\r\n")
        until(
            lambda: served.agent.metric("weft_connections_active", direction="inbound", protocol="http") == 1,
            "an open connection is counted",
        )
    until(lambda: sum(event.get("log") == "access" for event in served.agent.events()) >= 5, "five lines are logged")
    line = next(event for event in served.agent.events() if event.get("log") == "access")
    assert line["path"] == "/path"
    assert line["status"] == 200
    assert line["source_address"].startswith(served.client.address(4))


def test_requests_flow_while_every_process_is_replaced_in_turn(served: ServedNode) -> None:
    for pid in [*served.agent.worker_pids(), served.agent.control_pid]:
        os.kill(pid, signal.SIGKILL)
        assert get(served).startswith(b"HTTP/1.1 200")
        served.agent.until_ready()
        assert get(served).startswith(b"HTTP/1.1 200")
