"""The election: hold the Lease or wait for it; lead while it is ours for certain, and not a moment longer.

Theory: whoever holds the Lease renews it every `RENEW_S`. Whoever does not looks at it every `LOOK_S`, and may take it when
nobody holds it, or when it was not renewed for its duration *since we saw it change*: only the own clock is used, so clocks
may differ. It looks again at the very moment at which that duration ends, so a leader that died is followed within
`LEASE_S` and one look. The API server lets one writer win (`resourceVersion`). A leader that could not renew for
`DEADLINE_S` stops what it does at once, though the Lease is still its own: `LEASE_S - DEADLINE_S` later another may lead.
The time of a renewal is that before it was sent. One that ends in order gives the Lease back, and the next leads within
`LOOK_S`.

Source: client-go tools/leaderelection (15 s, 10 s, 2 s); Kubernetes documentation "Leases".
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

import structlog

from weft_operator.apiserver import ApiError, Body, ConflictError, ExistsError
from weft_operator.controllers.store import Store
from weft_operator.lease.record import Record, lease_path, micro_time, read_record, written

LEASE_S: Final = 15.0
RENEW_S: Final = 5.0
DEADLINE_S: Final = 10.0
LOOK_S: Final = 2.0
TRY_TIMEOUT_S: Final = 4.0
"""One look or renewal; several fit into the deadline."""
RELEASE_TIMEOUT_S: Final = 2.0
AGAIN_S: Final = 5.0
"""Pause before what the leader does is begun anew after an error of ours."""

_log: Final = structlog.get_logger("weft_operator.lease")


class Elector:
    """Takes part in the election.

    Args:
        store: the API server.
        lease: namespace and name.
        identity: of this process; no other may have it.
        lead: what the leader does; cancelled when it does not lead any more.
        clock: monotonic seconds.
        wall: seconds since 1970.
        rng: for jitter.
    """

    def __init__(
        self,
        store: Store,
        lease: tuple[str, str],
        identity: str,
        lead: Callable[[], Awaitable[None]],
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._store, self._identity, self._lead = store, identity, lead
        (self._namespace, self._name) = lease
        self._clock, self._wall, self._rng = clock, wall, rng
        self._seen: Record | None = None
        self._seen_at = 0.0
        self._renewed_at = float("-inf")
        self.leads = False
        self.terms = 0
        """How often this process became the leader."""

    @property
    def holder(self) -> str:
        """Who leads, as far as is known here; empty: nobody."""
        return self._seen.holder if self._seen is not None else ""

    async def run(self) -> None:
        """Take part until cancelled."""
        try:
            while True:
                if await self._try():
                    await self._term()
                await asyncio.sleep(self._pause_s())
        finally:
            with suppress(Exception):
                await asyncio.shield(self._release())

    def _pause_s(self) -> float:
        """How long until the next look: not beyond the moment at which the Lease of a dead leader may be taken."""
        look_s = LOOK_S * (0.75 + self._rng() / 2)
        if self._seen is None or self._seen.holder in ("", self._identity):
            return look_s
        left_s = self._seen_at + self._seen.duration_s - self._clock()
        return min(look_s, left_s) if left_s > 0 else look_s

    async def _term(self) -> None:
        self.terms += 1
        self.leads = True
        _log.info("leading", lease=f"{self._namespace}/{self._name}", identity=self._identity)
        work = asyncio.create_task(self._work(), name="leader")
        try:
            while (left_s := self._renewed_at + DEADLINE_S - self._clock()) > 0:
                fresh = left_s > DEADLINE_S - RENEW_S
                await asyncio.sleep(min(RENEW_S if fresh else LOOK_S, left_s))
                if not await self._try() and self.holder != self._identity:
                    break
        finally:
            self.leads = False
            work.cancel()
            _log.info("not leading any more", identity=self._identity, holder=self.holder)
            await asyncio.gather(work, return_exceptions=True)

    async def _work(self) -> None:
        """Do what the leader does; an error of ours there costs a pause, never the Lease or the streams."""
        while True:
            try:
                await self._lead()
            except Exception:
                _log.exception("the controllers failed and are started anew")
            await asyncio.sleep(AGAIN_S)

    async def _try(self) -> bool:
        """Take or renew the Lease; say whether it is ours now."""
        try:
            async with asyncio.timeout(self._left_s()):
                return await self._take()
        except (ConflictError, ExistsError):
            return False
        except (ApiError, TimeoutError) as exc:
            _log.warning("the Lease could not be read or renewed", why=str(exc) or "no answer in time")
            return False

    def _left_s(self) -> float:
        """How long a try may take: never beyond the moment at which we must not lead any more."""
        left_s = self._renewed_at + DEADLINE_S - self._clock()
        return min(TRY_TIMEOUT_S, left_s) if self.leads else TRY_TIMEOUT_S

    async def _take(self) -> bool:
        now = self._clock()
        item = await self._store.get(lease_path(self._namespace, self._name))
        if item is None:
            await self._store.create(lease_path(self._namespace), self._new())
            return self._is_ours(self._record(None), now)
        found = read_record(item)
        if found != self._seen:
            self._seen, self._seen_at = found, now
        if found.holder not in ("", self._identity) and now < self._seen_at + found.duration_s:
            return False
        record = self._record(found)
        await self._store.replace(lease_path(self._namespace, self._name), written(item, record))
        return self._is_ours(record, now)

    def _is_ours(self, record: Record, now: float) -> bool:
        self._seen, self._seen_at, self._renewed_at = record, now, now
        return True

    def _new(self) -> Body:
        metadata = {"name": self._name, "namespace": self._namespace}
        item = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata}
        return written(item, self._record(None))

    def _record(self, found: Record | None) -> Record:
        """Return the Lease as ours, from now."""
        now = micro_time(self._wall())
        if found is None:
            return Record(holder=self._identity, duration_s=LEASE_S, renewed=now, acquired=now, transitions=0)
        if found.holder == self._identity:
            return replace(found, renewed=now, duration_s=LEASE_S)
        transitions = found.transitions + 1
        return Record(holder=self._identity, duration_s=LEASE_S, renewed=now, acquired=now, transitions=transitions)

    async def _release(self) -> None:
        """Give the Lease back, if it is ours."""
        if self.holder != self._identity:
            return
        async with asyncio.timeout(RELEASE_TIMEOUT_S):
            path = lease_path(self._namespace, self._name)
            item = await self._store.get(path)
            if item is not None and read_record(item).holder == self._identity:
                await self._store.replace(path, written(item, replace(read_record(item), holder="", duration_s=1)))
                _log.info("the Lease was given back", identity=self._identity)
