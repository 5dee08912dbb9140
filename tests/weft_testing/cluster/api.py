"""Talking to an API server: a small HTTPS client for objects, and kubectl for everything people do with kubectl."""

import http.client
import json
import os
import socket
import ssl
import subprocess
import tempfile
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

Object = dict[str, Any]  # a Kubernetes object: JSON whose shape the API server knows, not we
Connect = Callable[[], socket.socket]

APPLY: Final = "application/apply-patch+yaml"
MERGE: Final = "application/merge-patch+json"
_TIMEOUT_S: Final = 30.0


class ApiError(Exception):
    """The API server refused; `status` is the HTTP status and `answer` what it said."""

    def __init__(self, request: str, status: int, answer: Object) -> None:
        super().__init__(f"{request}: {status} {answer.get('reason', '')}: {answer.get('message', answer)}")
        self.status = status
        self.answer = answer


class KubectlError(Exception):
    """kubectl failed; the message has the command and what it said."""


class Api:
    """An API server, as one user; every request is a connection of its own, so it may be restarted meanwhile."""

    def __init__(self, host: str, context: ssl.SSLContext, connect: Connect, token: str = "") -> None:
        self._host = host
        self._context = context
        self._connect = connect
        self._token = token

    @classmethod
    def from_kubeconfig(cls, path: Path) -> "Api":
        """Read a kubeconfig that `Authority.write_kubeconfig` wrote."""
        content = json.loads(path.read_text())
        cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
        host, _, port = cluster["server"].removeprefix("https://").rpartition(":")
        context = ssl.create_default_context(cadata=b64decode(cluster["certificate-authority-data"]).decode())
        with tempfile.NamedTemporaryFile() as both:  # the ssl module takes client certificates from files only
            both.write(b64decode(user["client-certificate-data"]) + b64decode(user["client-key-data"]))
            both.flush()
            context.load_cert_chain(both.name)
        return cls(host, context, lambda: socket.create_connection((host, int(port)), _TIMEOUT_S))

    def with_token(self, token: str, certificate_authority: Path) -> "Api":
        """Return the same server as seen by whoever holds a bearer token, and no certificate."""
        return Api(self._host, ssl.create_default_context(cafile=str(certificate_authority)), self._connect, token)

    def send(
        self, method: str, path: str, body: object = None, content_type: str = "application/json"
    ) -> tuple[int, Object]:
        """Send one request and return the status and the object that came back.

        Raises:
            OSError: there is no API server, or it stopped in the middle.
        """
        status, answer = self.send_raw(method, path, body, content_type)
        try:
            content = json.loads(answer)
        except ValueError:
            content = {"message": answer.decode(errors="replace")}
        return status, content if isinstance(content, dict) else {"message": str(content)}

    def send_raw(
        self, method: str, path: str, body: object = None, content_type: str = "application/json"
    ) -> tuple[int, bytes]:
        """Send one request and return the status and the bytes that came back.

        Raises:
            OSError: as for `send`.
        """
        headers = {"Host": self._host, "Accept": "application/json", "Connection": "close"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if body is not None:
            headers["Content-Type"] = content_type
        connection = http.client.HTTPConnection(self._host, timeout=_TIMEOUT_S)
        with closing(connection):
            connection.sock = self._context.wrap_socket(self._connect(), server_hostname=self._host)
            try:
                connection.request(method, path, None if body is None else json.dumps(body), headers)
                response = connection.getresponse()
                return response.status, response.read()
            except http.client.HTTPException as exc:
                raise ConnectionError(f"the API server's answer to {method} {path} broke off: {exc!r}") from exc

    def get(self, path: str) -> Object:
        """Return what is at a path.

        Raises:
            ApiError: the answer is an error.
            OSError: there was no answer.
        """
        return self._ok("GET", path)

    def create(self, path: str, body: Object) -> Object:
        """Post an object to a collection; raises as `get` does."""
        return self._ok("POST", path, body)

    def patch(self, path: str, body: object, content_type: str = MERGE) -> Object:
        """Change an object; raises as `get` does."""
        return self._ok("PATCH", path, body, content_type)

    def delete(self, path: str) -> Object:
        """Delete an object; raises as `get` does."""
        return self._ok("DELETE", path)

    def healthy(self, path: str) -> bool:
        """Tell whether a health address answers 200; nothing listening is a no."""
        try:
            return self.send_raw("GET", path)[0] == 200
        except OSError:
            return False

    def _ok(self, method: str, path: str, body: object = None, content_type: str = "application/json") -> Object:
        status, answer = self.send(method, path, body, content_type)
        if status >= 400:
            raise ApiError(f"{method} {path}", status, answer)
        return answer


class Kubectl:
    """kubectl, for one cluster."""

    def __init__(self, program: Path, kubeconfig: Path, enter: Sequence[str] = ()) -> None:
        self._program = program
        self._kubeconfig = kubeconfig
        self._enter = tuple(enter)

    def command(self, *arguments: str) -> list[str]:
        """Return the whole command, to run it otherwise than by calling this."""
        return [*self._enter, str(self._program), f"--kubeconfig={self._kubeconfig}", *arguments]

    def __call__(self, *arguments: str, stdin: str = "", timeout_s: float = 120.0) -> str:
        """Run it and return what it printed.

        Raises:
            KubectlError: it failed, or took too long.
        """
        done = self.run(*arguments, stdin=stdin, timeout_s=timeout_s)
        if done.returncode != 0:
            raise KubectlError(
                f"kubectl {' '.join(arguments)} failed with {done.returncode}:\n{done.stdout}{done.stderr}"
            )
        return done.stdout

    def run(self, *arguments: str, stdin: str = "", timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Run it and return how it went, whatever that is.

        Raises:
            KubectlError: it took too long.
        """
        try:
            return subprocess.run(
                self.command(*arguments),
                input=stdin,
                capture_output=True,
                text=True,
                check=False,
                timeout=timeout_s,
                env=_environment(),
            )
        except subprocess.TimeoutExpired as exc:
            raise KubectlError(f"kubectl {' '.join(arguments)} took more than {timeout_s:g} s: {exc.stderr!r}") from exc

    def apply(self, *objects: Mapping[str, object]) -> None:
        """Apply objects on the server's side.

        Raises:
            KubectlError: one was refused.
        """
        text = "\n".join(json.dumps(item) for item in objects)
        self("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)

    def get(self, *arguments: str) -> Object:
        """Return what `kubectl get` finds, as an object.

        Raises:
            KubectlError: it found nothing.
        """
        content = json.loads(self("get", *arguments, "--output=json"))
        return content if isinstance(content, dict) else {}


def _environment() -> dict[str, str]:
    """Return an environment without a kubeconfig or a proxy of whoever runs the tests."""
    unwanted = {"KUBECONFIG", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"}
    return {name: value for name, value in os.environ.items() if name not in unwanted}
