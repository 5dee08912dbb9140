"""Request targets in their four forms, with a bounded memory of paths seen before.

Theory: services have few paths and many requests, so a path is worked out once; a request with a query costs one partition
more. Only paths are remembered, never queries, and only short ones, and all are forgotten when the table is full: whoever
sends a million different targets grows nothing and slows down nobody but himself.
"""

import re
from typing import Final, Literal

import msgspec

from weft_core.canonical.host import canonical_host
from weft_core.canonical.path import canonical_path
from weft_core.canonical.refusals import refused

Form = Literal["origin", "absolute", "authority", "asterisk"]

MEMORY_ENTRIES: Final = 2048
MEMORY_KEY_BYTES: Final = 256
"""Together at most 4 MiB per worker, with every entry as long as it can be; 0.5 MiB with usual paths."""

_QUERY: Final = re.compile(rb'[!"$-~]*+').fullmatch
_ABSOLUTE: Final = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?#]++)(.*)", re.DOTALL).fullmatch
_PORT: Final = re.compile(rb":[0-9]{1,5}\Z").search


class Target(msgspec.Struct, frozen=True, gc=False):
    """A request target in its one reading."""

    form: Form
    path: bytes
    """What routes, policies and logs see: canonical, without segment parameters; `*` or empty for forms without path."""
    query: bytes
    """Without the question mark, as sent."""
    forward: bytes
    """What is sent upstream: canonical path (with segment parameters), `?` and query as sent."""


_memory: dict[bytes, Target] = {}
_memory_keeping_slashes: dict[bytes, Target] = {}


def canonical_target(target: bytes, method: bytes = b"", *, keep_escaped_slashes: bool = False) -> Target:
    """Read a request target.

    Args:
        target: as sent; HTTP/2's `:path` is one in origin-form or `*`.
        method: of the request; needed for `*` (OPTIONS) and for authority-form (CONNECT), which are refused without.
        keep_escaped_slashes: let `%2F` and `%5C` in the path through as data instead of refusing them.

    Returns:
        Path to be judged and target to be forwarded: the same path, but for segment parameters, which rules do not see.
        Absolute-form becomes origin-form, as a server must get it (RFC 9112 §3.2.1).

    Raises:
        RemoteProtocolError: 400; `detail` is one of the names of `weft_core.canonical.RULES`.

    Source: RFC 9112 §3.2, RFC 3986 §6.2.2, Envoy `normalize_path` with `merge_slashes`.
    """
    memory = _memory_keeping_slashes if keep_escaped_slashes else _memory
    path, mark, query = target.partition(b"?")
    known = memory.get(path)
    if known is None:
        if path[:1] != b"/":
            return _other_form(target, method, keep_escaped_slashes=keep_escaped_slashes)
        known = _remember(memory, path, keep_escaped_slashes=keep_escaped_slashes)
    if not mark:
        return known
    if _QUERY(query) is None:
        raise refused("fragment" if b"#" in query else "bad_target")
    forward = known.forward
    return Target("origin", known.path, query, target if forward == path else b"%b?%b" % (forward, query))


def _remember(memory: dict[bytes, Target], path: bytes, *, keep_escaped_slashes: bool) -> Target:
    seen, forward = canonical_path(path, keep_escaped_slashes=keep_escaped_slashes)
    found = Target("origin", seen, b"", forward)
    if len(path) <= MEMORY_KEY_BYTES:
        if len(memory) >= MEMORY_ENTRIES:
            memory.clear()
        memory[path] = found
    return found


def _other_form(target: bytes, method: bytes, *, keep_escaped_slashes: bool) -> Target:
    """Read asterisk-form, authority-form and absolute-form (RFC 9112 §3.2.2-3.2.4)."""
    if target == b"*" and method == b"OPTIONS":
        return Target("asterisk", b"*", b"", b"*")
    if method == b"CONNECT":
        if _PORT(target) is None:
            raise refused("bad_target")
        canonical_host(target)
        return Target("authority", b"", b"", target)
    absolute = _ABSOLUTE(target)
    if absolute is None:
        raise refused("fragment" if b"#" in target else "bad_target")
    canonical_host(absolute[1])
    rest = absolute[2]
    if not rest and method == b"OPTIONS":
        return Target("absolute", b"*", b"", b"*")
    origin = rest if rest[:1] == b"/" else b"/" + rest
    found = canonical_target(origin, method, keep_escaped_slashes=keep_escaped_slashes)
    return Target("absolute", found.path, found.query, found.forward)
