"""The controllers as one thing to run while leading: kopf, the queue, the reconciler, Events, the webhooks' trust.

Theory: `run` is one task that is cancelled when the Lease is lost. With it end all workers, at once; kopf may take some
seconds to end in its thread, but from the first moment on nothing that it says is heard any more. `close` waits for that
end: afterwards, so that whoever leads next need not.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from weft_operator.compile import ClusterView
from weft_operator.conditions import Notice
from weft_operator.controllers.annotations import annotation_notices
from weft_operator.controllers.bundles import Bundles
from weft_operator.controllers.events import Recorder
from weft_operator.controllers.heartbeat import Heartbeat
from weft_operator.controllers.kopf_thread import Ears, Heard, KopfThread, Login
from weft_operator.controllers.outlook import Outlook
from weft_operator.controllers.pods import pod_notices
from weft_operator.controllers.reconcile import Reconciler
from weft_operator.controllers.resources import Reference
from weft_operator.controllers.roots import PublishedRoots
from weft_operator.controllers.store import Store
from weft_operator.controllers.teller import Foreign, Teller
from weft_operator.controllers.work_queue import WorkQueue

WORKERS: Final = 4
RESYNC_S: Final = 600.0
"""Every object is looked at again this often, whatever was or was not heard."""
BUNDLES_S: Final = 10.0
"""A chart's upgrade writes the webhook configurations anew; until the bundle is back, pods of the mesh cannot be made."""
BUNDLES_RETRY_S: Final = 2.0
OWNERS_S: Final = 20.0
WATCHDOG_S: Final = 5.0

_log: Final = structlog.get_logger("weft_operator.controllers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the controllers are given of the rest of the operator."""

    store: Store
    outlook: Outlook
    login: Login
    instance: str
    """Name of this replica, for Events."""
    lease: tuple[str, str]
    """Namespace and name of the Lease that this replica renews."""
    webhook_configuration: str
    """Name of both webhook configurations."""
    roots: Callable[[], Sequence[str]]
    """PEM certificates that verify our servers."""
    roots_config_map: tuple[str, str]
    """Namespace and name of the ConfigMap that agents read them from."""
    view: Callable[[], ClusterView]
    """All objects as they are now; may change while it is read."""
    trust_domain: Callable[[], str]


class Controllers:
    """Runs the controllers of one term of leadership."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._recorder = Recorder(around.store, around.instance)
        self._reconciler = Reconciler(around.store, around.outlook, self._recorder)
        self._queue: WorkQueue[Reference] = WorkQueue()
        self._heartbeat = Heartbeat(time.monotonic())
        self._kopf: KopfThread | None = None
        self._bundles_now = asyncio.Event()

    @property
    def alive(self) -> bool:
        """False when kopf hears nothing and starting it anew did not help."""
        return self._heartbeat.alive

    @property
    def writes(self) -> int:
        """Statuses written so far."""
        return self._reconciler.writes

    @property
    def waiting(self) -> int:
        """Objects that wait to be looked at."""
        return len(self._queue)

    def changed(self, references: Iterable[Reference]) -> None:
        """Note that what is known about objects changed: a verdict, or how many nodes have them."""
        for reference in references:
            self._queue.add(reference)

    def expect(self, reference: Reference, version: str) -> None:
        """Note that a reflector saw a version of a watched object, which kopf must see too."""
        self._heartbeat.expect(reference, version, time.monotonic())

    def roots_changed(self) -> None:
        """Note that the webhooks' roots changed."""
        self._bundles_now.set()

    async def run(self) -> None:
        """Run until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._start_kopf()
                group.create_task(self._queue.run(self._reconciler.reconcile, WORKERS))
                group.create_task(self._watch_over_kopf())
                group.create_task(self._resync())
                group.create_task(self._keep_bundles())
                group.create_task(self._tell_owners())
        finally:
            if self._kopf is not None:
                self._kopf.dismiss()

    async def close(self) -> None:
        """Wait until kopf has ended, after `run`."""
        await self._stop_kopf()

    def _start_kopf(self) -> None:
        ears = Ears(heard=self._heard, beat=lambda: self._heartbeat.beat(time.monotonic()))
        self._kopf = KopfThread(self._around.login, ears, self._around.lease)
        self._kopf.start()

    async def _stop_kopf(self) -> None:
        kopf, self._kopf = self._kopf, None
        if kopf is not None and not await kopf.stop():
            _log.warning("kopf did not end in time; it is not listened to any more")

    def _heard(self, heard: Heard) -> None:
        self._heartbeat.saw(heard.reference, heard.version)
        if heard.item is None:
            self._heartbeat.forget(heard.reference)
        self._reconciler.saw(heard.reference, heard.item)
        self._queue.add(heard.reference)

    async def _watch_over_kopf(self) -> None:
        while True:
            await asyncio.sleep(WATCHDOG_S)
            missing = self._heartbeat.missing(time.monotonic())
            if self._kopf is not None and not self._kopf.running:
                missing = "it ended"
            if missing:
                _log.error("kopf is started anew", why=missing)
                await self._stop_kopf()
                self._heartbeat.restarted(time.monotonic())
                self._start_kopf()

    async def _resync(self) -> None:
        while True:
            await asyncio.sleep(RESYNC_S)
            self.changed(self._reconciler.known)

    async def _keep_bundles(self) -> None:
        bundles = Bundles(self._around.store, self._around.webhook_configuration)
        published = PublishedRoots(self._around.store, self._around.roots_config_map)
        while True:
            self._bundles_now.clear()
            wait_s = BUNDLES_S
            try:
                await published.write(self._around.roots())
                await bundles.write(self._around.roots())
            except Exception as exc:
                wait_s = BUNDLES_RETRY_S
                _log.warning("the roots could not be written for agents and webhooks", error=repr(exc))
            try:
                async with asyncio.timeout(wait_s):
                    await self._bundles_now.wait()
            except TimeoutError:
                continue

    async def _tell_owners(self) -> None:
        """Tell by Events what is wrong with objects that are not ours to write conditions into."""
        teller = Teller(self._recorder)
        while True:
            await asyncio.sleep(OWNERS_S)
            try:
                await teller.tell(await asyncio.to_thread(self._wrong))
            except Exception as exc:
                _log.warning("pods and Services could not be looked through", error=repr(exc))

    def _wrong(self) -> list[tuple[Foreign, Notice]]:
        view = self._around.view()
        pods = pod_notices(view, list(view.pods.items()), self._around.trust_domain())
        return [*pods, *annotation_notices(view)]
