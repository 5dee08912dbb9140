"""What a load is asked for and what came of it: streams, outcomes, tallies, verdicts. Crosses process borders as JSON.

Theory: an exchange has exactly one outcome. What a client without a mesh could also meet is told apart from what only a
broken proxy does: `refused` (nobody accepted), `status` (a defined HTTP error), `reset` and `closed` (the connection ended
before the first byte of the answer), `truncated` (it ended behind the first byte: the worst but one), `timeout`, and `wrong`
(a complete answer that is not the right one: the worst). Times are CLOCK_MONOTONIC seconds, which all processes of a machine
share, so that a failure can be set beside the fault that caused it.
"""

from collections.abc import Callable
from typing import Final, Literal

import msgspec

Kind = Literal["http", "http-new", "tcp", "tcp-new", "download", "idle", "stall"]
"""HTTP on one connection per client, HTTP with a connection per request, echo on long connections, echo with a connection
each, downloads with a checksum, connections that only rest, and readers that ask for much and take nothing."""
Outcome = Literal["ok", "wrong", "status", "refused", "reset", "closed", "truncated", "timeout"]
FAILURES_KEPT: Final = 2000


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of load against one address."""

    name: str
    kind: Kind
    host: str
    port: int
    clients: int = 1
    interval_s: float = 0.04
    """Between the beginnings of two exchanges of a client; a late one begins at once."""
    size_bytes: int = 64
    """Of an echo's payload or a download."""
    timeout_s: float = 15.0
    """For one exchange, connecting included; longer than the kernel's first three SYN repetitions."""


class Plan(msgspec.Struct, frozen=True):
    """Everything one process sends."""

    streams: tuple[Stream, ...]
    seconds: float = 3600.0
    """At most; SIGTERM ends it earlier."""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """One exchange that was not answered as it should be."""

    at_s: float
    began_s: float
    outcome: Outcome
    fresh: bool
    """Whether its connection was made for it (or by it); else it was used before."""
    port: int
    """The client's own, 0 where there was none yet."""
    detail: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one stream."""

    name: str
    kind: Kind
    seconds: float
    sent: int
    outcomes: dict[Outcome, int]
    reconnects: int
    """Connections that the other side closed while nothing was asked: no failure for HTTP, a `closed` for TCP."""
    bytes_received: int
    max_gap_ms: float
    """Longest time between two successes, all clients of the stream together."""
    max_gap_at_s: float
    """When that gap began."""
    p50_ms: float
    p99_ms: float
    max_ms: float
    failures: tuple[Failure, ...]

    @property
    def ok(self) -> int:
        """Exchanges answered correctly."""
        return self.outcomes.get("ok", 0)

    @property
    def failed(self) -> int:
        """Exchanges not answered correctly."""
        return sum(count for outcome, count in self.outcomes.items() if outcome != "ok")

    def count(self, *outcomes: Outcome) -> int:
        """Return how many exchanges came to one of these."""
        return sum(self.outcomes.get(outcome, 0) for outcome in outcomes)

    def line(self) -> str:
        """Return it in one line, for people."""
        bad = ", ".join(f"{k} {v}" for k, v in sorted(self.outcomes.items()) if k != "ok" and v) or "none"
        return (
            f"{self.name:12} sent {self.sent:6} ok {self.ok:6} failed: {bad}; longest gap {self.max_gap_ms:.0f} ms, "
            f"p50 {self.p50_ms:.1f} p99 {self.p99_ms:.1f} max {self.max_ms:.0f} ms"
        )


class Tally:
    """Counts of one stream while it runs.

    Args:
        stream: what is counted.
        now: when it begins.
        enough: successes after which the stream is known to work.
        works: told then.
    """

    def __init__(self, stream: Stream, now: float, enough: int, works: Callable[[], None]) -> None:
        self._stream = stream
        self._enough = enough
        self._works = works
        self._began_s = self._last_ok_s = now
        self._gap = (0.0, now)
        self._outcomes: dict[Outcome, int] = {}
        self._latencies_s: list[float] = []
        self._failures: list[Failure] = []
        self.sent = 0
        self.reconnects = 0
        self.bytes_received = 0

    def succeeded(self, began_s: float, now: float) -> None:
        """Count an exchange that went well."""
        ok = self._outcomes["ok"] = self._outcomes.get("ok", 0) + 1
        if ok == self._enough:
            self._works()
        self._latencies_s.append(now - began_s)
        self._close_gap(now)

    def failed(self, failure: Failure) -> None:
        """Count one that did not."""
        self._outcomes[failure.outcome] = self._outcomes.get(failure.outcome, 0) + 1
        if len(self._failures) < FAILURES_KEPT:
            self._failures.append(failure)

    def verdict(self, now: float) -> Verdict:
        """Return what came of it; the time since the last success is a gap, too, where exchanges failed since."""
        if self._failures and self._failures[-1].at_s > self._last_ok_s:
            self._close_gap(now)
        ordered = sorted(self._latencies_s)

        def at(share: float) -> float:
            return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 2) if ordered else 0.0

        return Verdict(
            name=self._stream.name, kind=self._stream.kind, seconds=round(now - self._began_s, 3), sent=self.sent,
            outcomes=self._outcomes, reconnects=self.reconnects, bytes_received=self.bytes_received,
            max_gap_ms=round(self._gap[0] * 1000, 1), max_gap_at_s=self._gap[1],
            p50_ms=at(0.5), p99_ms=at(0.99), max_ms=at(1.0), failures=tuple(self._failures),
        )  # fmt: skip

    def _close_gap(self, now: float) -> None:
        gap_s = now - self._last_ok_s
        if gap_s > self._gap[0]:
            self._gap = (gap_s, self._last_ok_s)
        self._last_ok_s = now


class Verdicts(msgspec.Struct, frozen=True):
    """What became of a plan."""

    verdicts: tuple[Verdict, ...]
