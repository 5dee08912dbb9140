"""One match of an HTTP rule: does it take the request, and how does it rank among others.

Theory: the Gateway API ranks matches, not rules: an exact path before a prefix, a longer prefix before a shorter one, then
method, number of headers, number of query parameters; ties go to the older route, the alphabet, and the order of rules. It
leaves regular expressions open; here they stand between exact and prefix (as in Envoy Gateway and Contour), because behind
the prefixes a rule for `/` would take every request first. Among themselves the longer pattern goes first.

Source: Gateway API v1, HTTPRouteRule.matches.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import unquote_to_bytes

from weft_contract.resources.route import HttpMatch, NamedMatch
from weft_contract.resources.text import TextMatch
from weft_core.facts import RequestFacts
from weft_core.text import TextSet, UncompilableError

Rank: TypeAlias = tuple[int, int, int, int, int]
"""Path class, length, method, headers, query parameters; lower goes first."""

EXACT, PATTERN, PREFIX = 0, 1, 2


@dataclass(frozen=True, slots=True)
class PathTest:
    """How a path is compared."""

    kind: int
    """EXACT, PATTERN or PREFIX."""
    value: bytes
    """Exact path, or prefix without its trailing slash (empty: every path)."""
    pattern: TextSet | None = None

    def takes(self, path: bytes) -> bool:
        """Say whether the path matches."""
        if self.kind == PREFIX:
            size = len(self.value)
            return not size or (path.startswith(self.value) and path[size : size + 1] in {b"", b"/"})
        if self.pattern is not None:
            return self.pattern.matches(path)
        return path == self.value

    @property
    def prefix(self) -> bytes | None:
        """The prefix that a match consumes."""
        return self.value if self.kind == PREFIX else None


EVERY_PATH = PathTest(PREFIX, b"")


@dataclass(frozen=True, slots=True)
class CompiledMatch:
    """All parts must match."""

    path: PathTest
    method: bytes | None
    headers: tuple[tuple[bytes, TextSet], ...]
    query: tuple[tuple[bytes, TextSet], ...]
    rank: Rank

    def takes(self, request: RequestFacts) -> bool:
        """Say whether the request matches. Of a repeated header one value suffices; of a parameter the first counts."""
        if self.method is not None and request.method != self.method:
            return False
        if not self.path.takes(request.path):
            return False
        for name, wanted in self.headers:
            if not any(found == name and wanted.matches(value) for found, value in request.headers):
                return False
        return not self.query or self._takes_query(request.query)

    def _takes_query(self, query: bytes) -> bool:
        parameters = parse_query(query)
        return all(name in parameters and wanted.matches(parameters[name]) for name, wanted in self.query)


def parse_query(query: bytes) -> dict[bytes, bytes]:
    """Split a query into its parameters, decoded; of repeated ones the first counts, as the Gateway API advises."""
    parameters: dict[bytes, bytes] = {}
    for piece in query.split(b"&"):
        name, _, value = piece.partition(b"=")
        parameters.setdefault(_decode(name), _decode(value))
    return parameters


def _decode(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def compile_match(match: HttpMatch) -> CompiledMatch:
    """Compile one match.

    Raises:
        UncompilableError: a path or comparison that the Gateway API does not have, or a broken pattern.
    """
    path = _path(match.path) if match.path is not None else EVERY_PATH
    headers = _named(match.headers, fold=True)
    query = _named(match.query, fold=False)
    length = len(match.path.value.encode()) if path.pattern is not None and match.path else max(len(path.value), 1)
    rank = (path.kind, -length, 0 if match.method else 1, -len(headers), -len(query))
    return CompiledMatch(path, match.method.encode() if match.method else None, headers, query, rank)


def _path(match: TextMatch) -> PathTest:
    value = match.value.encode()
    if match.kind == "regex":
        return PathTest(PATTERN, b"", TextSet([match]))
    if not value.startswith(b"/"):
        raise UncompilableError(f"path {match.value!r:.80} does not begin with /")
    match match.kind:
        case "exact":
            return PathTest(EXACT, value)
        case "prefix":
            return PathTest(PREFIX, value.rstrip(b"/"))
        case _:
            raise UncompilableError(f"a route's path compares exactly, by prefix or by regex, not by {match.kind}")


def _named(matches: Iterable[NamedMatch], *, fold: bool) -> tuple[tuple[bytes, TextSet], ...]:
    """Compile named comparisons; of several for one name only the first counts, as the Gateway API says."""
    named: dict[bytes, TextSet] = {}
    for match in matches:
        name = (match.name.lower() if fold else match.name).encode()
        named.setdefault(name, TextSet([match.match]))
    return tuple(named.items())
