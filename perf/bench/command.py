"""The command line of `perf/run.py`: what to measure, then everything in order, then table, file and exit status.

Exit statuses: 0 measured, 1 a run was void or a scenario could not be measured, 2 wrong usage or a machine that cannot do it.
A missed bar is a result, not a failure.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Final

import msgspec
from perf.bench import figures, machine
from perf.bench.entrants import Envoys
from perf.bench.measure import Settings, measure
from perf.bench.memory import idle_memory
from perf.bench.programs import MissingProgramError, Programs, programs
from perf.bench.report import table
from perf.bench.samples import MemorySample, Resident, Result, Sample
from perf.bench.scenarios import IDLE_MEMORY, NAMES, SCENARIOS, fresh_ports
from perf.bench.stage import Cores, Stage, StageError, choose_cores
from perf.bench.tables import RESULTS

FORMAT: Final = 1
MOST_ROUNDS: Final = 50
_ROUNDS, _SECONDS = 5, 2
_QUICK_ROUNDS, _QUICK_SECONDS = 3, 1


def main(words: Sequence[str]) -> int:
    """Carry out one command."""
    options = _parser().parse_args(words)
    if os.geteuid() != 0:
        sys.stderr.write("perf: this needs root, because it makes network namespaces; run it with sudo\n")
        return 2
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGHUP, _stop)
    settings = Settings(
        rounds=options.rounds or (_QUICK_ROUNDS if options.quick else _ROUNDS),
        seconds=options.seconds or (_QUICK_SECONDS if options.quick else _SECONDS),
        quick=options.quick,
    )
    try:
        bench = _Bench(programs(), choose_cores(), settings)
        bench.run(options.scenario or NAMES)
    except (MissingProgramError, StageError) as exc:
        sys.stderr.write(f"perf: {exc}\n")
        return 2
    result = bench.result()
    sys.stdout.write("\n" + table(result))
    for path in _places(options, result):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
        sys.stdout.write(f"written: {path}\n")
    return 1 if bench.failed or any(row.void for row in result.rows) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="perf/run.py", description="Compare Weft with Envoy; see docs/performance.md."
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there, too")
    parser.add_argument(
        "--save", action="store_true", help="write the result to perf/results, named by date and commit"
    )
    parser.add_argument("--quick", action="store_true", help="32 connections only, three short rounds")
    parser.add_argument("--scenario", nargs="+", choices=NAMES, metavar="NAME", help=f"only these: {', '.join(NAMES)}")
    parser.add_argument("--rounds", type=_number(1, MOST_ROUNDS), metavar="N", help="default 5, quick 3")
    parser.add_argument("--seconds", type=_number(1, 60), metavar="S", help="of each run; default 2, quick 1")
    return parser


class _number:  # argparse shows the name in its messages
    """Reads a whole number within bounds."""

    def __init__(self, least: int, most: int) -> None:
        self._least = least
        self._most = most

    def __call__(self, text: str) -> int:
        value = int(text)
        if not self._least <= value <= self._most:
            raise argparse.ArgumentTypeError(f"must be from {self._least} to {self._most}")
        return value


def _stop(number: int, _frame: FrameType | None) -> None:
    """End in order, so that everything that was started is stopped."""
    raise SystemExit(128 + number)


def _places(options: argparse.Namespace, result: Result) -> list[Path]:
    places = [options.json] if options.json is not None else []
    if options.save:
        moment = result.date.replace(" ", "-").replace(":", "")
        places.append(RESULTS / f"{moment}-{result.commit.rstrip('+') or 'nocommit'}.json")
    return places


class _Bench:
    """One run of the benchmark, and what it found."""

    def __init__(self, found: Programs, cores: Cores, settings: Settings) -> None:
        self._programs = found
        self._cores = cores
        self._settings = settings
        self._facts = machine.facts(found, cores)
        self._samples: list[Sample] = []
        self._memory: list[MemorySample] = []
        self._resident: list[Resident] = []
        self.failed = False

    def run(self, names: Sequence[str]) -> None:
        """Measure these scenarios: memory in a lab of its own, whose agents have done nothing yet; then the rest."""
        if IDLE_MEMORY in names:
            with self._stage() as stage, tempfile.TemporaryDirectory(prefix="weft-perf-") as folder:
                self._run_memory(stage, Envoys(stage, Path(folder)))
        chosen = [scenario for scenario in SCENARIOS if scenario.name in names]
        if not chosen:
            return
        with self._stage() as stage, tempfile.TemporaryDirectory(prefix="weft-perf-") as folder:
            envoys = Envoys(stage, Path(folder))
            for scenario in chosen:
                try:
                    for sample in measure(stage, envoys, scenario, self._settings, _tell):
                        self._samples.append(sample)
                except (StageError, OSError, subprocess.SubprocessError) as exc:
                    self._fail(scenario.name, exc)

    def _stage(self) -> Stage:
        _tell("bringing up a lab …")
        return Stage(self._programs, self._cores, fresh_ports(self._settings.rounds))

    def _run_memory(self, stage: Stage, envoys: Envoys) -> None:
        try:
            for found in idle_memory(stage, envoys):
                if isinstance(found, Resident):
                    self._resident.append(found)
                    _tell(f"{found.process} idle {found.mib:.1f} MiB")
                else:
                    self._memory.append(found)
                    each = ", ".join(f"{kib / found.connections:.2f}" for kib in found.growth_kib)
                    _tell(f"{found.what} {found.contestant:14} {each} KiB each {found.void}")
        except (StageError, OSError, subprocess.SubprocessError) as exc:
            self._fail(IDLE_MEMORY, exc)

    def _fail(self, name: str, error: Exception) -> None:
        self.failed = True
        sys.stderr.write(f"perf: {name} was not measured: {error}\n")

    def result(self) -> Result:
        """Return everything that was found."""
        rows, memory = figures.rows(self._samples), figures.memory_rows(self._memory)
        return Result(
            format=FORMAT,
            date=machine.now(),
            commit=machine.commit(),
            quick=self._settings.quick,
            rounds=self._settings.rounds,
            seconds=self._settings.seconds,
            machine=self._facts,
            rows=rows,
            memory=memory,
            resident=tuple(self._resident),
            bars=figures.bars(rows, memory, self._resident),
            samples=tuple(self._samples),
            memory_samples=tuple(self._memory),
        )


def _tell(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
