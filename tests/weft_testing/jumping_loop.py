"""An asyncio loop whose clock jumps: when nothing is left to do but to wait, the time that is waited for has come.

For code that waits and does nothing else: no sockets, no threads (of those nobody knows how long they take).
"""

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any


class _Selector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0 if timeout is None or timeout > 0 else timeout)
        assert events or timeout is not None, "everything waits for something that nobody will do"
        if not events and timeout is not None and timeout > 0:
            self.now += timeout
        return events


class JumpingLoop(asyncio.SelectorEventLoop):
    """The loop; `time()` begins at 0."""

    def __init__(self) -> None:
        self._jumping = _Selector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the seconds that were waited for so far."""
        return self._jumping.now


def jumping(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make an asynchronous test one that runs in such a loop."""

    @functools.wraps(test)
    def run(*args: object, **kwargs: object) -> None:
        with asyncio.Runner(loop_factory=JumpingLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run
