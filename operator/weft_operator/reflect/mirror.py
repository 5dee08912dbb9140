"""All reflectors together: started together, known together, and whether they are still alive."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from weft_operator.reflect.kinds import REFLECTED, ReflectedKind
from weft_operator.reflect.parse import Seen
from weft_operator.reflect.reflector import Reflector, Source

STALE_S: Final = 180.0
"""A watch says something about once a minute, by bookmarks; one that was silent is ended after 90 s and begun again."""


class Mirror:
    """Follows every kind that the compiler reads.

    Args:
        source: the API server.
        tell: takes changes.
        kinds: by name.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        source: Source,
        tell: Callable[[Sequence[Seen]], None],
        kinds: Mapping[str, ReflectedKind] = REFLECTED,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._waiting = set(kinds)
        self.synced = asyncio.Event()
        """Set when every kind is known; what is told before that is not the whole cluster."""
        self.reflectors = {
            name: Reflector(kind, source, tell, lambda name=name: self._one_synced(name), clock=clock)  # type: ignore[misc]  # mypy cannot type a default
            for name, kind in kinds.items()
        }

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as group:
            for name, reflector in self.reflectors.items():
                group.create_task(reflector.run(), name=f"reflect {name}")

    def _one_synced(self, name: str) -> None:
        self._waiting.discard(name)
        if not self._waiting:
            self.synced.set()

    @property
    def missing(self) -> list[str]:
        """What is not known yet, each with the reason; empty: all is."""
        return [f"{name}: {self.reflectors[name].error or 'is being listed'}" for name in sorted(self._waiting)]

    @property
    def dead(self) -> list[str]:
        """Kinds that nobody looks after any more: neither events, nor bookmarks, nor an error for `STALE_S`."""
        now = self._clock()
        return sorted(
            name
            for name, reflector in self.reflectors.items()
            if not reflector.error and now - reflector.heard_at > STALE_S
        )

    @property
    def failing(self) -> dict[str, str]:
        """Kinds that cannot be followed now, and why."""
        return {name: reflector.error for name, reflector in self.reflectors.items() if reflector.error}
