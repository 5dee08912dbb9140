"""The reactor: one epoll descriptor, waited on by one trio task, callbacks for everything that moves.

Theory of operation. A *turn* is: poll without waiting, call each ready handler, flush what they marked dirty. Up to
`ROUNDS` turns run before trio's scheduler gets its own; one round per wake-up costs 9 % more CPU (measured). Handlers
never wait and never raise for what a peer does; an exception that escapes one is our bug, is reported, and ends that
handler's connection alone: the `crash()` of whoever the handler (or deferred call, or timer) belongs to is called. `now` is
read once per turn and is what every deadline is computed from.

The events of a turn are older than what its handlers do. A descriptor that is closed and opened again within a turn has a
handler that knows nothing of the old one's events; such a descriptor is skipped until the next poll (`_fresh`).

Rules for editors: no `await` in a turn; whatever is collected for a peer (tunnel records) is sent from `flush`, once per
turn; a descriptor is unregistered before it is closed. `run` is behind one method so that another way of waiting (trio as a
guest of this loop) can replace it without touching a handler.
"""

import select
from collections.abc import Callable
from typing import Final, Protocol

import trio

from weft_agent.reactor.timers import Deadline, Timer, Timers

ROUNDS: Final = 16
EVENTS_PER_POLL: Final = 256
SETTLE_ROUNDS: Final = 64
"""Deferred calls may defer others (pipelined requests do); beyond so many rounds the others' events come first."""

READ: Final = select.EPOLLIN
WRITE: Final = select.EPOLLOUT
EXCLUSIVE: Final = getattr(select, "EPOLLEXCLUSIVE", 1 << 28)


class Handler(Protocol):
    """What is called about a descriptor. Its `abort`, if it has one, ends it with the loop, its `crash` after a bug of ours."""

    def ready(self, mask: int) -> None:
        """Handle events."""


class Flushable(Protocol):
    """Something that collected output during a turn."""

    def flush(self) -> None:
        """Send what was collected."""


class Reactor:
    """Callbacks on descriptors, timers and end-of-turn flushes.

    Args:
        buffer_bytes: size of the one receive buffer that all ends share; bytes in it are valid during a callback only.
        on_fault: told of exceptions that escaped a handler (our bugs).
    """

    __slots__ = (
        "_due", "_epoll", "_fresh", "_handlers", "_scope", "_soon", "_timers", "_turning", "buffer", "dirty", "now", "on_fault",
        "running", "view",
    )  # fmt: skip

    def __init__(self, buffer_bytes: int, on_fault: Callable[[Exception], None]) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._fresh: set[int] = set()
        self._soon: list[Callable[[], None]] = []
        self.now = trio.current_time()
        self._timers = Timers(self.now)
        self._scope: trio.CancelScope | None = None
        self._due = float("inf")
        """When `_keep_time`, in its scope, wakes up; reading that from the scope costs more than all of a timer."""
        self.buffer = bytearray(buffer_bytes)
        self.view = memoryview(self.buffer)
        self.dirty: list[Flushable] = []
        self.on_fault = on_fault
        self.running = True
        self._turning = False

    # -- descriptors --------------------------------------------------------------------------------------------

    def register(self, fd: int, handler: Handler, events: int) -> None:
        """Call `handler.ready(mask)` whenever one of `events` (or an error) is there."""
        self._epoll.register(fd, events)
        self._handlers[fd] = handler
        if self._turning:
            self._fresh.add(fd)

    def modify(self, fd: int, events: int) -> None:
        """Change what a registered descriptor waits for."""
        self._epoll.modify(fd, events)

    def unregister(self, fd: int) -> None:
        """Forget a descriptor; must come before it is closed."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    # -- time -----------------------------------------------------------------------------------------------------

    def watch(self, holder: Deadline) -> None:
        """Put a deadline holder into the coarse wheel, or look at it earlier: its deadline was set before `wheel_at`."""
        if holder.deadline < holder.wheel_at:  # else the wheel looks early enough
            self._wake(self._timers.watch(holder))

    def unwatch(self, holder: Deadline) -> None:
        """Take a holder out of the wheel: what it belonged to is gone."""
        self._timers.unwatch(holder)

    def after(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Return a sharp timer."""
        timer = self._timers.at(self.now + delay_s, callback)
        self._wake(timer.deadline)
        return timer

    def soon(self, callback: Callable[[], None]) -> None:
        """Call back after the current turn's handlers, outside of any of them; works from trio tasks too."""
        self._soon.append(callback)
        if not self._turning:
            self._prod()

    def refresh(self) -> None:
        """Read the clock; for trio tasks that call into ends outside of a turn."""
        self.now = trio.current_time()

    # -- running --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Pump events and time until cancelled or `stop`ped."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_time)
            await self._pump()
            nursery.cancel_scope.cancel()

    def stop(self) -> None:
        """Let `run` return after the current turn."""
        self.running = False

    def close(self) -> None:
        """Abort whatever is still registered and give up the epoll descriptor."""
        for handler in list(self._handlers.values()):
            abort = getattr(handler, "abort", None)
            if abort is not None:
                self._guard(abort)
        self._handlers.clear()
        self._epoll.close()

    def settle(self) -> None:
        """Run deferred calls and flush; trio tasks call this after they touched ends outside of a turn."""
        for _ in range(SETTLE_ROUNDS):
            if not (self._soon or self.dirty):
                return
            calls, self._soon = self._soon, []
            for call in calls:
                self._guard(call)
            dirty, self.dirty = self.dirty, []
            for item in dirty:
                self._guard(item.flush)
        self._prod()

    async def _pump(self) -> None:
        wait_readable, current_time = trio.lowlevel.wait_readable, trio.current_time
        poll, fileno, turn = self._epoll.poll, self._epoll.fileno(), self._turn
        while self.running:
            await wait_readable(fileno)
            for _ in range(ROUNDS):
                events = poll(0, EVENTS_PER_POLL)
                if not events:
                    break
                self.now = current_time()
                self._turning = True
                turn(events)
                if self.dirty or self._soon:
                    self.settle()
                self._turning = False
            else:
                await trio.lowlevel.checkpoint()

    def _turn(self, events: list[tuple[int, int]]) -> None:
        get, fresh = self._handlers.get, self._fresh
        if fresh:
            fresh.clear()
        handler: Handler | None = None
        pending = iter(events)
        while True:
            try:
                for fd, mask in pending:  # goes on behind the handler that failed
                    handler = get(fd)
                    if handler is not None and fd not in fresh:
                        handler.ready(mask)
                return
            except Exception as exc:  # the one guard of all connections: a bug of ours ends one of them
                self._fault(handler, exc)

    def _guard(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as exc:  # as in `_turn`
            self._fault(getattr(call, "__self__", None), exc)

    def _fault(self, owner: object, exc: Exception) -> None:
        """Report a bug of ours and end what it happened to."""
        self.on_fault(exc)
        crash = getattr(owner, "crash", None)
        if crash is not None:
            try:
                crash()
            except Exception as another:  # nothing is left to be told
                self.on_fault(another)

    async def _keep_time(self) -> None:
        while True:
            due = -float("inf") if self._soon or self.dirty else self._timers.next_due()
            self._due = float("inf") if due is None else due
            with trio.CancelScope(deadline=self._due) as self._scope:
                await trio.sleep_forever()
            self._scope = None
            self._turning = True
            self._catch_up()
            self.now = trio.current_time()
            for call in self._timers.advance(self.now):
                self._guard(call)
            self.settle()
            self._turning = False

    def _catch_up(self) -> None:
        """Hear what has arrived before what has run out.

        After a stall (a busy machine) both are due, and a request that came in time must not find its connection closed for
        having rested too long.
        """
        for _ in range(ROUNDS):
            events = self._epoll.poll(0, EVENTS_PER_POLL)
            if not events:
                return
            self.now = trio.current_time()
            self._turn(events)
            self.settle()

    def _wake(self, due: float) -> None:
        """Let `_keep_time` run when something is due, if it would sleep longer."""
        if due < self._due and self._scope is not None:
            self._scope.deadline = self._due = due

    def _prod(self) -> None:
        """Let `_keep_time` run at once."""
        self._wake(-float("inf"))
