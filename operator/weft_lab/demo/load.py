"""Sends requests at a steady rate, whatever the answers take (open loop), and prints what came of it as JSON.

Latency counts from the moment a request was due, not from when a connection was free for it, so that a server that stalls
cannot hide its stall ("coordinated omission").
"""

import argparse
import itertools
import json
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from weft_lab.demo.requests import Call, Caller, UsageError, call
from weft_lab.demo.stop import stop_event

USAGE = 2


@dataclass(slots=True)
class Tally:
    """Counts of one run."""

    statuses: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    """Status and `proxy-status` of what a proxy answered in the server's place (RFC 9209)."""
    latencies_s: list[float] = field(default_factory=list)
    answered_s: list[float] = field(default_factory=list)
    """When each answer was there, on the monotonic clock."""


def run(options: argparse.Namespace) -> int:
    """Send for the time asked; end with 1 if anything went unanswered."""
    if options.rps <= 0 or options.connections < 1:
        sys.stderr.write("error: --rps and --connections must be positive\n")
        return USAGE
    try:
        what = call(options.url, options)
    except UsageError as exc:
        sys.stderr.write(f"error: {exc}\n")
        return USAGE
    stopping = stop_event()
    began = time.monotonic()
    numbers = itertools.count()
    tallies = [Tally() for _ in range(options.connections)]
    threads = [
        threading.Thread(target=_work, args=(what, options, began, numbers, tally, stopping), daemon=True)
        for tally in tallies
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    summary = summarise(tallies, began, time.monotonic())
    sys.stdout.write(json.dumps(summary) + "\n")
    return 1 if summary["errors"] else 0


def _work(
    what: Call,
    options: argparse.Namespace,
    began: float,
    numbers: "itertools.count[int]",
    tally: Tally,
    stopping: threading.Event,
) -> None:
    caller = Caller()
    for number in numbers:
        due = began + number / options.rps
        if due >= began + options.duration or stopping.wait(max(0.0, due - time.monotonic())):
            return
        reply = caller.send(what)
        if reply.error:
            tally.errors[reply.error.partition(":")[0]] += 1
        else:
            tally.statuses[str(reply.status)] += 1
            for name, value in reply.headers:
                if name.lower() == "proxy-status":
                    tally.refusals[f"{reply.status} {value}"] += 1
            tally.answered_s.append(time.monotonic())
            tally.latencies_s.append(tally.answered_s[-1] - due)


def summarise(tallies: list[Tally], began_s: float, ended_s: float) -> dict[str, object]:
    """Return the counts of all connections together, latencies and the longest time without an answer in milliseconds."""
    elapsed_s = ended_s - began_s
    statuses: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    refusals: Counter[str] = Counter()
    for tally in tallies:
        statuses += tally.statuses
        errors += tally.errors
        refusals += tally.refusals
    latencies = sorted(latency for tally in tallies for latency in tally.latencies_s)
    answered = sum(statuses.values())
    moments = sorted((began_s, *(moment for tally in tallies for moment in tally.answered_s), ended_s))
    return {
        "requests": answered + sum(errors.values()),
        "statuses": dict(sorted(statuses.items())),
        "errors": dict(sorted(errors.items())),
        "refusals": dict(sorted(refusals.items())),
        "seconds": round(elapsed_s, 3),
        "rps": round(answered / elapsed_s, 1) if elapsed_s else 0.0,
        "longestGapMs": round(max(after - before for before, after in itertools.pairwise(moments)) * 1000, 2),
        "latencyMs": {
            name: _percentile(latencies, share) for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))
        },
    }


def _percentile(ordered: list[float], share: float) -> float:
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 2) if ordered else 0.0
