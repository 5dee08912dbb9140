"""Follows the EndpointSlices of some Services: one watch for each chunk of names, lists one after the other.

Theory: the API server selects slices by the name of their Service, not by its namespace, so a slice of a Service that has only
the name of a held one comes too, and is dropped. A chunk is bounded by the length of its selector, which is part of a URL.
The first list may come from the API server's cache: many nodes ask at once, and seconds do no harm.

Source: Kubernetes API, `kubernetes.io/service-name`; nginx and HAProxy take request lines of 8 KiB.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import Final

import trio

from weft_agent.degraded.seen import SeenSlice
from weft_agent.kubernetes.account import Account
from weft_agent.kubernetes.event import Change
from weft_agent.kubernetes.list_watch import ListWatch, Reason
from weft_agent.telemetry.log import Log
from weft_agent.telemetry.metrics import Metrics
from weft_contract.labels import SLICE_SERVICE_LABEL

PATH: Final = "/apis/discovery.k8s.io/v1/endpointslices"
CHUNK_BYTES: Final = 4096
"""Of names in one selector."""


class SliceWatch:
    """Watches the slices of Services.

    Args:
        account: at which API server, as whom.
        services: keys (`namespace/name`).
        changed: told after every change of what `slices` returns.
        log: told of trouble, once each.
        metrics: count it.
        rng: jitter.
    """

    def __init__(
        self,
        account: Account,
        services: Iterable[str],
        changed: Callable[[], None],
        log: Log,
        metrics: Metrics,
        rng: Random,
    ) -> None:
        self._account = account
        self._services = frozenset(services)
        self._changed = changed
        self._log = log
        self._metrics = metrics
        self._rng = rng
        names = sorted({key.partition("/")[2] for key in self._services})
        self._chunks = [_Chunk(self, chunk) for chunk in in_chunks(names)]

    @property
    def trouble(self) -> str:
        """Why some slices are not watched at present; empty: all are."""
        return next((chunk.trouble for chunk in self._chunks if chunk.trouble), "")

    @property
    def connected(self) -> bool:
        """Whether all are watched."""
        return all(chunk.is_open for chunk in self._chunks)

    def slices(self) -> Mapping[str, Sequence[SeenSlice]]:
        """Return what was shown, by Service; one without slices is not in it."""
        found: dict[str, list[SeenSlice]] = {}
        for item in (item for chunk in self._chunks for item in chunk.present.values()):
            found.setdefault(service_of(item), []).append(item)
        return found

    async def run(self) -> None:
        """Watch until cancelled."""
        async with trio.open_nursery() as nursery:
            for chunk in self._chunks:
                nursery.start_soon(self._follow, chunk)

    async def _follow(self, chunk: "_Chunk") -> None:
        selector = {"labelSelector": f"{SLICE_SERVICE_LABEL} in ({','.join(chunk.names)})"}
        watch = ListWatch(self._account, PATH, selector, SeenSlice, chunk, self._rng, from_cache=True)
        await watch.run()

    # -- what chunks say ------------------------------------------------------------------------------------------

    def wanted(self, item: SeenSlice) -> bool:
        """Whether a slice is one of ours."""
        return service_of(item) in self._services

    def news(self) -> None:
        """Tell that something changed."""
        self._changed()

    def state(self) -> None:
        """State whether everything is watched."""
        self._metrics.set("weft_degraded_watch_connected", float(self.connected))

    def failed(self, reason: Reason, trouble: str, *, new: bool) -> None:
        """Count a failure, and tell of it when it is a new one."""
        self._metrics.add("weft_degraded_watch_errors_total", reason=reason)
        self.state()
        if reason == "object":
            self._log.error("endpointslice-unreadable", error=trouble)
        elif new:
            consequence = "endpoints stay as they were seen last"
            self._log.warning("degraded-watch", error=trouble, consequence=consequence)


class _Chunk:
    """The slices of some names (`weft_agent.kubernetes.list_watch.Mirror`)."""

    def __init__(self, watch: SliceWatch, names: Sequence[str]) -> None:
        self.names = names
        self.present: dict[str, SeenSlice] = {}
        self.trouble = ""
        self.is_open = False
        self._watch = watch

    def replace(self, items: Sequence[SeenSlice]) -> None:
        self.present = {item.metadata.key: item for item in items if self._watch.wanted(item)}
        self._watch.news()

    def change(self, kind: Change, item: SeenSlice) -> None:
        before = self.present.get(item.metadata.key)
        if kind != "DELETED" and self._watch.wanted(item):
            self.present[item.metadata.key] = item
        else:
            self.present.pop(item.metadata.key, None)
        if before != self.present.get(item.metadata.key):
            self._watch.news()

    def connected(self) -> None:
        self.trouble, self.is_open = "", True
        self._watch.state()

    def failed(self, reason: Reason, trouble: str) -> None:
        new = False
        if reason != "object":
            self.is_open = False
            new = reason != "expired" and trouble != self.trouble
            self.trouble = trouble if reason != "expired" else self.trouble
        self._watch.failed(reason, trouble, new=new)


def service_of(item: SeenSlice) -> str:
    """Return the key of the Service that a slice belongs to."""
    return f"{item.metadata.namespace}/{item.metadata.labels.get(SLICE_SERVICE_LABEL, '')}"


def in_chunks(names: Iterable[str], most_bytes: int = CHUNK_BYTES) -> Iterator[tuple[str, ...]]:
    """Cut names into chunks whose lengths, commas included, are bounded."""
    chunk: list[str] = []
    size = 0
    for name in names:
        if chunk and size + len(name) + 1 > most_bytes:
            yield tuple(chunk)
            chunk, size = [], 0
        chunk.append(name)
        size += len(name) + 1
    if chunk:
        yield tuple(chunk)
