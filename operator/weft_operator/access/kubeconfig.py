"""A kubeconfig: how a developer's machine, and our tests, reach an API server.

What is not supported is refused by name: credential plugins and login providers run programs or refresh tokens for a
person; a process that runs on its own should have a token or a certificate.

Source: client-go tools/clientcmd/api/v1 (`Config`), documentation "Organizing Cluster Access Using kubeconfig Files".
"""

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from weft_operator.access.credentials import AccessError, Credentials, read_text

_UNSUPPORTED: Final = ("exec", "auth-provider", "username", "password", "as")


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """One context of a kubeconfig.

    Args:
        path: the file.
        context: name of a context; empty: the current one.
    """

    path: Path
    context: str = ""

    def read(self) -> Credentials:
        """Return what the context says."""
        content = self._content()
        name = self.context or str(content.get("current-context") or "")
        if not name:
            raise AccessError(f"{self.path} has no current-context: give --context")
        context = self._named(content, "contexts", name, "context")
        cluster = self._named(content, "clusters", str(context.get("cluster", "")), "cluster")
        user = self._named(content, "users", str(context.get("user", "")), "user")
        for key in _UNSUPPORTED:
            if user.get(key):
                raise AccessError(f"{self.path}: `{key}` of a user is not supported; use a token or a certificate")
        server = str(cluster.get("server", "")).rstrip("/")
        if not server.startswith("https://"):
            raise AccessError(f"{self.path}: server {server!r:.80} must begin with https://")
        return Credentials(
            server=server,
            roots_pem=self._data(cluster, "certificate-authority"),
            certificate_pem=self._data(user, "client-certificate"),
            key_pem=self._data(user, "client-key"),
            token=self._token(user),
            server_name=str(cluster.get("tls-server-name") or ""),
            verify=not cluster.get("insecure-skip-tls-verify"),
        )

    def __str__(self) -> str:
        return f"kubeconfig {self.path}"

    def _content(self) -> Mapping[str, object]:
        try:
            content = yaml.safe_load(read_text(self.path))
        except yaml.YAMLError as exc:
            raise AccessError(f"{self.path} is not YAML: {exc}") from exc
        if not isinstance(content, dict):
            raise AccessError(f"{self.path} is no kubeconfig")
        return content

    def _named(self, content: Mapping[str, object], table: str, name: str, what: str) -> Mapping[str, object]:
        entries = content.get(table)
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get(what), dict):
                return dict(entry[what])
        raise AccessError(f"{self.path} has no {what} {name!r:.80}")

    def _data(self, part: Mapping[str, object], key: str) -> str:
        """Return `KEY-data`, or what the file named by `KEY` holds; empty: neither is given."""
        data, path = part.get(f"{key}-data"), part.get(key)
        if data:
            try:
                return b64decode(str(data), validate=True).decode()
            except (Base64Error, UnicodeDecodeError) as exc:
                raise AccessError(f"{self.path}: {key}-data is not base64 of a PEM text") from exc
        return read_text(self.path.parent / str(path)) if path else ""

    def _token(self, user: Mapping[str, object]) -> str:
        path = user.get("tokenFile")
        return read_text(self.path.parent / str(path)).strip() if path else str(user.get("token") or "")
