"""Traffic of a pod that does not depend on the kubelet: programs of the demonstration, run on the node in the pod's network.

`kubectl exec` goes through the kubelet and ends with it; a process that the node starts in the pod's network namespace does
not, and its traffic is captured like the pod's own.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from weft_testing.cluster.demo.stage import Stage

_OPERATOR: Final = Path(__file__).resolve().parents[3] / "operator"
_ANSWER_TIMEOUT_S: Final = 10.0
_END_TIMEOUT_S: Final = 60.0
_LINE_INTERVAL_S: Final = 0.5
_CONNECTIONS: Final = 8


@dataclass(slots=True)
class Outcome:
    """What came of a load; filled in when it is over."""

    requests: int = 0
    failed: int = 0
    """Without an answer, or answered with another status than 200."""
    longest_gap_ms: float = 0.0
    """The longest time without an answer on any connection."""
    p99_ms: float = 0.0
    detail: str = ""

    def read(self, text: str) -> None:
        """Take what the load program printed."""
        found = json.loads(text)
        self.requests = found["requests"]
        self.failed = self.requests - found["statuses"].get("200", 0)
        self.longest_gap_ms = found["longestGapMs"]
        self.p99_ms = found["latencyMs"]["p99"]
        self.detail = f"statuses {found['statuses']}, errors {found['errors']}"
        self.detail += f", refusals {found['refusals']}" if found["refusals"] else ""

    def __str__(self) -> str:
        return (
            f"{self.requests} requests, {self.failed} failed, longest gap {self.longest_gap_ms:.0f} ms, "
            f"p99 {self.p99_ms:.0f} ms ({self.detail})"
        )


@dataclass(slots=True)
class Source:
    """A pod from which traffic comes."""

    stage: Stage
    node: str
    netns: str

    @classmethod
    def of(cls, stage: Stage, node: str, pod: str, namespace: str) -> "Source":
        """Return the source that is a pod on a node."""
        return cls(stage, node, stage.netns(node, stage.addresses(pod, namespace)[4]))

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start a program of the demonstration there, with pipes."""
        command = ("nsenter", f"--net={self.netns}", sys.executable, "-u", "-m", "weft_lab.demo", *arguments)
        return subprocess.Popen(
            self.stage.cluster.nodes[self.node].command(*command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(_OPERATOR)},
        )

    @contextmanager
    def load(self, url: str, *, rate: int, seconds: int) -> Iterator[Outcome]:
        """Send requests while the block lasts and until the time is over; what came of it is in the value then."""
        outcome = Outcome()
        process = self.start(
            "load", "--rps", str(rate), "--duration", str(seconds), "--connections", str(_CONNECTIONS),
            "--timeout", f"{_ANSWER_TIMEOUT_S:g}", url,
        )  # fmt: skip
        try:
            yield outcome
            out, errors = process.communicate(timeout=seconds + _END_TIMEOUT_S)
            if not out:
                raise AssertionError(f"the load ended with {process.returncode}: {errors}")
            outcome.read(out)
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()


@dataclass
class LongTalk:
    """A TCP connection to an echo server that is used twice a second from its opening to its end."""

    source: Source
    host: str
    port: int
    answered_s: list[float] = field(default_factory=list)
    """When a line came back, on the monotonic clock."""
    over: threading.Event = field(default_factory=threading.Event)
    """Set when it has ended."""
    _stopping: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "LongTalk":
        self._process = self.source.start("tcp", self.host, str(self.port))
        self._thread = threading.Thread(target=self._talk, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(_ANSWER_TIMEOUT_S)
        self._process.communicate(timeout=_ANSWER_TIMEOUT_S)  # closes its input, which ends it

    def _talk(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        number = 0
        try:
            while not self._stopping.is_set():
                self._process.stdin.write(f"line {number}\n")
                self._process.stdin.flush()
                if self._process.stdout.readline() != f"line {number}\n":
                    return
                self.answered_s.append(time.monotonic())
                number += 1
                self._stopping.wait(_LINE_INTERVAL_S)
        except OSError:
            return  # the program has ended, for its connection has
        finally:
            self.over.set()
