"""The HTTP side of the config stream: who may open one, how many are brought up to date at once, how all of them end."""

import asyncio
from collections.abc import Iterable
from typing import Final

import msgspec
import structlog
from aiohttp import hdrs, web

from weft_contract.stream import MAX_HELLO_BYTES, STREAM_PATH, SUBPROTOCOL
from weft_operator.distribution.connection import Connection
from weft_operator.distribution.gatekeeper import Caller, Gatekeeper, RefusedError
from weft_operator.distribution.hub import Hub

PROBLEM_TYPE: Final = "application/problem+json"
_BEARER: Final = "Bearer "
_log: Final = structlog.get_logger("weft_operator.distribution")


def bearer_token(request: web.Request) -> str:
    """Return the token of a request.

    Raises:
        RefusedError: there is none.
    """
    value = request.headers.get(hdrs.AUTHORIZATION, "")
    if not value.startswith(_BEARER) or not value[len(_BEARER) :].strip():
        detail = "send the projected token of the agent's pod as `Authorization: Bearer …`"
        raise RefusedError(401, "No token", detail)
    return value[len(_BEARER) :].strip()


def problem(refused: RefusedError) -> web.Response:
    """Return a refusal as problem details (RFC 9457)."""
    body = {"type": "about:blank", "title": refused.title, "status": refused.status, "detail": refused.detail}
    headers = {hdrs.WWW_AUTHENTICATE: "Bearer"} if refused.status == 401 else {}
    if refused.retry_after_s is not None:
        headers[hdrs.RETRY_AFTER] = str(max(1, round(refused.retry_after_s)))
    return web.Response(
        status=refused.status, body=msgspec.json.encode(body), content_type=PROBLEM_TYPE, headers=headers
    )


class StreamEndpoint:
    """Serves `STREAM_PATH`.

    Args:
        hub: of all sessions.
        gatekeeper: knows callers.
    """

    def __init__(self, hub: Hub, gatekeeper: Gatekeeper) -> None:
        self._hub, self._gatekeeper = hub, gatekeeper
        self._turns = asyncio.Semaphore(hub.settings.initial_syncs)
        self._open: set[asyncio.Task[None]] = set()
        self._closing = False

    def routes(self) -> Iterable[web.RouteDef]:
        """Return the routes to add to an application."""
        return [web.get(STREAM_PATH, self._handle)]

    async def close(self) -> None:
        """Say goodbye to every node, and wait until they have heard it; nobody is let in any more."""
        self._closing = True
        self._hub.end_all("this replica shuts down; connect to another", 0.0)
        if self._open:
            _, left = await asyncio.wait(self._open, timeout=self._hub.settings.shutdown_timeout_s)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            caller = await self._gatekeeper.admit(bearer_token(request))
            self._check(request, caller)
            await self._take_turn()
        except RefusedError as exc:
            self._hub.metrics.turned_away.labels(str(exc.status)).inc()
            _log.info("stream refused", status=exc.status, title=exc.title, detail=exc.detail, peer=request.remote)
            return problem(exc)
        return await self._serve(request, caller)

    def _check(self, request: web.Request, caller: Caller) -> None:
        if self._closing:
            detail = "this replica shuts down; connect to another"
            raise RefusedError(503, "Shutting down", detail, retry_after_s=1.0)
        offered = request.headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL, "")
        if SUBPROTOCOL not in {name.strip() for name in offered.split(",")}:
            detail = f"offer WebSocket subprotocol {SUBPROTOCOL}; agent and operator may be of different versions"
            raise RefusedError(400, "Unknown protocol", detail)
        self._hub.check_known(caller.node)

    async def _take_turn(self) -> None:
        """Wait for a turn to be brought up to date.

        It is taken before the Hello is read, which is what a waiting node would cost memory for.
        """
        try:
            async with asyncio.timeout(self._hub.settings.admission_wait_s):
                await self._turns.acquire()
        except TimeoutError:
            detail = f"{self._hub.settings.initial_syncs} other nodes are being brought up to date; come again"
            raise RefusedError(503, "Busy", detail, retry_after_s=self._hub.settings.retry_after_s) from None
        self._hub.metrics.syncing.inc()

    async def _serve(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        turn = [self._end_turn]

        def synced() -> None:
            if turn:
                turn.pop()()

        task = asyncio.current_task()
        assert task is not None, "handlers run in tasks"
        self._open.add(task)
        try:
            socket = web.WebSocketResponse(
                protocols=(SUBPROTOCOL,),
                max_msg_size=MAX_HELLO_BYTES,
                heartbeat=self._hub.settings.heartbeat_s,
                compress=False,  # contents are shared by all streams; compressing them for each would cost a core
                timeout=2.0,
            )
            await socket.prepare(request)
            closed = await Connection(self._hub, self._gatekeeper, socket, caller, synced).serve()
            if not closed and request.transport is not None:
                request.transport.abort()  # else it would wait for ever for a peer that takes nothing
            return socket
        finally:
            synced()
            self._open.discard(task)

    def _end_turn(self) -> None:
        self._turns.release()
        self._hub.metrics.syncing.dec()
