"""The HTTP side of admission: two POST handlers for the server that every replica runs.

Theory: what happens when our own code fails decides what an error costs. `/validate` then lets the object in with a warning:
its verdict is not what enforces, the compiler judges it again and refuses traffic for what it cannot carry out. `/mutate`
refuses: a pod without its gate could speak before it is captured. A request that is no AdmissionReview is answered 400.

An answer takes well below 50 ms; large objects are judged in a thread, so that the config streams go on meanwhile.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram

from weft_operator.webhooks.gate import GateSettings
from weft_operator.webhooks.mutate import NamespaceLabels, mutate
from weft_operator.webhooks.review import (
    MAX_REVIEW_BYTES,
    Answer,
    Request,
    ReviewError,
    answer_bytes,
    read_review,
)
from weft_operator.webhooks.validate import Surroundings, validate

VALIDATE_PATH: Final = "/validate"
MUTATE_PATH: Final = "/mutate"
IN_THREAD_BYTES: Final = 16 * 1024
"""Reviews beyond this are judged off the event loop: judging takes about 0.4 ms per KiB, measured."""
_NOT_JUDGED: Final = (
    "weft could not judge this object because of an error of its own; see its conditions and the operator's log"
)
_NO_GATE: Final = (
    "weft could not add the capture gate because of an error of its own (see the operator's log); without it the pod could "
    "speak before it is captured"
)

_log: Final = structlog.get_logger("weft_operator.webhooks")


class Webhooks:
    """Answers the API server."""

    def __init__(
        self,
        *,
        gate: GateSettings,
        namespace_labels: NamespaceLabels,
        surroundings: Surroundings,
        registry: CollectorRegistry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gate, self._namespace_labels, self._surroundings = gate, namespace_labels, surroundings
        self._clock = clock
        self._answers = Counter(
            "weft_operator_admissions",
            "Admission requests answered, by what was said.",
            ["webhook", "answer"],
            registry=registry,
        )
        self._seconds = Histogram(
            "weft_operator_admission_seconds",
            "Time to answer an admission request.",
            ["webhook"],
            registry=registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1),
        )

    def routes(self) -> Iterable[web.RouteDef]:
        """Return the routes to add to an application, whose `client_max_size` must be `MAX_REVIEW_BYTES`."""
        return [web.post(VALIDATE_PATH, self._validate), web.post(MUTATE_PATH, self._mutate)]

    def application(self) -> web.Application:
        """Return an application with these routes alone."""
        application = web.Application(client_max_size=MAX_REVIEW_BYTES)
        application.add_routes(self.routes())
        return application

    async def _validate(self, http: web.Request) -> web.Response:
        def judge(request: Request) -> Answer:
            return validate(request, self._surroundings)

        return await self._answer(http, "validate", judge, Answer(allowed=True, warnings=[_NOT_JUDGED]))

    async def _mutate(self, http: web.Request) -> web.Response:
        def judge(request: Request) -> Answer:
            return mutate(request, self._gate, self._namespace_labels)

        return await self._answer(http, "mutate", judge, Answer(allowed=False, message=_NO_GATE))

    async def _answer(
        self, http: web.Request, name: str, judge: Callable[[Request], Answer], otherwise: Answer
    ) -> web.Response:
        begun = self._clock()
        body = await http.read()
        try:
            said, data = await _off_loop(body, lambda: _judged(body, judge, otherwise))
        except ReviewError as exc:
            self._answers.labels(name, "malformed").inc()
            return web.Response(status=400, text=f"{exc}\n")
        self._answers.labels(name, said).inc()
        self._seconds.labels(name).observe(self._clock() - begun)
        return web.Response(body=data, content_type="application/json")


async def _off_loop(body: bytes, work: Callable[[], tuple[str, bytes]]) -> tuple[str, bytes]:
    return await asyncio.to_thread(work) if len(body) > IN_THREAD_BYTES else work()


def _judged(body: bytes, judge: Callable[[Request], Answer], otherwise: Answer) -> tuple[str, bytes]:
    """Return what was said, in a word and in bytes.

    Raises:
        ReviewError: there was no question.
    """
    request = read_review(body)
    try:
        answer = judge(request)
    except Exception:
        _log.exception("admission failed", kind=request.kind.kind, namespace=request.namespace)
        return "failed", answer_bytes(request, otherwise)
    return ("allowed" if answer.allowed else "refused"), answer_bytes(request, answer)
