"""A small API server over real TLS that answers as a test tells it: for whoever lists and watches there."""

import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import trio

from weft_agent.kubernetes import Account
from weft_testing.cluster.pki import Authority

Stream = trio.SSLStream[trio.SocketStream]
Answer = Callable[["Asked", Stream], Awaitable[None]]


class Asked:
    """One request."""

    def __init__(self, head: bytes) -> None:
        lines = head.decode("ascii").split("\r\n")
        self.path, _, query = lines[0].split(" ")[1].partition("?")
        self.query = {key: values[0] for key, values in parse_qs(query).items()}
        self.fields = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        self.token = next(line.partition("Bearer ")[2] for line in lines if line.lower().startswith("authorization"))

    @property
    def watches(self) -> bool:
        return "watch" in self.query


class StubApiServer:
    """A server that answers as told.

    Args:
        directory: for its certificate, and the account to use at it.
    """

    def __init__(self, directory: Path) -> None:
        self.asked: list[Asked] = []
        self.answer: Answer = silent
        self.directory = directory
        authority = Authority.make(directory)
        authority.issue("server", "server", names=["127.0.0.1"])
        (directory / "ca.crt").write_bytes(authority.certificate_pem)
        (directory / "token").write_text("first")
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(directory / "server.crt", directory / "server.key")

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Account]:
        """Serve; what is yielded may ask."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        host, port = listeners[0].socket.getsockname()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, self._serve, listeners)
            yield Account(host, port, self.directory)
            nursery.cancel_scope.cancel()

    async def _serve(self, stream: trio.SocketStream) -> None:
        tls = trio.SSLStream(stream, self.tls, server_side=True, https_compatible=True)
        try:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += await tls.receive_some(65536)
            self.asked.append(Asked(head[:-4]))
            await self.answer(self.asked[-1], tls)
        except trio.BrokenResourceError:
            return
        finally:
            await trio.aclose_forcefully(tls)


async def silent(asked: Asked, stream: Stream) -> None:
    await trio.sleep_forever()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that nobody tells of."""
    while not condition():  # noqa: ASYNC110 - a watch tells nobody when it has failed
        await trio.sleep(0.002)


async def listing(stream: Stream, *items: Mapping[str, Any], version: str = "10", more: str = "") -> None:
    meta = {"resourceVersion": version} | ({"continue": more} if more else {})
    await reply(stream, {"kind": "List", "apiVersion": "v1", "metadata": meta, "items": list(items)})


async def reply(stream: Stream, body: object, status: int = 200) -> None:
    data = json.dumps(body).encode()
    await stream.send_all(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (status, len(data)) + data)


async def begin(stream: Stream) -> None:
    await stream.send_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")


async def event(stream: Stream, kind: str, item: Mapping[str, Any], pieces: int = 1) -> None:
    data = json.dumps({"type": kind, "object": item}).encode() + b"\n"
    size = max(1, len(data) // pieces)
    for start in range(0, len(data), size):
        part = data[start : start + size]
        await stream.send_all(b"%x\r\n%s\r\n" % (len(part), part))


async def end(stream: Stream) -> None:
    await stream.send_all(b"0\r\n\r\n")


def failure(code: int, message: str = "no") -> dict[str, Any]:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "code": code, "message": message}
