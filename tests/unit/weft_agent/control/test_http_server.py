"""The agent's HTTP server over memory and loopback: what it answers, what it refuses, what it survives."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from weft_agent.control import http_server
from weft_agent.control.http_server import MAX_BODY_BYTES, MAX_CONNECTIONS, Request, Response, json_response, serve
from weft_agent.telemetry.log import Log

pytestmark = pytest.mark.trio


class Server:
    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.lines: list[bytes] = []
        self.address: tuple[str, int] = ("", 0)

    async def handle(self, request: Request) -> Response:
        self.requests.append(request)
        if request.path == "/bug":
            raise ZeroDivisionError
        if request.path == "/slow":
            await trio.sleep_forever()
        return json_response({"path": request.path})

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Server"]:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.address = listeners[0].socket.getsockname()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, listeners, self.handle, Log(self.lines.append, "json", "debug"))
            yield self
            nursery.cancel_scope.cancel()

    async def exchange(self, data: bytes, *, cut: int = 0) -> bytes:
        """Send bytes and return everything that comes back until the server closes or we have the answer."""
        with trio.fail_after(10):
            async with await trio.open_tcp_stream(*self.address) as stream:
                for start in range(0, len(data), cut or len(data)):
                    await stream.send_all(data[start : start + (cut or len(data))])
                answer = b""
                while piece := await stream.receive_some(65536):
                    answer += piece
                return answer


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


GET = b"GET /x?a=1&b=%20 HTTP/1.1\r\nHost: h\r\nAccept: text/plain\r\nConnection: close\r\n\r\n"


async def test_a_request_is_answered() -> None:
    async with Server().running() as server:
        answer = await server.exchange(GET)
    assert status(answer) == 200
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"path": "/x"}
    assert server.requests == [Request("GET", "/x", {"a": "1", "b": " "}, "text/plain", b"")]


@pytest.mark.parametrize("cut", [1, 7])
async def test_a_request_in_pieces_is_the_same(cut: int) -> None:
    async with Server().running() as server:
        assert status(await server.exchange(GET, cut=cut)) == 200


async def test_several_requests_on_one_connection() -> None:
    keep = b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n"
    async with Server().running() as server:
        answer = await server.exchange(keep % 1 + keep % 2 + GET)
    assert [request.path for request in server.requests] == ["/1", "/2", "/x"]
    assert answer.count(b"HTTP/1.1 200") == 3


async def test_head_has_no_body() -> None:
    async with Server().running() as server:
        answer = await server.exchange(GET.replace(b"GET", b"HEAD"))
    assert answer.endswith(b"\r\n\r\n")
    assert b"content-length: " in answer


async def test_a_body_reaches_the_handler() -> None:
    request = b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc"
    async with Server().running() as server:
        assert status(await server.exchange(request, cut=5)) == 200
    assert server.requests[0].body == b"abc"


BAD = {
    "no http": b"hello\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "huge head": b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100_000,
    "huge body": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES * 2)
    + b"x" * (MAX_BODY_BYTES + 1),
    "conflicting": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
async def test_what_is_not_http_is_refused_and_the_server_goes_on(data: bytes) -> None:
    async with Server().running() as server:
        try:
            answer = await server.exchange(data)
        except trio.BrokenResourceError:
            answer = b""  # it closed while we were still sending; that is an answer too
        assert not answer or 400 <= status(answer) < 500
        assert not server.requests
        assert status(await server.exchange(GET)) == 200


async def test_a_handler_that_fails_is_500_and_logged_and_the_server_goes_on() -> None:
    async with Server().running() as server:
        assert status(await server.exchange(GET.replace(b"/x", b"/bug"))) == 500
        assert status(await server.exchange(GET)) == 200
    assert b"ZeroDivisionError" in b"".join(server.lines)


async def test_a_client_that_says_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "IDLE_S", 0.05)
    async with Server().running() as server:
        with trio.fail_after(5):
            async with await trio.open_tcp_stream(*server.address) as stream:
                assert await stream.receive_some(10) == b""


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\nHo", GET.replace(b"/x", b"/slow")], ids=["slow head", "slow handler"]
)
async def test_a_request_that_takes_too_long_is_left(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(http_server, "REQUEST_S", 0.05)
    async with Server().running() as server:
        with trio.fail_after(5):
            async with await trio.open_tcp_stream(*server.address) as stream:
                await stream.send_all(data)
                assert await stream.receive_some(10) == b""


async def test_more_clients_than_allowed_are_turned_away_and_room_comes_back() -> None:
    async with Server().running() as server:
        streams = [await trio.open_tcp_stream(*server.address) for _ in range(MAX_CONNECTIONS)]
        for stream in streams:
            await stream.send_all(b"G")
        with trio.fail_after(10):
            try:
                async with await trio.open_tcp_stream(*server.address) as extra:
                    assert await extra.receive_some(10) == b""
            except trio.BrokenResourceError:
                pass
        for stream in streams:
            await stream.aclose()
        with trio.fail_after(10):
            while True:
                try:
                    if status(await server.exchange(GET) or b"x 0 x") == 200:
                        break
                except trio.BrokenResourceError:
                    continue
