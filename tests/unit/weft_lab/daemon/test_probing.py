"""Probes as a kubelet sends them, over real sockets of this machine's loopback."""

import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from weft_lab.daemon.probing import USER_AGENT, ProbeFailedError, Target, run, send
from weft_lab.model import Container, Probe
from weft_lab.model.pod import ContainerPort, HttpGet, HttpHeader, TcpSocket


@contextmanager
def server(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Listen on loopback and let `answer` talk to each caller."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    try:
                        answer(connection)
                    except OSError:
                        pass  # the probe hung up first

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def http(port: int, **fields: object) -> Target:
    probe = Probe(http_get=HttpGet(port=port, **fields))  # type: ignore[arg-type]  # fields of the action
    return Target("127.0.0.1", probe, Container(name="m", ports=(ContainerPort(container_port=port, name="http"),)))


def replying(text: bytes, seen: list[bytes] | None = None) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        request = connection.recv(65536)
        if seen is not None:
            seen.append(request)
        connection.sendall(text)

    return answer


@pytest.mark.parametrize("status", [200, 204, 302, 399])
def test_good_statuses(status: int) -> None:
    with server(replying(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)) as port:
        send(http(port))


@pytest.mark.parametrize("status", [100, 199, 400, 404, 500, 503])
def test_bad_statuses(status: int) -> None:
    with (
        server(replying(b"HTTP/1.1 %d X\r\n\r\n" % status)) as port,
        pytest.raises(ProbeFailedError, match=str(status)),
    ):
        send(http(port))


@pytest.mark.parametrize("text", [b"", b"hello\r\n", b"HTTP/1.1 abc\r\n", b"SSH-2.0-x\r\n\r\n", b"x" * 70_000])
def test_what_is_no_http(text: bytes) -> None:
    with server(replying(text)) as port, pytest.raises(ProbeFailedError, match="not HTTP"):
        send(http(port))


def test_the_request_is_a_kubelets_with_the_users_fields() -> None:
    seen: list[bytes] = []
    headers = (HttpHeader(name="X-A", value="1"), HttpHeader(name="Host", value="shop"))
    with server(replying(b"HTTP/1.1 200 OK\r\n\r\n", seen)) as port:
        send(http(port, path="healthz?full=1", http_headers=headers))
    lines = seen[0].decode().split("\r\n")
    assert lines[0] == "GET /healthz?full=1 HTTP/1.1"
    assert {"X-A: 1", "Host: shop", f"User-Agent: {USER_AGENT}", "Connection: close"} <= set(lines)
    assert sum(line.lower().startswith("host:") for line in lines) == 1


def test_ports_by_name() -> None:
    with server(replying(b"HTTP/1.1 200 OK\r\n\r\n")) as port:
        target = http(port)
        send(Target(target.address, Probe(http_get=HttpGet(port="http")), target.container))


def test_a_server_that_trickles_is_cut_off_when_the_time_is_over() -> None:
    stop = threading.Event()

    def trickle(connection: socket.socket) -> None:
        while not stop.wait(0.05):
            connection.sendall(b"H")

    with server(trickle) as port:
        try:
            with pytest.raises(TimeoutError):
                send(http(port))
        finally:
            stop.set()


def test_a_closed_port_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        send(http(port))


def test_a_tcp_probe_only_connects() -> None:
    seen: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    with server(lambda connection: seen.put(connection.recv(10))) as port:
        send(Target("127.0.0.1", Probe(tcp_socket=TcpSocket(port=port)), Container(name="m")))
        assert seen.get(timeout=5) == b""


def python(code: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", code])


def test_commands_decide_by_their_status() -> None:
    run(python("pass"), 20)
    with pytest.raises(ProbeFailedError, match="status 3"):
        run(python("raise SystemExit(3)"), 20)


def test_a_command_that_hangs_is_killed() -> None:
    process = python("import threading; threading.Event().wait(60)")
    with pytest.raises(ProbeFailedError, match="timed out"):
        run(process, 0.1)
    assert process.returncode is not None
