"""What leaves: frames collected for one flush, the connection's send credit, and whose turn it is when that runs short.

Theory of operation. `out` collects pieces during a turn; the shell sends them together and says so (`flushed`, `unsent`).
`room` is how many bytes of DATA may go into `out` right now: the smaller of the peer's connection credit and of what our
own backlog may hold (pieces not yet flushed, and bytes that the socket has not taken). It is one number because a stream's
`write` looks at it once per message; credit and backlog are settled from it afterwards, when something rare happens.

Large writes are not collected: where the shell has offered to take what is there at once (`take_now`), they are passed to it as
they came and never copied, in order behind what was collected. What it does not take is copied, since it may change.

A stream that finds no room queues its bytes and waits in `_ready`. Invariant: while a stream waits there, `room` is 0, so
nobody overtakes it. Streams in `_ready` are served in turn, one quantum each. Streams without credit of their own are not
in `_ready`; a WINDOW_UPDATE puts them back. Heads and control frames are not flow-controlled and go out at once.

Callbacks (`drained`) are never made from here: streams that may go on are collected in `relieved`.
"""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from weft_contract.limits import Limits
from weft_core.tunnel import frames
from weft_core.tunnel.breach import ConnectionBreachError
from weft_core.tunnel.frames import ErrorCode
from weft_core.tunnel.seams import Buffer

if TYPE_CHECKING:
    from weft_core.tunnel.stream import TunnelStream

QUANTUM_BYTES: Final = 64 * 1024
"""A waiting stream's turn: four TLS records, so that bulk is cheap and a small message waits for little of it."""


class Outlet:
    """The sending half of a connection.

    Args:
        limits: write marks; the backlog may hold one shared read buffer, so that one turn of bulk fits.
        wants_flush: called when `out` went from empty to non-empty.
    """

    __slots__ = (
        "_backlog_bytes", "_credit", "_granted", "_pending", "_ready", "_settled_room", "_unsent", "_wants_flush",
        "high_bytes", "low_bytes", "max_frame", "out", "relieved", "room", "take_now",
    )  # fmt: skip

    def __init__(self, limits: Limits, wants_flush: Callable[[], None]) -> None:
        self._wants_flush = wants_flush
        self._backlog_bytes = max(limits.read_buffer_bytes, limits.write_high_bytes)
        self._credit = self._granted = frames.DEFAULT_WINDOW
        self._pending = 0
        self._unsent = 0
        self._ready: deque[TunnelStream] | None = None  # made when one waits: 600 bytes of every tunnel
        self.high_bytes = limits.write_high_bytes
        self.low_bytes = limits.write_low_bytes
        self.max_frame = frames.SMALLEST_MAX_FRAME
        self.out: list[Buffer] = []
        self.relieved: list[TunnelStream] = []
        self.take_now: Callable[[], None] | None = None
        """Offered by the shell: encrypts and sends `out`, calls `taken`, makes no callback."""
        self.room = self._settled_room = min(self._credit, self._backlog_bytes)

    def send(self, piece: Buffer) -> None:
        """Collect a head or a control frame."""
        out = self.out
        out.append(piece)
        if len(out) == 1:
            self._wants_flush()

    def send_data(self, header: bytes, pieces: list[Buffer], size: int) -> None:
        """Collect a DATA frame of a queue; `room` must allow its size."""
        self.room -= size
        self.send(header)
        self.out += pieces

    def send_now(self, header: bytes, view: memoryview, size: int) -> None:
        """Pass a DATA frame to the shell at once; `room` must allow its size, and `takes_at_once` be true."""
        self.room -= size
        out = self.out
        if not out:
            self._wants_flush()  # callbacks that become due are made then
        out += (header, view)
        if self.take_now is not None:
            self.take_now()
        if out and out[-1] is view:
            out[-1] = bytes(view)

    @property
    def takes_at_once(self) -> bool:
        """True while large writes need not be copied: the shell takes them, and the socket takes its bytes."""
        return self.take_now is not None and not self._unsent

    def wait(self, stream: "TunnelStream") -> None:
        """Let a stream with queued bytes and credit of its own have its turns."""
        if not stream._waiting:
            stream._waiting = True
            if self._ready is None:
                self._ready = deque()
            self._ready.append(stream)

    def pump(self) -> None:
        """Serve waiting streams while there is room."""
        self._settle()
        ready = self._ready
        while ready and self.room > 0:
            stream = ready.popleft()
            if stream._send_quantum():
                ready.append(stream)
            else:
                stream._waiting = False

    # -- credit and backlog ---------------------------------------------------------------------------------------

    def grant(self, increment: int) -> None:
        """Take connection credit from a WINDOW_UPDATE."""
        self._settle()
        self._credit += increment
        self._granted += increment
        if self._credit > frames.LARGEST_WINDOW:
            raise ConnectionBreachError(
                ErrorCode.FLOW_CONTROL_ERROR, "connection window above 2^31-1", "window_overflow"
            )
        self.pump()

    def flushed(self) -> None:
        """Note that the shell took everything in `out`."""
        self._settle()
        self._pending = 0
        self.pump()

    def taken(self, unsent: int) -> None:
        """Note that the shell took everything in `out`, and how many bytes of it the socket has not taken."""
        self._unsent = unsent
        self.flushed()

    def unsent(self, size: int) -> None:
        """Note how many bytes the socket has not taken."""
        self._unsent = size
        self.pump()

    @property
    def out_of_credit(self) -> bool:
        """True while the peer's connection window is closed."""
        return self._credit - (self._settled_room - self.room) <= 0

    @property
    def sent_bytes(self) -> int:
        """Flow-controlled bytes sent so far."""
        return self._granted - self._credit + self._settled_room - self.room

    def _settle(self) -> None:
        spent = self._settled_room - self.room
        self._credit -= spent
        self._pending += spent
        backlog_room = self._backlog_bytes - self._unsent - self._pending
        self.room = self._settled_room = max(0, min(self._credit, backlog_room))
