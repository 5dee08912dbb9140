"""All workers of the node: one task per slot starts a worker, sees it die, and starts the next one at once.

Theory: a slot is a number and a task. A worker that ran for a while is replaced without delay, one that dies young is
replaced ever more slowly (50 ms, doubling, to 5 s). A worker whose data path has not answered its self-test for a long time
is as good as dead and is killed. Control keeps every listener, so connections wait in the kernel's queue or go to the other
workers meanwhile.
"""

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, Literal

import trio

from weft_agent.channel import Link, memfd
from weft_agent.channel.layout import BUCKETS_BYTES
from weft_agent.channel.messages import Adopted, FromWorker, Hello, Report
from weft_agent.control.adoption import Orphan
from weft_agent.control.desired import Desired
from weft_agent.control.hatchery import Hatchery
from weft_agent.control.process import Asks, WorkerProcess
from weft_agent.control.state_directory import StateDirectory
from weft_agent.control.worker_output import follow_lines, pipe
from weft_agent.telemetry.counters import CounterPage, new_page
from weft_agent.telemetry.log import Log
from weft_agent.telemetry.metrics import Metrics
from weft_agent.telemetry.pages import Pages, WorkerPage
from weft_agent.telemetry.sink import Sink

FIRST_BACKOFF_S: Final = 0.05
LONGEST_BACKOFF_S: Final = 5.0
QUIET_S: Final = 10.0
RESCUE_SOCKETS: Final = 8
"""So many controls in a row may die while they adopt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """How many workers there are, and what all of them are told."""

    size: int
    limits: Mapping[str, float]
    """Overrides of the defaults."""
    drain_timeout_s: float
    log_format: Literal["json", "text"]
    token: bytes


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Where control and its workers tell what happens."""

    log: Log
    metrics: Metrics
    pages: Pages
    sink: Sink


class Fleet:
    """The workers.

    Args:
        settings: how many, and what they are told.
        hatchery: where their processes come from.
        state: where they are recorded.
        telemetry: log, metrics, the workers' counters, and where their access log goes.
        asks: told of their requests for sockets and of pods that ask at their gate.
    """

    def __init__(
        self,
        settings: FleetSettings,
        hatchery: Hatchery,
        state: StateDirectory,
        telemetry: Telemetry,
        asks: Asks,
    ) -> None:
        self._settings = settings
        self._hatchery = hatchery
        self._state = state
        self._log = telemetry.log
        self._metrics = telemetry.metrics
        self._pages = telemetry.pages
        self._sink = telemetry.sink
        self._asks = asks
        self._buckets_fd = memfd.shared("weft-buckets", BUCKETS_BYTES)
        self._slots: dict[int, WorkerProcess] = {}
        self._surplus: list[WorkerProcess] = []
        self._stop = trio.Event()
        self._ended = trio.Event()
        self._pipes: trio.Nursery | None = None
        self._refusals: dict[str, tuple[int, str]] = {}
        self._applied = trio.Event()
        self.desired = Desired()
        self.joined: Callable[[WorkerProcess], None] = lambda worker: None
        """Told of each worker that joins; gives it what is its own (self-test listener, first stock)."""

    # -- what others ask ------------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """How many workers there should be."""
        return self._settings.size

    @property
    def workers(self) -> list[WorkerProcess]:
        """The workers that are there now, by slot."""
        return [self._slots[slot] for slot in sorted(self._slots)]

    def changed(self) -> None:
        """Tell every worker what is new in `desired`."""
        for worker in self.workers:
            worker.tell(self.desired)

    # -- what is in force -----------------------------------------------------------------------------------------

    @property
    def generation(self) -> int:
        """The generation that workers were told last."""
        return self.desired.generation

    async def until_in_force(self, generation: int) -> None:
        """Return when every worker has this generation, or a later one, in force."""
        while self._lowest_applied() < generation:
            await self._applied.wait()

    def take_refusals(self) -> list[tuple[int, str, str]]:
        """Return generation, key and reason of what workers refused since the last call; per key the latest."""
        found = [(generation, key, reason) for key, (generation, reason) in self._refusals.items()]
        self._refusals.clear()
        return found

    def _lowest_applied(self) -> int:
        workers = self.workers
        return min(worker.applied_generation for worker in workers) if len(workers) == self.size else -1

    def _note_applied(self, generation: int, refused: tuple[tuple[str, str], ...]) -> None:
        self._refusals.update((key, (generation, reason)) for key, reason in refused)
        self._applied.set()
        self._applied = trio.Event()

    # -- life -----------------------------------------------------------------------------------------------------

    async def run(self, orphans: Sequence[Orphan]) -> None:
        """Keep every slot filled until `drain` has ended the last worker.

        Args:
            orphans: workers that a former control left behind.
        """
        async with trio.open_nursery() as self._pipes:
            surplus = self._adopt_all(orphans)
            async with trio.open_nursery() as nursery:
                for slot in range(self._settings.size):
                    nursery.start_soon(self._keep, slot, self._slots.get(slot))
                for worker in surplus:
                    nursery.start_soon(self._retire, worker)
            self._pipes.cancel_scope.deadline = trio.current_time() + 0.5  # last lines may still be in the pipes
        self._ended.set()

    async def late(self, orphan: Orphan) -> None:
        """Take in an orphan whose slot was filled in the meantime: it may finish what it holds."""
        await self._retire(self._adopt(orphan))

    async def drain(self, timeout_s: float) -> int:
        """Let every worker finish and end; return how many connections were cut.

        Args:
            timeout_s: given to the workers; those that are still there two seconds later are killed.
        """
        self._stop.set()
        leaving = [*self.workers, *self._surplus]
        for worker in leaving:
            worker.drain(timeout_s)
        with trio.move_on_after(timeout_s + 2.0):
            await self._ended.wait()
        for worker in leaving:
            if worker.state != "gone":
                self._log.warning("worker-killed", worker=worker.slot, reason="it did not end after its drain")
                worker.kill()
        await self._ended.wait()
        return sum(worker.cut for worker in leaving)

    def _adopt_all(self, orphans: Sequence[Orphan]) -> list[WorkerProcess]:
        """Put orphans into their slots, all before any task runs: who dies in between leaves a record that names them."""
        if orphans:
            self._share_buckets(orphans[0].buckets_fd)
        surplus: list[WorkerProcess] = []
        for orphan in orphans:
            worker = self._adopt(orphan)
            if orphan.slot in range(self._settings.size) and orphan.slot not in self._slots:
                self._slots[orphan.slot] = worker
            else:
                surplus.append(worker)
        if orphans:
            self._record()
        return surplus

    async def _keep(self, slot: int, worker: WorkerProcess | None) -> None:
        backoff_s = 0.0
        while not self._stop.is_set():
            began_s = trio.current_time()
            try:
                worker = worker or self._start(slot)
            except OSError as exc:
                self._log.error("worker-not-started", worker=slot, error=str(exc))
            else:
                await self._live(worker)
            worker = None
            if self._stop.is_set():
                return
            self._metrics.add("weft_worker_restarts_total", worker=str(slot))
            young = trio.current_time() - began_s < QUIET_S
            backoff_s = min(max(backoff_s * 2, FIRST_BACKOFF_S), LONGEST_BACKOFF_S) if young and backoff_s else 0.0
            if young and not backoff_s:
                backoff_s = FIRST_BACKOFF_S  # the first replacement is immediate, the second waits
            else:
                with trio.move_on_after(backoff_s):
                    await self._stop.wait()

    async def _live(self, worker: WorkerProcess) -> None:
        self._slots[worker.slot] = worker
        self._pages.join(worker.page)
        self._record()
        worker.tell(self.desired)
        self.joined(worker)
        await worker.run()  # cancelled only when control ends; the worker lives on then, and so do its counters
        del self._slots[worker.slot]
        self._pages.retire(worker.page)
        self._record()
        if not self._stop.is_set():
            self._log.warning("worker-replaced", worker=worker.slot, pid=worker.pid)

    async def _retire(self, worker: WorkerProcess) -> None:
        """Let a worker go that there is no slot for."""
        self._log.info("worker-surplus", worker=worker.slot, pid=worker.pid)
        self._surplus.append(worker)
        self._pages.join(worker.page)
        worker.drain(self._settings.drain_timeout_s)
        await worker.run()
        self._surplus.remove(worker)
        self._pages.retire(worker.page)

    def _record(self) -> None:
        self._state.write("workers.json", [[worker.slot, worker.pid] for worker in self.workers])

    # -- making ---------------------------------------------------------------------------------------------------

    def _start(self, slot: int) -> WorkerProcess:
        born = self._hatchery.take()
        try:
            with ExitStack() as closing:
                counters_fd = _closed_by(closing, new_page(slot))
                log_read, log_write = pipe(writer_waits=False)
                _closed_by(closing, log_write)
                rescues = _rescue_sockets(closing)
                worker = self._worker(slot, born.pid, born.pidfd, born.link, counters_fd)
                hello = Hello(
                    worker=slot,
                    workers=self._settings.size,
                    limits=dict(self._settings.limits),
                    token=self._settings.token,
                    log_format=self._settings.log_format,
                )
                worker.send(hello, (counters_fd, self._buckets_fd, log_write, *rescues))
        except OSError:
            born.discard()
            raise
        self._follow(worker, log_read, born.errors_read)
        return worker

    def _adopt(self, orphan: Orphan) -> WorkerProcess:
        with ExitStack() as closing:
            for fd in (orphan.counters_fd, orphan.buckets_fd):
                _closed_by(closing, fd)
            worker = self._worker(orphan.slot, orphan.pid, orphan.pidfd, orphan.link, orphan.counters_fd)
            worker.page.add(orphan.series)
            worker.assume(list(orphan.pods))
            log_read, log_write = pipe(writer_waits=False)
            errors_read, errors_write = pipe(writer_waits=True)
            for fd in (log_write, errors_write):
                _closed_by(closing, fd)
            worker.send(Adopted(workers=self._settings.size), (log_write, errors_write, *_rescue_sockets(closing)))
        self._follow(worker, log_read, errors_read)
        self._log.info("worker-adopted", worker=orphan.slot, pid=orphan.pid, pods=len(orphan.pods))
        return worker

    def _worker(self, slot: int, pid: int, pidfd: int, link: Link[FromWorker], counters_fd: int) -> WorkerProcess:
        page = WorkerPage(CounterPage(counters_fd))
        worker = WorkerProcess(slot, pid, pidfd, link, page, self._log, self._asks)
        worker.told = self._note_applied
        return worker

    def _share_buckets(self, fd: int) -> None:
        """Go on with the rate-limit buckets that the orphans share; all of them have the same memory."""
        os.close(self._buckets_fd)
        self._buckets_fd = os.dup(fd)

    def _follow(self, worker: WorkerProcess, log_read: int, errors_read: int) -> None:
        def tell(lines: bytes) -> None:
            text = lines.decode("utf-8", "backslashreplace").rstrip()
            worker.report(Report(level="warning", event="worker-stderr", detail=text))

        assert self._pipes is not None, "workers are made inside `run`"
        self._pipes.start_soon(follow_lines, log_read, self._sink.put)
        self._pipes.start_soon(follow_lines, errors_read, tell)


def _closed_by(closing: ExitStack, fd: int) -> int:
    closing.callback(os.close, fd)
    return fd


def _rescue_sockets(closing: ExitStack) -> list[int]:
    return [
        closing.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)).fileno()
        for _ in range(RESCUE_SOCKETS)
    ]
