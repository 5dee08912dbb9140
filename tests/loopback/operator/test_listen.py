"""Servers on addresses: both families on one socket, a taken address told with its name."""

import socket

import aiohttp
import pytest
from aiohttp import web

from weft_operator.server.listen import HttpServer, ListenError, listener
from weft_operator.server.settings import Address

pytestmark = pytest.mark.asyncio


def application() -> web.Application:
    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    made = web.Application()
    made.add_routes([web.get("/", hello)])
    return made


async def test_one_server_answers_both_families() -> None:
    server = HttpServer(application(), Address("::", 0))
    await server.start()
    try:
        hosts = ["127.0.0.1", *(["[::1]"] if socket.has_dualstack_ipv6() else [])]
        async with aiohttp.ClientSession() as http:
            for host in hosts:
                async with http.get(f"http://{host}:{server.port}/") as answer:
                    assert await answer.text() == "hello"
    finally:
        await server.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), 5).close()


async def test_an_address_that_is_taken_is_named() -> None:
    with listener(Address("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            await HttpServer(application(), Address("127.0.0.1", port)).start()


async def test_an_address_that_is_not_ours_is_named() -> None:
    with pytest.raises(ListenError, match=r"cannot listen on 192\.0\.2\.1:0: "):
        listener(Address("192.0.2.1", 0))
