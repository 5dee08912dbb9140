"""One client for all requests to the API server: objects, lists in parts, watches.

Theory: a path and a body go out, JSON comes back; nothing here knows a kind. What goes wrong is `exchange`'s affair.

A watch is an iterator of lines that ends when the server ends it. One that is silent for `SILENCE_S` is dead: with
bookmarks the server says something about once a minute. Lines are cut here because the library's own bound on a line is
smaller than an object may be.

Source: Kubernetes documentation "API Concepts" (watch, bookmarks, chunks, server-side apply).
"""

from collections.abc import AsyncGenerator, Mapping
from types import TracebackType
from typing import Any, Final

import aiohttp
import msgspec

from weft_operator.access import Access, NotFoundError, UnreachableError
from weft_operator.apiserver.exchange import CONNECT_TIMEOUT_S, Exchange, words

Body = dict[str, Any]  # a Kubernetes object: JSON whose shape the API server knows

SILENCE_S: Final = 90.0
"""A bookmark comes about once a minute."""
WATCH_S: Final = 300
"""The server ends a watch after so long, up to a third later; a new one is as good, and spreads over its replicas."""
CHUNK: Final = 500
MAX_LINE_BYTES: Final = 16 * 1024 * 1024
"""An object has 3 MiB at most as the server stores it."""
MERGE: Final = "application/merge-patch+json"
APPLY: Final = "application/apply-patch+yaml"
FIELD_MANAGER: Final = "weft-operator"


class ApiServer:
    """An API server, as one user. Use as an asynchronous context, in the loop that it is used in.

    Args:
        access: where our credentials lie.

    Raises:
        AccessError: they cannot be used.
    """

    def __init__(self, access: Access) -> None:
        self._exchange = Exchange(access)

    async def __aenter__(self) -> "ApiServer":
        self._exchange.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._exchange.close()

    # -- objects --------------------------------------------------------------------------------------------------

    async def get(self, path: str) -> Body | None:
        """Return an object; None: it, or its kind, is not there."""
        try:
            return _object(await self.read(path))
        except NotFoundError:
            return None

    async def create(self, path: str, item: Mapping[str, object]) -> Body:
        """Create an object in a collection.

        Raises:
            ExistsError: it is there.
        """
        return _object(await self._exchange.send("POST", path, item))

    async def replace(self, path: str, item: Mapping[str, object]) -> Body:
        """Replace an object, or its status, at the `resourceVersion` it was read at.

        Raises:
            ConflictError: it was written meanwhile.
            NotFoundError: it is gone.
        """
        return _object(await self._exchange.send("PUT", path, item))

    async def merge(self, path: str, patch: Mapping[str, object]) -> Body:
        """Change an object by a JSON merge patch (RFC 7396); lists are replaced."""
        return _object(await self._exchange.send("PATCH", path, patch, content_type=MERGE))

    async def apply(self, path: str, item: Mapping[str, object], *, force: bool = True) -> Body:
        """Make the fields of `item` so, and be their owner (server-side apply); creates what is not there.

        Raises:
            ConflictError: somebody else owns a field, and `force` is False.
        """
        query = {"fieldManager": FIELD_MANAGER, "force": str(force).lower()}
        return _object(await self._exchange.send("PATCH", path, item, query=query, content_type=APPLY))

    async def delete(self, path: str, *, uid: str = "", version: str = "") -> None:
        """Delete an object; one that is gone is gone.

        Args:
            path: the object's.
            uid: delete only this very object.
            version: delete only what was read at this `resourceVersion`.

        Raises:
            ConflictError: it is another, or another version.
        """
        given = {name: value for name, value in (("uid", uid), ("resourceVersion", version)) if value}
        options = {"apiVersion": "v1", "kind": "DeleteOptions", **({"preconditions": given} if given else {})}
        try:
            await self._exchange.send("DELETE", path, options)
        except NotFoundError:
            return

    async def list_all(self, path: str, query: Mapping[str, str] | None = None) -> tuple[list[Body], str]:
        """Return all objects of a collection and its resource version; large collections are better read by `pages`.

        Raises:
            NotFoundError: there is no such kind.
        """
        items: list[Body] = []
        position = ""
        async for page in self.pages(path, query):
            content = _object(page)
            items += content.get("items") or []
            position = str(content["metadata"].get("resourceVersion", ""))
        return items, position

    async def read(self, path: str, query: Mapping[str, str] | None = None) -> bytes:
        """Return what is at a path, as it came."""
        return await self._exchange.send("GET", path, query=query)

    # -- collections ----------------------------------------------------------------------------------------------

    async def pages(
        self, path: str, query: Mapping[str, str] | None = None, *, chunk: int = CHUNK
    ) -> AsyncGenerator[bytes, None]:
        """Yield a collection in parts, each a List object.

        Args:
            path: the collection's.
            query: selectors.
            chunk: objects in one part; 0: all in one.

        Raises:
            ExpiredError: it changed too much meanwhile; begin again.
            NotFoundError: there is no such kind.
        """
        asked = {**(query or {}), **({"limit": str(chunk)} if chunk else {})}
        while True:
            page = await self.read(path, asked)
            yield page
            token = _continuation(page)
            if not token:
                return
            asked["continue"] = token

    async def watch(
        self, path: str, version: str, query: Mapping[str, str] | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Yield the events of a collection, each a line of JSON, until the server ends the watch.

        The first line is empty: it says that the server has taken the watch on.

        Args:
            path: the collection's.
            version: resource version to begin behind.
            query: selectors.

        Raises:
            ExpiredError: the version is too old.
            UnreachableError: the connection broke, or was silent for `SILENCE_S`.
        """
        asked = {
            **(query or {}),
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_S),
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=SILENCE_S)
        async with self._exchange.exchange("GET", path, query=asked, timeout=timeout) as answer:
            yield b""
            rest = b""
            try:
                async for data in answer.content.iter_any():
                    *lines, rest = (rest + data).split(b"\n")
                    if len(rest) > MAX_LINE_BYTES:
                        raise UnreachableError(f"watch of {path}: an event is larger than {MAX_LINE_BYTES} bytes")
                    for line in lines:
                        if line:
                            yield line
            except (aiohttp.ClientError, TimeoutError, OSError) as exc:
                raise UnreachableError(f"watch of {path} broke: {words(exc)}") from exc


def _object(data: bytes) -> Body:
    try:
        content = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise UnreachableError(f"the API server's answer is not JSON: {exc}") from exc
    if not isinstance(content, dict):
        raise UnreachableError("the API server's answer is not an object")
    return content


class _ListMetadata(msgspec.Struct):
    continue_: str = msgspec.field(default="", name="continue")


class _List(msgspec.Struct):
    metadata: _ListMetadata


_list_decoder: Final = msgspec.json.Decoder(_List)


def _continuation(page: bytes) -> str:
    """Return where the next part begins; empty: this was the last."""
    try:
        return _list_decoder.decode(page).metadata.continue_
    except msgspec.DecodeError as exc:
        raise UnreachableError(f"the API server's answer is no list: {exc}") from exc
