"""One HTTP client for `get` and `load`: keep-alive, one deadline per request, errors as values."""

import argparse
import http.client
import time
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

USER_AGENT: Final = "weft-demo"


@dataclass(frozen=True, slots=True)
class Call:
    """What is sent."""

    method: str
    host: str
    port: int
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes | None
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; `error` is set where nothing did."""

    status: int = 0
    reason: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    duration_s: float = 0.0
    error: str = ""


class UsageError(ValueError):
    """The command line cannot be meant so."""


def call(url: str, options: argparse.Namespace) -> Call:
    """Return what a command line asks to send.

    Raises:
        UsageError: the URL or a header cannot be used.
    """
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme != "http" or not parts.hostname:
        raise UsageError(f"{url!r} is not an http:// URL")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    body = options.data.encode() if options.data is not None else None
    method = options.method or ("POST" if body is not None else "GET")
    return Call(
        method=method,
        host=parts.hostname,
        port=parts.port or 80,
        target=target,
        headers=tuple(_header(text) for text in options.header),
        body=body,
        timeout_s=options.timeout,
    )


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise UsageError(f"header {text!r} must be of the form 'Name: value'")
    return name.strip(), value.strip()


class Caller:
    """One connection at most, opened when needed and again after it was closed."""

    def __init__(self) -> None:
        self._connection: http.client.HTTPConnection | None = None
        self._place = ("", 0)

    def send(self, what: Call) -> Reply:
        """Send one request and read the whole answer."""
        began = time.monotonic()
        try:
            reply = self._send(what, began)
        except (OSError, http.client.HTTPException) as exc:
            self.close()
            text = str(exc) or type(exc).__name__
            return Reply(error=f"{type(exc).__name__}: {text}", duration_s=time.monotonic() - began)
        return reply

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _send(self, what: Call, began: float) -> Reply:
        connection = self._open(what)
        connection.putrequest(what.method, what.target, skip_host=True, skip_accept_encoding=True)
        given = {name.lower() for name, _ in what.headers}
        defaults = [("Host", _authority(what)), ("User-Agent", USER_AGENT), ("Accept", "*/*")]
        if what.body is not None:
            defaults.append(("Content-Length", str(len(what.body))))
        for name, value in [*((n, v) for n, v in defaults if n.lower() not in given), *what.headers]:
            connection.putheader(name, value)
        connection.endheaders(what.body)
        with connection.getresponse() as response:
            body = response.read()
            headers = tuple(response.getheaders())
            closing = response.will_close
        if closing:
            self.close()
        return Reply(response.status, response.reason, headers, body, time.monotonic() - began)

    def _open(self, what: Call) -> http.client.HTTPConnection:
        place = (what.host, what.port)
        if self._connection is None or self._place != place:
            self.close()
            self._connection = http.client.HTTPConnection(what.host, what.port, timeout=what.timeout_s)
            self._place = place
        return self._connection


def _authority(what: Call) -> str:
    host = f"[{what.host}]" if ":" in what.host else what.host
    return host if what.port == 80 else f"{host}:{what.port}"
