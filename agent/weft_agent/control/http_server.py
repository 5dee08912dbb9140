"""The agent's own small HTTP/1.1 server, for health, metrics and admin: h11 on trio, strict, bounded in every direction.

Theory: these endpoints are for machines that behave (kubelet, Prometheus, our own commands), so whatever is unusual is
refused: other methods, large heads, bodies over 64 KiB, slow clients, too many at once. A handler that fails answers 500 and
is logged; it never takes the process along.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import h11
import msgspec
import trio

from weft_agent.telemetry.log import Log

MAX_HEAD_BYTES: Final = 16 * 1024
MAX_BODY_BYTES: Final = 64 * 1024
MAX_CONNECTIONS: Final = 64
REQUEST_S: Final = 10.0
"""From the first byte of a request to the last of its answer, the handler's own work included."""
IDLE_S: Final = 60.0
"""Prometheus asks every 15 to 60 s and likes to keep its connection."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request."""

    method: str
    path: str
    query: Mapping[str, str]
    accept: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """One answer."""

    status: int
    body: bytes
    content_type: str = "application/json"
    fields: tuple[tuple[str, str], ...] = field(default=())


Handler = Callable[[Request], Awaitable[Response]]


def json_response(value: object, status: int = 200) -> Response:
    """Return an answer with a value as indented JSON."""
    return Response(status, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


def problem_response(status: int, message: str) -> Response:
    """Return an answer that says what was wrong."""
    return json_response({"error": message}, status)


@dataclass(slots=True)
class _Budget:
    """Connections that are open at a server."""

    open: int = 0


async def serve(listeners: list[trio.SocketListener], handler: Handler, log: Log) -> None:
    """Answer requests until cancelled.

    Args:
        listeners: open already, so that a taken port is known before anything else starts.
        handler: answers every request; may wait.
        log: told of handlers that fail.
    """
    budget = _Budget()

    async def connection(stream: trio.SocketStream) -> None:
        if budget.open >= MAX_CONNECTIONS:
            await stream.aclose()
            return
        budget.open += 1
        try:
            async with stream:
                await _Connection(stream, handler, log).run()
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            pass  # the client left
        finally:
            budget.open -= 1

    await trio.serve_listeners(connection, listeners)


class _Connection:
    """One client."""

    def __init__(self, stream: trio.SocketStream, handler: Handler, log: Log) -> None:
        self._stream = stream
        self._handler = handler
        self._log = log
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)

    async def run(self) -> None:
        """Answer this client's requests, one after the other."""
        while True:
            with trio.move_on_after(IDLE_S) as idle:
                if not await self._wait_for_bytes():
                    return
            if idle.cancelled_caught:
                return
            with trio.move_on_after(REQUEST_S) as slow:
                await self._exchange()
            if slow.cancelled_caught or self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
                return
            self._h11.start_next_cycle()

    async def _wait_for_bytes(self) -> bool:
        if not self._h11.trailing_data[0]:
            data = await self._stream.receive_some(65536)
            if not data:
                return False
            self._h11.receive_data(data)
        return True

    async def _exchange(self) -> None:
        try:
            request = await self._read()
        except h11.RemoteProtocolError as exc:
            response = problem_response(exc.error_status_hint, str(exc))
            await self._answer(response, close=True, head_only=False)
            return
        if request is None:
            return
        await self._answer(await self._handled(request), close=False, head_only=request.method == "HEAD")

    async def _handled(self, request: Request) -> Response:
        try:
            return await self._handler(request)
        except Exception as exc:  # one endpoint's bug must not end control
            self._log.exception("endpoint-failed", exc, path=request.path)
            return problem_response(500, "internal error; see the agent's log")

    async def _read(self) -> Request | None:
        head: h11.Request | None = None
        body = b""
        while True:
            event = self._h11.next_event()
            if event is h11.NEED_DATA:
                self._h11.receive_data(await self._stream.receive_some(65536))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
                if len(body) > MAX_BODY_BYTES:
                    raise h11.RemoteProtocolError("body is too large", error_status_hint=413)
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return _request(head, body)
            else:
                return None

    async def _answer(self, response: Response, *, close: bool, head_only: bool) -> None:
        if self._h11.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        fields = [("content-type", response.content_type), ("content-length", str(len(response.body)))]
        fields += [("cache-control", "no-store"), *response.fields]
        if close:
            fields.append(("connection", "close"))
        head = h11.Response(status_code=response.status, headers=fields, reason=b"")
        data = self._h11.send(head) or b""
        if not head_only:
            data += self._h11.send(h11.Data(data=response.body)) or b""
        data += self._h11.send(h11.EndOfMessage()) or b""
        await self._stream.send_all(data)


def _request(head: h11.Request, body: bytes) -> Request:
    target = head.target.decode("ascii", "replace")
    parts = urlsplit(target)
    accept = next((value.decode("latin-1") for name, value in head.headers if name == b"accept"), "")
    return Request(head.method.decode("ascii"), parts.path, dict(parse_qsl(parts.query)), accept, body)
