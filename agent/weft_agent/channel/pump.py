"""The trio side of a link: one task reads and dispatches, one sends what the kernel did not take at once."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

import trio

from weft_agent.channel.link import ChannelError, Link, LinkClosedError, LinkOverrunError, Received

MessageT = TypeVar("MessageT")

MESSAGES_PER_TURN: Final = 64
"""Read so many before other tasks get their turn."""


class Pump(Generic[MessageT]):
    """A link with its two tasks. Whatever breaks it surfaces in `run`, never in `send`.

    Args:
        link: the channel's end; owned from now on.
        handle: takes each message; it must not wait and owns the descriptors that came along.
    """

    def __init__(self, link: Link[MessageT], handle: Callable[[Received[MessageT]], None]) -> None:
        self._link = link
        self._handle = handle
        self._queued = trio.Event()
        self._error: ChannelError | None = None

    def send(self, message: object, fds: Sequence[int] = ()) -> None:
        """Send or queue; may be called from anywhere in the trio thread, callbacks included. `fds` stay the caller's."""
        try:
            self._link.send(message, fds)
        except LinkClosedError:
            return  # `run` reads what the peer said last, then ends
        except LinkOverrunError as exc:
            self._error = exc
        if self._error is not None or self._link.backlog:
            self._queued.set()

    async def run(self) -> None:
        """Read and send until the peer is gone; the link is closed afterwards.

        Raises:
            LinkClosedError: the peer closed its end or died.
            LinkOverrunError: the peer takes nothing any more.
            LinkProtocolError: the peer sent garbage.
        """
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._guarded, self._send_queued, nursery.cancel_scope)
                await self._guarded(self._read, nursery.cancel_scope)
        finally:
            self._link.close()
        if self._error is not None:
            raise self._error

    async def _guarded(self, task: Callable[[], Awaitable[None]], scope: trio.CancelScope) -> None:
        """Keep a channel's end out of exception groups: one of the two tasks finds it, `run` raises it."""
        try:
            await task()
        except ChannelError as exc:
            self._error = self._error or exc
            scope.cancel()

    async def _read(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._link.sock)
            for _ in range(MESSAGES_PER_TURN):
                received = self._link.receive()
                if received is None:
                    break
                self._handle(received)

    async def _send_queued(self) -> None:
        while True:
            await self._queued.wait()
            self._queued = trio.Event()
            if self._error is not None:
                raise self._error
            try:
                while not self._link.flush():
                    await trio.lowlevel.wait_writable(self._link.sock)
            except LinkClosedError:
                return  # as in `send`
