"""Proof that data flows: a real request through each worker's own listener, answered by its data path in time."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

import trio

from weft_agent.channel.messages import SELFTEST_REQUEST
from weft_agent.control.process import WorkerProcess
from weft_agent.telemetry.metrics import Metrics

DEADLINE_S: Final = 1.0
FRESH_S: Final = 0.5
"""Answers so young are given again, so that many askers cost one test."""
_ANSWER: Final = b"HTTP/1.1 200"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one worker's self-test went."""

    worker: int
    error: str
    """Empty: it went well."""
    seconds: float


def make_listener() -> socket.socket:
    """Return a listener on loopback for one worker."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    listener.bind(("127.0.0.1", 0))
    listener.listen(8)
    return listener


class SelfTests:
    """Runs self-tests and remembers when each worker last passed one."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._passed_s: WeakKeyDictionary[WorkerProcess, float] = WeakKeyDictionary()
        """Time of the last success."""
        self._last: tuple[float, list[Verdict]] = (-FRESH_S, [])
        self._running = trio.Lock()

    async def run(self, workers: Sequence[WorkerProcess]) -> list[Verdict]:
        """Test all workers at once; returns within the deadline."""
        async with self._running:
            if trio.current_time() - self._last[0] < FRESH_S and {v.worker for v in self._last[1]} == {
                worker.slot for worker in workers
            }:
                return self._last[1]
            verdicts: list[Verdict] = []
            async with trio.open_nursery() as nursery:
                for worker in workers:
                    nursery.start_soon(self._test, worker, verdicts)
            verdicts.sort(key=lambda verdict: verdict.worker)
            self._last = (trio.current_time(), verdicts)
            return verdicts

    def silent_s(self, worker: WorkerProcess) -> float:
        """Return for how long a worker has not passed a test."""
        return trio.current_time() - max(self._passed_s.get(worker, 0.0), worker.started_s)

    async def _test(self, worker: WorkerProcess, verdicts: list[Verdict]) -> None:
        began_s = trio.current_time()
        error = f"no answer within {DEADLINE_S} s"
        with trio.move_on_after(DEADLINE_S):
            error = await _ask(worker)
        seconds = trio.current_time() - began_s
        if not error:
            self._passed_s[worker] = trio.current_time()
        self._metrics.set("weft_selftest_seconds", float("nan") if error else seconds, worker=str(worker.slot))
        verdicts.append(Verdict(worker.slot, error, seconds))


async def _ask(worker: WorkerProcess) -> str:
    """Send the request; return what is wrong, empty when nothing is."""
    if worker.selftest is None:
        return "has no listener yet"
    try:
        async with await trio.open_tcp_stream(*worker.selftest) as stream:
            await stream.send_all(SELFTEST_REQUEST)
            answer = b""
            while len(answer) < len(_ANSWER):
                data = await stream.receive_some(4096)
                if not data:
                    return "closed the connection without an answer"
                answer += data
    except (OSError, trio.BrokenResourceError) as exc:
        return f"connection failed: {exc}"
    return "" if answer.startswith(_ANSWER) else f"answered {answer[:60].decode('latin-1')!r}"
