r"""Compiled comparisons of bytes: what `TextMatch` says, ready to be asked a million times; shared by policy and routing.

Theory: everything is compared as bytes. RE2 in its UTF-8 mode does not match bytes that are not UTF-8, so a rule that
denies `.*` would let `\xff` pass (CVE-2026-73552); in its Latin-1 mode every byte is a character and `.` is any of them,
also a line feed. A pattern beyond ASCII is therefore the bytes of its UTF-8 form. RE2 runs in linear time whatever a user
writes, and its program is bounded, so a pattern bomb is refused when it is compiled.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

import re2

from weft_contract.resources.text import TextMatch

PATTERN_MEMORY_BYTES: Final = 1 << 20
"""Bound of one compiled pattern, program and automaton; RE2's default of 8 MiB is meant for single patterns."""
SHOWN_CHARACTERS: Final = 120
"""Longest piece of somebody else's bytes inside one of our sentences."""

_OPERATOR: Final = re.compile(r"\{\*\*?\}")
_UNPRINTABLE: Final = re.compile(r"[^\x21-\x7e ]")


class UncompilableError(ValueError):
    """A resource that cannot be turned into a table; the message says where it is wrong and why."""


class Pattern(Protocol):
    """The part of a compiled regular expression that is used."""

    def fullmatch(self, text: bytes, /) -> object | None:
        """Return something if the whole text matches."""


def compile_pattern(pattern: str, *, fold_case: bool = False) -> Pattern:
    """Compile an RE2 pattern that is compared with bytes, anchored on both ends.

    Args:
        pattern: RE2 syntax.
        fold_case: whether ASCII letters compare without case.

    Raises:
        UncompilableError: not RE2, or too large.
    """
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.dot_nl = True
    options.log_errors = False
    options.never_capture = True
    options.max_mem = PATTERN_MEMORY_BYTES
    options.case_sensitive = not fold_case
    try:
        compiled: Pattern = re2.compile(pattern.encode(), options)
    except (re2.error, UnicodeEncodeError) as exc:
        reason = exc.args[0] if exc.args else exc
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise UncompilableError(f"pattern {pattern!r:.80} is not RE2: {text}") from exc
    return compiled


def template_pattern(template: str) -> str:
    """Translate a path template into RE2.

    `{*}` is one non-empty segment, `{**}` any number of them (also none); each fills its segment alone and `{**}` is the
    last operator. `*` in a *path* is an ordinary character that both match (CVE-2025-46821).

    Raises:
        UncompilableError: a star or brace outside an operator, or an operator where it may not be.

    Source: Istio AuthorizationPolicy, `Operation.paths`.
    """
    if not template.startswith("/"):
        raise UncompilableError(f"path template {template!r:.80} does not begin with /")
    parts: list[str] = []
    rest_allowed = True
    for segment in template.split("/")[1:]:
        if not rest_allowed and _OPERATOR.search(segment):
            raise UncompilableError(f"path template {template!r:.80}: {{**}} must be the last operator")
        if segment == "{**}":
            rest_allowed = False
            parts.append("/.*")
        elif segment == "{*}":
            parts.append("/[^/]+")
        elif any(character in segment for character in "*{}"):
            raise UncompilableError(f"path template {template!r:.80}: {segment!r:.40} mixes an operator with text")
        else:
            parts.append("/" + re2.escape(segment))
    return "".join(parts)


def show_match(match: TextMatch) -> str:
    """Give a comparison as users write it: `abc`, `abc*`, `*abc`, `*`, `/a/{*}`, `regex a.c`."""
    match match.kind:
        case "prefix":
            return f"{match.value}*"
        case "suffix":
            return f"*{match.value}"
        case "present":
            return "*"
        case "regex":
            return f"regex {match.value}"
        case _:
            return match.value


def show_bytes(value: bytes) -> str:
    """Give somebody else's bytes as printable ASCII of bounded length, fit for a log line or a header."""
    text = value[:SHOWN_CHARACTERS].decode("latin-1")
    text = _UNPRINTABLE.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
    return text + "..." if len(value) > SHOWN_CHARACTERS else text


def show_list(items: Sequence[str]) -> str:
    """Give a list of alternatives, shortened: `a or b or 3 more`."""
    head = list(items[:3])
    if len(items) > 3:
        head.append(f"{len(items) - 3} more")
    return " or ".join(head)


class TextSet:
    """Alternatives of which one suffices; exact values cost one hash, prefixes and suffixes one call each.

    Args:
        matches: the alternatives; at least one.
        fold_case: compare without case; the value asked about must be in lower case already.

    Raises:
        UncompilableError: an alternative that matches everything by accident, or a pattern that does not compile.
    """

    __slots__ = ("_exact", "_patterns", "_prefixes", "_present", "_suffixes", "shown")

    def __init__(self, matches: Iterable[TextMatch], *, fold_case: bool = False) -> None:
        matches = tuple(matches)
        exact: set[bytes] = set()
        prefixes: list[bytes] = []
        suffixes: list[bytes] = []
        self._patterns: list[Pattern] = []
        self._present = False
        for match in matches:
            value = (match.value.lower() if fold_case else match.value).encode(errors="surrogatepass")
            if match.kind in {"prefix", "suffix", "regex"} and not value:
                raise UncompilableError(f"empty {match.kind} would match everything")
            match match.kind:
                case "exact":
                    exact.add(value)
                case "prefix":
                    prefixes.append(value)
                case "suffix":
                    suffixes.append(value)
                case "present":
                    self._present = True
                case "template":
                    self._patterns.append(compile_pattern(template_pattern(match.value)))
                case "regex":
                    self._patterns.append(compile_pattern(match.value, fold_case=fold_case))
        self._exact = frozenset(exact)
        self._prefixes = tuple(prefixes)
        self._suffixes = tuple(suffixes)
        self.shown = show_list([show_match(match) for match in matches])

    def matches(self, value: bytes) -> bool:
        """Say whether one alternative matches the whole value."""
        if value in self._exact:
            return True
        if self._prefixes and value.startswith(self._prefixes):
            return True
        if self._suffixes and value.endswith(self._suffixes):
            return True
        if self._present and value:
            return True
        return any(pattern.fullmatch(value) for pattern in self._patterns)
