"""One tunnel between two agents: the sans-io face that the reactor feeds with bytes and empties into a socket.

What the shell must do: flush `out` once at the start (our SETTINGS are in it) and whenever `wants_flush` was called; after
it has taken and cleared `out`, call `flushed()`; whenever the number of bytes its socket has not taken changes, call
`unsent(n)` (or tell both as `taken(n)`, and `settle` at the end of the turn); call `tick(now)` when the time it returned has
come; call `lost(error)` when the socket ends. Handlers and receivers may call anything but `receive` from a callback.

The machine behind it is in `engine` (frames), `intake` (the hot receiving path), `stream` and `outlet` (the sending path).
"""

from collections.abc import Callable, Sequence
from typing import Final

from weft_contract.limits import Limits
from weft_core.errors import LocalProtocolError, TunnelFullError, TunnelLostError, WeftError
from weft_core.facts import Header
from weft_core.tunnel import frames
from weft_core.tunnel.breach import ConnectionBreachError
from weft_core.tunnel.engine import Engine
from weft_core.tunnel.frames import ErrorCode
from weft_core.tunnel.liveness import Liveness, Verdict
from weft_core.tunnel.seams import Buffer, HeadReceiver, TunnelHandler
from weft_core.tunnel.settings import own_settings
from weft_core.tunnel.stream import TunnelStream

LIVENESS: Final = b"weft-liv"
REFILL_S: Final = 1.0
"""Budgets that are not full are refilled at least this often."""


class TunnelConnection:
    """One end of a tunnel.

    Args:
        client: whether we opened the connection, and so open its streams.
        limits: windows, budgets, marks and times.
        handler: what sits on top; not called before the first `receive`.
    """

    __slots__ = ("_engine", "_limits", "_liveness", "_read", "_ticked_at", "out")

    def __init__(self, *, client: bool, limits: Limits, handler: TunnelHandler) -> None:
        self._limits = limits
        self._engine = Engine(client=client, limits=limits, handler=handler)
        self._read = self._engine.intake.read
        self._liveness = Liveness(limits.ping_interval_s, limits.ping_timeout_s)
        self._ticked_at: float | None = None
        self.out: list[Buffer] = self._engine.outlet.out
        """What is to be sent; the shell takes it, clears it and calls `flushed`."""
        self._greet()

    def _greet(self) -> None:
        pieces = [frames.PREFACE] if self._engine.client else []
        pieces.append(own_settings(self._limits, client=self._engine.client))
        if self._engine.intake.opening_increment:
            pieces.append(frames.window_frame(0, self._engine.intake.opening_increment))
        self.out.append(b"".join(pieces))

    # -- state ----------------------------------------------------------------------------------------------------

    @property
    def streams_open(self) -> int:
        """Streams that are open on the wire."""
        return len(self._engine.roll.open)

    @property
    def idle(self) -> bool:
        """True while no stream is open."""
        return not self._engine.roll.open

    @property
    def draining(self) -> bool:
        """True once no stream is opened here any more, by whichever side's wish."""
        return self._engine.draining

    @property
    def closed(self) -> bool:
        """True once the connection ended; nothing is received or opened any more."""
        return self._engine.closed

    @property
    def full(self) -> bool:
        """True while `open` would raise `TunnelFullError`."""
        engine = self._engine
        allowed = min(engine.peer.max_streams, self._limits.tunnel_streams)
        return engine.draining or engine.roll.exhausted or len(engine.roll.open) >= allowed

    @property
    def bulk_streams(self) -> int:
        """Open streams that moved `limits.bulk_flow_bytes`: leave the tunnel to them."""
        return self._engine.windows.bulk_streams

    # -- bytes ----------------------------------------------------------------------------------------------------

    def receive(self, data: memoryview) -> None:
        """Take bytes from the peer, cut anywhere; they are passed on or copied before this returns.

        A peer that breaks the protocol is answered with GOAWAY, and the handler's `broken` is called.
        """
        engine = self._engine
        if engine.closed:
            return
        self._liveness.heard = True
        try:
            self._read(data)
        except ConnectionBreachError as error:
            engine.broke(error)
        engine.settle()

    def flushed(self) -> None:
        """Note that everything in `out` was taken."""
        if not self._engine.closed:
            self._engine.outlet.flushed()
        self._engine.settle()

    def send_at_once(self, push: Callable[[], None]) -> None:
        """Offer to take what is in `out` whenever `push` is called: it encrypts, sends, calls `taken`, and nothing else."""
        self._engine.outlet.take_now = push

    def taken(self, unsent: int) -> None:
        """Note that everything in `out` was taken, and how many bytes of it the socket has not accepted.

        Makes no callback: more may be in `out` behind it, and `settle` is due at the end of the turn.
        """
        if not self._engine.closed:
            self._engine.outlet.taken(unsent)

    def settle(self) -> None:
        """Make the callbacks that are due."""
        self._engine.settle()

    def unsent(self, size: int) -> None:
        """Note how many bytes that were taken the socket has not accepted yet; writers pause while there are many."""
        if not self._engine.closed:
            self._engine.outlet.unsent(size)
        self._engine.settle()

    # -- streams --------------------------------------------------------------------------------------------------

    def open(
        self,
        headers: Sequence[Header],
        receiver: HeadReceiver,
        *,
        end_stream: bool = False,
        block: bytes | None = None,
    ) -> TunnelStream:
        """Open a stream; client only.

        Args:
            headers: the request's head, pseudo headers first, names in lower case.
            receiver: gets the response head, the bytes, and the end.
            end_stream: whether the request ends with its head.
            block: the same head as it came on another connection (`stream.block`); sent as it is instead of being encoded.

        Raises:
            TunnelFullError: draining, closed, out of ids, or as many streams open as allowed; open another tunnel.
            LocalProtocolError: the head is malformed, or we are the server.
        """
        if not self._engine.client:
            raise LocalProtocolError("only the side that opened the tunnel opens streams")
        if self.full:
            raise TunnelFullError(f"the tunnel takes no new stream ({self.streams_open} are open)")
        return self._engine.exchange.request(headers, receiver, end_stream, block)

    # -- time -----------------------------------------------------------------------------------------------------

    def ping(self) -> None:
        """Ask the peer for a sign of life."""
        if not self._engine.closed:
            self._engine.outlet.send(frames.ping_frame(LIVENESS))

    def tick(self, now: float) -> float | None:
        """Look at the clock: liveness and budgets.

        Args:
            now: monotonic seconds.

        Returns:
            When to call again at the latest; None: never, the connection is closed.
        """
        engine = self._engine
        if engine.closed:
            return None
        if self._ticked_at is not None:
            engine.guard.refill(now - self._ticked_at)
        self._ticked_at = now
        verdict = self._liveness.tick(now)
        if verdict is Verdict.DEAD:
            engine.fail(TunnelLostError(f"no sign of life from the peer agent for {self._limits.ping_timeout_s:g} s"))
            return None
        if verdict is Verdict.ASK:
            self.ping()
        engine.settle()
        due = self._liveness.deadline
        return due if engine.guard.full else min(due, now + REFILL_S)

    # -- the end --------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Send GOAWAY with the last stream accepted: nothing new, what is open finishes."""
        self._engine.drain()

    def retire(self) -> None:
        """Ask the client, whose streams are still accepted, to open others elsewhere; the tunnel ends when it closes it.

        Nothing that crosses this on its way is lost, as it would be by `drain`. Source: RFC 9113 §6.8, the GOAWAY of 2^31-1.
        """
        self._engine.retire()

    def close(self, code: int = ErrorCode.NO_ERROR, error: WeftError | None = None) -> None:
        """Send GOAWAY and end every stream; those of which nothing was passed on are refused, so that they can be repeated.

        Args:
            code: why, of RFC 9113 §7.
            error: what the streams' receivers are told.
        """
        engine = self._engine
        if not engine.closed:
            engine.outlet.send(frames.goaway_frame(engine.roll.last_peer_id, code, "closed"))
            engine.refuse_unconnected()
            engine.end_all(error or TunnelLostError("this agent closed the tunnel"))

    def lost(self, error: WeftError) -> None:
        """Note that the socket is gone; every stream's receiver is told."""
        self._engine.end_all(error)
