"""What a parsed head says, as plain values: cheap to build, made once per message on the hot path.

Theory: `msgspec.Struct` builds in C (0.06 µs for eight fields, measured; a dataclass with slots takes ten times that) and
compares by value, which the property "fast and slow parser agree" needs. `gc=False`: there is nothing in it to form a cycle.
"""

import re
from typing import Final

import msgspec

CHUNKED: Final = -1
"""Body length of a message in chunks."""
UNTIL_EOF: Final = -2
"""Body length of a response that ends with its connection (also: a tunnel after CONNECT)."""

_FIELDS: Final = re.compile(rb"([^:]++):[ \t]*+([^\r]*+)\r\n").findall


def split_fields(block: bytes) -> list[tuple[bytes, bytes]]:
    """Return the fields of validated field lines: names in lower case, values without surrounding white space."""
    return [(name.lower(), value.rstrip(b" \t")) for name, value in _FIELDS(block)]


class RequestHead(msgspec.Struct, gc=False):
    """The head of a request, in the one reading that router, policy, log and upstream share."""

    method: bytes
    """As sent; methods are case-sensitive, `get` is not GET."""
    target: bytes
    """As sent; `weft_core.canonical` reads it."""
    minor: int
    """0 or 1 of HTTP/1.x."""
    host: bytes
    """Host as sent; empty if HTTP/1.0 came without. For absolute-form and CONNECT it equals the target's authority."""
    length: int
    """Of the body in bytes; `CHUNKED` for chunks."""
    keep_alive: bool
    """Whether the client's version and Connection let the connection live on."""
    block: bytes
    """Field lines to be forwarded, each ending CRLF, in order: no hop-by-hop field, no `weft-` field, no
    Transfer-Encoding (the one who frames the body says so); Content-Length stays."""
    original: bytes
    """Field lines as sent; the same object as `block` when nothing had to be removed."""
    size: int
    """Bytes of the head in the buffer, an empty line before it and the one behind it included."""
    raw: bool
    """The first `size` bytes may be forwarded as they came (if the target is canonical)."""
    expect_continue: bool = False
    """The client waits for 100 before it sends the body."""
    upgrade: bytes = b""
    """What the client would switch to, in lower case; never h2c, and empty unless Connection names Upgrade."""
    te_trailers: bool = False
    """The client takes trailers (gRPC servers insist on hearing it)."""

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return all fields as sent: names in lower case, values stripped, repeated names repeated."""
        return split_fields(self.original)

    def header(self, name: bytes) -> list[bytes]:
        """Return every value of a field.

        Args:
            name: in lower case.
        """
        return [value for found, value in split_fields(self.original) if found == name]


class ResponseHead(msgspec.Struct, gc=False):
    """The head of a response, read with the request's method in mind."""

    status: int
    """100 to 599."""
    reason: bytes
    """As sent, possibly empty; means nothing."""
    minor: int
    """0 or 1 of HTTP/1.x."""
    length: int
    """Of the body that follows this head, whatever the fields say: n, `CHUNKED` or `UNTIL_EOF`."""
    keep_alive: bool
    """Whether the connection may serve another request after this body."""
    block: bytes
    """Field lines to be forwarded, as in `RequestHead.block`."""
    original: bytes
    """Field lines as sent."""
    size: int
    """Bytes of the head in the buffer."""
    raw: bool
    """The first `size` bytes may be forwarded as they came."""
    upgrade: bytes = b""
    """Protocol switched to (101) or offered (426), in lower case; empty unless Connection names Upgrade."""

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return all fields as sent: names in lower case, values stripped, repeated names repeated."""
        return split_fields(self.original)

    def header(self, name: bytes) -> list[bytes]:
        """Return every value of a field.

        Args:
            name: in lower case.
        """
        return [value for found, value in split_fields(self.original) if found == name]
