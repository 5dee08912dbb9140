"""Whether this node serves, and if not, why: readiness from proof, liveness with patience.

Theory: *ready* means that every live worker has the configuration applied, that every enrolled pod is captured, and that a
request went through each worker's data path within a second, asked for at this moment. *Live* is false only when no worker
has passed its self-test for a long time: a restart cuts connections, so doubt is not enough. Both answer JSON that says what
is missing, so that a human need not guess.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import trio

from weft_agent.control.config_source import ConfigSource
from weft_agent.control.fleet import Fleet
from weft_agent.control.http_server import Request, Response, json_response, problem_response
from weft_agent.control.selftest import SelfTests
from weft_agent.telemetry.log import Log

READY_PATH: Final = "/healthz/ready"
LIVE_PATH: Final = "/healthz/live"
INTERVAL_S: Final = 5.0
HOPELESS_S: Final = 30.0
"""A worker that answered nothing for so long is stuck, and is killed to be replaced."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """The answer to "does this node serve?"."""

    missing: tuple[str, ...]
    """Why not; empty: it does."""
    warnings: tuple[str, ...]
    degraded: tuple[str, ...] = ()
    """What it has to do without though it serves: the operator."""


class Health:
    """Judges the node.

    Args:
        fleet: the workers.
        config: the configuration.
        captures: tells what is missing of the captures.
        identities: tells what is wrong with certificates; such a node serves, so these are warnings.
        selftests: runs them.
        log: told of workers that are stuck.
    """

    def __init__(
        self,
        fleet: Fleet,
        config: ConfigSource,
        captures: Callable[[], Iterable[str]],
        identities: Callable[[], Iterable[str]],
        selftests: SelfTests,
        log: Log,
    ) -> None:
        self._fleet = fleet
        self._config = config
        self._captures = captures
        self._identities = identities
        self._selftests = selftests
        self._log = log
        self.draining = False

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        if request.method not in {"GET", "HEAD"}:
            return problem_response(405, "GET or HEAD")
        match request.path:
            case "/healthz/ready":
                readiness = await self.readiness()
                body = {
                    "ready": not readiness.missing,
                    "degraded": readiness.degraded,
                    "missing": readiness.missing,
                    "warnings": readiness.warnings,
                }
                return json_response(body, 503 if readiness.missing else 200)
            case "/healthz/live":
                silent = self.silent_workers()
                return json_response({"live": not silent, "missing": silent}, 503 if silent else 200)
            case _:
                return problem_response(404, f"{READY_PATH} and {LIVE_PATH} are here")

    async def readiness(self) -> Readiness:
        """Find out what is missing, self-tests included; takes at most about a second."""
        missing = list(self._missing())
        testable = [worker for worker in self._fleet.workers if worker.state == "serving"]
        verdicts = await self._selftests.run(testable)
        missing += [f"worker {verdict.worker}: self-test: {verdict.error}" for verdict in verdicts if verdict.error]
        return Readiness(tuple(missing), tuple(self._warnings()), tuple(self._config.degraded()))

    def _missing(self) -> Iterable[str]:
        if self.draining:
            yield "the agent is draining"
        if self._config.current is None:
            reasons = [*self._config.problems, *self._config.degraded()]
            yield f"no configuration: {'; '.join(reasons) or 'not read yet'}"
        workers = self._fleet.workers
        for slot in sorted(set(range(self._fleet.size)) - {worker.slot for worker in workers}):
            yield f"worker {slot}: is being started"
        for worker in workers:
            if worker.state != "serving" or worker.applied_generation != self._fleet.desired.generation:
                yield (
                    f"worker {worker.slot}: {worker.state}, has applied generation {worker.applied_generation} "
                    f"of {self._fleet.desired.generation}"
                )
        yield from self._captures()

    def _warnings(self) -> Iterable[str]:
        yield from (f"configuration not in force: {problem}" for problem in self._config.problems)
        yield from self._identities()
        for worker in self._fleet.workers:
            yield from (f"worker {worker.slot} refused {key}: {reason}" for key, reason in worker.refused.items())

    def silent_workers(self) -> list[str]:
        """Return who is silent when all have been silent for too long; a node with one working worker is alive."""
        if self._config.current is None:
            return []  # nothing to serve is no reason to be restarted
        silent = {worker: self._selftests.silent_s(worker) for worker in self._fleet.workers}
        if not silent or min(silent.values()) < HOPELESS_S:
            return []
        return [f"worker {worker.slot}: no self-test passed for {age:.0f} s" for worker, age in silent.items()]

    async def watch(self) -> None:
        """Test workers now and then, and end those that are stuck, until cancelled."""
        while True:
            await trio.sleep(INTERVAL_S)
            if self._config.current is None:
                continue
            watched = [worker for worker in self._fleet.workers if worker.state != "draining"]
            await self._selftests.run(watched)
            for worker in watched:
                if worker.state not in {"draining", "gone"} and self._selftests.silent_s(worker) > HOPELESS_S:
                    self._log.error("worker-stuck", worker=worker.slot, pid=worker.pid, state=worker.state)
                    worker.kill()
