"""Ends that hold their bytes themselves, and a caller's session between two of them: every tear between two steps can be tried.

Theory: a `MemoryEnd` keeps the promises of `weft_agent.reactor.ends` and breaks what may be broken: bytes handed to `feed` are
overwritten when the call returns, a resumed end delivers before `resume` does, nothing is said to a receiver behind `close`.
The peer's side is methods of the test: it sends, finishes, resets, stalls and takes. Time is the test's clock.
"""

import socket
from typing import Literal

from weft_agent.reactor import Buffer, Reactor
from weft_agent.reactor.ends import SILENCE, Receiver
from weft_contract.limits import Limits
from weft_core.errors import ClientGoneError, UpstreamResetError, WeftError

Ending = Literal["", "finished", "closed", "aborted", "lost"]
"""What the peer sees: nothing yet, FIN, an orderly end of both directions, RST, or that it reset the connection itself."""


class MemoryEnd:
    """One end, and its peer.

    Args:
        limits: of the queue.
        downstream: whether the peer is the caller; tells whose reset it is.
    """

    def __init__(self, limits: Limits, *, downstream: bool) -> None:
        self.receiver: Receiver = SILENCE
        self.sent = bytearray()
        """What the peer has got."""
        self.ending: Ending = ""
        self.paused = False
        self.said = 0
        """Bytes that the peer said."""
        self.said_end = False
        self._limits = limits
        self._downstream = downstream
        self._queue = bytearray()
        self._stalled = False
        self._full = False
        self._finishing = False
        self._inbox: list[bytes] = []
        """Sent by the peer while the end was paused; an empty piece is its end of stream."""

    @property
    def over(self) -> bool:
        """Whether both directions have ended."""
        return self.ending in {"closed", "aborted", "lost"}

    # -- the end, as its owner sees it --------------------------------------------------------------------------------

    @property
    def queued_bytes(self) -> int:
        """Bytes that the peer has not taken."""
        return len(self._queue)

    def write(self, data: Buffer) -> bool:
        """Send, or queue for a peer that stalls."""
        if self.over or self._finishing:
            return True
        if not self._stalled:
            self.sent += data
            return True
        self._queue += data
        self._full = len(self._queue) > self._limits.write_high_bytes
        return not self._full

    def finish(self) -> None:
        """Half-close."""
        self._finishing = True
        if not self.over and not self._queue:
            self.ending = "finished"

    def pause(self) -> None:
        """Stop delivering."""
        self.paused = True

    def resume(self) -> None:
        """Deliver what waited, and go on."""
        self.paused = False
        while self._inbox and not self.paused and not self.over:
            self._hand_on(self._inbox.pop(0))

    def close(self) -> None:
        """End in order: the kernel sends what is queued."""
        if not self.over:
            self.sent += self._queue
            self._end("closed")

    def abort(self) -> None:
        """Reset."""
        if not self.over:
            self._end("aborted")

    def detach(self) -> tuple[socket.socket, bytes]:
        """Refuse: there is no socket."""
        raise AssertionError("an end in memory has no socket to give up")

    # -- the peer -----------------------------------------------------------------------------------------------------

    def say(self, data: bytes) -> None:
        """Send bytes."""
        self.said += len(data)
        self._deliver(data)

    def say_end(self) -> None:
        """Finish sending."""
        self.said_end = True
        self._deliver(b"")

    def reset(self) -> None:
        """End the connection the hard way; what waited is lost."""
        if self.over:
            return
        receiver = self.receiver
        self._end("lost")
        text = "the peer reset the connection"
        error: WeftError = ClientGoneError(text) if self._downstream else UpstreamResetError(text)
        receiver.lost(error)

    def stall(self) -> None:
        """Take nothing from now on."""
        self._stalled = True

    def take(self) -> None:
        """Take everything, and go on taking."""
        self._stalled = False
        if self.over:
            return
        self.sent += self._queue
        self._queue.clear()
        if self._finishing:
            self.ending = "finished"
        if self._full:
            self._full = False
            self.receiver.drained()

    def _deliver(self, data: bytes) -> None:
        if self.over:
            return
        if self.paused or self._inbox:
            self._inbox.append(data)
        else:
            self._hand_on(data)

    def _hand_on(self, data: bytes) -> None:
        if not data:
            self.receiver.eof()
            return
        shared = bytearray(data)
        self.receiver.feed(memoryview(shared))
        shared[:] = b"\xee" * len(shared)

    def _end(self, ending: Ending) -> None:
        self.ending = ending
        self._queue.clear()
        self._inbox.clear()
        self.receiver = SILENCE


def pass_time(reactor: Reactor) -> None:
    """Let the reactor see the time that has passed; it need not run."""
    reactor.refresh()
    for call in reactor._timers.advance(reactor.now):
        call()
    reactor.settle()


def waiting(reactor: Reactor) -> int:
    """Return how many deadlines and timers the reactor holds."""
    timers = reactor._timers
    return timers._held + sum(timer.callback is not None for _, _, timer in timers._heap)
