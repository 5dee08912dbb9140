"""One blocking connection to an API server: objects, lists in parts, text through its proxies, errors in its own words.

Theory: a command asks a few dozen questions, one after the other, and ends. So there is one connection, kept open; it is made
anew once where the server closed it between two questions, which it may do at any time.
"""

import http.client
import json
import ssl
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from weft_operator.access import ApiError, Credentials, ExpiredError, UnreachableError, error_of

Body = dict[str, Any]  # a Kubernetes object: JSON whose shape the API server knows
LIST_PART: Final = 500
"""Objects of one answer, as kubectl asks for."""
TIMEOUT_S: Final = 20.0
_IDEMPOTENT: Final = frozenset({"GET"})


class Session:
    """An API server, as one user.

    Args:
        credentials: where it is and who we are.
        timeout_s: for each answer.

    Raises:
        AccessError: the certificates cannot be used.
    """

    def __init__(self, credentials: Credentials, timeout_s: float = TIMEOUT_S) -> None:
        self.server = credentials.server
        self._credentials = credentials
        self._context = credentials.tls()
        self._timeout_s = timeout_s
        self._prefix = urlsplit(credentials.server).path.rstrip("/")
        self._connection: http.client.HTTPConnection | None = None

    def __enter__(self) -> "Session":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Body:
        """Return an object.

        Raises:
            ApiError: the server refused, or (`UnreachableError`) there was no answer.
        """
        return _object(path, self.text(path, query))

    def items(self, path: str, query: Mapping[str, str] | None = None) -> Iterator[Body]:
        """Yield the objects of a collection, with the kind that their list has; asked for in parts.

        Raises:
            ApiError: see `get`; `ExpiredError` where it changed so much meanwhile that it has to be listed anew.
        """
        proceed = ""
        while True:
            more = {"continue": proceed} if proceed else {}
            part = self.get(path, {**(query or {}), "limit": str(LIST_PART), **more})
            kind = str(part.get("kind", "")).removesuffix("List")
            for item in part.get("items") or ():
                yield {"apiVersion": part.get("apiVersion"), "kind": kind, **item}
            proceed = (part.get("metadata") or {}).get("continue") or ""
            if not proceed:
                return

    def everything(self, path: str, query: Mapping[str, str] | None = None) -> list[Body]:
        """Return all objects of a collection, listed anew once if it changed too much meanwhile."""
        try:
            return list(self.items(path, query))
        except ExpiredError:
            return list(self.items(path, query))

    def text(self, path: str, query: Mapping[str, str] | None = None) -> str:
        """Return what a path answers, as text; see `get`."""
        target = f"{path}?{urlencode(query)}" if query else path
        return self._ask("GET", target, None).decode(errors="replace")

    def create(self, path: str, body: Body) -> Body:
        """Create an object and return it, or what the server makes of a review; see `get`."""
        return _object(path, self._ask("POST", path, json.dumps(body).encode()).decode(errors="replace"))

    def _ask(self, method: str, target: str, body: bytes | None) -> bytes:
        fresh = self._connection is None
        try:
            response, data = self._exchange(method, target, body)
        except (OSError, http.client.HTTPException) as exc:
            self.close()
            if fresh or method not in _IDEMPOTENT:
                raise UnreachableError(f"{self.server}: {_why(exc)}") from exc
            return self._ask(method, target, body)  # it was closed between two questions
        if response.status >= 400:
            raise error_of(f"{method} {target}", response.status, data, dict(response.getheaders()))
        return data

    def _exchange(self, method: str, target: str, body: bytes | None) -> tuple[http.client.HTTPResponse, bytes]:
        connection = self._connection or self._connect()
        headers = {"Accept": "application/json, */*;q=0.1", "User-Agent": "weft"}
        if self._credentials.token:
            headers["Authorization"] = f"Bearer {self._credentials.token}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection.request(method, self._prefix + target, body, headers)
        response = connection.getresponse()
        return response, response.read()

    def _connect(self) -> http.client.HTTPConnection:
        place = urlsplit(self._credentials.server)
        name = self._credentials.server_name
        self._connection = _Connection(
            place.hostname or "", place.port or 443, timeout=self._timeout_s, context=self._context, server_name=name
        )
        return self._connection


class _Connection(http.client.HTTPSConnection):
    """HTTPS whose server may have a certificate for another name than it is dialled by (`tls-server-name`)."""

    def __init__(self, host: str, port: int, *, timeout: float, context: ssl.SSLContext, server_name: str) -> None:
        super().__init__(host, port, timeout=timeout, context=context)
        self._tls, self._server_name = context, server_name

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._server_name or self.host)


def _object(path: str, text: str) -> Body:
    try:
        found = json.loads(text)
    except ValueError as exc:
        raise ApiError(f"{path}: the answer is not JSON; is this an API server?") from exc
    if not isinstance(found, dict):
        raise ApiError(f"{path}: the answer is no object; is this an API server?")
    return found


def _why(exc: Exception) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {exc.verify_message}"
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    return str(exc) or type(exc).__name__
