"""One node's connection: a WebSocket under a session of the hub. Reads in one task, writes in another.

Theory: the writer sends whatever the session has to say, one frame at a time with the transport's back-pressure, then waits to
be woken or for the nearest deadline (token, pod, Ack). The reader takes Acks. Whoever finds that the connection must end
raises `EndedError` with the reason; the other task is cancelled, a Goodbye is tried, and the transport is closed.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import msgspec
import structlog
from aiohttp import WSMsgType, web

from weft_contract.stream import (
    MAX_FRAME_BYTES,
    Ack,
    FromAgent,
    Goodbye,
    Hello,
    Pods,
    encoder,
    from_agent_decoder,
)
from weft_operator.distribution.gatekeeper import Caller, Gatekeeper, RefusedError
from weft_operator.distribution.hub import Hub, Line
from weft_operator.distribution.session import ProtocolError, parts

CLOSE_TIMEOUT_S: Final = 2.0
MAX_GOODBYE_CHARACTERS: Final = 1000
_log: Final = structlog.get_logger("weft_operator.distribution")


class EndedError(Exception):
    """The connection is over.

    Args:
        reason: a word for metrics.
        text: for the agent and the log.
        retry_after_s: when the agent may come again; None: there is nobody to say goodbye to.
    """

    def __init__(self, reason: str, text: str, retry_after_s: float | None = 0.0) -> None:
        super().__init__(text)
        self.reason, self.text, self.retry_after_s = reason, text, retry_after_s


class Connection:
    """Serves one WebSocket.

    Args:
        hub: knows what to say.
        gatekeeper: says whether the caller still exists.
        socket: prepared.
        caller: who is at the other end.
        synced: called once the node is up to date, or the connection over.
    """

    def __init__(
        self,
        hub: Hub,
        gatekeeper: Gatekeeper,
        socket: web.WebSocketResponse,
        caller: Caller,
        synced: Callable[[], None],
    ) -> None:
        self._hub, self._gatekeeper, self._socket, self._caller = hub, gatekeeper, socket, caller
        self._synced = synced
        self._wake = asyncio.Event()
        self._ended: EndedError | None = None
        self._begun = time.monotonic()
        self._ack_by = float("inf")
        self._recheck_at = self._begun + hub.settings.recheck_s
        self._expires_at = self._begun + caller.expires_unix_s - time.time()

    def end(self, text: str, retry_after_s: float, reason: str = "superseded") -> None:
        """End the connection in order, soon."""
        self._ended = EndedError(reason, text, retry_after_s)
        self._wake.set()

    async def serve(self) -> bool:
        """Serve until the connection is over; say whether it was closed in order."""
        line: Line | None = None
        ended = EndedError("failed", "an error of the operator's own; see its log", self._hub.settings.retry_after_s)
        try:
            line = self._hub.join(self._caller, await self._hello(), self._wake.set, self.end)
            self._begun = time.monotonic()
            await self._both_ways(line)
        except EndedError as exc:
            ended = exc
        except ProtocolError as exc:
            ended = EndedError("protocol", str(exc), self._hub.settings.retry_after_s)
        except RefusedError as exc:
            ended = EndedError("refused", str(exc), exc.retry_after_s or 0.0)
        except asyncio.CancelledError:
            ended = EndedError("shutdown", "the operator ends", 0.0)
            raise
        except Exception:
            _log.exception("stream failed", node=self._caller.node)
        finally:
            self._synced()
            if line is not None:
                self._hub.leave(line, ended.reason)
            else:
                self._hub.metrics.ended.labels(ended.reason).inc()
                _log.info("stream not begun", node=self._caller.node, reason=ended.reason, detail=ended.text)
            closed = await self._close(ended)
        return closed

    async def _both_ways(self, line: Line) -> None:
        reader = asyncio.create_task(self._read(line))
        writer = asyncio.create_task(self._write(line))
        try:
            done, _ = await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (reader, writer):
                task.cancel()
            await asyncio.gather(reader, writer, return_exceptions=True)

    # -- reading ------------------------------------------------------------------------------------------------------

    async def _hello(self) -> Hello:
        try:
            async with asyncio.timeout(self._hub.settings.hello_timeout_s):
                message = await self._receive(None)
        except TimeoutError:
            raise EndedError("hello", "no Hello came in time", self._hub.settings.retry_after_s) from None
        if not isinstance(message, Hello):
            raise ProtocolError(f"the first message must be a Hello, not {type(message).__name__}")
        return message

    async def _read(self, line: Line) -> None:
        while True:
            message = await self._receive(MAX_FRAME_BYTES)
            if isinstance(message, Ack):
                self._hub.acked(line, message)
                self._ack_by = float("inf")
                self._wake.set()
            elif isinstance(message, Pods):
                self._hub.report(line, message)
            else:
                raise ProtocolError("a session has one Hello")

    async def _receive(self, limit_bytes: int | None) -> FromAgent:
        message = await self._socket.receive()
        if message.type is WSMsgType.BINARY:
            data: bytes = message.data
            if limit_bytes is not None and len(data) > limit_bytes:
                raise ProtocolError(f"a message of {len(data)} bytes, at most {limit_bytes} are allowed")
            try:
                return from_agent_decoder.decode(data)
            except msgspec.MsgspecError as exc:
                raise ProtocolError(f"not a message of this contract: {exc}") from exc
        if message.type is WSMsgType.TEXT:
            raise ProtocolError("messages are binary frames")
        raise EndedError("gone", f"the agent closed the connection ({message.type.name})", None)

    # -- writing ------------------------------------------------------------------------------------------------------

    async def _write(self, line: Line) -> None:
        while True:
            self._wake.clear()
            self._check()
            batch = self._hub.take(line)
            if batch is not None:
                for part in parts(batch):
                    await self._send(encoder.encode(part))
                self._hub.metrics.updates.inc()
                self._ack_by = time.monotonic() + self._hub.settings.ack_timeout_s
                if line.session.flight is not batch:  # acknowledged while the last part was being handed over
                    self._ack_by = float("inf")
                continue
            if line.session.flight is None:
                self._note_synced()
            await self._sleep()

    def _note_synced(self) -> None:
        if self._begun:
            self._hub.metrics.sync.observe(time.monotonic() - self._begun)
            self._begun = 0.0
            self._synced()

    def _check(self) -> None:
        """Raise what ends the connection now."""
        if self._ended is not None:
            raise self._ended
        now, settings = time.monotonic(), self._hub.settings
        if now >= self._expires_at:
            raise EndedError("expired", "the token has expired: connect again with the present one")
        if now >= self._ack_by:
            text = f"no Ack within {settings.ack_timeout_s:.0f} s"
            raise EndedError("ack_timeout", text, settings.retry_after_s)
        if now >= self._recheck_at:
            self._recheck_at = now + settings.recheck_s
            if not self._gatekeeper.still_there(self._caller):
                text = f"the agent's pod {self._caller.pod} is not there any more"
                raise EndedError("deleted", text, settings.retry_after_s)

    async def _sleep(self) -> None:
        deadline = min(self._ack_by, self._recheck_at, self._expires_at)
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _send(self, frame: bytes) -> None:
        try:
            async with asyncio.timeout(self._hub.settings.send_timeout_s):
                await self._socket.send_bytes(frame)
        except TimeoutError:
            raise EndedError("slow", "took nothing of an update for too long", None) from None
        except ConnectionError as exc:  # aiohttp's ClientConnectionResetError is one
            raise EndedError("gone", str(exc) or "connection lost", None) from exc
        self._hub.metrics.sent_bytes.inc(len(frame))

    async def _close(self, ended: EndedError) -> bool:
        """Say goodbye where somebody may hear it, and close; say whether that went well."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                if ended.retry_after_s is not None and not self._socket.closed:
                    goodbye = Goodbye(reason=ended.text[:MAX_GOODBYE_CHARACTERS], retry_after_s=ended.retry_after_s)
                    await self._socket.send_bytes(encoder.encode(goodbye))
                await self._socket.close()
        except (TimeoutError, ConnectionError):
            return False
        return ended.reason != "slow"
