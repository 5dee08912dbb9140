"""A small fuzzer: mutates seeds, keeps what showed something new, stops at the first broken promise and writes it down.

Theory: no coverage instrument is needed where every input ends in a named verdict: the verdict, together with how many
messages were read and what shape they had, tells whether an input reached something new. Such inputs join the pool, so
that rare verdicts are searched around. A promise is a function over bytes that raises if it is broken. An input that takes
longer than `SLOW_S` of CPU time is a broken promise, too: one that never ends is interrupted by a timer of the process's CPU
time, so that neither an endless loop nor a busy machine goes unnoticed for the other.
"""

import ast
import signal
import sys
import time
import traceback
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import FrameType

from weft_testing.http1_mutations import mutate

SLOW_S = 1.0
"""CPU seconds: one input may not take longer, a hang is a failure."""
POOL_BYTES_MAX = 1000
ROUND = 200


@dataclass
class FuzzTarget:
    """Something that takes bytes.

    Other rooms add theirs to the list that `tests/conformance/fuzz.py` runs.
    """

    name: str
    seeds: Sequence[bytes]
    check: Callable[[bytes, Random], Hashable]
    """Raises if a promise is broken; returns a signature of what happened."""
    pool: list[bytes] = field(default_factory=list)
    seen: set[Hashable] = field(default_factory=set)
    runs: int = 0


@dataclass(frozen=True)
class Failure:
    """A broken promise."""

    target: str
    data: bytes
    report: str
    hang: bool = False


class HangError(BaseException):
    """An input took too long; no `except Exception` of what is tried can swallow it."""


def load(path: Path) -> list[bytes]:
    """Read a corpus: one bytes literal a line."""
    return [ast.literal_eval(line) for line in path.read_text().splitlines() if line] if path.exists() else []


def save(path: Path, corpus: Sequence[bytes]) -> None:
    """Write a corpus."""
    path.write_text("".join(f"{data!r}\n" for data in corpus))


def start(target: FuzzTarget, corpus: Sequence[bytes], rng: Random) -> Failure | None:
    """Run seeds and corpus as they are, and make the pool of them."""
    for data in (*target.seeds, *corpus):
        failure = try_one(target, data, rng)
        if failure is not None:
            return failure
        target.pool.append(data)
    return None


def try_one(target: FuzzTarget, data: bytes, rng: Random) -> Failure | None:
    """Run one input; what is new joins the pool."""
    target.runs += 1
    began = time.process_time()
    try:
        with _interrupted():
            signature = target.check(data, rng)
    except HangError:
        return Failure(target.name, data, traceback.format_exc(), hang=True)
    except Exception:  # whatever is raised is the finding
        return Failure(target.name, data, traceback.format_exc())
    took = time.process_time() - began
    if took > SLOW_S:
        return Failure(target.name, data, f"took {took:.1f} s of CPU time", hang=True)
    if signature not in target.seen:
        target.seen.add(signature)
        if len(data) <= POOL_BYTES_MAX:
            target.pool.append(data)
    return None


@contextmanager
def _interrupted() -> Iterator[None]:
    """Raise `HangError` in the block once it has used far more than the CPU time allowed."""

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise HangError(f"not done after {2 * SLOW_S:g} s of CPU time")

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, 2 * SLOW_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def run(targets: Sequence[FuzzTarget], corpora: dict[str, Path], *, seconds: float, seed: int) -> Failure | None:
    """Fuzz all targets in turn until the time is over or a promise is broken.

    Args:
        targets: what to run.
        corpora: file of each target's corpus; an input that broke a promise is added to it.
        seconds: time for all of them together.
        seed: the same seed gives the same inputs.
    """
    rng = Random(seed)
    deadline = time.monotonic() + seconds
    for target in targets:
        failure = start(target, load(corpora[target.name]), rng)
        if failure is not None:
            return failure
    while time.monotonic() < deadline:
        for target in targets:
            for _ in range(ROUND):
                data = mutate(rng.choice(target.pool), rng)
                failure = try_one(target, data, rng)
                if failure is not None:
                    save(corpora[target.name], [*load(corpora[target.name]), data])
                    return failure
    return None


def report(targets: Sequence[FuzzTarget], failure: Failure | None, seconds: float) -> None:
    """Say what was run and what was found.

    Args:
        targets: that were run.
        failure: the promise that was broken.
        seconds: how long it took.
    """
    for target in targets:
        found = f"{target.runs} executions, {len(target.seen)} different outcomes, pool of {len(target.pool)}"
        sys.stdout.write(f"{target.name:16} {found}\n")
    hangs = int(failure is not None and failure.hang)
    crashes = int(failure is not None) - hangs
    runs = sum(target.runs for target in targets)
    sys.stdout.write(f"{runs} executions in {seconds:.0f} s, {crashes} crashes, {hangs} hangs\n")
    if failure is not None:
        sys.stdout.write(f"BROKEN {failure.target}: {failure.data!r}\n{failure.report}\n")
