"""A TCP server that sends back what it gets, and says goodbye when the client does."""

import argparse
import socket
import sys

from weft_lab.demo import listen
from weft_lab.demo.stop import stop_event

_READ_BYTES = 256 * 1024


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM."""
    stopping = stop_event()
    ports: list[int] = options.port or [9000]
    banner = (options.banner + "\n").encode() if options.banner else b""
    for listener in listen.listeners(ports):
        listen.accept_all(listener, lambda connection: echo(connection, banner))
    sys.stdout.write(f"echoing TCP on {', '.join(map(str, ports))}\n")
    sys.stdout.flush()
    stopping.wait()
    return 0


def echo(connection: socket.socket, banner: bytes) -> None:
    """Serve one connection to its end."""
    connection.sendall(banner)
    while data := connection.recv(_READ_BYTES):
        connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)
