"""The work queue: a schedule with workers, in the operator's event loop."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

import structlog

from weft_operator.controllers.schedule import Schedule

K = TypeVar("K", bound=Hashable)

_log: Final = structlog.get_logger("weft_operator.controllers")


class WorkQueue(Generic[K]):
    """Keys to look at, and the tasks that do.

    `add` may be called from the loop's own thread only; other threads go through `loop.call_soon_threadsafe`.
    """

    def __init__(self) -> None:
        self._schedule: Schedule[K] = Schedule(random.random)
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        """Keys that wait."""
        return len(self._schedule)

    def add(self, key: K, delay_s: float = 0.0) -> None:
        """Wish that a key be looked at."""
        self._schedule.add(key, asyncio.get_running_loop().time() + delay_s)
        self._changed.set()

    async def run(self, work: Callable[[K], Awaitable[float | None]], workers: int) -> None:
        """Work until cancelled.

        Args:
            work: looks at one key; returns in how many seconds to look again, or None. What it raises is logged, and the
                key tried again later and later.
            workers: keys looked at at once.
        """
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._work(work))

    async def _work(self, work: Callable[[K], Awaitable[float | None]]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            key = await self._next()
            try:
                again_s = await work(key)
            except Exception as exc:
                wait_s = self._schedule.failed(key, loop.time())
                _log.warning("reconciling failed", object=str(key), error=repr(exc), again_in_s=round(wait_s, 1))
            else:
                self._schedule.done(key, None if again_s is None else loop.time() + again_s)
            # A worker that is cancelled never comes here, so its key stays taken; the queue ends with its workers.
            self._changed.set()

    async def _next(self) -> K:
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            key = self._schedule.take(loop.time())
            if key is not None:
                return key
            due = self._schedule.next_at()
            try:
                async with asyncio.timeout_at(due):
                    await self._changed.wait()
            except TimeoutError:
                continue
