"""Finding out what a connection speaks: the first bytes decide, whoever sends them, and nobody waits for nothing.

Theory of operation. The caller's first bytes are held and sniffed. While they are awaited, an upstream may be connected
ahead (where policy would let the connection pass as opaque): if the *server* speaks first the connection is opaque, at no
delay at all. Silence decides nothing, so a client that idles for half a minute before its first request still speaks HTTP.
Only a beginning that stays undecided (`GE` and then nothing) is taken as opaque after `detect_timeout_s`, or at once when the
caller finishes behind it; that end of stream is told to whoever takes over.
"""

from collections.abc import Callable

from weft_agent.reactor import OUTSIDE, Buffer, End, Reactor, Timer
from weft_contract.limits import Limits
from weft_core.detect import Detected, sniff
from weft_core.errors import IdleTimeoutError, InternalError, WeftError

Decided = Callable[[Detected | None, bytes], None]
"""Takes what was detected (None: undecided in time, or the server spoke first) and the caller's bytes so far."""


class Detecting:
    """Receiver of a caller's end until its protocol is known.

    Args:
        reactor: the worker's loop.
        end: the caller's end; paused by nobody meanwhile.
        limits: detection and head timeouts.
        decided: told once; it takes over `end.receiver`.
        lost: told if the caller goes first; None: it finished without a byte.
    """

    __slots__ = (
        "_bytes", "_decided", "_end", "_limits", "_lost", "_over", "_reactor", "_timer", "deadline", "wheel_at",
    )  # fmt: skip

    def __init__(
        self, reactor: Reactor, end: End, limits: Limits, decided: Decided, lost: Callable[[WeftError | None], None]
    ) -> None:
        self._reactor = reactor
        self._end = end
        self._limits = limits
        self._decided = decided
        self._lost = lost
        self._bytes = b""
        self._over = False
        self._timer: Timer | None = None
        self.wheel_at = OUTSIDE
        self.deadline = reactor.now + limits.tcp_idle_timeout_s
        end.receiver = self
        reactor.watch(self)

    @property
    def waiting(self) -> bool:
        """True until something was decided."""
        return not self._over

    @property
    def silent(self) -> bool:
        """True while the caller has not sent a byte."""
        return not self._bytes

    def feed(self, data: Buffer) -> None:
        """Sniff what is there so far."""
        self._bytes = self._bytes + bytes(data) if self._bytes else bytes(data)
        detected = sniff(self._bytes, self._limits)
        if detected is not None:
            self._decide(detected)
        elif self._timer is None:
            tls = self._bytes[0] == 0x16
            patience_s = self._limits.handshake_timeout_s if tls else self._limits.detect_timeout_s
            self._timer = self._reactor.after(patience_s, self._undecided)

    def eof(self) -> None:
        """Handle a caller that finished before its protocol was known."""
        if self._over:
            return
        if self._bytes:
            self._decide(None)
            self._end.receiver.eof()
        else:
            self._stop()
            self._lost(None)

    def drained(self) -> None:
        """Nothing was written."""

    def lost(self, error: WeftError | None) -> None:
        """Handle a caller that is gone."""
        if not self._over:
            self._stop()
            self._lost(error)

    def server_spoke(self) -> None:
        """Decide: the upstream sent the first byte."""
        if not self._over:
            self._decide(None)

    def abandon(self) -> None:
        """Stop detecting; no callback follows."""
        self._stop()

    def be_patient(self, seconds: float) -> None:
        """Wait so long for the caller's first byte, from now on."""
        self.deadline = self._reactor.now + seconds
        self._reactor.watch(self)

    def crash(self) -> None:
        """End visibly after a bug of ours in a callback."""
        self._end.abort()
        self.lost(InternalError("a bug of this agent ended the connection"))

    def expire(self) -> None:
        """Give up on a connection on which nobody ever spoke."""
        if not self._over:
            self._stop()
            self._end.close()
            self._lost(IdleTimeoutError("no byte either way since the connection began"))

    def _undecided(self) -> None:
        self._timer = None
        if not self._over:
            self._decide(None)

    def _decide(self, detected: Detected | None) -> None:
        self._stop()
        self._decided(detected, self._bytes)

    def _stop(self) -> None:
        self._over = True
        self._reactor.unwatch(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
