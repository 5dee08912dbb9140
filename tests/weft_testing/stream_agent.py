"""A simulated agent on the config stream: says what it has, applies what it is told, acknowledges. Asyncio, thin, countable.

It follows `weft_contract.stream` and nothing else, so that it stands for the agent's own client in tests of the operator and in
runs with hundreds of nodes in one process.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Final

import aiohttp

from weft_contract.resources.document import SCHEMA
from weft_contract.stream import (
    SERVER_NAME,
    STREAM_PATH,
    SUBPROTOCOL,
    Ack,
    FromAgent,
    Goodbye,
    Hello,
    Update,
    encoder,
    from_operator_decoder,
)
from weft_operator.distribution import Caller, RefusedError

CLOSING_S: Final = 0.05
"""A few turns of the event loop, in which an aborted transport closes its socket."""


class OpenDoor:
    """A gatekeeper without Kubernetes: a token is the name of the node."""

    def __init__(self) -> None:
        self.gone: set[str] = set()
        self.expires_unix_s = float("inf")

    async def admit(self, token: str) -> Caller:
        """Let a node in under its own name."""
        if token in self.gone:
            raise RefusedError(401, "Refused", "its pod is gone")
        return Caller(node=token, pod=f"weft-system/{token}", pod_uid=token, expires_unix_s=self.expires_unix_s)

    def still_there(self, caller: Caller) -> bool:
        """Whether a node is not gone."""
        return caller.node not in self.gone


@dataclass(slots=True)
class StreamAgent:
    """One node's agent."""

    node: str
    token: str = ""
    """Its bearer token; empty: the node's name, which is enough for `OpenDoor`."""
    held: dict[str, str] = field(default_factory=dict)
    """Hash by key, of what it applied."""
    refuse: Callable[[str], str | None] = lambda key: None
    """Why it refuses a resource; None: it does not."""
    automatic: bool = True
    """Whether `next_update` acknowledges at once."""
    received_bytes: int = 0
    updates: int = 0
    socket: aiohttp.ClientWebSocketResponse | None = None
    on_resource: Callable[[str, str], None] | None = None
    """Told of key and hash of each resource as it comes into force."""

    def hello(self) -> Hello:
        """Say what it has."""
        return Hello(node=self.node, build="simulated", schema=SCHEMA, have=dict(self.held))

    @asynccontextmanager
    async def connected(
        self, http: aiohttp.ClientSession, url: str, *, tls: SSLContext | None = None, hello: FromAgent | None = None
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Connect and say hello."""
        below: object = None
        try:
            async with http.ws_connect(
                url + STREAM_PATH,
                protocols=(SUBPROTOCOL,),
                headers={"Authorization": f"Bearer {self.token or self.node}"},
                ssl=tls if tls is not None else True,
                server_hostname=SERVER_NAME if tls is not None else None,
                max_msg_size=0,
                compress=0,
            ) as socket:
                self.socket = socket
                connection = socket._response.connection
                below = _below_tls(connection.transport if connection is not None else None)
                await self.say(hello if hello is not None else self.hello())
                yield socket
        finally:
            if isinstance(below, asyncio.Transport):
                below.abort()  # both sides have said that they close; asyncio would take its time with TLS
                await asyncio.sleep(CLOSING_S)

    async def say(self, message: FromAgent) -> None:
        """Send a message."""
        assert self.socket is not None, "connected first"
        await self.socket.send_bytes(encoder.encode(message))

    async def receive(self, timeout_s: float = 10.0) -> Update | Goodbye | None:
        """Return the next message; None: the connection was closed."""
        assert self.socket is not None, "connected first"
        async with asyncio.timeout(timeout_s):
            message = await self.socket.receive()
        if message.type is not aiohttp.WSMsgType.BINARY:
            return None
        self.received_bytes += len(message.data)
        return from_operator_decoder.decode(message.data)

    async def next_update(self, timeout_s: float = 10.0) -> list[Update] | Goodbye | None:
        """Receive one whole update, apply and acknowledge it."""
        parts: list[Update] = []
        while not parts or parts[-1].more:
            part = await self.receive(timeout_s)
            if not isinstance(part, Update):
                return part
            parts.append(part)
        self.updates += 1
        if self.automatic:
            await self.say(self.apply(parts))
        return parts

    def apply(self, parts: list[Update]) -> Ack:
        """Take over an update; return what is to be said of it."""
        refused: list[tuple[str, str, str]] = []
        for part in parts:
            for key, version, _ in part.upserts:
                why = self.refuse(key)
                if why is None:
                    self.held[key] = version
                    if self.on_resource is not None:
                        self.on_resource(key, version)
                else:
                    refused.append((key, version, why))
            for key in part.removes:
                self.held.pop(key, None)
        return Ack(nonce=parts[-1].nonce, refused=tuple(refused))


def _below_tls(transport: object) -> object:
    """Return the transport below TLS; None where there is no TLS.

    The one above it cannot be aborted any more when it was closed twice, as happens when the other side closes first.
    """
    return getattr(getattr(transport, "_ssl_protocol", None), "_transport", None)
