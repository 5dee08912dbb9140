"""Changes of heads as pure functions on bytes: header fields, path and host; compiled from filters, refused if unsafe.

Theory: a block is the field lines of a head, each ending in CRLF, as the parser gives it. Edits keep every other line as it
came, in its order. What frames a message (Content-Length, Transfer-Encoding …), what belongs to one hop, and our own
`weft-` fields cannot be edited: a route would otherwise be a way to smuggle requests or identities, so such a filter does
not compile and its route is refused.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from weft_contract.labels import HEADER_PREFIX
from weft_contract.resources.route import Filters, HeaderModifier, PathModifier
from weft_core.text import UncompilableError

_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110 §5.6.2, token."""
_VALUE: Final = re.compile(rb"([\x21-\x7e\x80-\xff]([\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")
"""RFC 9110 §5.5, field value without surrounding white space."""
_PATH: Final = re.compile(rb"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")
"""RFC 3986 §3.3, absolute path; no query, no fragment."""
_HOST: Final = re.compile(rb"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
PROTECTED: Final = frozenset(
    {
        b"connection", b"content-length", b"http2-settings", b"keep-alive", b"proxy-connection", b"te", b"trailer",
        b"transfer-encoding", b"upgrade",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class HeaderEdits:
    """Changes of field lines, in the order `set`, `add`, `remove`."""

    set: tuple[tuple[bytes, bytes], ...]
    """Name in lower case and the whole new line."""
    add: bytes
    """Lines to append, each ending in CRLF."""
    remove: frozenset[bytes]
    """Names in lower case."""

    def apply(self, block: bytes) -> bytes:
        """Return the block after the changes.

        Args:
            block: field lines, each ending in CRLF.
        """
        lines = block.split(b"\r\n")
        lines.pop()
        names = [line.partition(b":")[0].lower() for line in lines]
        for name, new in self.set:
            lines, names = _set(lines, names, name, new)
        kept = [line for line, name in zip(lines, names, strict=True) if name not in self.remove]
        kept.append(self.add)
        return b"\r\n".join(kept)


def _set(lines: list[bytes], names: list[bytes], name: bytes, new: bytes) -> tuple[list[bytes], list[bytes]]:
    """Replace the first line of this name, drop its others, or append it."""
    if name not in names:
        return [*lines, new], [*names, name]
    first = names.index(name)
    kept = [index for index, found in enumerate(names) if found != name or index == first]
    return [new if index == first else lines[index] for index in kept], [names[index] for index in kept]


@dataclass(frozen=True, slots=True)
class PathEdit:
    """Replacement of the path, or of the prefix that the match consumed."""

    value: bytes
    prefix: bytes | None
    """The consumed prefix; None: the whole path is replaced."""

    def apply(self, path: bytes) -> bytes:
        """Return the new path.

        Source: Gateway API, HTTPPathModifier.replacePrefixMatch, table of examples.
        """
        if self.prefix is None:
            return self.value
        rest = path[len(self.prefix.rstrip(b"/")) :]
        return self.value.rstrip(b"/") + rest or b"/"


@dataclass(frozen=True, slots=True)
class RequestEdits:
    """All changes of a request."""

    headers: tuple[HeaderEdits, ...] = ()
    path: PathEdit | None = None
    host: bytes | None = None

    def apply(self, target: bytes, block: bytes, host: bytes) -> tuple[bytes, bytes, bytes]:
        """Change a request.

        Args:
            target: canonical path, with `?` and the query where there is one; `*` stays as it is.
            block: field lines, each ending in CRLF.
            host: value of the Host field.

        Returns:
            Target, block and host to forward.
        """
        for edits in self.headers:
            block = edits.apply(block)
        if self.path is not None and target != b"*":
            path, mark, query = target.partition(b"?")
            target = self.path.apply(path) + mark + query
        if self.host is not None:
            host = self.host
            block = HeaderEdits(((b"host", b"Host: " + host),), b"", frozenset()).apply(block)
        return target, block, host


def compile_headers(modifier: HeaderModifier) -> tuple[HeaderEdits, bytes | None]:
    """Compile changes of header fields.

    Returns:
        The changes, and the host if the modifier sets `Host` (a change of the host, not of a field).

    Raises:
        UncompilableError: a name or value that is none, or a field that must not be edited.
    """
    host: bytes | None = None
    lines: list[tuple[bytes, bytes]] = []
    for name, value in modifier.set:
        if name.lower() == "host":
            host = check_host(value)
        else:
            lines.append((_name(name).lower(), _line(name, value)))
    removed = frozenset(_name(name).lower() for name in modifier.remove)
    added = [_line(name, value) + b"\r\n" for name, value in modifier.add if _name(name).lower() not in removed]
    return HeaderEdits(tuple(lines), b"".join(added), removed), host


def _name(name: str) -> bytes:
    data = name.encode()
    lower = data.lower()
    if not _NAME.fullmatch(data):
        raise UncompilableError(f"{name!r:.60} is not a header name")
    if lower in PROTECTED or lower == b"host" or lower.startswith(HEADER_PREFIX):
        raise UncompilableError(
            f"header {name!r:.60} frames or identifies the message and cannot be changed by a route"
        )
    return data


def _line(name: str, value: str) -> bytes:
    data = value.strip().encode()
    if not _VALUE.fullmatch(data):
        raise UncompilableError(f"header {name!r:.60}: {value!r:.60} is not a header value")
    return _name(name) + b": " + data


def check_host(value: str) -> bytes:
    """Return a host name as bytes.

    Raises:
        UncompilableError: it is no lower-case host name.
    """
    data = value.encode()
    if len(data) > 253 or not _HOST.fullmatch(data):
        raise UncompilableError(f"{value!r:.80} is not a host name")
    return data


def compile_path(modifier: PathModifier, prefix: bytes | None) -> PathEdit:
    """Compile a replacement of the path.

    Args:
        modifier: what to replace with.
        prefix: the prefix that the rule's match consumed; None: the match is not by prefix.

    Raises:
        UncompilableError: not a path, or a prefix to replace where the match has none.
    """
    value = modifier.value.encode()
    if (modifier.kind == "full" or value) and not _PATH.fullmatch(value):
        raise UncompilableError(f"{modifier.value!r:.80} is not an absolute path")
    if modifier.kind == "full":
        return PathEdit(value, None)
    if prefix is None:
        raise UncompilableError("a prefix can only be replaced where every match is by path prefix")
    return PathEdit(value, prefix)


def compile_request(filters: Sequence[Filters], prefix: bytes | None) -> RequestEdits | None:
    """Compile the changes of a request by a rule and then by its backend.

    Args:
        filters: of the rule, then of the backend; a later change of path or host replaces an earlier one.
        prefix: see `compile_path`.

    Raises:
        UncompilableError: a filter that is unsafe or none.
    """
    headers: list[HeaderEdits] = []
    path: PathEdit | None = None
    host: bytes | None = None
    for item in filters:
        if item.request_headers is not None:
            edits, set_host = compile_headers(item.request_headers)
            headers.append(edits)
            host = set_host or host
        if item.rewrite is not None:
            path = compile_path(item.rewrite.path, prefix) if item.rewrite.path is not None else path
            host = check_host(item.rewrite.hostname) if item.rewrite.hostname is not None else host
    return RequestEdits(tuple(headers), path, host) if headers or path or host else None


def compile_response(filters: Sequence[Filters]) -> tuple[HeaderEdits, ...]:
    """Compile the changes of a response: by the backend first, then by the rule around it.

    Raises:
        UncompilableError: a filter that is unsafe or none.
    """
    found: list[HeaderEdits] = []
    for item in reversed(filters):
        if item.response_headers is not None:
            edits, host = compile_headers(item.response_headers)
            if host is not None:
                raise UncompilableError("a response has no Host")
            found.append(edits)
    return tuple(found)
