"""The name in a Host or `:authority`, as it can be compared: lower case, without port and trailing dot."""

import re
from ipaddress import AddressValueError, IPv6Address
from typing import Final

from weft_core.canonical.refusals import refused

MEMORY_ENTRIES: Final = 1024
MEMORY_KEY_BYTES: Final = 256
HOST_BYTES_MAX: Final = 253
"""Longest name of the DNS without its trailing dot (RFC 1035 §2.3.4)."""
_PORT_MAX: Final = 65535

_PARTS: Final = re.compile(
    rb"(?:([A-Za-z0-9_\-]++(?:\.[A-Za-z0-9_\-]++)*)\.?+|\[([0-9A-Fa-f:.]{2,45})\])(?::([0-9]{0,5}+))?"
).fullmatch
_memory: dict[bytes, bytes] = {}


def canonical_host(host: bytes) -> bytes:
    """Return the comparable form of a host.

    Names and IPv4 addresses become lower case without trailing dot; IPv6 addresses keep their brackets and get their
    shortest form. Underscores pass (cluster names have them); userinfo, escapes, zones and everything else do not.

    Args:
        host: field value or `:authority`, with or without port; empty stays empty (HTTP/1.0 needs no Host).

    Raises:
        RemoteProtocolError: `bad_host`.

    Source: RFC 9110 §7.2 and §4.2.3, RFC 3986 §3.2.2, RFC 5952.
    """
    known = _memory.get(host)
    if known is not None:
        return known
    found = _read(host)
    if len(host) <= MEMORY_KEY_BYTES:
        if len(_memory) >= MEMORY_ENTRIES:
            _memory.clear()
        _memory[host] = found
    return found


def _read(host: bytes) -> bytes:
    if not host:
        return b""
    found = _PARTS(host)
    if found is None:
        raise refused("bad_host")
    name, address, port = found.groups()
    if port and int(port) > _PORT_MAX:
        raise refused("bad_host")
    if address is not None:
        return _bracketed(address)
    if len(name) > HOST_BYTES_MAX:
        raise refused("bad_host")
    lower: bytes = name.lower()
    return lower


def _bracketed(address: bytes) -> bytes:
    try:
        return b"[%b]" % IPv6Address(address.decode("ascii")).compressed.encode("ascii")
    except AddressValueError as exc:
        raise refused("bad_host") from exc
