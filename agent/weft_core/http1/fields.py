"""What the fields of a head mean to a proxy: framing, persistence, and which lines may go on.

Theory: the fast pattern and the slow tokenizer only find lines; both hand the fields that matter to this one file, so there
is one meaning whatever path a message took. A list of values per field is kept until it is judged: a second line of the
same name is never overlooked and never joined (CVE-2026-26308).
"""

import re
from collections.abc import Sequence
from typing import Final

from weft_core.http1.grammar import IS_LENGTH, IS_TOKEN, MAX_LENGTH, OURS, PROTECTED, WITHOUT_HOP_BY_HOP
from weft_core.http1.rules import refused

Values = tuple[bytes, ...]

NO_OPTIONS: Final[frozenset[bytes]] = frozenset()
_HANDLED: Final = frozenset({b"close", b"keep-alive", b"upgrade", b"te", b"http2-settings", b"proxy-connection"})
"""Options that name no field, or one that is removed anyway."""
_ALONE: Final = {
    spelling: frozenset({spelling.lower()}) for spelling in (b"keep-alive", b"Keep-Alive", b"close", b"Close")
}
"""What nearly every Connection says."""
_PROTOCOL: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]++(?:/[!#$%&'*+\-.^_`|~0-9a-z]++)?").fullmatch
_IS_OURS: Final = re.compile(OURS).match


class Special:
    """The fields that matter, each with all its values; `strip` tells whether any line must not go on."""

    __slots__ = ("codings", "connection", "expect", "hosts", "lengths", "strip", "te", "upgrade")

    def __init__(self, found: Sequence[tuple[bytes, bytes]]) -> None:
        self.hosts: Values = ()
        self.lengths: Values = ()
        self.codings: Values = ()
        self.connection: Values = ()
        self.upgrade: Values = ()
        self.expect: Values = ()
        self.te: Values = ()
        self.strip = False
        for sent_name, value in found:
            name = sent_name.lower()
            if name == b"host":
                self.hosts += (value.rstrip(b" \t"),)
            elif name == b"content-length":
                self.lengths += (value.rstrip(b" \t"),)
            elif name == b"expect":
                self.expect += (value,)
            else:
                self.strip = True
                if name == b"connection":
                    self.connection += (value,)
                elif name == b"transfer-encoding":
                    self.codings += (value,)
                elif name == b"upgrade":
                    self.upgrade += (value,)
                elif name == b"te":
                    self.te += (value,)


def list_items(values: Values) -> list[bytes]:
    """Return the members of a comma-separated list over all its lines, in lower case; empty members are skipped.

    Source: RFC 9110 §5.6.1.
    """
    items = (item.strip(b" \t") for item in b",".join(values).lower().split(b","))
    return [item for item in items if item]


def content_length(values: Values) -> int | None:
    """Read Content-Length: one line, one number, one spelling; None: there is none.

    Raises:
        RemoteProtocolError: `bad_content_length`, `duplicate_content_length`.
    """
    if not values:
        return None
    if len(values) > 1:
        raise refused("duplicate_content_length")
    value = values[0]
    if IS_LENGTH(value) is None:
        raise refused("duplicate_content_length" if b"," in value else "bad_content_length")
    length = int(value)
    if length > MAX_LENGTH:
        raise refused("bad_content_length")
    return length


def is_chunked(values: Values, lengths: Values, minor: int) -> bool:
    """Read Transfer-Encoding: nothing, or exactly `chunked`.

    Raises:
        RemoteProtocolError: anything else; 501 only for a well-formed list of codings that ends in `chunked`.
    """
    if not values:
        return False
    if lengths:
        raise refused("length_and_coding")
    if minor == 0:
        raise refused("coding_in_http_1_0")
    if len(values) > 1:
        raise refused("duplicate_transfer_encoding")
    value = values[0].strip(b" \t").lower()
    if value == b"chunked":
        return True
    codings = [item.strip(b" \t") for item in value.split(b",")]
    others = codings[:-1]
    well_formed = all(IS_TOKEN(item) and item not in (b"chunked", b"identity") for item in others)
    if codings[-1] == b"chunked" and well_formed:
        raise refused("unknown_transfer_coding")
    raise refused("bad_transfer_coding")


def connection_options(values: Values) -> frozenset[bytes]:
    """Read Connection.

    Raises:
        RemoteProtocolError: `bad_connection_option`; `protected_connection_option` if it names a field that later hops need.
    """
    if not values:
        return NO_OPTIONS
    options = _ALONE.get(values[0]) if len(values) == 1 else None
    if options is not None:
        return options
    options = frozenset(list_items(values))
    if not options <= _HANDLED:
        for option in options:
            if IS_TOKEN(option) is None:
                raise refused("bad_connection_option")
            if option in PROTECTED or _IS_OURS(option):
                raise refused("protected_connection_option")
    return options


def forwarded_lines(block: bytes, options: frozenset[bytes]) -> bytes:
    """Return the field lines without hop-by-hop fields, without those that Connection named, and without ours."""
    kept = WITHOUT_HOP_BY_HOP(b"", b"\n" + block[:-1])[1:]
    if kept:
        kept += b"\n"
    named = options - _HANDLED
    if named:
        lines = kept.splitlines(keepends=True)  # of bytes: splits at line ends alone, and all are CRLF here
        kept = b"".join(line for line in lines if line[: line.index(b":")].lower() not in named)
    return kept


def keeps_alive(minor: int, options: frozenset[bytes]) -> bool:
    """Tell whether the sender lets the connection live on (RFC 9112 §9.3)."""
    if minor == 1:
        return b"close" not in options
    return b"keep-alive" in options and b"close" not in options


def upgrade_wanted(values: Values, options: frozenset[bytes], minor: int) -> bytes:
    """Return the protocols of Upgrade, in lower case, or nothing.

    `h2c` is left out: it would turn this connection into one whose requests nobody judges (h2c smuggling). Something that
    is not a protocol name is left out too, since our own Upgrade line will be made from the rest.

    Source: RFC 9110 §7.8 (ignored in HTTP/1.0, and unless Connection names it); RFC 9113 §3.1 (h2c is obsolete).
    """
    if not values or minor == 0 or b"upgrade" not in options:
        return b""
    return b", ".join(item for item in list_items(values) if item != b"h2c" and _PROTOCOL(item))
