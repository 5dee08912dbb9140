"""ClientHellos: real ones from this Python's TLS library, and made ones for what no library would send."""

import contextlib
import ssl


def real_hello(alpn: tuple[str, ...] = (), sni: str | None = "a.example") -> bytes:
    """Return the first bytes a real client sends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    outgoing = ssl.MemoryBIO()
    connection = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=sni)
    with contextlib.suppress(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()


def vector(width: int, content: bytes) -> bytes:
    """Return a TLS vector: its length in `width` bytes, then the content."""
    return len(content).to_bytes(width, "big") + content


def extension(kind: int, content: bytes) -> bytes:
    """Return an extension."""
    return kind.to_bytes(2, "big") + vector(2, content)


def server_name(name: bytes, kind: int = 0) -> bytes:
    """Return a server_name extension."""
    return extension(0, vector(2, bytes([kind]) + vector(2, name)))


def alpn(*names: bytes) -> bytes:
    """Return an ALPN extension."""
    return extension(16, vector(2, b"".join(vector(1, name) for name in names)))


def message(
    *extensions: bytes,
    version: bytes = b"\x03\x03",
    session: bytes = b"",
    ciphers: bytes = b"\x13\x01",
    compression: bytes = b"\x00",
    tail: bytes = b"",
    kind: int = 1,
) -> bytes:
    """Return a ClientHello handshake message."""
    body = version + bytes(32) + vector(1, session) + vector(2, ciphers) + vector(1, compression)
    if extensions:
        body += vector(2, b"".join(extensions))
    return bytes([kind]) + vector(3, body + tail)


def records(payload: bytes, size: int = 1 << 14, version: bytes = b"\x03\x01", kind: int = 22) -> bytes:
    """Cut a handshake message into TLS records."""
    pieces = [payload[start : start + size] for start in range(0, len(payload), size)]
    return b"".join(bytes([kind]) + version + vector(2, piece) for piece in pieces)
