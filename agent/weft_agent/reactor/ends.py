"""The one interface of everything that carries bytes: TCP sockets, tunnel streams, later HTTP/2 streams.

Theory: an `End` is one side of a byte exchange, a `Receiver` is what sits on top of it. Data flows by callbacks inside one
turn of the reactor and no call ever waits:

- the end calls `receiver.feed(view)` with bytes that are valid only during the call;
- the receiver writes to another end; `write` sends at once what the peer takes, queues the rest and returns False when the
  queue is above the high-water mark, whereupon the caller pauses the end that feeds it;
- the written end calls its own receiver's `drained()` when the queue is below the low-water mark again;
- `eof()` says that the peer finished sending (FIN, END_STREAM); the other direction lives on;
- `lost(error)` says that the end is gone; it is called at most once, never from inside `write`, and never after the owner
  itself called `close` or `abort`.

An end that was closed or aborted ignores every further call, so owners need no order of teardown. `resume` may deliver, before
it returns, what arrived while the end was paused: an owner is in order before it calls it.

A receiver may have a `crash()`: it is called after an exception of ours escaped from a callback of its end, and ends what the
receiver stands for in a defined way. Without one the end is aborted and `lost(InternalError)` is called.
"""

import socket
from typing import Final, Protocol

from weft_core.errors import WeftError

Buffer = bytes | bytearray | memoryview


class Receiver(Protocol):
    """What sits on top of an end."""

    def feed(self, data: Buffer) -> None:
        """Take bytes that arrived; consume or copy them before returning."""

    def eof(self) -> None:
        """Note that the peer finished sending."""

    def drained(self) -> None:
        """Note that the end takes bytes again after `write` returned False."""

    def lost(self, error: WeftError | None) -> None:
        """Note that the end is gone; None: both directions had finished in order."""


class End(Protocol):
    """One side of a byte exchange."""

    receiver: Receiver

    @property
    def queued_bytes(self) -> int:
        """Bytes written that the peer has not taken yet."""

    def write(self, data: Buffer) -> bool:
        """Send or queue `data` (copied if queued); False: above the high-water mark, wait for `drained`."""

    def finish(self) -> None:
        """Half-close once the queue is sent: FIN or END_STREAM."""

    def pause(self) -> None:
        """Stop calling `feed`; back-pressure reaches the peer through its own window."""

    def resume(self) -> None:
        """Undo `pause`."""

    def close(self) -> None:
        """Send what is queued, then end both directions; no callback follows."""

    def abort(self) -> None:
        """End now, visibly broken: RST or RST_STREAM; no callback follows."""

    def detach(self) -> tuple[socket.socket, bytes]:
        """Give up the socket and the bytes read but not consumed; only ends that own a whole socket can.

        Raises:
            LocalProtocolError: this end is not a whole socket.
        """


class _Silence:
    """The receiver of an end whose owner has left."""

    def feed(self, data: Buffer) -> None: ...

    def eof(self) -> None: ...

    def drained(self) -> None: ...

    def lost(self, error: WeftError | None) -> None: ...


SILENCE: Final = _Silence()
