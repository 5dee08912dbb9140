"""Servers on addresses: both families on `::`, TLS or not, stopped in order.

asyncio makes an IPv6 listener deaf for IPv4, so the sockets are made here.
"""

import socket
import ssl
from typing import Final

from aiohttp import web

from weft_operator.server.settings import Address

BACKLOG: Final = 1024
STOP_TIMEOUT_S: Final = 5.0
"""That requests have to end when we do; a webhook's answer takes milliseconds."""


class ListenError(Exception):
    """An address cannot be listened on."""


def listener(address: Address) -> socket.socket:
    """Return a listening socket.

    Raises:
        ListenError: the address is taken, or none of ours.
    """
    try:
        return _listener(address)
    except OSError as exc:
        raise ListenError(f"cannot listen on {address}: {exc.strerror or exc}") from exc


def _listener(address: Address) -> socket.socket:
    if address.host == "::" and socket.has_dualstack_ipv6():
        return socket.create_server(("::", address.port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
    host = "0.0.0.0" if address.host == "::" else address.host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, address.port), family=family, backlog=BACKLOG)


class HttpServer:
    """One application on one address."""

    def __init__(self, application: web.Application, address: Address, tls: ssl.SSLContext | None = None) -> None:
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=STOP_TIMEOUT_S)
        self._address, self._tls = address, tls
        self.port = 0
        """The port that it listens on, once started; differs from the address's where that is 0."""

    async def start(self) -> None:
        """Listen.

        Raises:
            ListenError: see `listener`.
        """
        await self._runner.setup()
        bound = listener(self._address)
        try:
            await web.SockSite(self._runner, bound, ssl_context=self._tls, backlog=BACKLOG).start()
        except BaseException:
            bound.close()
            raise
        self.port = int(bound.getsockname()[1])

    async def stop(self) -> None:
        """Take no new connections, let requests end, close."""
        await self._runner.cleanup()
