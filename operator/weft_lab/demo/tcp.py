"""A TCP client: sends standard input or one line, prints what comes."""

import argparse
import os
import socket
import sys
import threading
from typing import Final

NO_ANSWER: Final = 7
_READ_BYTES: Final = 64 * 1024


def run(options: argparse.Namespace) -> int:
    """Connect and talk; end with 7 if there was no connection or no answer."""
    try:
        with socket.create_connection((options.host, options.port), timeout=options.timeout) as connection:
            if options.send is not None:
                return _line(connection, options.send)
            connection.settimeout(None)
            return _pipe(connection)
    except OSError as exc:
        sys.stderr.write(f"error: {type(exc).__name__}: {exc}\n")
        return NO_ANSWER


def _line(connection: socket.socket, text: str) -> int:
    connection.sendall(text.encode() + b"\n")
    got = b""
    while not got.endswith(b"\n"):
        more = connection.recv(_READ_BYTES)
        if not more:
            break
        got += more
    sys.stdout.buffer.write(got)
    sys.stdout.flush()
    return 0 if got else NO_ANSWER


def _pipe(connection: socket.socket) -> int:
    def send() -> None:
        try:
            while data := os.read(0, _READ_BYTES):
                connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the other side ended; the reading loop sees that too

    threading.Thread(target=send, daemon=True).start()
    while data := connection.recv(_READ_BYTES):
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
    return 0
