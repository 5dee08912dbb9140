"""The grammar of HTTP/1.1 as patterns over bytes, and the sets of names that mean something to a proxy.

Theory: every repetition of a character is possessive (`*+`), so a pattern that fails never goes back, and matching is linear
in what was read. A repeated *group* is not: before 3.11.5 Python goes on from the middle of a possessive group's failed round
(gh-106052), and Debian 12 has 3.11.2: there `a..` was a host. Its rounds can be divided in one way alone, so giving them back
costs one look each. The fast ways keep possessive groups where a failed round cannot be mistaken: the optional query, which
cannot fail behind its `?`, and the field lines, where what must follow them would have ended the round.

Names are compared without case by one character class per letter (`[Hh][Oo]…`): `re.IGNORECASE` would lose the engine's
quick rejection by first character, which is what makes the search for the few fields that matter cheap.

Source: RFC 9110 §5.5-5.6, RFC 9112 §2-3, RFC 3986 §3.
"""

import re
from typing import Final

TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
NAME_WITHOUT_UNDERSCORE: Final = rb"[!#$%&'*+\-.^`|~0-9A-Za-z]++"
VALUE: Final = rb"[^\x00-\x08\x0a-\x1f\x7f]*+"
"""Field value with the white space around it: visible, space, tab, and the bytes above ASCII (obs-text)."""

HOST: Final = (
    rb"(?:[A-Za-z0-9_\-]++(?:\.[A-Za-z0-9_\-]++)*\.?+"  # a name or an IPv4 address; a dot may end it
    rb"|\[[0-9A-Fa-f:.]{2,45}\])"  # an IPv6 address; no zone, no future version
    rb"(?::[0-9]{0,5}+)?"
)
"""Stricter than RFC 3986: no userinfo, no percent-encoding, no sub-delims; nobody's Host has them but an attacker's."""

ORIGIN_FORM: Final = rb'/[!"$->@-\[\]-~]*+(?:\?[!"$-~]*+)?+'
"""Path without `#` and `\\`; query without `#` (browsers send `\\` in queries as it is: URL Standard, query state)."""

IS_TOKEN: Final = re.compile(TOKEN).fullmatch
IS_HOST: Final = re.compile(HOST).fullmatch
IS_ORIGIN_FORM: Final = re.compile(ORIGIN_FORM).fullmatch
IS_LENGTH: Final = re.compile(rb"0|[1-9][0-9]{0,15}").fullmatch
"""One spelling per number: no sign, no leading zero, no list. At most 16 digits, so arithmetic stays exact."""
MAX_LENGTH: Final = 1 << 53
"""No honest message is longer, and every language counts this far exactly."""

IS_FIELD_LINES: Final = re.compile(rb"(?:" + TOKEN + rb":" + VALUE + rb"\r\n)*").fullmatch
CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
"""What may not be inside a line; the tab may."""


def _any_case(name: bytes) -> bytes:
    pieces = (b"[%c%c]" % (byte - 32, byte) if 97 <= byte <= 122 else b"%c" % byte for byte in name)
    return b"".join(pieces)


def _one_of(names: tuple[bytes, ...]) -> bytes:
    """Return a pattern of the names in any case; names that begin alike share their branch's first character."""
    return b"(?:" + b"|".join(_any_case(name) for name in names) + b")"


HOP_BY_HOP: Final = (
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"proxy-authenticate",
    b"proxy-authentication-info",
    b"proxy-authorization",
    b"te",
    b"transfer-encoding",
    b"upgrade",
    b"http2-settings",
)
"""Never forwarded: RFC 9110 §7.6.1 and §11.7, RFC 7540 §3.2.1. `Proxy-Status` is for everybody (RFC 9209) and stays, as
does `Trailer`, since trailers are forwarded."""

OURS: Final = rb"[Ww][Ee][Ff][Tt][\-_][^:]*+"
"""`weft-…`, and `weft_…`, which CGI-like servers cannot tell from it: only agents say such things."""

_MEANT_FOR_PROXIES: Final = _one_of((b"host", b"content-length", b"expect", *HOP_BY_HOP))
_MAY_MATTER: Final = rb"(?=[CEHKPTUWcehkptuw])"
"""First letters of all of them: one look at a character spares most lines fourteen alternatives (a third of the search)."""

FIND_SPECIAL: Final = re.compile(
    rb"\n" + _MAY_MATTER + rb"(" + _MEANT_FOR_PROXIES + rb"|" + OURS + rb"):[ \t]*+([^\r]*+)"
).findall  # fmt: skip
"""All (name, value) that matter to framing and forwarding; the search must begin at the LF before the first field line."""
WITHOUT_HOP_BY_HOP: Final = re.compile(
    rb"\n" + _MAY_MATTER + rb"(?:" + _one_of(HOP_BY_HOP) + rb"|" + OURS + rb"):[^\r]*+\r"
).sub
"""Takes lines with the line feed in front of each, not behind: a pattern that begins with a literal is searched fast."""

PROTECTED: Final = frozenset({
    b"authorization",
    b"cache-control",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"date",
    b"expect",
    b"forwarded",
    b"grpc-timeout",
    b"host",
    b"location",
    b"set-cookie",
    b"traceparent",
    b"tracestate",
    b"transfer-encoding",
    b"via",
    b"x-forwarded-client-cert",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-proto",
    b"x-real-ip",
    b"x-request-id",
})  # fmt: skip
"""Fields that are not the previous hop's to remove: framing, identity, tracing and content (RFC 9110 §7.6.1: "never
appropriate"). A client that names one wants a field gone that a later hop relies on (CVE-2026-105299)."""

FORBIDDEN_TRAILERS: Final = PROTECTED | frozenset(HOP_BY_HOP) | {
    b"age",
    b"content-location",
    b"expires",
    b"if-match",
    b"if-modified-since",
    b"if-none-match",
    b"if-range",
    b"if-unmodified-since",
    b"max-forwards",
    b"pragma",
    b"range",
    b"retry-after",
    b"trailer",
    b"vary",
    b"www-authenticate",
}  # fmt: skip
"""Framing, routing, authentication, modifiers, control and content format may not come late (RFC 9110 §6.5.1)."""
