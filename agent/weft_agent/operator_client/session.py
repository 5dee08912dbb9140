"""One session with the operator, from hello to its end: receives updates, sends acknowledgements and pods, stays alive.

Theory: four tasks share the connection, and the first that ends, ends all. What they say is counted, so that status and
metrics tell the truth. A session knows nothing of what updates mean: whole ones go to `put`.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import trio

from weft_agent.operator_client.assembly import Assembly, Change
from weft_agent.operator_client.errors import GoodbyeError, OperatorError, ProtocolError, SilentError
from weft_agent.operator_client.websocket import WebSocket
from weft_contract.limits import Limits
from weft_contract.stream import (
    Ack,
    FromAgent,
    Goodbye,
    Hello,
    Pods,
    Update,
    encoder,
    from_operator_decoder,
)

PODS_SETTLE_S: Final = 0.5
"""Pods often change several at once; one report serves them all."""


class Session:
    """A session.

    Args:
        websocket: open.
        limits: of liveness.
        put: takes whole updates.
        pods: tells of this node's pods.
    """

    def __init__(
        self, websocket: WebSocket, limits: Limits, put: Callable[[Change], None], pods: Callable[[], Pods]
    ) -> None:
        self._websocket = websocket
        self._limits = limits
        self._put = put
        self._pods = pods
        self._assembly = Assembly()
        self._acks: list[Ack] = []
        self._to_send = trio.Event()
        self._pods_changed = trio.Event()
        self._error: OperatorError | None = None
        self._planned = ""
        self.updates = 0
        """Whole updates received."""

    # -- what others say ------------------------------------------------------------------------------------------

    def acknowledge(self, acks: tuple[Ack, ...]) -> None:
        """Send acknowledgements, soon and in order."""
        self._acks += acks
        self._to_send.set()

    def pods_changed(self) -> None:
        """Send a new report of the pods, soon."""
        self._pods_changed.set()

    # -- life -----------------------------------------------------------------------------------------------------

    async def run(self, hello: Hello, *watchers: Callable[[], Awaitable[str]]) -> str:
        """Live until something ends the session.

        Args:
            hello: the first message.
            watchers: return when the connection has to be made anew, with the reason.

        Returns:
            Why it was ended by us, in order.

        Raises:
            OperatorError: why it ended otherwise.
        """
        await self._send(hello)
        async with trio.open_nursery() as nursery:
            for part in (self._receive, self._send_acks, self._send_pods, self._stay_alive):
                nursery.start_soon(self._until_first, part, nursery.cancel_scope)
            for watcher in watchers:
                nursery.start_soon(self._watch, watcher, nursery.cancel_scope)
        if self._error is not None:
            raise self._error
        return self._planned

    async def _until_first(self, part: Callable[[], Awaitable[None]], scope: trio.CancelScope) -> None:
        try:
            await part()
        except OperatorError as exc:
            self._error = self._error or exc
            scope.cancel()

    async def _watch(self, watcher: Callable[[], Awaitable[str]], scope: trio.CancelScope) -> None:
        try:
            self._planned = await watcher()
        except OperatorError as exc:
            self._error = self._error or exc
        scope.cancel()

    async def _receive(self) -> None:
        while True:
            frame = await self._websocket.receive()
            try:
                message = from_operator_decoder.decode(frame)
            except (msgspec.DecodeError, UnicodeDecodeError) as exc:
                raise ProtocolError(f"a message of the operator cannot be read: {exc}") from exc
            match message:
                case Update():
                    change = self._assembly.take(message)
                    if change is not None:
                        self.updates += 1
                        self._put(change)
                case Goodbye(reason=reason, retry_after_s=retry_after_s):
                    raise GoodbyeError(reason, max(0.0, retry_after_s))

    async def _send_acks(self) -> None:
        while True:
            await self._to_send.wait()
            self._to_send = trio.Event()
            acks, self._acks = self._acks, []
            for ack in acks:
                await self._send(ack)

    async def _send_pods(self) -> None:
        sent: Pods | None = None
        while True:
            pods = self._pods()
            if pods != sent:
                await self._send(pods)
                sent = pods
            await self._pods_changed.wait()
            self._pods_changed = trio.Event()
            await trio.sleep(PODS_SETTLE_S)

    async def _stay_alive(self) -> None:
        """Ask for a sign of life when there was none for a while, and give up when none comes."""
        websocket, limits = self._websocket, self._limits
        while True:
            await trio.sleep_until(websocket.heard_s + limits.operator_ping_interval_s)
            heard_s = websocket.heard_s
            if trio.current_time() - heard_s < limits.operator_ping_interval_s:
                continue
            with trio.move_on_after(limits.operator_ping_timeout_s):
                await websocket.ping()  # one that is not even taken is a sign, too
                await trio.sleep(limits.operator_ping_timeout_s)
            if websocket.heard_s == heard_s:
                silent_s = trio.current_time() - heard_s
                raise SilentError(f"nothing was heard of the operator for {silent_s:.0f} s; is the network cut?")

    async def _send(self, message: FromAgent) -> None:
        await self._websocket.send(encoder.encode(message))
