"""The slow way through a head, line by line: it names the exact rule that was broken, or accepts what is legal and rare.

Theory: whatever reaches this file was not accepted by a fast pattern, so clarity comes before speed; the head is bounded
(`limits.head_bytes`) and looked at once, when it is complete. The reference of the fast patterns: same input, same result.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from weft_contract.limits import Limits
from weft_core.http1.grammar import CONTROL, HOP_BY_HOP, HOST, IS_HOST, IS_ORIGIN_FORM, IS_TOKEN, OURS
from weft_core.http1.rules import RuleName, refused

Fields = list[tuple[bytes, bytes]]

FIRST_LOOK_BYTES: Final = 4096
"""Copied first when the buffer is a view: nearly every head is shorter, and a body behind it need not be copied."""
_LINE_EXTRA_BYTES: Final = 64
"""A start line may be so much longer than its target: method, two spaces, version."""

_SPECIAL: Final = frozenset({b"host", b"content-length", b"expect", *HOP_BY_HOP})
_IS_OURS: Final = re.compile(OURS).match
_VERSION: Final = re.compile(rb"HTTP/([0-9])\.([0-9])").fullmatch
_ABSOLUTE: Final = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://(" + HOST + rb")([/?].*)?", re.DOTALL).fullmatch
_NOT_VISIBLE: Final = re.compile(rb"[^!-~]").search
_NEVER_IN_HEAD: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r[^\n]|(?<!\r)\n").search
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([0-9]{3})(?: (.*))?", re.DOTALL).fullmatch


class RequestLine(NamedTuple):
    """A request line that keeps to the grammar."""

    method: bytes
    target: bytes
    minor: int
    authority: bytes | None
    """Of absolute-form and CONNECT; None: the target names none."""


class StatusLine(NamedTuple):
    """A status line that keeps to the grammar."""

    status: int
    reason: bytes
    minor: int


def head_bytes(buffer: bytes | bytearray | memoryview, limit_bytes: int, searched: int) -> bytes | bytearray:
    """Return something that can be searched and that holds the head, if the buffer does; copies no body."""
    if isinstance(buffer, bytearray):
        end = buffer.find(b"\r\n\r\n", max(searched - 3, 0))
        return bytes(memoryview(buffer)[: end + 4]) if end >= 0 else buffer
    first = bytes(buffer[:FIRST_LOOK_BYTES])
    if len(buffer) <= FIRST_LOOK_BYTES or b"\r\n\r\n" in first:
        return first
    return bytes(buffer[: limit_bytes + 4])


def tokenize_request(data: bytes | bytearray, end: int, limits: Limits) -> tuple[RequestLine, bytes, Fields]:
    """Read a complete request head.

    Args:
        data: begins with the head.
        end: where its CRLFCRLF is.
        limits: `header_count`, `target_bytes`, `underscore_names`.

    Returns:
        The request line, the field lines as sent, and the fields that matter.

    Raises:
        RemoteProtocolError: with the first rule that is broken.
    """
    start = 2 if data.startswith(b"\r\n") else 0  # one empty line before: RFC 9112 §2.2
    if start > end:
        raise refused("blank_line")
    first, *rest = bytes(data[start:end]).split(b"\r\n")
    line = read_request_line(first, limits)
    return line, _block(rest), _read_fields(rest, limits.header_count, underscores=bool(limits.underscore_names))


def tokenize_response(data: bytes | bytearray, end: int, limits: Limits) -> tuple[StatusLine, bytes, Fields]:
    """Read a complete response head; arguments as in `tokenize_request`.

    Underscores pass: it is a server's parser that may take `X_User` for `X-User`, not a client's.
    """
    first, *rest = bytes(data[:end]).split(b"\r\n")
    line = read_status_line(first, limits)
    return line, _block(rest), _read_fields(rest, limits.header_count, underscores=True)


def _block(lines: Sequence[bytes]) -> bytes:
    return b"".join(line + b"\r\n" for line in lines)


def check_prefix(
    data: bytes | bytearray,
    total: int,
    limits: Limits,
    searched: int,
    read_first_line: Callable[[bytes, Limits], object],
    line_too_long: RuleName,
) -> None:
    """Refuse a head early: too large, a bad first line, or a character that no head may hold.

    Args:
        data: the head so far, or its first bytes if it is too large.
        total: bytes in the whole buffer.
        limits: `head_bytes`, `target_bytes`.
        searched: bytes that were checked by an earlier call.
        read_first_line: raises what is wrong with the first line.
        line_too_long: what a first line beyond `target_bytes` breaks.

    Raises:
        RemoteProtocolError: it can never become a head.
    """
    start = 2 if data.startswith(b"\r\n") else 0
    line_end = data.find(b"\r\n", start, start + limits.target_bytes + _LINE_EXTRA_BYTES)
    if line_end > start and searched < line_end + 2:
        read_first_line(bytes(data[start:line_end]), limits)
    if searched or total <= FIRST_LOOK_BYTES:  # a caller that does not say `searched` pays for the first bytes alone
        bad = _NEVER_IN_HEAD(data, max(searched - 1, 0))
        if bad is not None:
            raise refused(_control_rule(bad.group()[:1]))
    if line_end < 0 and total >= limits.target_bytes + _LINE_EXTRA_BYTES:
        raise refused(line_too_long)
    if total >= limits.head_bytes:
        raise refused("head_too_large")


def check_line(line: bytes) -> None:
    """Refuse control characters inside a line."""
    found = CONTROL.search(line)
    if found is not None:
        raise refused(_control_rule(found.group()))


def _control_rule(character: bytes) -> RuleName:
    match character:
        case b"\r":
            return "bare_cr"
        case b"\n":
            return "bare_lf"
        case _:
            return "control_character"


def read_request_line(line: bytes, limits: Limits) -> RequestLine:
    """Read a request line: exactly two spaces, a token, a target of the form its method allows, a version.

    Source: RFC 9112 §3.
    """
    check_line(line)
    parts = line.split(b" ")
    if len(parts) != 3:
        raise refused("bad_request_line")
    method, target, version = parts
    if IS_TOKEN(method) is None:
        raise refused("bad_method")
    found = _VERSION(version)
    if found is None:
        raise refused("bad_version")
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise refused("unsupported_version")
    if len(target) > limits.target_bytes:
        raise refused("target_too_long")
    return RequestLine(method, target, int(found[2]), _authority(method, target))


def _authority(method: bytes, target: bytes) -> bytes | None:
    """Return the authority inside a target; None: origin-form or `*`.

    Source: RFC 9112 §3.2.1-3.2.4.
    """
    if b"#" in target:
        raise refused("fragment")
    if not target or _NOT_VISIBLE(target):
        raise refused("bad_target")
    if method == b"CONNECT":
        if IS_HOST(target) is None or not target[-1:].isdigit() or b":" not in target.rpartition(b"]")[2]:
            raise refused("bad_target")
        return target
    if IS_ORIGIN_FORM(target) or (target == b"*" and method == b"OPTIONS"):
        return None
    absolute = _ABSOLUTE(target)
    if absolute is None or not IS_ORIGIN_FORM(b"/" + (absolute[2] or b"").removeprefix(b"/")):
        raise refused("bad_target")
    return absolute[1]


def read_status_line(line: bytes, _limits: Limits) -> StatusLine:
    """Read a status line; the space behind the code may be missing together with the reason, as many servers leave it.

    Source: RFC 9112 §4.
    """
    check_line(line)
    found = _STATUS_LINE(line)
    if found is None:
        version = line.partition(b" ")[0]
        other = _VERSION(version) is not None and not version.startswith((b"HTTP/1.0", b"HTTP/1.1"))
        raise refused("unsupported_version" if other else "bad_status_line")
    status = int(found[2])
    if not 100 <= status <= 599:
        raise refused("status_out_of_range")
    return StatusLine(status, found[3] or b"", int(found[1]))


def _read_fields(lines: Sequence[bytes], limit: int, *, underscores: bool) -> Fields:
    if len(lines) > limit:
        raise refused("too_many_fields")
    special: Fields = []
    for line in lines:
        name, value = read_field(line, underscores=underscores)
        if name.lower() in _SPECIAL or _IS_OURS(name):
            special.append((name, value))
    return special


def read_field(line: bytes, *, underscores: bool) -> tuple[bytes, bytes]:
    """Read a field line: a token, a colon right behind it, a value without control characters.

    Source: RFC 9112 §5.
    """
    if line[:1] in (b" ", b"\t"):
        raise refused("obs_fold")
    check_line(line)
    name, colon, value = line.partition(b":")
    if not colon:
        raise refused("field_without_colon")
    if IS_TOKEN(name) is None:
        raise refused("space_before_colon" if IS_TOKEN(name.rstrip(b" \t")) else "bad_field_name")
    if b"_" in name and not underscores:
        raise refused("underscore_in_name")
    return name, value.lstrip(b" \t")
