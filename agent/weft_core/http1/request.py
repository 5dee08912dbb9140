"""Request heads: the fast way for what clients really send, and the meaning of what the slow way found.

Theory of operation. A head is looked at only once its end (CRLFCRLF) is there, and then by one pattern that accepts the
strict grammar whole; a second search lists the few fields that mean something to a proxy. If the pattern does not match,
`weft_core.http1.tokenizer` goes through the head line by line: it raises the exact rule that was broken, or returns the
same values for what is legal and rare (an empty line first, absolute-form, CONNECT, `*`, underscores where they are
allowed). Fast accepts implies slow accepts with an equal result; a property test holds that.

While the end is not there, only two things are checked, so that byte-at-a-time senders cost linear time: the request line
once it is complete, and characters that no head may hold in what is new since the last call (`searched`).
"""

import re
from typing import Final

from weft_contract.limits import Limits
from weft_core.http1.fields import (
    Special,
    Values,
    connection_options,
    content_length,
    forwarded_lines,
    is_chunked,
    keeps_alive,
    list_items,
    upgrade_wanted,
)
from weft_core.http1.grammar import FIND_SPECIAL, IS_HOST, NAME_WITHOUT_UNDERSCORE, ORIGIN_FORM, VALUE
from weft_core.http1.head import CHUNKED, RequestHead
from weft_core.http1.rules import refused
from weft_core.http1.tokenizer import RequestLine, check_prefix, head_bytes, read_request_line, tokenize_request

_FAST: Final = re.compile(
    rb"(?!CONNECT )([A-Z]++) (" + ORIGIN_FORM + rb") HTTP/1\.([01])\r\n"
    rb"((?:" + NAME_WITHOUT_UNDERSCORE + rb":" + VALUE + rb"\r\n)*+)\r\n"
).match  # fmt: skip
_SHORTEST_LINE: Final = 4
"""Bytes of `a:` CRLF: a block of fewer bytes than this times the limit cannot hold too many fields."""


def parse_request(buffer: bytes | bytearray | memoryview, limits: Limits, searched: int = 0) -> RequestHead | None:
    """Read the head of a request from the beginning of a buffer.

    Args:
        buffer: what was received and not consumed.
        limits: `head_bytes`, `header_count`, `target_bytes`, `underscore_names`.
        searched: bytes of this buffer that an earlier call, which returned None, has seen; keeps the cost of a head that
            comes byte by byte linear.

    Returns:
        The head, or None while it is incomplete.

    Raises:
        RemoteProtocolError: a rule of `weft_core.http1.RULES` is broken; `status` is what the client is to be told.

    Source: RFC 9112 §2-3, §5-6, §9; the stricter choices are argued in `rules` and `grammar`.
    """
    data = buffer if type(buffer) is bytes else head_bytes(buffer, limits.head_bytes, searched)
    end = data.find(b"\r\n\r\n", searched - 3 if searched > 3 else 0)
    if end < 0 or end + 4 > limits.head_bytes:
        check_prefix(data, len(buffer), limits, searched, read_request_line, "target_too_long")
        return None
    found = _FAST(data)
    if found is not None:
        method, target, minor, block = found.groups()
        fits = len(block) < _SHORTEST_LINE * limits.header_count or block.count(b"\n") <= limits.header_count
        if fits and len(target) <= limits.target_bytes:
            special = FIND_SPECIAL(data, end - len(block) + 1, end + 2) if block else []
            if minor == b"1" and len(special) == 1 and len(special[0][0]) == 4:  # only Host has four letters
                host = special[0][1]
                if IS_HOST(host):  # the usual request: nothing to remove, nothing to be careful about
                    return RequestHead(method, target, 1, host, 0, True, block, block, end + 4, True)
            line = RequestLine(method, target, 1 if minor == b"1" else 0, None)
            return _read(line, block, special, end + 4, plain=True)
    return slow_request(data, end, limits)


def slow_request(data: bytes | bytearray, end: int, limits: Limits) -> RequestHead:
    """Read a complete head line by line: the reference of the fast way.

    Args:
        data: begins with the head.
        end: where its CRLFCRLF is.
        limits: as for `parse_request`.

    Raises:
        RemoteProtocolError: with the first rule that is broken.
    """
    line, block, special = tokenize_request(data, end, limits)
    plain = line.authority is None and not data.startswith(b"\r\n")
    return _read(line, block, special, end + 4, plain=plain)


def _read(line: RequestLine, block: bytes, found: list[tuple[bytes, bytes]], size: int, *, plain: bool) -> RequestHead:
    """Give a request line and its fields their meaning."""
    special = Special(found)
    minor = line.minor
    host = _host(special.hosts, line)
    length = _length(special, line) if special.lengths or special.codings else 0
    options = connection_options(special.connection)
    forwarded = forwarded_lines(block, options) if special.strip else block
    head = RequestHead(
        line.method,
        line.target,
        minor,
        host,
        length,
        keeps_alive(minor, options),
        forwarded,
        block,
        size,
        plain and forwarded is block,
    )
    if special.expect:
        head.expect_continue = _expects_continue(special.expect, minor)
    if special.upgrade:
        head.upgrade = upgrade_wanted(special.upgrade, options, minor)
    if special.te:
        head.te_trailers = b"trailers" in list_items(special.te)
    return head


def _host(hosts: Values, line: RequestLine) -> bytes:
    """Return the one Host; it must equal the authority of a target that has one (RFC 9112 §3.2.2)."""
    if not hosts:
        if line.minor == 1:
            raise refused("missing_host")
        return line.authority or b""
    if len(hosts) > 1:
        raise refused("duplicate_host")
    host = hosts[0]
    if IS_HOST(host) is None:
        raise refused("bad_host")
    if line.authority is not None:
        authority, named = line.authority.lower(), host.lower()
        without_port = authority.rpartition(b":")[0] if line.method == b"CONNECT" else authority
        if named not in (authority, without_port):
            raise refused("host_differs_from_target")
    return host


def _length(special: Special, line: RequestLine) -> int:
    length = content_length(special.lengths)
    chunked = is_chunked(special.codings, special.lengths, line.minor)
    if line.method == b"CONNECT":  # what follows is the tunnel's or the body's: nobody can tell
        if chunked:
            raise refused("coding_without_content")
        if length:
            raise refused("content_without_length_zero")
    return CHUNKED if chunked else length or 0


def _expects_continue(values: Values, minor: int) -> bool:
    if [value.strip(b" \t").lower() for value in values] != [b"100-continue"]:
        raise refused("bad_expectation")
    return minor == 1  # RFC 9110 §10.1.1: ignored in HTTP/1.0
