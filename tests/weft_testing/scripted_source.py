"""A reflector's `Source` that plays a script: lists and watches in the order in which a test gives them."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

import msgspec

from weft_operator.access import ApiError
from weft_testing.objects import Doc

FOR_EVER = "for ever"


@dataclass(frozen=True)
class List:
    """A list, in pages."""

    version: str
    pages: Sequence[Sequence[Doc]] = ((),)
    error: ApiError | None = None
    """Raised after the pages."""


@dataclass(frozen=True)
class Watch:
    """A watch from a version on."""

    version: str
    events: Sequence[Doc] = ()
    end: ApiError | str | None = None
    """None: it ends in order; an error; or `FOR_EVER`."""


@dataclass
class ScriptedSource:
    """Plays the steps, then sets `finished` and stays silent."""

    steps: list[List | Watch | ApiError]
    asked: list[tuple[str, str, int]] = field(default_factory=list)
    """`list` or `watch`, path, and chunk or version."""
    finished: asyncio.Event = field(default_factory=asyncio.Event)

    async def pages(self, path: str, *, chunk: int) -> AsyncGenerator[bytes, None]:
        """Play a list."""
        self.asked.append(("list", path, chunk))
        step = await self._next()
        assert isinstance(step, List), f"a watch was to come, not a list of {path}"
        for items in step.pages:
            metadata = {"resourceVersion": step.version}
            yield msgspec.json.encode({"kind": "List", "metadata": metadata, "items": list(items)})
        if step.error is not None:
            raise step.error

    async def watch(self, path: str, version: str) -> AsyncGenerator[bytes, None]:
        """Play a watch."""
        self.asked.append(("watch", path, int(version)))
        step = await self._next()
        assert isinstance(step, Watch), f"a list was to come, not a watch of {path}"
        assert step.version == version
        yield b""
        for event in step.events:
            yield msgspec.json.encode(event)
        if isinstance(step.end, ApiError):
            raise step.end
        if step.end == FOR_EVER:
            self.finished.set()
            await asyncio.Event().wait()

    async def _next(self) -> List | Watch:
        if not self.steps:
            self.finished.set()
            await asyncio.Event().wait()
        step = self.steps.pop(0)
        if isinstance(step, ApiError):
            raise step
        return step
