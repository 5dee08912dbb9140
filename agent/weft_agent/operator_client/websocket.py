"""One WebSocket of the operator's stream over a trio stream: binary messages of bounded size, pings, refusals in words.

Theory: wsproto does the protocol without a socket; this shell moves its bytes. One task receives, any task sends (a lock keeps
frames whole). Every byte that arrives is a sign of life (`heard_s`), so a peer that sends much is never pinged to death.

Source: RFC 6455; RFC 9457 for the words of a refusal.
"""

from collections.abc import Iterable
from typing import Final

import msgspec
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from weft_agent.operator_client.errors import ClosedError, OperatorError, ProtocolError, RefusedError, UnreachableError

READ_BYTES: Final = 256 * 1024
MAX_REFUSAL_BYTES: Final = 16 * 1024
NORMAL_CLOSURE: Final = 1000
CLOSE_S: Final = 1.0
"""For the last frame of a session; nobody waits longer for a peer that does not read."""


class WebSocket:
    """A client's WebSocket.

    Args:
        stream: connected; owned from now on.
        max_message_bytes: longer messages end the connection.
    """

    def __init__(self, stream: trio.abc.Stream, max_message_bytes: int) -> None:
        self._stream = stream
        self._max_message_bytes = max_message_bytes
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._sending = trio.Lock()
        self._events: list[Event] = []
        self.heard_s = trio.current_time()
        """When the last byte came."""

    async def open(self, host: str, target: str, subprotocol: str, fields: Iterable[tuple[bytes, bytes]]) -> None:
        """Make the connection a WebSocket.

        Raises:
            RefusedError: the server answered something else.
            ProtocolError: it did not choose the subprotocol.
            UnreachableError: the connection broke.
        """
        request = Request(host=host, target=target, subprotocols=[subprotocol], extra_headers=list(fields))
        await self._send(request)
        match await self._next_event():
            case AcceptConnection(subprotocol=chosen):
                if chosen != subprotocol:
                    raise ProtocolError(f"the server at {host} does not speak {subprotocol}; is it a weft operator?")
            case RejectConnection() as reject:
                raise await self._refusal(reject)
            case event:
                raise ProtocolError(f"the server at {host} answered with {type(event).__name__}")

    async def send(self, message: bytes) -> None:
        """Send one binary message.

        Raises:
            UnreachableError: the connection broke.
        """
        await self._send(BytesMessage(data=message))

    async def ping(self) -> None:
        """Ask for a sign of life.

        Raises:
            UnreachableError: the connection broke.
        """
        await self._send(Ping())

    async def receive(self) -> bytes:
        """Return the next message.

        Raises:
            ClosedError: the server closed the connection.
            ProtocolError: a text message, or one that is too long.
            UnreachableError: the connection broke.
        """
        parts: list[bytes] = []
        size = 0
        while True:
            match await self._next_event():
                case BytesMessage(data=data, message_finished=finished):
                    size += len(data)
                    if size > self._max_message_bytes:
                        raise ProtocolError(f"a message is longer than {self._max_message_bytes} bytes")
                    parts.append(bytes(data))
                    if finished:
                        return b"".join(parts)
                case TextMessage():
                    raise ProtocolError("a text message where only binary ones are spoken")
                case Ping() as ping:
                    await self._send(ping.response())
                case CloseConnection(code=code, reason=reason):
                    raise ClosedError(f"the operator closed the stream: {reason or f'code {code}'}")
                case _:
                    continue  # Pong: it was heard

    async def close(self) -> None:
        """Say so and close; waits for nobody."""
        with trio.move_on_after(CLOSE_S) as scope:
            scope.shield = True
            try:
                await self._send(CloseConnection(code=NORMAL_CLOSURE))
            except OperatorError:
                pass  # it is closed already
        await trio.aclose_forcefully(self._stream)

    async def _refusal(self, reject: RejectConnection) -> RefusedError:
        body = b""
        finished = not reject.has_body
        while not finished and len(body) < MAX_REFUSAL_BYTES:
            event = await self._next_event()
            if not isinstance(event, RejectData):
                break
            body += event.data
            finished = event.body_finished
        fields = {bytes(name).lower(): bytes(value) for name, value in reject.headers}
        return refusal(reject.status_code, body, fields.get(b"retry-after", b""))

    async def _send(self, event: Event) -> None:
        async with self._sending:
            try:
                await self._stream.send_all(self._protocol.send(event))
            except LocalProtocolError as exc:
                raise ClosedError("the stream is closed already") from exc
            except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                raise UnreachableError("the connection to the operator broke") from exc

    async def _next_event(self) -> Event:
        while not self._events:
            try:
                data = bytes(await self._stream.receive_some(READ_BYTES))
                self._protocol.receive_data(data or None)
                self._events.extend(self._protocol.events())
            except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                raise UnreachableError("the connection to the operator broke") from exc
            except RemoteProtocolError as exc:
                raise ProtocolError(f"not a WebSocket as it should be: {exc}") from exc
            if not data and not self._events:
                raise ClosedError("the operator closed the connection")
            self.heard_s = trio.current_time()
        return self._events.pop(0)


class _Problem(msgspec.Struct):
    """RFC 9457, as far as it is shown."""

    title: str = ""
    detail: str = ""


def refusal(status: int, body: bytes, retry_after: bytes) -> RefusedError:
    """Return the error for an answer that says no.

    Args:
        status: of the answer.
        body: of the answer; problem+json where the operator itself answered.
        retry_after: the field's value; only seconds are understood.
    """
    try:
        problem = msgspec.json.decode(body, type=_Problem)
        text = problem.detail or problem.title
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = body[:200].decode("utf-8", "backslashreplace").strip()
    wait_s = float(retry_after) if retry_after.isdigit() and len(retry_after) < 6 else 0.0
    return RefusedError(status, text, wait_s)
