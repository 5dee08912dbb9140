"""Looking after captured pods: rules that drifted are repaired, packets that went around the agent are counted.

Theory: rules are looked at every second as long as that costs less than a tenth of a CPU, and less often on nodes with very
many pods. A look that fails hands the pod back to its own task, which captures it anew.
"""

from collections.abc import Callable, Mapping
from typing import Final

import trio

from weft_agent.capture.network import PodNetwork
from weft_agent.capture.pod import Pod
from weft_agent.telemetry.log import Log
from weft_agent.telemetry.metrics import Metrics
from weft_iptables.errors import IptablesError

LOOK_INTERVAL_S: Final = 1.0
LOOK_SHARE: Final = 0.1
"""Of one CPU; looking at one pod costs one to two milliseconds."""
COUNT_INTERVAL_S: Final = 10.0


class Caretaker:
    """Looks after all pods.

    Args:
        pods: by uid.
        failed: told of pods that could not be looked at.
        log: told of what was healed.
        metrics: counts it.
    """

    def __init__(
        self, pods: Mapping[str, Pod], failed: Callable[[Pod, Exception], None], log: Log, metrics: Metrics
    ) -> None:
        self._pods = pods
        self._failed = failed
        self._log = log
        self._metrics = metrics
        self._counted: dict[tuple[str, str, str], int] = {}
        """Packets counted so far by pod uid, direction and kind."""

    async def heal(self) -> None:
        """Compare and repair, until cancelled."""
        while True:
            began_s = trio.current_time()
            for pod in self._captured():
                await self._visit(pod, self._heal)
            cost_s = trio.current_time() - began_s
            await trio.sleep(max(LOOK_INTERVAL_S - cost_s, cost_s / LOOK_SHARE))

    async def count(self) -> None:
        """Carry the kernel's packet counts into metrics, until cancelled."""
        while True:
            await trio.sleep(COUNT_INTERVAL_S)
            for pod in self._captured():
                await self._visit(pod, self._count)
            present = {pod.workload.uid for pod in self._pods.values()}
            self._counted = {key: packets for key, packets in self._counted.items() if key[0] in present}

    def _captured(self) -> list[Pod]:
        return [pod for pod in self._pods.values() if pod.state == "captured"]

    async def _visit(self, pod: Pod, look: Callable[[Pod, PodNetwork], Callable[[], None]]) -> None:
        """Run the blocking part of `look` in a thread, what it returns here."""
        try:
            async with pod.busy:
                if pod.state != "captured" or pod.network is None:
                    return
                tell = await trio.to_thread.run_sync(look, pod, pod.network)
        except (IptablesError, OSError) as exc:
            self._failed(pod, exc)
            pod.again.set()
            return
        tell()

    def _heal(self, pod: Pod, network: PodNetwork) -> Callable[[], None]:
        drifts = network.heal(pod.workload.addresses)

        def tell() -> None:
            if drifts:
                self._metrics.add("weft_capture_drift_healed_total", len(drifts), **pod.labels)
                self._log.warning("capture-healed", pod=pod.key, drifts=[str(drift) for drift in drifts])

        return tell

    def _count(self, pod: Pod, network: PodNetwork) -> Callable[[], None]:
        network.prune()
        counts = network.counters()

        def tell() -> None:
            for (direction, kind), count in counts.items():
                self._add(pod, direction, kind, count.packets)

        return tell

    def _add(self, pod: Pod, direction: str, kind: str, packets: int) -> None:
        """Add what was counted since the last time; the kernel starts anew whenever rules are written."""
        key = (pod.workload.uid, direction, kind)
        before = self._counted.get(key, 0)
        self._counted[key] = packets
        grown = packets - before if packets >= before else packets
        if grown:
            self._metrics.add("weft_capture_packets_total", grown, direction=direction, kind=kind, **pod.labels)
