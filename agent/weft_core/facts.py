"""What is known of a connection and of a request when a decision is taken: plain values, no objects with behaviour."""

from collections.abc import Sequence
from dataclasses import dataclass

from weft_contract.identity import SpiffeId

Header = tuple[bytes, bytes]
"""Name in lower case, value without surrounding white space."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionFacts:
    """Facts that hold for the whole life of an inbound connection (or tunnel stream)."""

    source: SpiffeId | None
    """Verified identity of the caller: by certificate, or by its namespace on the same node. None: plaintext."""
    source_address: str
    """Client's IP as canonical text; IPv4-mapped addresses are given as IPv4."""
    destination_address: str
    destination_port: int
    encrypted: bool
    """True for a tunnel and for same-node traffic, which never leaves the kernel."""
    sni: str = ""
    """Server name the application's own TLS asked for, if that is what the connection carries."""
    is_probe: bool = False
    """The connection comes from this node's own address to a probe port; requests still have to equal the probe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFacts:
    """Facts of one HTTP request, in the one canonical reading that is also forwarded."""

    method: bytes
    """As sent; methods are case-sensitive."""
    host: bytes
    """Lower case, port removed, without trailing dot; empty when the request named none."""
    path: bytes
    """Canonical path without query, beginning with `/` (or `*` for OPTIONS)."""
    query: bytes = b""
    """Without the question mark."""
    headers: Sequence[Header] = ()
    """In the order sent."""
