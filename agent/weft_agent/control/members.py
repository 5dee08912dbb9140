"""Who is captured on this node, over time: puts configuration, pod watch and node addresses together at every change.

Theory: what follows from them is worked out by `control.roster`; this keeps the three inputs and tells of an outcome that
differs from the last one. Without Kubernetes the configuration is the only input.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from random import Random
from typing import Final

import trio

from weft_agent.capture.node_network import node_addresses
from weft_agent.control.config_source import Config
from weft_agent.control.roster import Members, members
from weft_agent.control.settings import Settings
from weft_agent.kubernetes import Account, PodWatch
from weft_agent.telemetry.log import Log
from weft_agent.telemetry.metrics import Metrics
from weft_iptables.errors import NamespaceError

NODE_LOOK_S: Final = 10.0
"""How often the node's addresses are read; besides, whenever a pod's namespace was opened."""


class Membership:
    """Keeps the inputs.

    Args:
        settings: whether and how pods are watched.
        held: uids of pods that a former control had captured.
        apply: told of each new outcome.
        log: told of trouble.
        metrics: count it.
    """

    def __init__(
        self,
        settings: Settings,
        held: Iterable[str],
        apply: Callable[[Members], None],
        log: Log,
        metrics: Metrics,
    ) -> None:
        self._apply = apply
        self._log = log
        self._proc = settings.proc
        self._held = set(held)
        self._config: Config | None = None
        self._last: Members | None = None
        self._refused: Mapping[str, str] = {}
        self._addresses: frozenset[str] = frozenset()
        self._trouble = ""
        self._look = trio.Event()
        self._watch: PodWatch | None = None
        if settings.kubernetes:
            account = Account.at(settings.kubernetes, settings.kubernetes_account, os.environ)
            self._watch = PodWatch(account, settings.node, self._work_out, log, metrics, Random())

    def configured(self, config: Config) -> None:
        """Take a configuration; its outcome is told even when it equals the last one, for it has to be acknowledged."""
        if self._config is not None:
            dropped = {workload.uid for workload in self._config.workloads}
            self._held -= dropped.difference(workload.uid for workload in config.workloads)
        self._config = config
        self._last = None
        self._work_out()

    def look_at_node(self) -> None:
        """Read the node's addresses soon: a pod came, and with it perhaps the node's leg to it."""
        self._look.set()

    def warnings(self) -> Iterator[str]:
        """Say what is wrong."""
        if self._watch is not None and self._watch.trouble:
            yield f"pods of this node are not watched: {self._watch.trouble}"
        if self._trouble:
            yield f"probes may not be recognised: {self._trouble}"
        yield from (f"pod {key} is not captured: {reason}" for key, reason in sorted(self._refused.items()))

    async def run(self) -> None:
        """Watch until cancelled; without Kubernetes there is nothing to watch."""
        if self._watch is None:
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch.run)
            nursery.start_soon(self._look_at_node)

    async def _look_at_node(self) -> None:
        while True:
            self._look = trio.Event()
            try:
                found = await trio.to_thread.run_sync(node_addresses, self._proc)
                self._trouble = ""
            except (NamespaceError, OSError) as exc:
                if str(exc) != self._trouble:
                    self._log.warning("node-addresses", error=str(exc), consequence="probes may not be recognised")
                self._trouble = str(exc)
            else:
                if found != self._addresses:
                    self._addresses = found
                    self._work_out()
            with trio.move_on_after(NODE_LOOK_S):
                await self._look.wait()

    def _work_out(self) -> None:
        if self._config is None:
            return
        seen = self._watch.pods if self._watch is not None else None
        outcome = members(self._config, seen, self._addresses, self._held)
        if seen is not None and seen.synced:
            self._held = {workload.uid for workload in (*outcome.told, *outcome.untold)}
        if outcome == self._last:
            return
        for key in sorted(outcome.refused.keys() - self._refused.keys()):
            self._log.warning("pod-refused", pod=key, reason=outcome.refused[key])
        self._refused = outcome.refused
        self._last = outcome
        self._apply(outcome)
