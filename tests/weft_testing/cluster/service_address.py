"""One address on loopback in front of replicas that come and go, as a Service's: who is connected stays with its replica."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from weft_testing.cluster.forward import Forwarder

_TURN_S: Final = 0.05
"""How soon its end is noticed."""


class ServiceAddress:
    """A port, and the replica that new connections go to.

    Args:
        listener: on loopback.
        port: of the first replica, on loopback.
    """

    def __init__(self, listener: socket.socket, port: int) -> None:
        self.port = int(listener.getsockname()[1])
        self._forwarder = Forwarder(listener, ("127.0.0.1", port))
        self._ended = threading.Event()

    def lead_to(self, port: int) -> None:
        """Have new connections go to another replica; those to a dead one end at once, as before."""
        self._forwarder.target = ("127.0.0.1", port)

    def serve(self) -> None:
        """Carry bytes until `end`."""
        while not self._ended.is_set():
            self._forwarder.turn(_TURN_S)
        self._forwarder.close()

    def end(self) -> None:
        """Have `serve` return."""
        self._ended.set()


@contextmanager
def service_address(port: int) -> Iterator[ServiceAddress]:
    """Serve until the block ends.

    Args:
        port: of the first replica, on loopback.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = ServiceAddress(listener, port)
        thread = threading.Thread(target=address.serve, name="service address", daemon=True)
        thread.start()
        try:
            yield address
        finally:
            address.end()
            thread.join(5)
