"""A toy agent for the capture tests: takes captured connections and passes their bytes on, without any mesh.

It runs on a node as `python -m weft_testing.capture_agent '<json>'`, with the pods' namespaces and addresses and what
service addresses stand for. Each captured connection is one JSON line on standard output.
"""

import errno
import json
import random
import socket
import struct
import sys
import threading
from typing import Any, Final

from weft_contract.ports import BACK_PORTS, CAPTURE_PORTS, GATE_ADDRESS_V4, GATE_ADDRESS_V6, HEALTH_PORT
from weft_iptables.namespaces import Namespace, open_namespace
from weft_iptables.sockets import Family, Listener, Role, make_listeners, make_stock

_CONNECT_TIMEOUT_S: Final = 5.0
_ATTEMPTS: Final = 16
_CHUNK_BYTES: Final = 1 << 18
_output: Final = threading.Lock()


def say(**what: Any) -> None:
    """Write one line."""
    with _output:
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()


def reset(connection: socket.socket) -> None:
    """Close with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Pass bytes on until the source is done, then say so to the sink."""
    try:
        while data := source.recv(_CHUNK_BYTES):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


class PodProxy:
    """The connections of one pod."""

    def __init__(self, path: str, addresses: list[str], services: dict[str, str]) -> None:
        self.namespace: Namespace = open_namespace(path)
        self.addresses = addresses
        self.services = services

    def serve(self, families: tuple[Family, ...]) -> None:
        """Start a thread for each listener."""
        for listener in make_listeners(self.namespace.fd, families):
            listener.socket.setblocking(True)
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: Listener) -> None:
        while True:
            connection, _ = listener.socket.accept()
            threading.Thread(target=self._handle, args=(listener, connection), daemon=True).start()

    def _handle(self, listener: Listener, downstream: socket.socket) -> None:
        try:
            peer, target = downstream.getpeername()[:2], downstream.getsockname()[:2]
        except OSError:
            downstream.close()
            return None
        said: dict[str, Any] = {"direction": listener.direction, "peer": peer, "target": target}
        if target[1] in CAPTURE_PORTS:
            say(**said, refused="loop")
            return reset(downstream)
        if target == (GATE_ADDRESS_V4 if listener.family == 4 else GATE_ADDRESS_V6, HEALTH_PORT):
            say(**said, gate="open")
            return downstream.close()
        try:
            upstream, to = self._connect(listener, peer, target)
        except OSError as exc:
            say(**said, error=str(exc))
            return reset(downstream)
        say(**said, to=to, source=upstream.getsockname()[:2])
        with upstream, downstream:
            other = threading.Thread(target=pump, args=(upstream, downstream), daemon=True)
            other.start()
            pump(downstream, upstream)
            other.join()
        return None

    def _connect(
        self, listener: Listener, peer: tuple[str, int], target: tuple[str, int]
    ) -> tuple[socket.socket, tuple[str, int]]:
        if listener.direction == "inbound":
            return self._connect_to_application(listener.family, peer[0], target), target
        host, _, port = self.services.get(f"{target[0]}|{target[1]}", f"{target[0]}|{target[1]}").partition("|")
        to = (host, int(port))
        upstream = self._socket("app" if host in self.addresses else "upstream", listener.family)
        upstream.connect(to)
        upstream.settimeout(None)
        return upstream, to

    def _connect_to_application(self, family: Family, client: str, target: tuple[str, int]) -> socket.socket:
        """Connect with the client's address, from a port no captured client of it uses now."""
        for _ in range(_ATTEMPTS):
            upstream = self._socket("app", family)
            try:
                upstream.bind((client, random.choice(BACK_PORTS)))
                upstream.connect(target)
            except OSError as exc:
                upstream.close()
                if exc.errno not in (errno.EADDRNOTAVAIL, errno.EADDRINUSE):
                    raise
            else:
                upstream.settimeout(None)
                return upstream
        raise OSError(errno.EADDRNOTAVAIL, "no port left for this client")

    def _socket(self, role: Role, family: Family) -> socket.socket:
        made = make_stock(self.namespace.fd, role, family, 1)[0]
        made.settimeout(_CONNECT_TIMEOUT_S)
        return made


def main() -> None:
    """Serve the pods that the argument names until killed."""
    wanted = json.loads(sys.argv[1])
    for pod in wanted["pods"]:
        families: tuple[Family, ...] = tuple(pod["families"])
        PodProxy(pod["path"], pod["addresses"], wanted["services"]).serve(families)
    say(ready=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
