"""The agent's account at the API server: where it is, whom to believe there, and the token of the moment.

Theory: the kubelet mounts token and roots as files and replaces the token long before it expires, so both are read again for
each connection. A token is never kept, logged or shown.

Source: Kubernetes documentation "Accessing the Kubernetes API from a Pod"; `pkg/kubelet/token`.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

MOUNTED: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
IN_CLUSTER: Final = "in-cluster"
HTTPS_PORT: Final = 443


class AccountError(Exception):
    """The API server cannot be addressed or trusted; the message says which file or variable is at fault."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who the agent is at which API server."""

    host: str
    """Name or address, IPv6 without brackets."""
    port: int
    directory: Path
    """With `token` and `ca.crt`."""

    @classmethod
    def at(cls, where: str, directory: Path, environment: Mapping[str, str]) -> Self:
        """Return the account for a setting.

        Args:
            where: `in-cluster`, or `https://HOST[:PORT]`.
            directory: with token and roots.
            environment: holds the address that the kubelet gives every container.

        Raises:
            AccountError: it names no server.
        """
        if where == IN_CLUSTER:
            host = environment.get("KUBERNETES_SERVICE_HOST", "")
            port = environment.get("KUBERNETES_SERVICE_PORT", "")
            if not host or not port.isascii() or not port.isdigit():
                raise AccountError(
                    "KUBERNETES_SERVICE_HOST and _PORT are not set, so this is no pod; give https://HOST:PORT"
                )
            return cls(host, int(port), directory)
        try:
            parts = urlsplit(where)
            port_number = parts.port or HTTPS_PORT
        except ValueError as exc:
            raise AccountError(f"must be {IN_CLUSTER} or https://HOST:PORT: {exc}") from exc
        if (
            parts.scheme != "https"
            or not parts.hostname
            or parts.path not in ("", "/")
            or parts.query
            or parts.username
        ):
            raise AccountError(f"must be {IN_CLUSTER} or https://HOST:PORT")
        return cls(parts.hostname, port_number, directory)

    @property
    def authority(self) -> str:
        """Host and port as in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def token(self) -> str:
        """Return the token of the moment.

        Raises:
            AccountError: there is none.
        """
        path = self.directory / "token"
        try:
            token = path.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError) as exc:
            raise AccountError(f"{path} cannot be read: {exc}; mount the service account's token there") from exc
        if not token or not token.isprintable() or " " in token:
            raise AccountError(f"{path} holds no token")
        return token

    def tls(self) -> ssl.SSLContext:
        """Return a context that believes the cluster's roots and nobody else.

        Raises:
            AccountError: there are none.
        """
        path = self.directory / "ca.crt"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_verify_locations(path)
        except (OSError, ssl.SSLError) as exc:
            raise AccountError(f"{path} cannot be used: {exc}; mount the cluster's root certificates there") from exc
        return context
