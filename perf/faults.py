"""Faults under load: `make faults`, or `.venv/bin/python perf/faults.py --help`; see docs/faults.md.

Brings up a lab of two nodes, kills workers and control and reloads the configuration while a load runs that checks every
byte, and prints what each fault cost beside its bar. Ends with 1 where a bar was not met.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests")]

from weft_testing.faults import cases  # noqa: E402 - after the path is set
from weft_testing.faults.cost import Cost  # noqa: E402 - after the path is set
from weft_testing.faults.lab import NODES, FaultLab  # noqa: E402 - after the path is set

FAULTS = ("nothing", "slow", "worker", "control", "reload")


def chosen(names: list[str], rounds: int, reloads: int) -> Iterator[Callable[[FaultLab], Cost]]:
    if "nothing" in names:
        yield cases.nothing
    if "slow" in names:
        yield cases.slow_readers
    for node in NODES:
        if "worker" in names:
            yield lambda lab, node=node: cases.worker_killed(lab, node, rounds)  # type: ignore[misc]  # mypy cannot infer lambdas with defaults
        if "control" in names:
            yield lambda lab, node=node: cases.control_killed(lab, node, rounds)  # type: ignore[misc]  # mypy cannot infer lambdas with defaults
    if "reload" in names:
        yield lambda lab: cases.reloaded(lab, reloads)


def show(cost: Cost) -> None:
    bad = ", ".join(f"{count} {outcome}" for outcome, count in sorted(cost.outcomes.items()) if outcome != "ok")
    figures = ", ".join(f"{name} {value:g}" for name, value in cost.figures.items())
    print(f"\n{'ok  ' if cost.passed else 'FAIL'} {cost.fault}\n     bar: {cost.bar}")
    print(f"     sent {cost.sent}, failed {cost.failed}{f' ({bad})' if bad else ''}", end="")
    print(f", longest gap {cost.longest_gap_ms:.0f} ms ({cost.longest_gap_stream}){f'; {figures}' if figures else ''}")
    for line in cost.streams:
        print(f"       {line}")
    for problem in cost.problems:
        print(f"     ! {problem}")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--only", action="append", choices=FAULTS, help="this fault (may be given again)")
    parser.add_argument("--rounds", type=int, default=10, help="kills of each process on each node")
    parser.add_argument("--reloads", type=int, default=500, help="changes of the configuration, two a second")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures, too")
    options = parser.parse_args()
    costs: list[Cost] = []
    print("two nodes, an agent on each, a caller and two servers: coming up …", flush=True)
    with FaultLab(f"faults-{os.getpid()}") as lab:
        for fault in chosen(options.only or list(FAULTS), options.rounds, options.reloads):
            costs.append(fault(lab))
            show(costs[-1])
    if options.json is not None:
        faults = [msgspec.to_builtins(cost) | {"passed": cost.passed} for cost in costs]
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode({"faults": faults})) + b"\n")
    passed = sum(cost.passed for cost in costs)
    print(f"\n{passed} of {len(costs)} within their bars")
    return int(passed < len(costs))


if __name__ == "__main__":
    sys.exit(main())
