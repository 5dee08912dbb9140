"""One GET at the API server: h11 over TLS on trio, bounded in size and in time, the body as a whole or line by line.

Theory: a list is read as a whole; a watch is a body that does not end for minutes, one JSON document per line. Each request
has a connection of its own: there is one watch and now and then a list, so nothing would be saved by keeping one.
"""

import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import h11
import msgspec
import trio

from weft_agent.kubernetes.account import Account

CONNECT_S: Final = 10.0
ANSWER_S: Final = 30.0
MAX_HEAD_BYTES: Final = 64 * 1024
MAX_BODY_BYTES: Final = 64 * 1024 * 1024
"""Of a page of a list; pods are below 1.5 MiB each, the limit of etcd, and 20 KiB as a rule."""
MAX_LINE_BYTES: Final = 8 * 1024 * 1024
READ_BYTES: Final = 64 * 1024


class ApiError(Exception):
    """The API server cannot be reached, or its answer is no answer; the message says which."""


class ApiRefusedError(ApiError):
    """The API server refused; `status` is its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


class _Status(msgspec.Struct):
    message: str = ""


@asynccontextmanager
async def get(account: Account, target: str) -> AsyncIterator["Body"]:
    """Ask for something and yield what comes.

    Args:
        account: who asks, and where.
        target: path and query.

    Raises:
        AccountError: token or roots cannot be used.
        ApiRefusedError: any status but 200.
        ApiError: no connection, no valid answer.
    """
    token, context = account.token(), account.tls()
    try:
        with trio.fail_after(CONNECT_S):
            stream = await trio.open_tcp_stream(account.host, account.port)
    except (OSError, trio.TooSlowError) as exc:
        raise ApiError(f"no connection to the API server at {account.authority}: {_reason(exc)}") from exc
    tls = trio.SSLStream(stream, context, server_hostname=account.host, https_compatible=True)
    try:
        body = Body(tls, account.authority)
        with trio.move_on_after(ANSWER_S) as slow:
            await body.ask(target, token)
        if slow.cancelled_caught:
            raise ApiError(f"the API server at {account.authority} gave no answer within {ANSWER_S:g} s")
        yield body
    finally:
        await trio.aclose_forcefully(tls)


class Body:
    """The answer to one request."""

    def __init__(self, stream: "trio.SSLStream[trio.SocketStream]", where: str) -> None:
        self._stream = stream
        self._where = where
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._lines: deque[bytes] = deque()
        self._rest = bytearray()

    async def ask(self, target: str, token: str) -> None:
        """Send the request and read the head of the answer; see `get`."""
        fields = [
            ("host", self._where), ("accept", "application/json"), ("authorization", f"Bearer {token}"),
            ("user-agent", "weft-agent"),
        ]  # fmt: skip
        request = self._h11.send(h11.Request(method="GET", target=target, headers=fields)) or b""
        request += self._h11.send(h11.EndOfMessage()) or b""
        try:
            await self._stream.send_all(request)
        except (trio.BrokenResourceError, ssl.SSLError, OSError) as exc:
            raise ApiError(f"no TLS with the API server at {self._where}: {_reason(exc)}") from exc
        head = await self._event()
        if not isinstance(head, h11.Response):
            raise ApiError(f"the API server at {self._where} closed the connection instead of answering")
        if head.status_code != 200:
            raise ApiRefusedError(head.status_code, await self._refusal(head.status_code))

    async def whole(self) -> bytes:
        """Return all of it.

        Raises:
            ApiError: it is too large, broke off, or took too long.
        """
        data = bytearray()
        with trio.move_on_after(ANSWER_S) as slow:
            while isinstance(event := await self._event(), h11.Data):
                data += event.data
                if len(data) > MAX_BODY_BYTES:
                    raise ApiError(f"an answer of the API server is larger than {MAX_BODY_BYTES} bytes")
        if slow.cancelled_caught:
            raise ApiError(f"an answer of the API server took longer than {ANSWER_S:g} s")
        return bytes(data)

    async def line(self, silence_s: float) -> bytes | None:
        """Return the next line that is not empty; None: the server has ended the body in order.

        Args:
            silence_s: longest time without a byte.

        Raises:
            ApiError: a line is too long, the body broke off, or nothing came for too long.
        """
        while not self._lines:
            with trio.move_on_after(silence_s) as silent:
                event = await self._event()
            if silent.cancelled_caught:
                raise ApiError(f"the API server was silent for {silence_s:g} s")
            if not isinstance(event, h11.Data):
                return None
            self._rest += event.data
            if b"\n" in event.data:
                *whole, rest = self._rest.split(b"\n")
                self._lines.extend(bytes(line) for line in whole if line)
                self._rest = rest
            if len(self._rest) > MAX_LINE_BYTES:
                raise ApiError(f"a line of the API server is longer than {MAX_LINE_BYTES} bytes")
        return self._lines.popleft()

    async def _event(self) -> h11.Event | type[h11.PAUSED]:
        try:
            while True:
                event = self._h11.next_event()
                if event is h11.NEED_DATA:
                    self._h11.receive_data(bytes(await self._stream.receive_some(READ_BYTES)))
                elif not isinstance(event, h11.InformationalResponse):
                    return event  # type: ignore[return-value]  # NEED_DATA was handled above
        except (h11.RemoteProtocolError, trio.BrokenResourceError, ssl.SSLError, OSError) as exc:
            raise ApiError(f"the answer of the API server at {self._where} broke off: {_reason(exc)}") from exc

    async def _refusal(self, status: int) -> str:
        text = (await self.whole())[:READ_BYTES]
        try:
            message = msgspec.json.decode(text, type=_Status).message
        except msgspec.MsgspecError:
            message = text[:200].decode("utf-8", "replace")
        return f"the API server answered {status}: {message}"


def _reason(error: BaseException) -> str:
    cause = error.__cause__ if isinstance(error, trio.BrokenResourceError) and error.__cause__ else error
    return str(cause) or type(cause).__name__
