"""Sending probes as a kubelet does: from the node's network namespace and address, with a deadline for the whole of it.

Deviation from the kubelet: a redirect is success and is not followed.
"""

import socket
import ssl
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from weft_lab.daemon import grpc_health
from weft_lab.machine.namespaces import enter_namespace
from weft_lab.model import Container, Probe
from weft_lab.model.check import container_port
from weft_lab.model.pod import HttpGet

USER_AGENT: Final = "kube-probe/weft-lab"
_THREADS_PER_NODE: Final = 32
"""Probes that may hang at once before others wait; a kubelet has one goroutine for each."""
_MAX_HEAD_BYTES: Final = 64 * 1024
_DRAIN_BYTES: Final = 10 * 1024
"""Read of a body, so that the server is not cut off while it writes (the kubelet reads as much)."""


class ProbeFailedError(Exception):
    """The probe was answered, but not with success; the message says how."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a probe is sent."""

    address: str
    """The pod's first address; empty for a pod without network of its own."""
    probe: Probe
    container: Container


def node_threads(namespace: Path) -> ThreadPoolExecutor:
    """Return threads that live in a node's network namespace: sockets they make are the node's."""
    return ThreadPoolExecutor(
        _THREADS_PER_NODE, thread_name_prefix="probe", initializer=enter_namespace, initargs=(namespace,)
    )


def send(target: Target) -> None:
    """Send one network probe and wait for its answer.

    Raises:
        ProbeFailedError: it was answered without success.
        OSError: no connection, or time is over.
    """
    deadline = time.monotonic() + target.probe.timeout_seconds
    probe = target.probe
    if probe.http_get is not None:
        _http(probe.http_get, target, deadline)
    elif probe.tcp_socket is not None:
        _connect(probe.tcp_socket.host or target.address, _port(target, probe.tcp_socket.port), deadline).close()
    elif probe.grpc is not None:
        _grpc(target, probe.grpc.port, probe.grpc.service, deadline)


def run(process: "subprocess.Popen[bytes]", timeout_s: float) -> None:
    """Wait for the command of an exec probe.

    Raises:
        ProbeFailedError: it ended with a status other than 0, or did not end in time (it is killed then).
    """
    try:
        status = process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise ProbeFailedError(f"command timed out after {timeout_s:g}s") from None
    if status != 0:
        raise ProbeFailedError(f"command ended with status {status}")


def _port(target: Target, port: int | str) -> int:
    number = container_port(target.container, port)
    if number is None:
        raise ProbeFailedError(f"port {port!r} is not declared by the container")
    return number


def _connect(host: str, port: int, deadline: float) -> socket.socket:
    return socket.create_connection((host, port), timeout=_remaining(deadline))


def _remaining(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("probe timed out")
    return left


def _http(action: HttpGet, target: Target, deadline: float) -> None:
    port = _port(target, action.port)
    host = action.host or target.address
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    with _connect(host, port, deadline) as plain:
        connection = _tls(plain) if action.scheme == "HTTPS" else plain
        connection.settimeout(_remaining(deadline))
        connection.sendall(_request(action, authority))
        status = _status(connection, deadline)
    if not 200 <= status < 400:
        raise ProbeFailedError(f"HTTP probe failed with statuscode: {status}")


def _tls(connection: socket.socket) -> socket.socket:
    """Wrap a connection in TLS; a kubelet does not verify the certificate either."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(connection)


def _request(action: HttpGet, authority: str) -> bytes:
    path = action.path if action.path.startswith("/") else f"/{action.path}"
    given = {header.name.lower(): (header.name, header.value) for header in action.http_headers}
    for name, value in (("Host", authority), ("User-Agent", USER_AGENT), ("Accept", "*/*"), ("Connection", "close")):
        given.setdefault(name.lower(), (name, value))
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.values())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _status(connection: socket.socket, deadline: float) -> int:
    head = b""
    while b"\r\n" not in head:
        connection.settimeout(_remaining(deadline))
        more = connection.recv(4096)
        head += more
        if not more or len(head) > _MAX_HEAD_BYTES:
            raise ProbeFailedError("the answer is not HTTP")
    words = head.split(b"\r\n", 1)[0].split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise ProbeFailedError("the answer is not HTTP")
    _drain(connection, deadline)
    return int(words[1])


def _drain(connection: socket.socket, deadline: float) -> None:
    read = 0
    try:
        while read < _DRAIN_BYTES:
            connection.settimeout(_remaining(deadline))
            more = connection.recv(4096)
            read += len(more)
            if not more:
                return
    except OSError:
        return  # the verdict is in the first line; how the rest ends does not matter


def _grpc(target: Target, port: int, service: str, deadline: float) -> None:
    with _connect(target.address, port, deadline) as connection:
        authority = f"[{target.address}]:{port}" if ":" in target.address else f"{target.address}:{port}"
        try:
            serving = grpc_health.check(connection, authority, service, lambda: _remaining(deadline))
        except grpc_health.HealthProtocolError as exc:
            raise ProbeFailedError(str(exc)) from exc
    if not serving:
        raise ProbeFailedError(f"service {service!r} is not SERVING")
