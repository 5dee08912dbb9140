"""One request to the API server and its answer: sent once, or again where the server asks for it.

Theory: requests have a bound in time. One that the server declines for now (429, or 503 with Retry-After) is sent again when
the server says, a few times. One refused with 401 is sent again once, with credentials that were read anew. Everything else
that goes wrong is raised as one of `weft_operator.access`, with the server's own words, and whoever asked decides.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Final, Literal, TypeAlias

import aiohttp
import msgspec

from weft_operator.access import Access, ApiError, UnreachableError, error_of
from weft_operator.apiserver.connection import Identity

Method: TypeAlias = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]

REQUEST_TIMEOUT_S: Final = 30.0
CONNECT_TIMEOUT_S: Final = 10.0
TRIES: Final = 4
MAX_WAIT_S: Final = 10.0
JSON: Final = "application/json"
_CONNECTIONS: Final = 64


class Exchange:
    """A session with an API server.

    Args:
        access: where our credentials lie.

    Raises:
        AccessError: they cannot be used.
    """

    def __init__(self, access: Access) -> None:
        self.identity = Identity(access)
        self._session: aiohttp.ClientSession | None = None

    def open(self) -> None:
        """Begin, in the loop that it is used in."""
        agent = {"User-Agent": f"weft-operator/{_version()}", "Accept": JSON}
        connector = aiohttp.TCPConnector(limit=_CONNECTIONS)
        self._session = aiohttp.ClientSession(connector=connector, headers=agent)

    async def close(self) -> None:
        """End all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def send(
        self,
        method: Method,
        path: str,
        item: Mapping[str, object] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = JSON,
    ) -> bytes:
        """Send a request and return the whole answer."""
        for tries_left in range(TRIES - 1, -1, -1):
            try:
                async with self.exchange(method, path, item, query=query, content_type=content_type) as answer:
                    try:
                        return await answer.read()
                    except (aiohttp.ClientError, TimeoutError, OSError) as exc:
                        raise UnreachableError(f"answer to {method} {path} broke off: {words(exc)}") from exc
            except ApiError as exc:
                wait_s = self._wait_s(exc)
                if wait_s is None or not tries_left:
                    raise
                await asyncio.sleep(wait_s)
        raise AssertionError("the last try raised")

    def _wait_s(self, error: ApiError) -> float | None:
        """Say after how many seconds a refused request may be sent again; None: it may not."""
        if error.status == 401 and self.identity.refresh():
            return 0.0
        if error.status == 429 or (error.status == 503 and error.retry_after_s is not None):
            return min(MAX_WAIT_S, error.retry_after_s if error.retry_after_s is not None else 1.0)
        return None

    @asynccontextmanager
    async def exchange(
        self,
        method: Method,
        path: str,
        item: Mapping[str, object] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = JSON,
        timeout: aiohttp.ClientTimeout | None = None,  # noqa: ASYNC109 - the library's own value, not a deadline of ours
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request once; yield the head of an answer that is no error."""
        assert self._session is not None, "used outside its context"
        credentials = self.identity.now
        headers = {"Authorization": f"Bearer {credentials.token}"} if credentials.token else {}
        body = None
        if item is not None:
            headers["Content-Type"], body = content_type, msgspec.json.encode(item)
        limits = timeout or aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S)
        try:
            answer = await self._session.request(
                method,
                f"{credentials.server}{path}",
                params=query,
                data=body,
                headers=headers,
                ssl=self.identity.tls,
                server_hostname=credentials.server_name or None,
                timeout=limits,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            raise UnreachableError(f"{method} {path} at {credentials.server}: {words(exc)}") from exc
        async with answer:
            if answer.status >= 300:
                raise error_of(f"{method} {path}", answer.status, await _whole(answer), answer.headers)
            yield answer


async def _whole(answer: aiohttp.ClientResponse) -> bytes:
    try:
        return await answer.read()
    except (aiohttp.ClientError, TimeoutError, OSError):
        return b""


def words(exc: BaseException) -> str:
    """Say what went wrong with a connection."""
    return "no answer in time" if isinstance(exc, TimeoutError) else str(exc) or type(exc).__name__


def _version() -> str:
    try:
        return version("weft")
    except PackageNotFoundError:
        return "0+source"
