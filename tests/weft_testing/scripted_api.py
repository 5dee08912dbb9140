"""An HTTPS server that answers as a test says, for what a real API server does only on bad days: errors, silence, cuts."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from weft_operator.apiserver import Credentials
from weft_testing.cluster.pki import Authority

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class ScriptedApi:
    """The server, and the credentials that reach it; itself an `Access`."""

    answer: Answer
    server: str = ""
    roots_pem: str = ""
    token: str = "first"
    asked: list[web.Request] = field(default_factory=list)

    def read(self) -> Credentials:
        """Return the credentials as they are now."""
        return Credentials(server=self.server, roots_pem=self.roots_pem, token=self.token)

    def __str__(self) -> str:
        return "a test"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Note a request and answer it."""
        self.asked.append(request)
        return await self.answer(request)


@asynccontextmanager
async def scripted_api(directory: Path, answer: Answer) -> AsyncIterator[ScriptedApi]:
    """Serve on loopback.

    Args:
        directory: for its certificate.
        answer: answers every request.
    """
    authority = Authority.make(directory)
    authority.issue("server", "server", names=["127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.crt", directory / "server.key")
    api = ScriptedApi(answer, roots_pem=authority.certificate_pem.decode())
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        host, port = runner.addresses[0][:2]
        api.server = f"https://{host}:{port}"
        yield api
    finally:
        await runner.cleanup()
