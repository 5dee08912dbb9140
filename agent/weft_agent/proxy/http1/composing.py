"""Heads that cannot be forwarded as they came, put together from what was judged; pure.

Theory: the parser has taken away whatever belongs to one hop only. What this hop means is said anew here, and nowhere else:
how the body is framed, whether the connection goes on, what may be switched to.
"""

from typing import Final

from weft_core.http1 import CHUNKED, RequestHead, ResponseHead, request_bytes, response_bytes

UPGRADE_REQUIRED: Final = 426


def compose_request(head: RequestHead, target: bytes | None, block: bytes | None) -> bytes:
    """Return the head of a request whose bytes cannot be forwarded as they came.

    Args:
        head: as it was judged.
        target: in place of the one sent; None: as sent.
        block: field lines in place of those sent; None: as sent, hop-by-hop fields removed.

    Raises:
        LocalProtocolError: what a route or filter made of it would break the message.
    """
    extra = b""
    if head.length == CHUNKED:
        extra = b"transfer-encoding: chunked\r\n"
    if head.upgrade:
        extra += b"connection: upgrade\r\nupgrade: %b\r\n" % head.upgrade
    elif head.te_trailers:
        extra += b"connection: te\r\nte: trailers\r\n"
    fields = head.block if block is None else block
    return request_bytes(head.method, head.target if target is None else target, head.minor, fields, extra)


def compose_response(head: ResponseHead, block: bytes | None, *, keep_alive: bool, minor: int) -> bytes:
    """Return the head of a response whose bytes cannot be forwarded as they came.

    Args:
        head: as it was judged.
        block: field lines in place of those sent; None: as sent, hop-by-hop fields removed.
        keep_alive: whether the caller's connection goes on behind this response.
        minor: the caller's version; HTTP/1.0 knows no chunks and has to be told that a connection goes on.

    Raises:
        LocalProtocolError: what a route or filter made of it would break the message.

    Source: RFC 9112 §6.1, §9.3; RFC 9110 §15.5.22 for Upgrade in 426.
    """
    extra = b""
    if head.status == UPGRADE_REQUIRED and head.upgrade:
        extra = b"connection: upgrade\r\nupgrade: %b\r\n" % head.upgrade
    if not keep_alive:
        extra += b"connection: close\r\n"
    elif not minor:
        extra += b"connection: keep-alive\r\n"
    if head.length == CHUNKED and minor:
        extra += b"transfer-encoding: chunked\r\n"
    return response_bytes(head.status, head.reason, head.block if block is None else block, extra)


def compose_switch(head: ResponseHead, block: bytes | None) -> bytes:
    """Return the head that opens a tunnel: 101, or what accepts a CONNECT; arguments as in `compose_response`."""
    extra = b"connection: upgrade\r\nupgrade: %b\r\n" % head.upgrade if head.upgrade else b""
    return response_bytes(head.status, head.reason, head.block if block is None else block, extra)
