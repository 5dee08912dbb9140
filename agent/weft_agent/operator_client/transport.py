"""A TLS connection to the operator: TLS 1.3, its certificate from the pinned roots alone, always for the same server name.

Theory: the address may be a Service, an IP or a name of anybody's choice; who answers is decided by `SERVER_NAME` and the
roots file, which is read at each connection and nothing is remembered of. So a replaced roots file holds from the next
connection on, and a file that is broken or missing means no connection, never an unverified one. The agent shows no
certificate; it is known by its token, which therefore is sent on such a connection only.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from weft_agent.operator_client.errors import CredentialsError, UnreachableError, UntrustedError
from weft_contract.stream import SERVER_NAME

MAX_ROOTS_BYTES: Final = 256 * 1024
_PEM_MARK: Final = b"-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the operator is, and how it is recognised."""

    host: str
    port: int
    roots: Path
    connect_timeout_s: float

    def __str__(self) -> str:
        """Give `host:port`, brackets around IPv6."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_roots(path: Path) -> bytes:
    """Read the roots file; blocking, but small.

    Raises:
        CredentialsError: it cannot be read, or holds no certificate.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_ROOTS_BYTES + 1)
    except OSError as exc:
        raise CredentialsError(
            f"the operator's roots {path} cannot be read: {exc.strerror}; mount the mesh's roots there"
        ) from exc
    if _PEM_MARK not in data or len(data) > MAX_ROOTS_BYTES:
        raise CredentialsError(f"{path} holds no PEM certificates of at most {MAX_ROOTS_BYTES} bytes")
    return data


def client_context(roots_pem: bytes) -> ssl.SSLContext:
    """Return the context that trusts these roots and nobody else.

    Raises:
        CredentialsError: OpenSSL cannot read them.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.options |= ssl.OP_NO_TICKET
    try:
        context.load_verify_locations(cadata=roots_pem.decode("ascii", "replace"))
    except (ssl.SSLError, ValueError) as exc:
        raise CredentialsError(f"the operator's roots cannot be read: {exc}; mount the mesh's roots in PEM") from exc
    return context


async def connect(endpoint: Endpoint) -> trio.SSLStream[trio.SocketStream]:
    """Connect, and return when the operator has proven who it is.

    Raises:
        CredentialsError: the roots cannot be used.
        UnreachableError: nobody answers in time.
        UntrustedError: who answers is not the operator.
    """
    context = client_context(read_roots(endpoint.roots))
    try:
        with trio.fail_after(endpoint.connect_timeout_s):
            socket_stream = await trio.open_tcp_stream(endpoint.host, endpoint.port)
            stream = trio.SSLStream(socket_stream, context, server_hostname=SERVER_NAME, https_compatible=True)
            await _shake_hands(endpoint, stream)
    except trio.TooSlowError as exc:
        raise UnreachableError(f"{endpoint} does not answer within {endpoint.connect_timeout_s:g} s") from exc
    except OSError as exc:
        raise UnreachableError(f"{endpoint}: {exc.strerror or exc}") from exc
    return stream


async def _shake_hands(endpoint: Endpoint, stream: trio.SSLStream[trio.SocketStream]) -> None:
    try:
        await stream.do_handshake()
    except BaseException as exc:
        await trio.aclose_forcefully(stream)
        if not isinstance(exc, trio.BrokenResourceError):
            raise
        cause = exc.__cause__
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise UntrustedError(
                f"{endpoint} is not the operator that {endpoint.roots} vouches for: {cause.verify_message}"
            ) from exc
        raise UnreachableError(f"{endpoint} does not complete a TLS 1.3 handshake: {cause or exc}") from exc
