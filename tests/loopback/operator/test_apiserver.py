"""The API client against a server that misbehaves: errors keep the server's words, refusals for now are tried again."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from weft_operator.apiserver import (
    ApiError,
    ApiServer,
    ConflictError,
    ExistsError,
    ExpiredError,
    NotFoundError,
    UnreachableError,
)
from weft_testing.scripted_api import scripted_api

pytestmark = pytest.mark.asyncio
PODS = "/api/v1/pods"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def status(code: int, reason: str, message: str, **headers: str) -> web.Response:
    body = {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": code}
    return web.json_response(body, status=code, headers=headers)


def always(make: Callable[[], web.StreamResponse]) -> Handler:
    async def answer(_: web.Request) -> web.StreamResponse:
        return make()

    return answer


@pytest.mark.parametrize(
    ("code", "reason", "error"),
    [
        (404, "NotFound", NotFoundError),
        (409, "Conflict", ConflictError),
        (409, "AlreadyExists", ExistsError),
        (410, "Expired", ExpiredError),
        (403, "Forbidden", ApiError),
        (500, "InternalError", ApiError),
    ],
)
async def test_an_error_is_what_the_server_said(tmp_path: Path, code: int, reason: str, error: type[ApiError]) -> None:
    answer = always(lambda: status(code, reason, "because of a test"))
    async with scripted_api(tmp_path, answer) as server, ApiServer(server) as api:
        with pytest.raises(ApiError, match=f"GET {PODS}: {code} {reason}: because of a test") as raised:
            await api.read(PODS)
    assert type(raised.value) is error
    assert (raised.value.status, raised.value.reason, len(server.asked)) == (code, reason, 1)


async def test_an_answer_that_is_no_status_is_kept_as_text(tmp_path: Path) -> None:
    answer = always(lambda: web.Response(status=502, text="<h1>bad gateway</h1>"))
    async with scripted_api(tmp_path, answer) as server, ApiServer(server) as api:
        with pytest.raises(ApiError, match="502 : <h1>bad gateway</h1>"):
            await api.read(PODS)


async def test_what_is_not_there_is_none_and_deleting_it_is_done(tmp_path: Path) -> None:
    answer = always(lambda: status(404, "NotFound", "gone"))
    async with scripted_api(tmp_path, answer) as server, ApiServer(server) as api:
        assert await api.get(f"{PODS}/p") is None
        await api.delete(f"{PODS}/p", uid="u")
    assert [request.method for request in server.asked] == ["GET", "DELETE"]


async def test_a_server_that_is_busy_is_asked_again(tmp_path: Path) -> None:
    answers = [
        status(429, "TooManyRequests", "later", **{"Retry-After": "0"}),
        status(503, "ServiceUnavailable", "later", **{"Retry-After": "0"}),
        web.json_response({"metadata": {"name": "p"}}),
    ]

    async def answer(_: web.Request) -> web.StreamResponse:
        return answers.pop(0)

    async with scripted_api(tmp_path, answer) as server, ApiServer(server) as api:
        assert await api.get(f"{PODS}/p") == {"metadata": {"name": "p"}}
    assert len(server.asked) == 3


async def test_a_token_that_was_renewed_is_read_when_the_old_one_is_refused(tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers["Authorization"] == "Bearer second":
            return web.json_response({})
        return status(401, "Unauthorized", "who are you")

    async with scripted_api(tmp_path, answer) as server, ApiServer(server) as api:
        with pytest.raises(ApiError, match="401 Unauthorized"):
            await api.read(PODS)
        assert len(server.asked) == 1, "the same token again would be refused again"
        server.token = "second"
        assert await api.read(PODS) == b"{}"


async def test_a_collection_comes_in_parts(tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if "continue" not in request.query:
            return web.json_response({"metadata": {"continue": "abc", "resourceVersion": "7"}, "items": [{"a": 1}]})
        assert request.query["continue"] == "abc"
        return web.json_response({"metadata": {"resourceVersion": "7"}, "items": [{"a": 2}]})

    async with scripted_api(tmp_path, answer) as server, ApiServer(server) as api:
        assert await api.list_all(PODS) == ([{"a": 1}, {"a": 2}], "7")


async def test_events_come_whole_however_they_are_cut_and_the_end_is_an_end(tmp_path: Path) -> None:
    events = [json.dumps({"type": "ADDED", "object": {"n": n, "big": "x" * 200_000}}).encode() for n in range(3)]

    async def answer(request: web.Request) -> web.StreamResponse:
        assert (request.query["resourceVersion"], request.query["allowWatchBookmarks"]) == ("7", "true")
        response = web.StreamResponse()
        await response.prepare(request)
        data = b"\n".join(events) + b"\n"
        for at in range(0, len(data), 70_001):
            await response.write(data[at : at + 70_001])
        return response

    async with scripted_api(tmp_path, answer) as server, ApiServer(server) as api:
        assert [line async for line in api.watch(PODS, "7")] == [b"", *events]


async def test_a_watch_that_breaks_off_says_so(tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"type":"ADDED"}\n{"half')
        assert request.transport is not None
        request.transport.abort()
        return response

    seen: list[bytes] = []
    async with scripted_api(tmp_path, answer) as server, ApiServer(server) as api:
        with pytest.raises(UnreachableError, match=f"watch of {PODS} broke"):
            await read_into(api, seen)
    assert seen == [b"", b'{"type":"ADDED"}']


async def read_into(api: ApiServer, seen: list[bytes]) -> None:
    async for line in api.watch(PODS, "7"):
        seen.append(line)


async def test_a_silent_watch_is_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weft_operator.apiserver.client.SILENCE_S", 0.1)
    ended = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await ended.wait()
        return response

    async with scripted_api(tmp_path, answer) as server, ApiServer(server) as api:
        with pytest.raises(UnreachableError, match="no answer in time"):
            await read_into(api, [])
        ended.set()


async def test_nobody_there_is_said_with_the_address(tmp_path: Path) -> None:
    async with scripted_api(tmp_path, always(web.Response)) as server, ApiServer(server) as api:
        server.server = "https://127.0.0.1:1"
        assert api._exchange.identity.refresh()
        with pytest.raises(UnreachableError, match=r"https://127\.0\.0\.1:1"):
            await api.read(PODS)


async def test_a_server_of_other_roots_is_not_talked_to(tmp_path: Path) -> None:
    async with (
        scripted_api(tmp_path / "a", always(web.Response)) as server,
        scripted_api(tmp_path / "b", always(web.Response)) as other,
    ):
        server.server = other.server
        async with ApiServer(server) as api:
            with pytest.raises(UnreachableError, match="certificate verify failed"):
                await api.read(PODS)
    assert not other.asked
