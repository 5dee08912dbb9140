"""Is this replica alive, and may it be sent work? Answers with reasons.

Alive: it hears the API server's watches (or knows that it cannot), compiling comes to an end, and the leader's kopf hears
what it watches. An API server that is away is no reason to end: everything that is known is served on, and a restart would
know less. Ready: everything is known, compiled and served.
"""

from collections.abc import Callable, Iterable, Sequence

from aiohttp import web

Check = Callable[[], Iterable[str]]
"""Says what is wrong, in words; nothing: all is well."""


class Health:
    """Answers `/healthz/live` and `/healthz/ready`.

    Args:
        alive: what must hold, or the process is started anew.
        ready: what must hold, or no work is sent here.
    """

    def __init__(self, *, alive: Sequence[Check], ready: Sequence[Check]) -> None:
        self._alive, self._ready = alive, ready
        self.draining = False

    def troubles(self, checks: Sequence[Check]) -> list[str]:
        """Return everything that is wrong."""
        return [trouble for check in checks for trouble in check()]

    @property
    def not_alive(self) -> list[str]:
        """Why the process should be started anew."""
        return self.troubles(self._alive)

    @property
    def not_ready(self) -> list[str]:
        """Why no work should be sent here."""
        return [*(["shutting down"] if self.draining else []), *self.troubles(self._ready)]

    def application(self) -> web.Application:
        """Return the HTTP side."""

        async def live(_: web.Request) -> web.Response:
            return _answer(self.not_alive)

        async def ready(_: web.Request) -> web.Response:
            return _answer(self.not_ready)

        application = web.Application()
        application.add_routes([web.get("/healthz/live", live), web.get("/healthz/ready", ready)])
        return application


def _answer(troubles: Sequence[str]) -> web.Response:
    text = "\n".join(troubles) or "ok"
    return web.Response(status=503 if troubles else 200, text=f"{text}\n")
