"""A list, then changes, for ever: how objects of one kind are followed at the API server; what was seen stays while it is away.

Theory of operation. A list without a resource version is answered from the store itself, never from a cache that may be
behind; where a little behind does no harm and many agents ask at once, the first list may come from the cache. A watch goes
on from the version it has reached; the server ends it after some minutes, and bookmarks move the version on and prove that
the connection lives. When the server no longer has the version (410) there is a new list, from the store. Failures wait
longer each time, with jitter, and take nothing away.

Source: Kubernetes API concepts, "Efficient detection of changes", "Resource versions"; `metav1.WatchEvent`, `metav1.Status`.
"""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Final, Generic, Literal, Protocol, TypeVar, assert_never
from urllib.parse import urlencode

import msgspec
import trio

from weft_agent.kubernetes.account import Account, AccountError
from weft_agent.kubernetes.api_request import ApiError, ApiRefusedError, get
from weft_agent.kubernetes.event import Change

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

PAGE: Final = 500
WATCH_S: Final = 290
"""After so long the server ends a watch in order; below the five minutes after which many proxies cut a connection."""
SILENCE_S: Final = 100.0
"""The server sends a bookmark every minute."""
SHORT_S: Final = 1.0
"""A watch that ends sooner, in order or not, is a failure; else a broken server would be asked without pause."""
FIRST_WAIT_S: Final = 0.2
LONGEST_WAIT_S: Final = 15.0
GONE: Final = 410

Reason = Literal["account", "connection", "refused", "expired", "object"]
"""Why a watch failed."""


class Mirror(Protocol[T_contra]):
    """Keeps what is shown, and tells of trouble."""

    def replace(self, items: Sequence[T_contra]) -> None:
        """Take in a full list."""

    def change(self, kind: Change, item: T_contra) -> None:
        """Take in one event."""

    def connected(self) -> None:
        """Note that a watch is open."""

    def failed(self, reason: Reason, trouble: str) -> None:
        """Note that list or watch failed; `object`: one item could not be read, and the others were."""


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _List(msgspec.Struct):
    metadata: _ListMeta
    items: list[msgspec.Raw] | None = None


class _Event(msgspec.Struct):
    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]
    object: msgspec.Raw


class _Versioned(msgspec.Struct):
    metadata: _ListMeta


class _Failure(msgspec.Struct):
    code: int = 0
    message: str = ""


class ListWatch(Generic[T]):
    """Follows some objects of one kind.

    Args:
        account: at which API server, as whom.
        path: of the kind.
        selector: which of them: `fieldSelector` or `labelSelector`.
        python_type: of one object.
        mirror: told of everything.
        rng: jitter.
        from_cache: whether the first list may be a little behind.
    """

    def __init__(
        self,
        account: Account,
        path: str,
        selector: Mapping[str, str],
        python_type: type[T],
        mirror: Mirror[T],
        rng: Random,
        *,
        from_cache: bool = False,
    ) -> None:
        self._account = account
        self._path = path
        self._selector = dict(selector)
        self._type = python_type
        self._mirror = mirror
        self._rng = rng
        self._from_cache = from_cache
        self._version = ""
        """Where the next watch begins; empty: with a list."""
        self._wait_s = FIRST_WAIT_S

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
                continue
            except ApiRefusedError as exc:
                if exc.status == GONE:
                    self._version = ""
                    self._mirror.failed("expired", str(exc))
                else:
                    self._mirror.failed("refused", f"{exc}; {self._remedy(exc.status)}")
            except AccountError as exc:
                self._mirror.failed("account", str(exc))
            except (ApiError, msgspec.MsgspecError) as exc:
                self._mirror.failed("connection", str(exc))
            await trio.sleep(self._rng.uniform(0.5, 1.0) * self._wait_s)
            self._wait_s = min(self._wait_s * 2, LONGEST_WAIT_S)

    async def _list(self) -> None:
        items: list[T] = []
        query = {"resourceVersion": "0"} if self._from_cache else {"limit": str(PAGE)}
        self._from_cache = False
        while True:
            async with get(self._account, self._target(query)) as body:
                page = msgspec.json.decode(await body.whole(), type=_List)
            items += [item for raw in page.items or () if (item := self._decode(raw)) is not None]
            if not page.metadata.continue_:
                break
            query["continue"] = page.metadata.continue_
        self._version = page.metadata.resource_version
        self._mirror.replace(items)

    async def _watch(self) -> None:
        query = {
            "watch": "1", "allowWatchBookmarks": "true", "resourceVersion": self._version,
            "timeoutSeconds": str(self._rng.randrange(WATCH_S // 2, WATCH_S)),
        }  # fmt: skip
        began_s = trio.current_time()
        async with get(self._account, self._target(query)) as body:
            self._wait_s = FIRST_WAIT_S
            self._mirror.connected()
            while (line := await body.line(SILENCE_S)) is not None:
                self._take(msgspec.json.decode(line, type=_Event))
        if trio.current_time() - began_s < SHORT_S:
            raise ApiError(f"the API server ended a watch within {SHORT_S:g} s")

    def _take(self, event: _Event) -> None:
        match event.type:
            case "ERROR":
                failure = msgspec.json.decode(event.object, type=_Failure)
                raise ApiRefusedError(failure.code, f"the API server ended the watch: {failure.message}")
            case "BOOKMARK":
                pass
            case "ADDED" | "MODIFIED" | "DELETED":
                item = self._decode(event.object)
                if item is not None:
                    self._mirror.change(event.type, item)
            case _:
                assert_never(event.type)
        self._version = msgspec.json.decode(event.object, type=_Versioned).metadata.resource_version

    def _target(self, query: Mapping[str, str]) -> str:
        return f"{self._path}?{urlencode({**self._selector, **query}, safe=',')}"

    def _decode(self, raw: msgspec.Raw) -> T | None:
        """Return an object; one that cannot be read is told, and the others are read all the same."""
        try:
            return read_object(raw, self._type)
        except msgspec.MsgspecError as exc:
            self._mirror.failed("object", str(exc))
            return None

    def _remedy(self, status: int) -> str:
        match status:
            case 401:
                return "the agent's token is not accepted: mount the service account's own, of the default audience"
            case 403:
                return f"let the agent's service account get, list and watch {self._path.rpartition('/')[2]}"
            case _:
                return "see the API server's log"


def read_object(data: bytes | msgspec.Raw, python_type: type[T]) -> T:
    """Return an object of the API server.

    Raises:
        MsgspecError: it is none of this type.
    """
    try:
        return msgspec.json.decode(data, type=python_type)
    except msgspec.ValidationError:
        return msgspec.convert(_without_nulls(msgspec.json.decode(data)), python_type)


def _without_nulls(value: object) -> object:
    """Leave out fields that are null: in foreign objects they mean absent."""
    match value:
        case dict():
            return {key: _without_nulls(item) for key, item in value.items() if item is not None}
        case list():
            return [_without_nulls(item) for item in value]
        case _:
            return value
