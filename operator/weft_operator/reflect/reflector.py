"""One kind, reflected: listed once, watched from there on, listed again where the watch cannot go on.

Theory of operation. What is known of a kind is the resource version of every object. `_list` compares a whole list with it
and tells only differences, so a new list after a break tells what happened meanwhile and nothing else, deletions included.
`_watch` tells each event. In both, what is told was read completely; nothing is ever told on account of something that
could *not* be read: while the server is away, refuses us or answers nonsense, everything stays as it was told last.

- A watch that ends in order is begun again at the version it came to; one that breaks too, after a wait.
- 410: the version is too old, so list anew. If the *list* runs into 410 (it took longer than the server keeps versions), it
  is asked for in one piece.
- 404: the kind is not served. A kind whose definition is not installed has no objects, and is asked for again every
  `ABSENT_POLL_S`. Where objects were known, only a kind that stays away for `ABSENT_S` is believed to be gone with them.

Source: client-go tools/cache/reflector.go; Kubernetes documentation "API Concepts", "410 Gone responses".
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Final, Literal, Protocol

import structlog

from weft_operator.access import ApiError, ExpiredError, NotFoundError
from weft_operator.reflect.backoff import Backoff
from weft_operator.reflect.kinds import ReflectedKind
from weft_operator.reflect.parse import Bookmark, Seen, Unreadable, parse_event, parse_page

CHUNK: Final = 500
WHOLE: Final = 0
"""A chunk size: everything in one answer."""
ABSENT_POLL_S: Final = 10.0
ABSENT_S: Final = 30.0
SHORT_WATCH_S: Final = 1.0
"""A watch that ended in order before this counts as a failure, or a server that ends all would be asked without pause."""

State = Literal["starting", "synced", "absent"]
_log: Final = structlog.get_logger("weft_operator.reflect")


class Source(Protocol):
    """What is asked of the API server."""

    def pages(self, path: str, *, chunk: int) -> AsyncGenerator[bytes, None]:
        """Yield a collection in parts of `chunk` objects; 0: in one."""

    def watch(self, path: str, version: str) -> AsyncGenerator[bytes, None]:
        """Yield events behind a version, after an empty line that says that the server has taken the watch on."""


class Reflector:
    """Follows one kind.

    Args:
        kind: which.
        source: the API server.
        tell: takes changes, all of a list at once.
        synced: called when the kind is known for the first time.
        clock: monotonic seconds.
        rng: for jitter.
    """

    def __init__(
        self,
        kind: ReflectedKind,
        source: Source,
        tell: Callable[[Sequence[Seen]], None],
        synced: Callable[[], None] = lambda: None,
        *,
        clock: Callable[[], float] = time.monotonic,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self.kind = kind
        self._source, self._tell, self._synced, self._clock = source, tell, synced, clock
        self._rng, self._backoff = rng, Backoff(rng)
        self._known: dict[str, str] = {}
        self._version: str | None = None
        self._api_version = kind.versions[0]
        self._chunk = CHUNK
        self._absent_since: float | None = None
        self.state: State = "starting"
        self.heard_at = clock()
        """When the server last said anything about this kind."""
        self.error = ""
        """What keeps us from following it; empty: nothing."""
        self.lists = 0
        self.events = 0
        self.unreadable: set[str] = set()
        """Objects that are kept as they were before, because nothing can be read of them now."""

    @property
    def objects(self) -> int:
        """How many are known."""
        return len(self._known)

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            wait_s = await self._round()
            await asyncio.sleep(wait_s)

    async def _round(self) -> float:
        """List or watch once; return how many seconds to wait before the next."""
        begun = self._clock()
        try:
            if self._version is None:
                await self._list()
            await self._watch()
        except ExpiredError:
            self._version = None
            return self._backoff.failed()
        except NotFoundError as exc:
            return self._not_served(exc)
        except ApiError as exc:
            self._failed(exc)
            return self._backoff.failed()
        return 0.0 if self._clock() - begun >= SHORT_WATCH_S else self._backoff.failed()

    def _failed(self, exc: ApiError) -> None:
        if not self.error:
            _log.warning("a kind cannot be followed; what is known of it stays", kind=self.kind.kind, why=str(exc))
        self.error = str(exc)

    # -- lists ----------------------------------------------------------------------------------------------------

    async def _list(self) -> None:
        for api_version in self.kind.versions:
            try:
                version, items = await self._read(api_version)
            except NotFoundError:
                continue
            self._take_list(api_version, version, items)
            return
        raise NotFoundError(f"{self.kind.plural} are not served in any of {', '.join(self.kind.versions)}", status=404)

    async def _read(self, api_version: str) -> tuple[str, list[Seen | Unreadable]]:
        version, items = "", list[Seen | Unreadable]()
        chunk, self._chunk = self._chunk, WHOLE  # until it has come to its end
        async with aclosing(self._source.pages(self.kind.path(api_version), chunk=chunk)) as pages:
            async for data in pages:
                page = await asyncio.to_thread(parse_page, self.kind, api_version, data)
                version = page.version
                items += page.items
        self._chunk = CHUNK
        return version, items

    def _take_list(self, api_version: str, version: str, items: Sequence[Seen | Unreadable]) -> None:
        found = {item.key for item in items}
        gone = [Seen(self.kind.kind, key, "", None) for key in self._known.keys() - found]
        told = [*gone, *(item for item in items if self._known.get(item.key) != item.version)]
        self._api_version, self._version = api_version, version
        self.lists += 1
        self._heard()
        self._backoff.succeeded()
        self._take(told)
        self._settle("synced")

    # -- watches --------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        assert self._version is not None, "listed before"
        async with aclosing(self._source.watch(self.kind.path(self._api_version), self._version)) as lines:
            async for line in lines:
                self._heard()
                if not line:
                    continue
                found = parse_event(self.kind, self._api_version, line)
                self._version = found.version
                self._backoff.succeeded()
                if not isinstance(found, Bookmark):
                    self.events += 1
                    self._take([found])

    def _take(self, items: Sequence[Seen | Unreadable]) -> None:
        told: list[Seen] = []
        for item in items:
            if isinstance(item, Unreadable):
                self._keep(item)
                continue
            self.unreadable.discard(item.key)
            if item.held is None:
                self._known.pop(item.key, None)
            else:
                self._known[item.key] = item.version
            told.append(item)
        if told:
            self._tell(told)

    def _keep(self, item: Unreadable) -> None:
        """Note an object that cannot be read; what was told of it before stands."""
        self._known[item.key] = item.version
        self.unreadable.add(item.key)
        why = "; ".join(f"{problem.path}: {problem.message}" for problem in item.problems)
        _log.error("an object cannot be read; what was known of it stays", kind=item.kind, object=item.key, why=why)

    def _heard(self) -> None:
        if self.error:
            _log.info("a kind is followed again", kind=self.kind.kind)
        self.error, self._absent_since = "", None
        self.heard_at = self._clock()

    # -- kinds that are not there ---------------------------------------------------------------------------------

    def _not_served(self, exc: NotFoundError) -> float:
        now = self._clock()
        self.heard_at = now
        self._version = None
        if not self.kind.may_be_missing:
            self._failed(exc)
            return self._backoff.failed()
        since = self._absent_since = now if self._absent_since is None else self._absent_since
        if not self._known or now - since >= ABSENT_S:
            self._take([Seen(self.kind.kind, key, "", None) for key in self._known])
            self.error = ""
            self._settle("absent")
        else:
            self._failed(exc)
        return ABSENT_POLL_S * (1 - self._rng() / 2)

    def _settle(self, state: State) -> None:
        before, self.state = self.state, state
        if state == "absent" and before != "absent":
            tell = _log.warning if self.kind.is_ours else _log.info
            tell("a kind is not installed; it is looked for again", kind=self.kind.kind, group=self.kind.group)
        if before == "starting":
            self._synced()
