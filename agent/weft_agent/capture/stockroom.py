"""Prepared sockets for workers: made in a pod's namespace when a worker asks, a few already before it asks.

Theory: the worker knows its need and learns it from use; control makes what is asked for, a bounded number at a time, in a
thread that enters the namespace once for the whole batch. Requests of one kind that come while a batch is being made are
added up to one, and so are those for pods whose namespace is not open yet: adopted workers ask the new control before it has
found its pods again. The bound is a share of the descriptors that a process may have, divided by the pods that are there: a
worker that asks without end, broken or hijacked, gets no more than its share at a time.
"""

import resource
from collections.abc import Container, Mapping
from typing import Final

import trio

from weft_agent.capture.pod import Pod
from weft_agent.channel.messages import MAX_FDS, Family, NeedStock, Role, Stock
from weft_agent.control.process import WorkerProcess
from weft_agent.telemetry.log import Log
from weft_agent.telemetry.metrics import Metrics
from weft_iptables.errors import IptablesError

FIRST_STOCK: Final = 2
"""Of each role and family that the pod has an address of; the first connections of a pod find something there."""
STOCK_SHARE: Final = 0.25
"""Of RLIMIT_NOFILE, for sockets that nobody uses yet; connections get half (`connection_share`)."""
SMALLEST_BATCH: Final = 4
THREADS: Final = 4
ROLES: Final[tuple[Role, ...]] = ("upstream", "app")

Kind = tuple[int, str, Role, Family]
"""Worker's process id, pod uid, role, family."""


class Stockroom:
    """Makes sockets for workers.

    Args:
        pods: all pods by uid, with their namespaces.
        served: pods that workers were told of, by uid; those that are not open yet are waited for.
        log: told when sockets cannot be made.
        metrics: counts them.
    """

    def __init__(self, pods: Mapping[str, Pod], served: Container[str], log: Log, metrics: Metrics) -> None:
        self._pods = pods
        self._served = served
        self._log = log
        self._metrics = metrics
        self._wanted: dict[Kind, int] = {}
        """Kinds that a task is at work for, and what was asked for since it began."""
        self._early: dict[Kind, tuple[WorkerProcess, NeedStock]] = {}
        """Asked for before the pod was open; the last request of each kind."""
        self._nursery: trio.Nursery | None = None
        self._limiter = trio.CapacityLimiter(THREADS)

    async def run(self) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as self._nursery:
            await trio.sleep_forever()

    def need(self, worker: WorkerProcess, need: NeedStock) -> None:
        """Make sockets for a worker that asks."""
        kind = (worker.pid, need.uid, need.role, need.family)
        pod = self._pods.get(need.uid)
        if pod is None or not pod.open:
            if need.uid in self._served:
                self._early = {key: asked for key, asked in self._early.items() if asked[0].state != "gone"}
                self._early[kind] = (worker, need)
            else:
                self._metrics.add("weft_stock_refused_total", reason="unknown_pod")
            return
        batch = batch_size(len(self._pods))
        if kind in self._wanted:
            self._wanted[kind] = min(self._wanted[kind] + max(0, need.count), batch)
        elif self._nursery is not None and need.count > 0:
            self._wanted[kind] = 0
            if need.count > batch:
                self._metrics.add("weft_stock_refused_total", reason="budget")
            self._nursery.start_soon(self._supply, worker, kind, min(need.count, batch))

    def opened(self, uid: str) -> None:
        """Serve what was asked for before the pod was open."""
        waiting = [kind for kind in self._early if kind[1] == uid]
        for kind in waiting:
            self.need(*self._early.pop(kind))

    def first(self, worker: WorkerProcess, uid: str) -> None:
        """Give a worker its first sockets of a pod."""
        pod = self._pods.get(uid)
        if pod is not None and pod.open:
            families: set[Family] = {6 if ":" in address else 4 for address in pod.workload.addresses}
            for role in ROLES:
                for family in sorted(families):
                    self.need(worker, NeedStock(uid=uid, role=role, family=family, count=FIRST_STOCK))

    async def _supply(self, worker: WorkerProcess, kind: Kind, count: int) -> None:
        try:
            while count > 0 and worker.state != "gone":
                await self._make(worker, kind, count)
                count, self._wanted[kind] = self._wanted[kind], 0
        except (IptablesError, OSError) as exc:
            self._metrics.add("weft_stock_refused_total", reason="error")
            self._log.error("stock-not-made", worker=worker.slot, pod=kind[1], error=str(exc))
        finally:
            del self._wanted[kind]

    async def _make(self, worker: WorkerProcess, kind: Kind, count: int) -> None:
        _, uid, role, family = kind
        pod = self._pods.get(uid)
        if pod is None or pod.network is None:
            self._metrics.add("weft_stock_refused_total", reason="unknown_pod")
            return
        sockets = await trio.to_thread.run_sync(pod.network.stock, role, family, count, limiter=self._limiter)
        try:
            worker.give_stock(Stock(uid=uid, role=role, family=family), sockets)
        finally:
            for sock in sockets:
                sock.close()
        self._metrics.add("weft_stock_sockets_total", len(sockets), role=role, family=str(family))


def batch_size(pods: int) -> int:
    """Return how many sockets of one kind a worker may ask for at once.

    Args:
        pods: captured pods on the node; each has four kinds.
    """
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    share = int(descriptors * STOCK_SHARE / (4 * max(1, pods)))
    return max(SMALLEST_BATCH, min(MAX_FDS, share))
