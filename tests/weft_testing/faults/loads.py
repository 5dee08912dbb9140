"""Load that runs in a pod while something is broken: started, waited for, stopped, its verdicts read."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from weft_testing.lab import REPOSITORY, python_path
from weft_testing.load import READY
from weft_testing.load_verdict import Plan, Stream, Verdict, Verdicts

READY_S: Final = 30.0
FINISH_S: Final = 40.0
"""Longer than any exchange's own patience."""


class LoadError(Exception):
    """The load did not begin or end as it should; the message has what it said."""


class Load:
    """One running driver; leaving the block ends it.

    Args:
        namespace: path of the network namespace to send from.
        streams: what to send.
    """

    def __init__(self, namespace: Path, streams: Sequence[Stream]) -> None:
        plan = msgspec.json.encode(Plan(tuple(streams))).decode()
        path = f"{REPOSITORY / 'tests'}{os.pathsep}{python_path()}"
        self._process = subprocess.Popen(
            ["nsenter", f"--net={namespace}", sys.executable, "-P", "-m", "weft_testing.load", plan],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
        self.verdicts: dict[str, Verdict] = {}

    def __enter__(self) -> Self:
        try:
            self._until_ready()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    @property
    def pid(self) -> int:
        """The driver's process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it still sends."""
        return self._process.poll() is None

    def stop(self) -> dict[str, Verdict]:
        """Stop sending, let what is in flight end, and return the verdicts by stream."""
        self._process.send_signal(signal.SIGTERM)
        try:
            out, err = self._process.communicate(timeout=FINISH_S)
        except subprocess.TimeoutExpired as exc:
            raise LoadError(f"the load did not end in {FINISH_S:g} s") from exc
        if self._process.returncode != 0:
            raise LoadError(f"the load ended with {self._process.returncode}: {err.decode(errors='replace')[-2000:]}")
        found = msgspec.json.decode(out.splitlines()[-1], type=Verdicts)
        self.verdicts = {verdict.name: verdict for verdict in found.verdicts}
        return self.verdicts

    def _until_ready(self) -> None:
        """Wait until every stream had its first success."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + READY_S
        said = b""
        while READY not in said:
            left_s = max(0.0, deadline - time.monotonic())
            if not select.select([self._process.stdout], [], [], left_s)[0]:
                raise LoadError(f"no success on every stream in {READY_S:g} s: {self._last_words()}")
            more = os.read(self._process.stdout.fileno(), 4096)
            if not more:
                raise LoadError(f"the load ended early: {self._last_words()}")
            said += more

    def _last_words(self) -> str:
        try:
            verdicts = self.stop()
        except LoadError as exc:
            return str(exc)
        return "\n".join(f"{verdict.line()} {verdict.failures[:3]}" for verdict in verdicts.values())

    def _end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(10)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()


def total(verdicts: Iterable[Verdict]) -> tuple[int, int]:
    """Return how many exchanges were sent and how many failed."""
    found = list(verdicts)
    return sum(verdict.sent for verdict in found), sum(verdict.failed for verdict in found)
