"""Clauses: one attribute, what it must be and what it must not be; the atoms that every rule is made of.

Theory: an attribute has *certain* and *possible* values. A rule that permits (ALLOW) counts only what is certain, a rule
that restricts (DENY, AUDIT, rate limits) counts what is possible, so doubt never opens a door. With `surely` = there are
certain values and all of them match, and `maybe` = some possible value matches, a clause holds

- in a rule that permits: surely wanted, and not maybe unwanted;
- in a rule that restricts: maybe wanted, and not surely unwanted.

For one known value both are ordinary matching. They differ in three places:

- a header field sent twice has two values, compared one by one and never joined (CVE-2026-26308): all must please a
  permitting rule, one is enough for a restricting rule;
- HTTP attributes of an opaque connection are unknown: no permitting clause about them holds, each restricting one does,
  which is what Istio does for TCP;
- namespace and service account of a foreign trust domain are possible and never certain.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from weft_core.facts import RequestFacts
from weft_core.text import show_bytes

Attribute = Literal[
    "principal", "namespace", "service_account", "source_ip", "destination_ip", "port", "sni",
    "host", "method", "path", "header",
]  # fmt: skip
"""What a rule may look at; the last four only exist in an HTTP request."""

STAGES: Final[dict[Attribute, int]] = {
    "principal": 1, "namespace": 1, "service_account": 1, "source_ip": 1,
    "port": 2, "destination_ip": 2, "sni": 2,
    "host": 3, "method": 4, "path": 5, "header": 6,
}  # fmt: skip
"""The order in which people read a rule: who, where to, what. Of several rules that do not match, the one whose first
mismatch has the highest stage is the nearest."""

_LABELS: Final[dict[Attribute, str]] = {
    "service_account": "service account",
    "source_ip": "source address",
    "destination_ip": "destination address",
    "sni": "server name",
}


class Matcher(Protocol):
    """Alternatives that can be asked about one value."""

    shown: str

    def matches(self, value: bytes, /) -> bool:
        """Say whether one alternative matches."""


@dataclass(frozen=True, slots=True)
class Values:
    """Values of one attribute of a connection."""

    certain: Sequence[bytes]
    possible: Sequence[bytes]
    shown: str
    """For messages: the value, or what is there instead."""


@dataclass(frozen=True, slots=True)
class Clause:
    """One attribute, what it must be (None: anything) and what it must not be (None: nothing)."""

    attribute: Attribute
    wanted: Matcher | None
    unwanted: Matcher | None
    header: bytes = b""
    """Field name in lower case, for the attribute `header`."""

    @property
    def label(self) -> str:
        """The attribute in words."""
        if self.attribute == "header":
            return f"header {self.header.decode(errors='replace')}"
        return _LABELS.get(self.attribute, self.attribute)

    def fits(self, value: bytes) -> bool:
        """Say whether the one known value pleases the clause."""
        if self.wanted is not None and not self.wanted.matches(value):
            return False
        return self.unwanted is None or not self.unwanted.matches(value)

    def holds(self, permits: bool, certain: Sequence[bytes], possible: Sequence[bytes]) -> bool:
        """Say whether the clause holds for these values in a rule that permits, or in one that restricts."""
        if self.wanted is not None and not _matched(self.wanted, permits, certain, possible):
            return False
        return self.unwanted is None or not _matched(self.unwanted, not permits, certain, possible)


def _matched(matcher: Matcher, surely: bool, certain: Sequence[bytes], possible: Sequence[bytes]) -> bool:
    if surely:
        return bool(certain) and all(matcher.matches(value) for value in certain)
    return any(matcher.matches(value) for value in possible)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Why a rule does not match: its first clause that does not hold, and what was there instead."""

    clause: Clause
    got: str
    opaque: bool = False
    """The clause looks at HTTP and the connection is opaque."""

    @property
    def stage(self) -> int:
        """How far the rule got."""
        return STAGES[self.clause.attribute]

    def __str__(self) -> str:
        """Give `wants path /foo, got /bar`."""
        wanted, unwanted = self.clause.wanted, self.clause.unwanted
        parts = [wanted.shown] if wanted is not None else []
        parts += [f"other than {unwanted.shown}"] if unwanted is not None else []
        return f"wants {self.clause.label} {' and '.join(parts)}, got {self.got}"


def request_mismatch(clause: Clause, request: RequestFacts | None, permits: bool) -> Mismatch | None:
    """Return why a clause about HTTP does not hold, or None if it does.

    Args:
        clause: about host, method, path or a header field.
        request: the request; None for an opaque connection.
        permits: whether the clause belongs to a rule that permits.
    """
    if request is None:
        return Mismatch(clause, "an opaque connection", opaque=True) if permits else None
    match clause.attribute:
        case "host":
            value = request.host
        case "method":
            value = request.method
        case "path":
            value = request.path
        case _:
            return _header_mismatch(clause, request, permits)
    return None if clause.fits(value) else Mismatch(clause, show_bytes(value) or "none")


def _header_mismatch(clause: Clause, request: RequestFacts, permits: bool) -> Mismatch | None:
    values = [value for name, value in request.headers if name == clause.header]
    if clause.holds(permits, values, values):
        return None
    return Mismatch(clause, " and ".join(show_bytes(value) for value in values[:3]) or "none")
