"""When endpoints are asked of the API server: after a minute without an operator, until one has agreed again.

Theory of operation. *Away* means that no session has agreed: one that was opened and ended before the operator had said
whether it has news does not count. After `degraded_after_s` and a jitter of up to `degraded_jitter_s`, so that the nodes of a
cluster do not ask at the same moment, the held Services' slices are followed (`slice_watch`), the pods behind endpoints that
nobody has told of are asked for (`pod_lookup`), and the overlay is worked out in a thread, at most once every `SETTLE_S`. It lies
on what workers are told and nowhere else: ledger and snapshot keep the operator's word. An operator that agrees, or sends
something, ends it at once: its word holds, unmixed.

What is held may change without an operator (workers refused a resource, a pod of this node came): the overlay is worked out
anew from what is held then.
"""

from collections.abc import Callable, Iterable
from functools import partial
from random import Random
from typing import Final

import trio

from weft_agent.control.config_source import Config
from weft_agent.control.desired import Entries
from weft_agent.degraded.held import Held, own_pods, read_held
from weft_agent.degraded.overlay import Overlay, work_out
from weft_agent.degraded.pod_lookup import PodLookup
from weft_agent.degraded.slice_watch import SliceWatch
from weft_agent.degraded.stranger import Asked
from weft_agent.kubernetes import Account
from weft_agent.kubernetes.list_watch import Reason
from weft_agent.telemetry.log import Log
from weft_agent.telemetry.metrics import Metrics
from weft_contract.limits import Limits
from weft_contract.resources import Workload

SETTLE_S: Final = 1.0
"""Changes of slices come in bursts (rollouts); the overlay is worked out from all of a burst."""
NOTHING: Final = Overlay()


class DegradedEndpoints:
    """Keeps endpoints fresh without an operator.

    Args:
        node: name of this node.
        account: at which API server, as whom.
        limits: when it begins.
        tell: tells workers what `over` returns now.
        log: told of beginning, end and trouble.
        metrics: state it.
        rng: jitter.
    """

    def __init__(
        self,
        node: str,
        account: Account,
        limits: Limits,
        tell: Callable[[], None],
        log: Log,
        metrics: Metrics,
        rng: Random,
    ) -> None:
        self._node = node
        self._account = account
        self._limits = limits
        self._tell = tell
        self._log = log
        self._metrics = metrics
        self._rng = rng
        self._agreed = False
        self._agreements = 0
        self._turn = trio.Event()
        """Set when `_agreed` changes."""
        self._news = trio.Event()
        """Set when the overlay has to be worked out."""
        self._config: Config | None = None
        self._workloads: tuple[Workload, ...] = ()
        self._overlay = NOTHING
        self._watch: SliceWatch | None = None
        self._lookup: PodLookup | None = None
        self._state(NOTHING)

    # -- what others say and ask ----------------------------------------------------------------------------------

    def agreed(self, *, tell: bool = True) -> None:
        """Note that an operator stands by what is held, or sends what is to be held: its word holds.

        Args:
            tell: whether workers are told now; False: the caller does, of everything.
        """
        had, self._overlay = bool(self._overlay.entries), NOTHING
        self._agreements += 1
        self._state(NOTHING)
        if not self._agreed:
            self._agreed = True
            self._turn.set()
        if had and tell:
            self._tell()

    def lost(self) -> None:
        """Note that the session ended."""
        if self._agreed:
            self._agreed = False
            self._turn.set()

    def configured(self, config: Config) -> None:
        """Take what is held; workers are told of it afterwards."""
        if self._config is None or self._config.entries is not config.entries:
            self._overlay = NOTHING  # it was worked out from something else
        self._config = config
        self._news.set()

    def sees(self, workloads: Iterable[Workload]) -> None:
        """Take the pods of this node that workers know."""
        found = tuple(workloads)
        if found != self._workloads:
            self._workloads = found
            self._news.set()

    def over(self, entries: Entries | None) -> Entries | None:
        """Return what workers are told: entries with the overlay on them."""
        laid = self._overlay.entries
        return {**entries, **laid} if entries is not None and laid else entries

    @property
    def is_active(self) -> bool:
        """Whether endpoints come from the API server."""
        return self._watch is not None

    def warnings(self) -> Iterable[str]:
        """Say what is not as good as with an operator."""
        if self._watch is not None and self._watch.trouble:
            yield f"endpoints are not watched while the operator is away: {self._watch.trouble}"
        if self._lookup is not None and self._lookup.trouble:
            yield f"pods of other nodes cannot be asked for while the operator is away: {self._lookup.trouble}"
        if self._overlay.unknown:
            yield f"{self._overlay.unknown} new endpoints get no traffic: it is not certain whose they are"

    def status(self) -> dict[str, object]:
        """Return what `weft-agent status` shows."""
        overlay = self._overlay
        return {
            "active": self.is_active,
            "connected": self._watch is not None and self._watch.connected,
            "services": overlay.services,
            "gone": overlay.gone,
            "added": overlay.added,
            "unknown": overlay.unknown,
        }

    # -- life -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Wait for operators to be away, and bridge it, until cancelled."""
        while True:
            while self._agreed:
                await self._until_turn()
            wait_s = self._limits.degraded_after_s + self._rng.uniform(0.0, self._limits.degraded_jitter_s)
            with trio.move_on_after(wait_s):
                await self._until_turn()
                continue
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._bridge)
                await self._until_turn()
                nursery.cancel_scope.cancel()

    async def _until_turn(self) -> None:
        await self._turn.wait()
        self._turn = trio.Event()

    async def _bridge(self) -> None:
        """Follow slices and keep the overlay; started anew when other resources are held."""
        config = await self._held()
        self._log.warning("degraded-endpoints", state="begun", consequence="endpoints come from the API server")
        try:
            while True:
                held = await trio.to_thread.run_sync(read_held, config.entries)
                self._watch = SliceWatch(
                    self._account, held.services, self._changed, self._log, self._metrics, self._rng
                )
                self._lookup = PodLookup(self._account, self._changed, self._lookup_failed, self._rng)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._watch.run)
                    nursery.start_soon(self._lookup.run)
                    config = await self._follow(held, config, self._watch, self._lookup)
                    nursery.cancel_scope.cancel()
        finally:
            self._watch = self._lookup = None
            self._state(self._overlay)
            self._log.info("degraded-endpoints", state="over")

    async def _held(self) -> Config:
        while self._config is None:
            await self._news.wait()
            self._news = trio.Event()
        return self._config

    async def _follow(self, held: Held, config: Config, watch: SliceWatch, lookup: PodLookup) -> Config:
        """Keep the overlay until another configuration is held; return that."""
        self._state(self._overlay)
        self._news.set()
        while True:
            await self._news.wait()
            self._news = trio.Event()
            if self._config is not None and self._config.entries is not config.entries:
                return self._config
            zone = config.node.zone if config.node is not None else ""
            own = own_pods(self._node, zone, self._workloads)
            asked = Asked(trust_domain=config.node.trust_domain if config.node is not None else "", pods=lookup.pods())
            agreements = self._agreements
            overlay = await trio.to_thread.run_sync(partial(work_out, held, watch.slices(), own, asked))
            if agreements != self._agreements:
                return config  # an operator came meanwhile, and what it says holds; this task is about to be cancelled
            if self._config is None or self._config.entries is config.entries:
                self._lay(overlay)
                lookup.want(overlay.strangers)
            await trio.sleep(SETTLE_S)

    def _lay(self, overlay: Overlay) -> None:
        before, self._overlay = self._overlay, overlay
        self._state(overlay)
        if overlay.entries != before.entries:
            self._log.info(
                "degraded-endpoints", state="changed", services=overlay.services, gone=overlay.gone,
                added=overlay.added, unknown=overlay.unknown,
            )  # fmt: skip
            self._tell()

    def _changed(self) -> None:
        self._news.set()

    def _lookup_failed(self, reason: Reason, trouble: str) -> None:
        self._metrics.add("weft_degraded_watch_errors_total", reason=reason)
        self._log.debug("degraded-lookup", error=trouble)  # a warning tells it meanwhile

    def _state(self, overlay: Overlay) -> None:
        metrics = self._metrics
        metrics.set("weft_degraded_active", float(self.is_active))
        for what, count in (("gone", overlay.gone), ("added", overlay.added), ("unknown", overlay.unknown)):
            metrics.set("weft_degraded_endpoints", float(count), kind=what)
        if not self.is_active:
            metrics.set("weft_degraded_watch_connected", 0.0)
