"""Who we are at the API server: its address, its roots, our credentials; read again and again, because tokens are renewed.

Theory: an `Access` is a place where credentials lie, `Credentials` are what lay there at one moment. The client reads them
again every `REREAD_S` and whenever the server refuses them, so that a renewed token or root is taken up without a restart
(the kubelet renews a projected token at 80 % of its life).

Source: Kubernetes documentation "Accessing the API from a Pod"; client-go rest/config.go `InClusterConfig`, token cache of
one minute.
"""

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from weft_operator.access.pem_pair import load_pair

REREAD_S: Final = 60.0
SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class AccessError(Exception):
    """The credentials cannot be used; the message says which file and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What is needed to reach the API server at one moment."""

    server: str
    """`https://host:port`, without a slash at the end."""
    roots_pem: str
    """Certificates that verify the server; empty: the system's."""
    token: str = field(default="", repr=False)
    certificate_pem: str = ""
    key_pem: str = field(default="", repr=False)
    server_name: str = ""
    """Name that the server's certificate must have, where it is not the host's."""
    verify: bool = True

    def tls(self) -> ssl.SSLContext:
        """Return what connections are made with.

        Raises:
            AccessError: roots, certificate or key are not what they should be.
        """
        try:
            context = ssl.create_default_context(cadata=self.roots_pem or None)
            if not self.verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if self.certificate_pem:
                load_pair(context, self.certificate_pem, self.key_pem)
        except (ssl.SSLError, ValueError) as exc:
            raise AccessError(f"the certificates for {self.server} cannot be used: {exc}") from exc
        return context


class Access(Protocol):
    """Where credentials lie."""

    def read(self) -> Credentials:
        """Return them as they are now.

        Raises:
            AccessError: they are not there, or cannot be read.
        """

    def __str__(self) -> str:
        """Say where, for messages."""


@dataclass(frozen=True, slots=True)
class InCluster:
    """The service account of the pod that we run in."""

    directory: Path = SERVICE_ACCOUNT
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def read(self) -> Credentials:
        """Return address, roots and token."""
        host = self.environment.get("KUBERNETES_SERVICE_HOST", "")
        port = self.environment.get("KUBERNETES_SERVICE_PORT", "443")
        if not host:
            raise AccessError("KUBERNETES_SERVICE_HOST is not set: this is no pod; give --kubeconfig")
        address = f"[{host}]" if ":" in host else host
        return Credentials(
            server=f"https://{address}:{port}",
            roots_pem=read_text(self.directory / "ca.crt"),
            token=read_text(self.directory / "token").strip(),
        )

    def __str__(self) -> str:
        return f"service account in {self.directory}"


def read_text(path: Path) -> str:
    """Return a file's content.

    Raises:
        AccessError: it cannot be read, or is empty.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as exc:
        raise AccessError(f"{path}: {exc.strerror if isinstance(exc, OSError) else 'not text'}") from exc
    if not text.strip():
        raise AccessError(f"{path} is empty")
    return text
