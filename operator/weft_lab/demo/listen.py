"""Listening on ports of both families, a thread for each connection."""

import socket
import sys
import threading
from collections.abc import Callable

BACKLOG = 1024


def listeners(ports: list[int]) -> list[socket.socket]:
    """Return one listener for each port, for both families where the machine has IPv6.

    Raises:
        OSError: a port is taken or not allowed.
    """
    return [_listener(port) for port in ports]


def _listener(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        return socket.create_server(("::", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)
    return socket.create_server(("", port), backlog=BACKLOG)


def accept_all(listener: socket.socket, serve: Callable[[socket.socket], None]) -> None:
    """Accept for ever in a thread of its own; ends when the listener is shut down."""

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=_guarded, args=(serve, connection), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def stop(listener: socket.socket) -> None:
    """Accept no more; connections that exist live on."""
    try:
        listener.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it was not listening any more
    listener.close()


def _guarded(serve: Callable[[socket.socket], None], connection: socket.socket) -> None:
    with connection:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            serve(connection)
        except OSError as exc:
            sys.stderr.write(f"connection ended: {exc}\n")


def plain_address(host: str) -> str:
    """Return an address as people write it: an IPv4 one without the `::ffff:` of a dual-stack socket."""
    return host.removeprefix("::ffff:")
