"""What a fault cost and what it may cost: pure judgement over the verdicts of a load.

Theory: a process that dies takes with it what it was doing, and nothing else. An exchange is excused if it was in flight on
the victim, and a long connection if the victim held it; both are told from outside by times and by the client's own port.
No fault excuses a refused connection, an exchange that never ended, or an answer that is not the right one.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Final

import msgspec

from weft_testing.load_verdict import Failure, Outcome, Verdict

NEVER: Final[tuple[Outcome, ...]] = ("wrong", "refused", "timeout")
"""Outcomes that no fault excuses."""
FAILURES_SHOWN: Final = 5


class Death(msgspec.Struct, frozen=True, kw_only=True):
    """A process that was killed under load; times are CLOCK_MONOTONIC seconds."""

    killed_s: float
    gone_s: float
    """When it was gone, and with it every socket that only it had."""
    held: frozenset[int] | None = None
    """Client ports of the load whose connections it held; None where that cannot be seen, behind a tunnel."""


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What one fault came to."""

    fault: str
    bar: str
    """What it may cost, for people."""
    sent: int
    failed: int
    outcomes: dict[Outcome, int]
    longest_gap_ms: float
    """Longest time without a success on any one stream."""
    longest_gap_stream: str
    figures: dict[str, float]
    """What else was measured; units are in the names."""
    problems: tuple[str, ...]
    """What is beyond the bar; empty: it was met."""
    streams: tuple[str, ...]
    """One line for each stream."""

    @property
    def passed(self) -> bool:
        """Whether the bar was met."""
        return not self.problems


def cost(fault: str, bar: str, verdicts: Collection[Verdict], problems: Iterable[str] = (), **figures: float) -> Cost:
    """Put the verdicts of a load and what was found beside them into one account."""
    outcomes: Counter[Outcome] = Counter()
    for verdict in verdicts:
        outcomes.update(verdict.outcomes)
    busy = [verdict for verdict in verdicts if verdict.kind not in {"idle", "stall"}]  # the others rest on purpose
    worst = max(busy, key=lambda verdict: verdict.max_gap_ms)
    return Cost(
        fault=fault, bar=bar, sent=sum(verdict.sent for verdict in verdicts),
        failed=sum(verdict.failed for verdict in verdicts), outcomes=dict(outcomes), longest_gap_ms=worst.max_gap_ms,
        longest_gap_stream=worst.name, figures={name: round(value, 1) for name, value in figures.items()},
        problems=tuple(problems), streams=tuple(verdict.line() for verdict in verdicts),
    )  # fmt: skip


def none_failed(verdicts: Iterable[Verdict]) -> list[str]:
    """Return what is wrong where nothing may fail."""
    found: list[str] = []
    for verdict in verdicts:
        if verdict.failed:
            found.append(f"{verdict.name}: {verdict.failed} of {verdict.sent} failed")
            found += [_told(failure) for failure in verdict.failures[:FAILURES_SHOWN]]
    return found


def only_its_own(verdicts: Iterable[Verdict], deaths: Collection[Death]) -> list[str]:
    """Return the failures that were not a victim's own, with the outcomes that are never excused."""
    found: list[str] = []
    for verdict in verdicts:
        missing = verdict.failed - len(verdict.failures)
        if missing:
            found.append(f"{verdict.name}: {missing} failures more than could be kept")
        strangers = [failure for failure in verdict.failures if not excused(failure, verdict, deaths)]
        found += [f"{verdict.name}: not the victim's own: {_told(item)}" for item in strangers[:FAILURES_SHOWN]]
        found += [f"… and {len(strangers) - FAILURES_SHOWN} more"] * (len(strangers) > FAILURES_SHOWN)
    return found


def excused(failure: Failure, verdict: Verdict, deaths: Iterable[Death]) -> bool:
    """Tell whether a failure is what the death of a process may cost."""
    if failure.outcome in NEVER:
        return False
    return any(_in_flight(failure, death) or _long_connection(failure, verdict, death) for death in deaths)


def _in_flight(failure: Failure, death: Death) -> bool:
    """The exchange had begun when the process was gone, and had not ended when it was killed."""
    overlaps = failure.began_s <= death.gone_s and failure.at_s >= death.killed_s
    return overlaps and (failure.fresh or _held(failure, death))


def _long_connection(failure: Failure, verdict: Verdict, death: Death) -> bool:
    """An echo connection from before: its client meets its end with the next exchange, once."""
    return verdict.kind == "tcp" and not failure.fresh and failure.at_s >= death.killed_s and _held(failure, death)


def _held(failure: Failure, death: Death) -> bool:
    return death.held is None or failure.port in death.held


def _told(failure: Failure) -> str:
    connection = "new" if failure.fresh else "used"
    began = f"began {failure.began_s:.3f}, ended {failure.at_s:.3f}"
    return f"{failure.outcome} ({failure.detail}), {connection} connection from port {failure.port}, {began}"
