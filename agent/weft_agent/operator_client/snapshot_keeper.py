"""Keeping the snapshot on disk as new as what is confirmed: soon after a change, never often, once more at the end.

Theory: only whole confirmed states are written, and a state that is on disk already is not written again, so that the time of
the file says when its content was last seen in force. A write that fails is told, and tried again for as long as it fails.
"""

from collections.abc import Callable
from typing import Final

import trio

from weft_agent.control.desired import Entries
from weft_agent.operator_client.disk_snapshot import Place, Snapshot, SnapshotError, read_snapshot, write_snapshot
from weft_agent.telemetry.log import Log
from weft_agent.telemetry.metrics import Metrics

SETTLE_S: Final = 0.5
"""Changes come in groups; one write serves them all."""


class SnapshotKeeper:
    """The snapshot of one node.

    Args:
        place: where it is, and whose.
        interval_s: shortest time between two writes.
        log: told of what goes wrong.
        metrics: count writes.
        clock: wall clock, unix seconds.
    """

    def __init__(self, place: Place, interval_s: float, log: Log, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._place = place
        self._interval_s = interval_s
        self._log = log
        self._metrics = metrics
        self._clock = clock
        self._news = trio.Event()
        self._wanted: Entries | None = None
        self._kept: Entries | None = None
        self.problem = ""
        """Why there is none, or not the newest; empty: all is well."""

    async def read(self) -> Snapshot | None:
        """Return what an earlier agent left; None: nothing that can be used, and the log says why."""
        place = self._place
        try:
            snapshot = await trio.to_thread.run_sync(read_snapshot, place)
        except SnapshotError as exc:
            self.problem = str(exc)
            self._log.error("snapshot-unusable", error=str(exc), consequence="no pod is served until the operator came")
            return None
        if snapshot is None:
            text = "the operator has to be waited for"
            self._log.warning("snapshot-missing", directory=str(place.directory), consequence=text)
            return None
        age_s = round(self._clock() - snapshot.saved_unix_s)
        self._log.info("snapshot-read", resources=len(snapshot.entries), build=snapshot.build, age_s=age_s)
        return snapshot

    def holds(self, entries: Entries) -> None:
        """Note what the file was found to hold."""
        self._kept = entries

    def keep(self, entries: Entries) -> None:
        """Write these soon, unless the file holds them."""
        self._wanted = entries
        if entries is not self._kept:
            self._news.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._news.wait()
            await trio.sleep(SETTLE_S)
            self._news = trio.Event()
            if (entries := self._due()) is not None:
                self._note(entries, await trio.to_thread.run_sync(self._write, entries, self._clock()))
            await trio.sleep(self._interval_s)

    def finish(self) -> None:
        """Write what is not written yet; blocking, and the last chance."""
        if (entries := self._due()) is not None:
            self._note(entries, self._write(entries, self._clock()))

    def _due(self) -> Entries | None:
        return None if self._wanted is self._kept else self._wanted

    def _write(self, entries: Entries, now_unix_s: float) -> int | SnapshotError:
        try:
            return write_snapshot(self._place, entries, now_unix_s)
        except SnapshotError as exc:
            return exc

    def _note(self, entries: Entries, result: int | SnapshotError) -> None:
        if isinstance(result, SnapshotError):
            self._metrics.add("weft_snapshot_writes_total", outcome="failed")
            if self.problem != str(result):
                self._log.error("snapshot-not-written", error=str(result))
            self.problem = str(result)
            self._news.set()  # try again: disks are repaired
            return
        self._kept = entries
        self.problem = ""
        self._metrics.add("weft_snapshot_writes_total", outcome="written")
        self._metrics.set("weft_snapshot_bytes", float(result))
