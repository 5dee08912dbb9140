"""The opaque relay: two ends joined, bytes as they are, half-close and back-pressure carried across, bulk spliced.

Theory: each leg receives from its own end and writes to the other's. `write` returning False pauses the leg's end, and the
other leg's `drained` resumes it. The idle deadline is an attribute that both legs push forward. A direction that has moved
`SPLICE_AFTER_BYTES` between two plain sockets goes through a kernel pipe from then on.

How it ends. An end of stream goes over as FIN, and the other direction lives on. A reset goes over as a reset: what comes out
of the relay never looks more complete than what went in. One reset takes nothing away: a server that has finished what it had
to say (FIN), and then resets for what its client says too late, was heard whole, so its client gets what is queued.
"""

from typing import Final, Protocol

from weft_agent.reactor import OUTSIDE, Buffer, End, Reactor, TcpEnd
from weft_agent.reactor.splice import Splice
from weft_contract.limits import MIB, Limits
from weft_core.errors import IdleTimeoutError, InternalError, WeftError

SPLICE_AFTER_BYTES: Final = 4 * MIB
"""Below this the pipe pair costs more than the copies it saves."""
NEVER: Final = 1 << 62


class RelayOwner(Protocol):
    """Who is told of a relay's end."""

    def relay_over(self, relay: "Relay", error: WeftError | None) -> None:
        """Note the end, once, with the error that ended it or None."""


class _Leg:
    """Receiver of one end."""

    __slots__ = ("_relay", "_splice_at", "end", "eof_seen", "moved", "other", "splice")

    def __init__(self, relay: "Relay", end: End, other: End) -> None:
        self._relay = relay
        self.end = end
        self.other = other
        self.moved = 0
        self.eof_seen = False
        self.splice: Splice | None = None
        plain = isinstance(end, TcpEnd) and isinstance(other, TcpEnd)
        self._splice_at = SPLICE_AFTER_BYTES if plain else NEVER

    def feed(self, data: Buffer) -> None:
        self.moved += len(data)
        relay = self._relay
        relay.deadline = relay.reactor.now + relay.idle_s
        if not self.other.write(data):
            self.end.pause()
        elif self.moved > self._splice_at:
            self._begin_splice()

    def eof(self) -> None:
        self.eof_seen = True
        self.other.finish()
        self._relay.half_closed()

    def drained(self) -> None:
        self.other.resume()

    def lost(self, error: WeftError | None) -> None:
        self._relay.end_lost(self, error)

    def crash(self) -> None:
        self._relay.cut(InternalError("a bug of this agent ended the connection"))

    def _begin_splice(self) -> None:
        end, other = self.end, self.other
        if isinstance(end, TcpEnd) and isinstance(other, TcpEnd) and not other.queued_bytes:
            try:
                self.splice = Splice(end, other, self._spliced)
                self._splice_at = NEVER
            except OSError:  # out of descriptors: copying works too
                self._splice_at = self.moved + SPLICE_AFTER_BYTES

    def _spliced(self, size: int) -> None:
        self.moved += size
        relay = self._relay
        relay.deadline = relay.reactor.now + relay.idle_s


class Relay:
    """Joins two ends until both directions have finished, one breaks, or nothing moves for the idle time.

    Args:
        reactor: the worker's loop.
        downstream: the caller's end, already started.
        upstream: the destination's end, already started.
        limits: idle and half-close timeouts.
        owner: told of the end.
    """

    __slots__ = (
        "_down", "_half_close_s", "_over", "_owner", "_up", "deadline", "idle_s",
        "reactor", "wheel_at",
    )  # fmt: skip

    def __init__(self, reactor: Reactor, downstream: End, upstream: End, limits: Limits, owner: RelayOwner) -> None:
        self.reactor = reactor
        self.idle_s = limits.tcp_idle_timeout_s
        self._half_close_s = limits.half_close_timeout_s
        self._owner = owner
        self._over = False
        self._down = _Leg(self, downstream, upstream)
        self._up = _Leg(self, upstream, downstream)
        self.deadline = reactor.now + self.idle_s
        self.wheel_at = OUTSIDE
        downstream.receiver = self._down
        upstream.receiver = self._up
        reactor.watch(self)

    @property
    def bytes_received(self) -> int:
        """Bytes that came from downstream."""
        return self._down.moved

    @property
    def bytes_sent(self) -> int:
        """Bytes that came from upstream."""
        return self._up.moved

    def give(self, first: Buffer) -> None:
        """Pass on bytes that were read from downstream before the relay existed."""
        if len(first):
            self._down.feed(first)

    def note_given(self, size: int) -> None:
        """Count bytes from downstream that reached upstream before the relay existed."""
        self._down.moved += size

    def give_back(self, first: Buffer) -> None:
        """Pass on bytes that were read from upstream before the relay existed."""
        if len(first):
            self._up.feed(first)

    def downstream_finished(self) -> None:
        """Note that downstream had finished sending before the relay existed."""
        self._down.eof()

    def half_closed(self) -> None:
        """Take the other patience once one direction is done."""
        if not self._over:
            self.idle_s = self._half_close_s
            self.deadline = self.reactor.now + self.idle_s
            self.reactor.watch(self)

    def end_lost(self, leg: _Leg, error: WeftError | None) -> None:
        """Carry the end of one side to the other."""
        other = leg.other
        if error is None or (leg is self._up and leg.eof_seen):
            other.close()
        else:
            other.abort()
        self._end(error)

    def expire(self) -> None:
        """End an idle relay."""
        self.cut(IdleTimeoutError(f"no byte either way for {self.idle_s:.0f} s"))

    def cut(self, error: WeftError) -> None:
        """End both sides visibly: idle, revoked, or drained too long."""
        if not self._over:
            self._down.end.abort()
            self._up.end.abort()
            self._end(error)

    def _end(self, error: WeftError | None) -> None:
        if self._over:
            return
        self._over = True
        self.reactor.unwatch(self)
        for leg in (self._down, self._up):
            if leg.splice is not None:
                leg.splice.close()
        self._owner.relay_over(self, error)
