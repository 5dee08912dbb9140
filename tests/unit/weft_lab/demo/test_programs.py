"""The demo programs as processes on this machine's loopback: servers, clients, and how they end."""

import http.client
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from weft_testing.lab import python_path

TIMEOUT_S = 20.0


def start(*words: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "weft_lab.demo", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": python_path(), "POD_NAME": "web-0", "NODE_NAME": "node-1"},
    )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def running(program: str, *words: str) -> Iterator[int]:
    """Run a server; its first line says that it listens."""
    port = free_port()
    process = start(program, "--port", str(port), *words)
    try:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield port
        process.terminate()
        assert process.wait(TIMEOUT_S) == 0
    finally:
        process.kill()
        process.communicate()


def run(*words: str, text: bytes = b"") -> tuple[int, str, str]:
    process = start(*words)
    out, err = process.communicate(text, TIMEOUT_S)
    return process.returncode, out.decode(), err.decode()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running("serve") as number:
        yield number


@pytest.fixture
def connection(port: int) -> Iterator[http.client.HTTPConnection]:
    made = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    yield made
    made.close()


def test_it_says_who_it_is_and_what_it_sees_over_one_connection(connection: http.client.HTTPConnection) -> None:
    ports = set()
    for number in range(3):
        connection.request("GET", f"/a{number}?b", headers={"X-A": "1"})
        told = json.loads(connection.getresponse().read())
        assert (told["pod"], told["node"], told["peer"], told["path"]) == (
            "web-0",
            "node-1",
            "127.0.0.1",
            f"/a{number}?b",
        )
        assert told["headers"]["x-a"] == "1"
        ports.add(told["peerPort"])
    assert ports == {connection.sock.getsockname()[1]}


@pytest.mark.parametrize("path", ["/bytes/300000", "/chunked/300000"])
def test_bodies_of_a_length(connection: http.client.HTTPConnection, path: str) -> None:
    connection.request("GET", path)
    response = connection.getresponse()
    assert (response.getheader("transfer-encoding") == "chunked") == path.startswith("/chunked")
    assert len(response.read()) == 300_000


def test_head_has_a_length_and_no_body(connection: http.client.HTTPConnection) -> None:
    connection.request("HEAD", "/bytes/100")
    response = connection.getresponse()
    assert (response.getheader("content-length"), response.read()) == ("100", b"")
    connection.request("GET", "/status/204")
    assert connection.getresponse().read() == b""


def test_the_body_comes_back(connection: http.client.HTTPConnection) -> None:
    body = os.urandom(3_000_000)
    connection.request("POST", "/echo", body=body, headers={"Content-Type": "x/y"})
    response = connection.getresponse()
    assert response.getheader("content-type") == "x/y"
    assert response.read() == body
    connection.request(
        "POST", "/echo", body=iter([b"ab", b"cd"]), encode_chunked=True, headers={"Transfer-Encoding": "chunked"}
    )
    assert connection.getresponse().read() == b"abcd"


def test_expect_continue_is_answered(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as raw:
        raw.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert raw.recv(1000).startswith(b"HTTP/1.1 100")
        raw.sendall(b"ok")
        assert raw.recv(1000).startswith(b"HTTP/1.1 200")


def test_close_and_abort(port: int) -> None:
    for path, last in (("/close", b"HTTP/1.1 200"), ("/abort", b"")):
        with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as raw:
            raw.sendall(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode())
            got = b""
            try:
                while data := raw.recv(65536):
                    got += data
            except ConnectionResetError:
                assert path == "/abort"
            assert got.startswith(last)


def test_upgrades_echo_bytes(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as raw:
        raw.sendall(b"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nearly")
        got = b""
        while not got.endswith(b"early"):
            got += raw.recv(1000)
        assert got.startswith(b"HTTP/1.1 101 ")
        raw.sendall(b"\0\1\2")
        assert raw.recv(10) == b"\0\1\2"


@pytest.mark.parametrize(
    "request_text",
    [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n"],
)
def test_broken_requests_are_refused_and_the_server_lives(port: int, request_text: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as raw:
        raw.sendall(request_text)
        assert raw.recv(1000).startswith(b"HTTP/1.1 4")


def test_a_stopping_server_finishes_what_is_under_way() -> None:
    port = free_port()
    process = start("serve", "--port", str(port))
    assert process.stdout is not None
    assert process.stdout.readline()
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as raw:
        raw.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert raw.recv(1000).startswith(b"HTTP/1.1 100")
        process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.2)
        raw.sendall(b"ok")
        got = b""
        while data := raw.recv(1000):
            got += data
        assert got.endswith(b"ok")
        assert b"connection: close" in got.lower()
    assert process.wait(TIMEOUT_S) == 0
    process.communicate()


def test_get_prints_status_and_body_and_ends_like_curl(port: int) -> None:
    status, out, _ = run(
        "get", f"http://127.0.0.1:{port}/x", f"http://127.0.0.1:{port}/status/503", "-H", "X-A: 2", "-n", "2"
    )
    assert status == 0
    assert out.count("HTTP 200 OK") == 2
    assert out.count("HTTP 503 Service Unavailable") == 2
    assert '"x-a": "2"' in out
    assert run("get", "-f", f"http://127.0.0.1:{port}/status/404")[0] == 22
    assert run("get", f"http://127.0.0.1:{free_port()}/")[0] == 7
    assert run("get", "ftp://x/")[0] == 2
    assert run("get", "-H", "nonsense", f"http://127.0.0.1:{port}/")[0] == 2


def test_get_sends_bodies_and_methods(port: int) -> None:
    status, out, _ = run("get", "-d", "hello", "-i", f"http://127.0.0.1:{port}/echo")
    assert status == 0
    assert "content-length: 5" in out
    assert out.endswith("hello\n")
    assert '"method": "PUT"' in run("get", "-X", "PUT", f"127.0.0.1:{port}/")[1]


def test_load_keeps_its_rate_and_counts(port: int) -> None:
    status, out, _ = run("load", "--rps", "100", "--duration", "0.5", f"http://127.0.0.1:{port}/")
    found = json.loads(out)
    assert status == 0
    assert found["requests"] == 50
    assert found["statuses"] == {"200": 50}
    assert set(found["latencyMs"]) == {"p50", "p90", "p99"}
    assert 0 < found["longestGapMs"] < 500


def test_load_counts_what_goes_unanswered() -> None:
    status, out, _ = run("load", "--rps", "50", "--duration", "0.1", f"http://127.0.0.1:{free_port()}/")
    assert status == 1
    found = json.loads(out)
    assert found["errors"] == {"ConnectionRefusedError": 5}
    assert found["longestGapMs"] == pytest.approx(found["seconds"] * 1000, abs=1), "nothing answered is one gap"


def test_tcp_echo_and_its_client() -> None:
    with running("tcp-echo", "--banner", "hi") as port:
        status, out, _ = run("tcp", "127.0.0.1", str(port), text=b"some\nlines\n")
        assert (status, out) == (0, "hi\nsome\nlines\n")
    with running("tcp-echo") as port:
        assert run("tcp", "127.0.0.1", str(port), "--send", "x")[:2] == (0, "x\n")
    assert run("tcp", "127.0.0.1", str(free_port()))[0] == 7


def test_a_server_that_lingers_takes_calls_after_it_was_told_to_end() -> None:
    port = free_port()
    process = start("serve", "--port", str(port), "--linger", "1")
    try:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.terminate()
        assert run("get", f"http://127.0.0.1:{port}/")[0] == 0
        assert process.wait(TIMEOUT_S) == 0
        assert run("get", f"http://127.0.0.1:{port}/")[0] == 7
    finally:
        process.kill()
        process.communicate()


def test_client_waits_until_it_is_told_to_end() -> None:
    process = start("client")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    process.terminate()
    assert process.wait(TIMEOUT_S) == 0
    process.communicate()
