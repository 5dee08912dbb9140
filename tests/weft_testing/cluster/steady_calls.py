"""Calls at a steady pace until standard input ends, for a pod's network namespace: `python steady_calls.py ADDRESS`; prints JSON.

Four kinds at once, each ten times a second: HTTP over a kept connection, HTTP and TCP over a new connection each, and lines over
one TCP connection that lasts from the first to the last. What goes wrong is counted by kind and error, never tried again. It is
run by path and knows the standard library alone; it does not go through the API server, so that can be restarted meanwhile.
"""

import http.client
import json
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing

HTTP_PORT = 80
ECHO_PORT = 7000
PERIOD_S = 0.1
TIMEOUT_S = 10.0
LINE = b"are you there\n"


def kept_http(host: str) -> Callable[[], None]:
    """Return a call over a connection that is kept; one that the other side announced to close is made anew."""
    connection = http.client.HTTPConnection(host, HTTP_PORT, timeout=TIMEOUT_S)

    def once() -> None:
        try:
            _request(connection)
        except BaseException:
            connection.close()
            raise

    return once


def new_http(host: str) -> Callable[[], None]:
    """Return a call over a connection of its own."""

    def once() -> None:
        with closing(http.client.HTTPConnection(host, HTTP_PORT, timeout=TIMEOUT_S)) as connection:
            _request(connection)

    return once


def new_tcp(host: str) -> Callable[[], None]:
    """Return an echo over a connection of its own."""

    def once() -> None:
        with socket.create_connection((host, ECHO_PORT), timeout=TIMEOUT_S) as connection:
            _echo(connection)

    return once


def long_tcp(host: str) -> Callable[[], None]:
    """Return an echo over one connection; once it is broken it stays so."""
    connection = socket.create_connection((host, ECHO_PORT), timeout=TIMEOUT_S)
    return lambda: _echo(connection)


KINDS = {"kept HTTP": kept_http, "new HTTP": new_http, "new TCP": new_tcp, "long TCP": long_tcp}


def _request(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/steady")
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise ConnectionError(f"status {response.status}: {body[:200].decode(errors='replace')}")


def _echo(connection: socket.socket) -> None:
    connection.sendall(LINE)
    got = b""
    while len(got) < len(LINE):
        more = connection.recv(len(LINE) - len(got))
        if not more:
            raise ConnectionError("the connection ended")
        got += more


class Tally(threading.Thread):
    """One kind of call, and what came of it."""

    def __init__(self, kind: str, host: str, ending: threading.Event) -> None:
        super().__init__(name=kind, daemon=True)
        self._host, self._ending = host, ending
        self.done = 0
        self.errors: Counter[str] = Counter()
        self.longest_s = 0.0

    def run(self) -> None:
        """Call until told to end."""
        once = KINDS[self.name](self._host)
        while not self._ending.is_set():
            began = time.monotonic()
            try:
                once()
                self.done += 1
            except (OSError, http.client.HTTPException) as exc:
                self.errors[f"{time.strftime('%X')} {exc!r}"] += 1
            took_s = time.monotonic() - began
            self.longest_s = max(self.longest_s, took_s)
            self._ending.wait(max(0.0, PERIOD_S - took_s))


def main(host: str) -> None:
    """Call until standard input ends, then say what came of it."""
    ending = threading.Event()
    tallies = [Tally(kind, host, ending) for kind in KINDS]
    for tally in tallies:
        tally.start()
    sys.stdin.read()
    ending.set()
    for tally in tallies:
        tally.join(2 * TIMEOUT_S)
    found = {each.name: {"done": each.done, "errors": each.errors, "longestS": each.longest_s} for each in tallies}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
