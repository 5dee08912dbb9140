"""The command line's client over real TLS: lists in parts, the server's own words, closed connections, wrong certificates."""

import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from weft_cli.cluster.session import Session
from weft_operator.access import ApiError, Credentials, NotFoundError, UnreachableError
from weft_testing.cluster.pki import Authority

ITEMS = [{"metadata": {"name": f"p{index}"}} for index in range(5)]


class Handler(http.server.BaseHTTPRequestHandler):
    """A small API server; `closing` makes it end every connection behind its answer without saying so."""

    protocol_version = "HTTP/1.1"
    closing: ClassVar[bool] = False
    seen: ClassVar[list[tuple[str, str, str]]] = []

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        self.seen.append((self.command, self.path, self.headers.get("Authorization", "")))
        match path:
            case "/api/v1/pods":
                first = 3 if "continue=next" in query else 0
                body = {"kind": "PodList", "apiVersion": "v1", "items": ITEMS[first : first + 3]}
                self._answer(200, body | {"metadata": {} if first else {"continue": "next"}})
            case "/gone":
                self._answer(404, {"kind": "Status", "reason": "NotFound", "message": 'pods "x" not found'})
            case "/forbidden":
                self._answer(403, {"kind": "Status", "reason": "Forbidden", "message": "user may not"})
            case "/page":
                self._answer(200, "<html>")
            case _:
                self._answer(200, {"path": self.path})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(201, {"got": body})

    def _answer(self, status: int, body: Any) -> None:
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.close_connection = self.closing

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


@pytest.fixture
def credentials(tmp_path: Path) -> Iterator[Credentials]:
    authority = Authority.make(tmp_path)
    authority.issue("server", "server", names=["kubernetes"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    Handler.seen.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield Credentials(
                server=f"https://127.0.0.1:{server.server_address[1]}",
                roots_pem=authority.certificate_pem.decode(),
                token="secret",
                server_name="kubernetes",
            )
        finally:
            server.shutdown()
            thread.join()


def test_lists_come_in_parts_with_their_kind(credentials: Credentials) -> None:
    with Session(credentials) as session:
        found = session.everything("/api/v1/pods", {"labelSelector": "a=b"})
    assert [item["metadata"]["name"] for item in found] == ["p0", "p1", "p2", "p3", "p4"]
    assert {(item["kind"], item["apiVersion"]) for item in found} == {("Pod", "v1")}
    assert all(authorization == "Bearer secret" for _, _, authorization in Handler.seen)
    assert all("labelSelector=a%3Db" in path for _, path, _ in Handler.seen)


def test_refusals_keep_the_servers_words(credentials: Credentials) -> None:
    with Session(credentials) as session:
        with pytest.raises(NotFoundError, match='pods "x" not found'):
            session.get("/gone")
        with pytest.raises(ApiError, match="403 Forbidden: user may not"):
            session.get("/forbidden")
        with pytest.raises(ApiError, match="not JSON"):
            session.get("/page")
        assert session.create("/reviews", {"a": 1}) == {"got": {"a": 1}}


def test_a_connection_that_was_closed_between_two_questions_is_made_anew(
    credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Handler, "closing", True)
    with Session(credentials) as session:
        assert [session.get(f"/{index}")["path"] for index in range(3)] == ["/0", "/1", "/2"]


def test_nobody_there_and_nobody_to_trust(credentials: Credentials, tmp_path: Path) -> None:
    refused = Credentials(server="https://127.0.0.1:1", roots_pem=credentials.roots_pem)
    with pytest.raises(UnreachableError, match="Connection refused"):
        Session(refused).get("/")
    (tmp_path / "other").mkdir()
    other = Authority.make(tmp_path / "other").certificate_pem.decode()
    wrong = Credentials(server=credentials.server, roots_pem=other, server_name="kubernetes")
    with pytest.raises(UnreachableError, match="certificate is not trusted"):
        Session(wrong).get("/")
    unnamed = Credentials(server=credentials.server, roots_pem=credentials.roots_pem)
    with pytest.raises(UnreachableError, match="certificate is not trusted"):
        Session(unnamed).get("/")
