"""One HTTPS request to the operator on a connection of its own: JSON there, JSON back, refusals in words.

Theory: certificates are asked for once in hours, so a connection per request is cheap and has no state to go stale.
"""

from typing import Final

import h11
import trio

from weft_agent.operator_client.bearer import Token
from weft_agent.operator_client.errors import ProtocolError, UnreachableError
from weft_agent.operator_client.transport import Endpoint, connect
from weft_agent.operator_client.websocket import refusal

MAX_ANSWER_BYTES: Final = 256 * 1024
READ_BYTES: Final = 64 * 1024


async def post(endpoint: Endpoint, token: Token, path: str, body: bytes, timeout_s: float) -> bytes:
    """Post JSON and return the JSON of a 200 answer.

    Args:
        endpoint: the operator.
        token: whom to be.
        path: of the resource.
        body: JSON.
        timeout_s: for the whole exchange.

    Raises:
        OperatorError: no answer, or another one than 200.
    """
    try:
        with trio.fail_after(timeout_s):
            stream = await connect(endpoint)
            try:
                return await _exchange(stream, _request(endpoint, token, path, body))
            finally:
                await trio.aclose_forcefully(stream)
    except trio.TooSlowError as exc:
        raise UnreachableError(f"{endpoint} did not answer within {timeout_s:g} s") from exc
    except (trio.BrokenResourceError, OSError) as exc:
        raise UnreachableError(f"the connection to {endpoint} broke") from exc
    except h11.RemoteProtocolError as exc:
        raise ProtocolError(f"{endpoint} does not answer in HTTP as it should: {exc}") from exc


def _request(endpoint: Endpoint, token: Token, path: str, body: bytes) -> tuple[h11.Connection, bytes]:
    connection = h11.Connection(h11.CLIENT)
    head = h11.Request(
        method="POST",
        target=path,
        headers=[
            ("host", str(endpoint)),
            ("authorization", f"Bearer {token.text}"),
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("connection", "close"),
        ],
    )
    parts = (head, h11.Data(data=body), h11.EndOfMessage())
    return connection, b"".join(connection.send(part) or b"" for part in parts)


async def _exchange(stream: trio.abc.Stream, request: tuple[h11.Connection, bytes]) -> bytes:
    connection, data = request
    await stream.send_all(data)
    head: h11.Response | None = None
    body = b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            received = bytes(await stream.receive_some(READ_BYTES))
            if not received and head is None:
                raise UnreachableError("the operator closed the connection instead of answering")
            connection.receive_data(received)
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
            if len(body) > MAX_ANSWER_BYTES:
                raise ProtocolError(f"the operator's answer is longer than {MAX_ANSWER_BYTES} bytes")
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            break
        elif not isinstance(event, h11.InformationalResponse):
            raise ProtocolError("the operator's answer has no end")
    if head.status_code != 200:
        retry_after = next((value for name, value in head.headers if name == b"retry-after"), b"")
        raise refusal(head.status_code, body, retry_after)
    return body
