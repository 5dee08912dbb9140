r"""The canonical form of a path, and what policies see of it.

Theory. Two paths that a server may take for one and the same have one canonical form, and that form is what is forwarded,
so it does not matter how the server would have read the other. In this order, once:

1. Percent-encoding: escapes of unreserved characters are decoded, all others stay with upper-case digits; a decoded
   character never becomes part of another escape (`%2565` stays `%2565`). Escaped control characters, slashes and
   backslashes, overlong UTF-8 and broken escapes are refused. Characters that may not be raw in a path and that clients
   send nevertheless (`"<>[]^{|}` and the backquote) are escaped, so that raw and escaped are one.
2. Dot segments are removed as by RFC 3986 §5.2.4, never above the root. With parameters (`..;x`) they are refused.
3. Runs of slashes become one: Istio's MERGE_SLASHES. Its default BASE leaves them, but then `//admin` passes a rule on
   `/admin` in front of every server that merges (CVE-2021-31920), and secure defaults are promised. Dots go first and
   slashes second, as Envoy does it, so `/a//../b` is `/a/b`.

Segment parameters (`/a;v=1/b`) mean something to servlet containers and nothing to others, who take them for part of the
name. They are forwarded, since a proxy may not take them from an application (sessions in `;jsessionid=`, RFC 9110 §7.7),
and routes and policies see every segment without them, so `/admin;x=y` is `/admin` to a rule (CVE-2026-73553, -73511;
Envoy 1.39.1 matches in this way too).
"""

import re
from typing import Final

from weft_core.canonical.refusals import refused

_CLEAN: Final = re.compile(rb"/|(?:/\.?[A-Za-z0-9_~!$&'()*+,=:@\-][A-Za-z0-9._~!$&'()*+,=:@\-]*+)+/?+").fullmatch
"""Canonical as it is: no escape, no parameter, no empty segment, no segment of dots alone."""
_CHARACTERS: Final = re.compile(rb"/[!\"$->@-~]*+").fullmatch
_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})?").sub
_HAS_EXTRAS: Final = re.compile(rb'["<>\[\]^`{|}]').search
_EXTRAS: Final = [(b"%c" % byte, b"%%%02X" % byte) for byte in b'"<>[]^`{|}']
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_OVERLONG: Final = re.compile(rb"%C[01]%[89AB]|%E0%[89]|%F0%8|%F8%8[0-7]|%FC%8[0-3]").search
_SLASHES: Final = re.compile(rb"//++").sub
_PARAMETERS: Final = re.compile(rb";[^/]*+").sub
_DOTS_WITH_PARAMETERS: Final = re.compile(rb"/\.\.?(?:;|%3B)").search
_EMPTY_WITH_PARAMETERS: Final = re.compile(rb"/;[^/]*+/").search


def canonical_path(path: bytes, *, keep_escaped_slashes: bool) -> tuple[bytes, bytes]:
    """Return the path as routes and policies see it, and as it is forwarded.

    Args:
        path: as sent, without query.
        keep_escaped_slashes: let `%2F` and `%5C` through as they are; for servers known to take them for data.

    Raises:
        RemoteProtocolError: with one of the rules of `weft_core.canonical.RULES`.
    """
    if _CLEAN(path):
        return path, path
    if b"#" in path:
        raise refused("fragment")
    if b"\\" in path:
        raise refused("backslash")
    if _CHARACTERS(path) is None:
        raise refused("bad_target")
    forward = _decoded(path, keep_escaped_slashes=keep_escaped_slashes) if b"%" in path else path
    if _HAS_EXTRAS(forward):
        for raw, escaped in _EXTRAS:
            forward = forward.replace(raw, escaped)
    if b";" in forward or b"%3B" in forward:
        if _DOTS_WITH_PARAMETERS(forward):
            raise refused("dot_segment_parameters")
        if _EMPTY_WITH_PARAMETERS(forward):
            raise refused("empty_segment_parameters")
    if b"/." in forward:
        forward = _without_dots(forward)
    if b"//" in forward:
        forward = _SLASHES(b"/", forward)
    return (_PARAMETERS(b"", forward) if b";" in forward else forward), forward


def _decoded(path: bytes, *, keep_escaped_slashes: bool) -> bytes:
    def replace(found: re.Match[bytes]) -> bytes:
        digits = found[1]
        if digits is None:
            raise refused("bad_escape")
        byte = int(digits, 16)
        if byte in _UNRESERVED:
            return b"%c" % byte
        if byte < 0x20 or byte == 0x7F:
            raise refused("escaped_control")
        if byte in b"/\\" and not keep_escaped_slashes:
            raise refused("escaped_slash")
        return b"%%%02X" % byte

    decoded = _ESCAPE(replace, path)
    if _OVERLONG(decoded):
        raise refused("overlong_utf8")
    return decoded


def _without_dots(path: bytes) -> bytes:
    """Remove `.` and `..` segments; a path that ended in one ends in a slash (RFC 3986 §5.2.4)."""
    kept: list[bytes] = []
    segments = path.split(b"/")[1:]
    for segment in segments:
        if segment == b"..":
            del kept[-1:]
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in (b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept)
