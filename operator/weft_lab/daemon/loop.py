"""A small selector loop: descriptors, timers, and results of threads, all handled on one thread. No locks anywhere else.

Theory: everything that changes the lab's state runs in `run`. Threads never touch state; they return values through
`in_thread`, or ask for a call with `call`. An exception in a handler is a bug: it is logged and the loop goes on, because
a lab that dies takes every pod with it.
"""

import heapq
import itertools
import logging
import os
import selectors
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Final, TypeVar

T = TypeVar("T")

_log: Final = logging.getLogger("weft_lab.loop")
_THREADS: Final = 8
"""For `ip`, nft, compiling and files: blocking work that a lab of a few hundred pods has a handful of at once."""


class Timer:
    """A date in the loop; `cancel` takes it away."""

    __slots__ = ("action", "at")

    def __init__(self, at: float, action: Callable[[], None]) -> None:
        self.at = at
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        """Do not call it; harmless afterwards."""
        self.action = None


class Loop:
    """The daemon's loop."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._calls: list[Callable[[], None]] = []
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="lab")
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._stopping = False
        self.watch(self._wake_read, self._drain_wake)

    @property
    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def watch(self, descriptor: int, action: Callable[[], None]) -> None:
        """Call an action whenever a descriptor is readable."""
        self._selector.register(descriptor, selectors.EVENT_READ, action)

    def unwatch(self, descriptor: int) -> None:
        """Stop watching a descriptor; before it is closed."""
        self._selector.unregister(descriptor)

    def at(self, moment: float, action: Callable[[], None]) -> Timer:
        """Call an action at a moment (monotonic seconds)."""
        timer = Timer(moment, action)
        heapq.heappush(self._timers, (moment, next(self._numbers), timer))
        return timer

    def call(self, action: Callable[[], None]) -> None:
        """Call an action on the loop's thread, soon. From any thread."""
        self._calls.append(action)
        self.wake()

    def wake(self) -> None:
        """Let the loop look around. From any thread, and from signal handlers."""
        try:
            os.write(self._wake_write, b"x")
        except BlockingIOError:
            pass  # it is awake already

    def in_thread(
        self, work: Callable[[], T], then: Callable[["Future[T]"], None], executor: Executor | None = None
    ) -> None:
        """Do blocking work in a thread and hand its future to an action on the loop's thread."""
        future = (executor or self._threads).submit(work)
        future.add_done_callback(lambda done: self.call(lambda: then(done)))

    def ask(self, question: Callable[[], T], timeout_s: float = 30.0) -> T:
        """Run a function on the loop's thread and wait for its value. From other threads only.

        Raises:
            TimeoutError: the loop does not answer.
            Exception: what the function raised.
        """
        future: Future[T] = Future()

        def answer() -> None:
            try:
                future.set_result(question())
            except Exception as exc:  # handed to the asking thread, whatever it is
                future.set_exception(exc)

        self.call(answer)
        return future.result(timeout_s)

    def stop(self) -> None:
        """End `run` after the present turn."""
        self._stopping = True
        self.wake()

    def run(self) -> None:
        """Handle events until `stop`."""
        while not self._stopping:
            for key, _ in self._selector.select(self._timeout_s()):
                self._guard(key.data)
            calls, self._calls = self._calls, []
            for action in calls:
                self._guard(action)
            self._fire()

    def close(self) -> None:
        """Give up threads that still work; the process is about to end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _timeout_s(self) -> float | None:
        if self._calls:
            return 0.0
        while self._timers and self._timers[0][2].action is None:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - self.now) if self._timers else None

    def _fire(self) -> None:
        now = self.now
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if timer.action is not None:
                action, timer.action = timer.action, None
                self._guard(action)

    def _guard(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception:  # one handler's bug must not take every pod with it; it is in the log with its traceback
            _log.exception("a handler failed")

    def _drain_wake(self) -> None:
        os.read(self._wake_read, 4096)
