"""The loop that compiles what changed: collected for a moment, compiled in a thread, published in the event loop.

Theory: changes come one by one and often many at once (a rollout, the first list). They are collected until nothing came for
`DEBOUNCE_S`, at most `MAX_DELAY_S` after the first, and the newest of each object counts. Compiling runs in a thread, one
round at a time, so that config streams and webhooks go on meanwhile; what comes during a round belongs to the next. Nothing
is compiled before `open` is called: half a cluster would be taken for a whole one.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from weft_operator.compile import Held
from weft_operator.compile.view import ObjectKey
from weft_operator.live import Delta

DEBOUNCE_S: Final = 0.1
MAX_DELAY_S: Final = 0.3
"""Where changes never pause, as in a large mesh, this is what the first of a round waits, and a third of the lag that a node
may have; a round costs a few milliseconds beside what it changes."""

Bundles = Mapping[str, tuple[str, ...]]


class Compiler(Protocol):
    """The live compiler."""

    def apply(self, changed: Mapping[ObjectKey, Held | None], bundles: Bundles | None = None) -> Delta:
        """Compile one round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round that was compiled."""

    delta: Delta
    changes: int
    """Objects that came, changed or went."""
    since: float
    """When the first change of the round came; monotonic seconds."""
    compile_s: float
    delay_s: float
    """From the first change of the round until it was compiled."""


class Feed:
    """Feeds the compiler.

    Args:
        compiler: is called in a thread, never twice at once.
        publish: takes every round, in the event loop.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        compiler: Compiler,
        publish: Callable[[Round], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._compiler, self._publish, self._clock = compiler, publish, clock
        self._changes: dict[ObjectKey, Held | None] = {}
        self._bundles: Bundles | None = None
        self._first_at = self._last_at = 0.0
        self._woken = asyncio.Event()
        self._opened = asyncio.Event()
        self.compiled = asyncio.Event()
        """Set when the first round was published."""
        self.busy_since: float | None = None
        """When the round that is being compiled began."""

    @property
    def waiting(self) -> int:
        """Changes that are not compiled yet."""
        return len(self._changes)

    def put(self, changes: Mapping[ObjectKey, Held | None]) -> None:
        """Take changes; None: the object is gone."""
        self._changes.update(changes)
        self._note()

    def set_bundles(self, bundles: Bundles) -> None:
        """Replace the roots of all trust domains."""
        self._bundles = bundles
        self._note()

    def open(self) -> None:
        """Begin to compile: everything is known."""
        self._opened.set()
        self._note()

    def _note(self) -> None:
        now = self._clock()
        if not self._woken.is_set():
            self._first_at = now
        self._last_at = now
        self._woken.set()

    async def run(self) -> None:
        """Compile until cancelled. What the compiler raises is raised: it is a bug, and its state is lost."""
        await self._opened.wait()
        while True:
            await self._woken.wait()
            await self._settle()
            await self._round()

    async def _settle(self) -> None:
        """Wait until nothing comes for a moment."""
        while True:
            due = min(self._last_at + DEBOUNCE_S, self._first_at + MAX_DELAY_S)
            wait_s = due - self._clock()
            if wait_s <= 0:
                return
            await asyncio.sleep(wait_s)

    async def _round(self) -> None:
        changes, bundles, first_at = self._changes, self._bundles, self._first_at
        self._changes, self._bundles = {}, None
        self._woken.clear()
        self.busy_since = begun = self._clock()
        delta = await asyncio.to_thread(self._compiler.apply, changes, bundles)
        ended = self._clock()
        self.busy_since = None
        self._publish(
            Round(delta=delta, changes=len(changes), since=first_at, compile_s=ended - begun, delay_s=ended - first_at)
        )
        self.compiled.set()
