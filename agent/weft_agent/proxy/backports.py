"""Source ports of application-facing sockets: chosen here, so that no two connections of a namespace can be mistaken.

Theory: towards the application the agent speaks with the client's own address. The kernel would then see two sockets in
one namespace: the captured one (pod:8080 with client:P) and the application's child (pod:8080 with client:Q). If Q equals a
live P, a SYN meets the wrong socket (seen once in 300 connections with ports left to chance). So Q is picked below the
usual ephemeral range and never equal to a live port of that client and destination.
"""

from random import Random
from typing import Final

from weft_contract.ports import BACK_PORTS

ATTEMPTS: Final = 64

Peer = tuple[str, int, int]
"""Client address, client port, destination port."""


class BackPorts:
    """The live ports of one pod's namespace, as far as this worker knows them."""

    __slots__ = ("_live", "_random")

    def __init__(self, rng: Random) -> None:
        self._live: set[Peer] = set()
        self._random = rng

    def note(self, address: str, port: int, destination_port: int) -> Peer | None:
        """Remember a captured peer whose port lies in our range; give the result to `release` at its end."""
        if port not in BACK_PORTS:
            return None
        peer = (address, port, destination_port)
        self._live.add(peer)
        return peer

    def choose(self, address: str, destination_port: int) -> Peer:
        """Pick a port that is free for this client and destination and remember it."""
        peer = (address, self._draw(), destination_port)
        for _ in range(ATTEMPTS):  # nearly all taken: the kernel has the last word at connect
            if peer not in self._live:
                break
            peer = (address, self._draw(), destination_port)
        self._live.add(peer)
        return peer

    def _draw(self) -> int:
        return self._random.randrange(BACK_PORTS.start, BACK_PORTS.stop)

    def release(self, peer: Peer | None) -> None:
        """Forget a port."""
        if peer is not None:
            self._live.discard(peer)
