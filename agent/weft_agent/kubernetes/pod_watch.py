"""The watch of this node's pods: what was seen last stays while the API server is away.

Theory: a pod missing from a list is gone, and is released, so it must not be missing by mistake: lists come from the store
itself, never from a cache that may be behind (`list_watch`).
"""

from collections.abc import Callable, Sequence
from random import Random

from weft_agent.kubernetes.account import Account
from weft_agent.kubernetes.event import Change
from weft_agent.kubernetes.list_watch import ListWatch, Reason
from weft_agent.kubernetes.node_pods import NodePods
from weft_agent.telemetry.log import Log
from weft_agent.telemetry.metrics import Metrics
from weft_contract.objects import Pod


class PodWatch:
    """Watches the pods of one node.

    Args:
        account: at which API server, as whom.
        node: whose pods.
        changed: told after every change of `pods`.
        log: told of trouble, once each.
        metrics: count it.
        rng: jitter.
    """

    def __init__(
        self, account: Account, node: str, changed: Callable[[], None], log: Log, metrics: Metrics, rng: Random
    ) -> None:
        self.pods = NodePods()
        self.trouble = ""
        """Why the pods are not watched at present; empty: they are."""
        self._changed = changed
        self._log = log
        self._metrics = metrics
        self._watch = ListWatch(account, "/api/v1/pods", {"fieldSelector": f"spec.nodeName={node}"}, Pod, self, rng)

    async def run(self) -> None:
        """Watch until cancelled."""
        self._metrics.set("weft_pod_watch_connected", 0.0)
        await self._watch.run()

    # -- what the watch says --------------------------------------------------------------------------------------

    def replace(self, items: Sequence[Pod]) -> None:
        """Take in a full list."""
        self.pods.replace(items)
        self._log.info("pods-listed", pods=len(items))
        self._changed()

    def change(self, kind: Change, item: Pod) -> None:
        """Take in one event."""
        if self.pods.change(kind, item):
            self._changed()

    def connected(self) -> None:
        """Note that the watch is open."""
        self._metrics.set("weft_pod_watch_connected", 1.0)
        if self.trouble:
            self._log.info("pod-watch-back")
        self.trouble = ""

    def failed(self, reason: Reason, trouble: str) -> None:
        """Note that the watch failed, or that a pod could not be read."""
        self._metrics.add("weft_pod_watch_errors_total", reason=reason)
        if reason == "object":
            self._log.error("pod-unreadable", error=trouble)
            return
        self._metrics.set("weft_pod_watch_connected", 0.0)
        if trouble != self.trouble and reason != "expired":
            consequence = "pods that come or go are noticed by the configuration alone"
            self._log.warning("pod-watch", error=trouble, consequence=consequence)
            self.trouble = trouble
