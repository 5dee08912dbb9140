"""A door into a cluster: connections to a loopback port outside are carried to the API server inside. Run as a module.

Theory. The listening socket was made outside and comes as descriptor 3; the process itself was started in the control
plane's namespace. What it accepts is therefore outside and what it connects is inside, with no rule, link or route of ours
in the namespace that the tests run in, and without root for whoever uses the door. The bytes are TLS from end to end.
One thread serves all: each direction has one buffer, reading stops while it is full, and an end of stream is passed on.
"""

import argparse
import selectors
import socket
from dataclasses import dataclass, field
from typing import Final

_LISTENER_FD: Final = 3
_CHUNK_BYTES: Final = 256 * 1024
_CONNECT_TIMEOUT_S: Final = 5.0


@dataclass(slots=True, eq=False)
class _End:
    """One socket of a pair, with what still has to be written to it."""

    socket: socket.socket
    pending: bytearray = field(default_factory=bytearray)
    ended: bool = False
    """It will send nothing more."""
    peer: "_End | None" = None


class Forwarder:
    """Accepts on one socket, connects to one address, carries bytes between the two."""

    def __init__(self, listener: socket.socket, target: tuple[str, int]) -> None:
        self._listener = listener
        self.target = target
        """Where new connections are carried to."""
        self._selector = selectors.DefaultSelector()
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ, None)

    def run(self) -> None:
        """Serve until the process is ended."""
        while True:
            self.turn(None)

    def turn(self, timeout_s: float | None) -> None:
        """Wait once and handle what has happened."""
        for key, events in self._selector.select(timeout_s):
            end = key.data
            if end is None:
                self._accept()
            elif end.socket.fileno() >= 0:
                try:
                    self._serve(end, events)
                except OSError:
                    self._close(end)

    def close(self) -> None:
        """End all connections; the listener stays the caller's."""
        for key in list(self._selector.get_map().values()):
            if key.data is not None:
                self._close(key.data)
        self._selector.close()

    def _accept(self) -> None:
        try:
            outside, _ = self._listener.accept()
        except OSError:
            return
        try:
            inside = socket.create_connection(self.target, _CONNECT_TIMEOUT_S)
        except OSError:
            outside.close()  # nothing listens inside: the caller sees what it would see there, an end
            return
        a, b = _End(outside), _End(inside)
        a.peer, b.peer = b, a
        for end in (a, b):
            end.socket.setblocking(False)
            end.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(end.socket, selectors.EVENT_READ, end)

    def _serve(self, end: _End, events: int) -> None:
        peer = end.peer
        assert peer is not None
        if events & selectors.EVENT_READ and not peer.pending:
            data = end.socket.recv(_CHUNK_BYTES)
            peer.pending += data
            end.ended = not data
            self._flush(peer)
        if events & selectors.EVENT_WRITE:
            self._flush(end)
        for each in (end, peer):
            self._watch(each)

    def _flush(self, end: _End) -> None:
        """Write what is pending, then pass the other side's end on."""
        if end.pending:
            try:
                sent = end.socket.send(end.pending)
            except BlockingIOError:
                return
            del end.pending[:sent]
        if end.peer is not None and end.peer.ended and not end.pending:
            end.socket.shutdown(socket.SHUT_WR)
            if end.ended:
                self._close(end)

    def _watch(self, end: _End) -> None:
        if end.socket.fileno() < 0 or end.peer is None:
            return
        readable = not end.ended and not end.peer.pending
        events = (selectors.EVENT_READ if readable else 0) | (selectors.EVENT_WRITE if end.pending else 0)
        registered = end.socket in self._selector.get_map()
        if not events:
            if registered:
                self._selector.unregister(end.socket)
        elif registered:
            self._selector.modify(end.socket, events, end)
        else:
            self._selector.register(end.socket, events, end)

    def _close(self, end: _End) -> None:
        for each in (end, end.peer):
            if each is not None and each.socket.fileno() >= 0:
                if each.socket in self._selector.get_map():
                    self._selector.unregister(each.socket)
                each.socket.close()


def main() -> None:
    """Take the listener from the starter and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", required=True, metavar="HOST:PORT")
    host, _, port = parser.parse_args().to.rpartition(":")
    with socket.socket(fileno=_LISTENER_FD) as listener:
        Forwarder(listener, (host, int(port))).run()


if __name__ == "__main__":
    main()
