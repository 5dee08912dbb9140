r"""Which protocol the first bytes of a connection speak.

Theory. The answer decides whether rules on requests can hold, so what resembles HTTP is called HTTP: the strict parser
refuses it if it is bad, while `opaque` would carry it past every such parser. So a bare LF, two spaces or a missing version
do not make a request opaque. On the other side text protocols begin like requests (`CONNECT {` of NATS, `OPTIONS rtsp:`,
`get key` of memcached, `GET key` of Redis), so the first word is not enough: a well-known method must be followed by `/`,
and everything else must show `HTTP/` and a digit at the end of its first line.

What is not decided waits for more bytes; the caller's clock ends that. Each look costs the first token and one search for
a line feed, so a sender of single bytes pays more for his packets than we for looking at them.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

from weft_contract.limits import Limits
from weft_core.detect.client_hello import ClientHello, read_client_hello

Kind = Literal["http1", "http2", "tls", "opaque"]

TUNNEL_ALPN: Final = (b"weft/1",)
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""RFC 9113 §3.4."""
_LINE_EXTRA_BYTES: Final = 64
_FIRST_LINE: Final = re.compile(rb"[\r\n]*+([^\n]*+\n)").match

_CERTAIN: Final = re.compile(
    rb"[\r\n]*+(?:GET|HEAD|POST|PUT|DELETE|PATCH|OPTIONS|TRACE|PROPFIND|REPORT|MKCOL|COPY|MOVE|LOCK|SEARCH|QUERY)[ \t]++/"
).match
_MAY_BECOME: Final = re.compile(
    rb"[\r\n]*+[!#$%&'*+\-.^_`|~0-9A-Za-z]{0,32}+(?:\Z|[ \t]++(?:\Z|[!-~\x80-\xff]))"
).match  # fmt: skip
"""A first word that can be a method (at most 32 letters; the longest registered, UPDATEREDIRECTREF, has 17), and the
beginning of a second word if there is more. Empty lines in front are skipped as lenient servers skip them. The same bound holds
for the whole line: else what a longer word is would depend on where the network cut it."""
_NEEDS_SLASH: Final = re.compile(rb"[\r\n]*+[^ \t]++[ \t]++/").match
_REQUEST_LINE: Final = re.compile(
    rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}+[ \t]++[!-~\x80-\xff][\t -~\x80-\xff]*?[ \t]HTTP/[0-9][^\r\n]*+\r?\n",
    re.IGNORECASE,
).match


@dataclass(frozen=True, slots=True)
class Detected:
    """What a connection speaks."""

    kind: Kind
    hello: ClientHello | None = None
    """Only with `tls`."""


_HTTP1: Final = Detected("http1")
_HTTP2: Final = Detected("http2")
_OPAQUE: Final = Detected("opaque")


def sniff(first_bytes: bytes | bytearray | memoryview, limits: Limits) -> Detected | None:
    """Tell what a connection speaks from what its opener sent first.

    Args:
        first_bytes: everything received so far.
        limits: `client_hello_bytes`, `target_bytes`.

    Returns:
        The protocol, or None while it cannot be told. Never raises: what is none of the three is opaque.
    """
    if not first_bytes:
        return None
    longest = max(limits.client_hello_bytes * 2, limits.target_bytes + _LINE_EXTRA_BYTES)
    data = bytes(first_bytes[:longest])
    if data[0] == 0x16:
        hello = read_client_hello(data, limits.client_hello_bytes)
        if hello is None:
            return None
        return Detected("tls", hello) if hello else _OPAQUE
    if data.startswith(PREFACE):
        return _HTTP2
    if PREFACE.startswith(data):
        return None
    return _sniff_text(data, limits)


def _sniff_text(data: bytes, limits: Limits) -> Detected | None:
    if _CERTAIN(data):
        return _HTTP1
    line = _FIRST_LINE(data)
    if line is not None:
        return _HTTP1 if _REQUEST_LINE(line[1]) else _OPAQUE
    if _MAY_BECOME(data) is None:
        return _OPAQUE
    if len(data) < limits.target_bytes + _LINE_EXTRA_BYTES:
        return None
    return _HTTP1 if _NEEDS_SLASH(data) else _OPAQUE  # the parser answers 414


def is_tunnel(detected: Detected) -> bool:
    """Tell whether this is an agent's tunnel: TLS that offers `weft/1` and nothing else."""
    return detected.hello is not None and detected.hello.alpn == TUNNEL_ALPN
