"""From the stream to the workers and back: takes changes, tells the workers, waits until all have them, acknowledges.

Theory: one change at a time is taken, told and confirmed; what comes meanwhile is merged, so a slow node skips versions that
nobody needs any more and never queues without bound. A worker that does not confirm keeps the others waiting for `PATIENCE_S`
only: then the next change goes out all the same, and what is in flight is confirmed together with it. Nothing is acknowledged
that is not in force in every worker.

A session's nonces die with it (`session_ended`): what it sent and nobody has taken yet is dropped, and sent anew by the next.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

import trio

from weft_agent.control.config_source import Config, Origin
from weft_agent.operator_client.assembly import Change
from weft_agent.operator_client.ledger import Judged, Ledger, WorkerRefusal, judge
from weft_agent.telemetry.log import Log
from weft_agent.telemetry.metrics import Metrics
from weft_contract.stream import Ack

PATIENCE_S: Final = 5.0
"""Workers confirm within milliseconds; one that is being replaced needs half a second."""
INLINE_UPSERTS: Final = 50
"""Judging one resource takes about 20 microseconds; larger changes are judged in a thread."""


class Workers(Protocol):
    """All workers of the node, as far as configuration goes."""

    @property
    def generation(self) -> int:
        """Of what they were told last."""

    async def until_in_force(self, generation: int) -> None:
        """Return when every worker has this generation, or a later one, in force."""

    def take_refusals(self) -> list[tuple[int, str, str]]:
        """Return generation, key and reason of what workers refused since the last call."""


class Enforcement:
    """The configuration of one node, from an operator.

    Args:
        node: its name.
        workers: who enforces it.
        log: told of what is refused and changed.
        metrics: count it.
    """

    def __init__(self, node: str, workers: Workers, log: Log, metrics: Metrics) -> None:
        self._node = node
        self._workers = workers
        self._log = log
        self._metrics = metrics
        self._inbox: Change | None = None
        self._news = trio.Event()
        self._session = 0
        self._unconfirmed = False
        self._apply: Callable[[Config], None] = lambda config: None
        self.ledger = Ledger()
        self.current: Config | None = None
        self.acknowledge: Callable[[tuple[Ack, ...]], None] = lambda acks: None
        """Told of acknowledgements for the present session."""
        self.confirmed: Callable[[], None] = lambda: None
        """Told when `ledger.confirmed` is another one."""

    # -- what the stream says -------------------------------------------------------------------------------------

    def put(self, change: Change) -> None:
        """Take in a whole update of the present session."""
        self._inbox = change if self._inbox is None else self._inbox.then(change)
        self._news.set()

    def session_ended(self) -> None:
        """Forget what the session sent and nobody has taken, and whom acknowledgements would go to."""
        self._session += 1
        self._inbox = None
        self.ledger.forget_nonces()

    def agree(self) -> bool:
        """Note that what is in force is what the operator has, if it was asked and sent nothing; return whether it is so."""
        if self._inbox is not None:
            return False
        if self.current is not None:
            self.current = replace(self.current, origin="operator")
        return True

    # -- life -----------------------------------------------------------------------------------------------------

    async def begin(self, saved: Change, apply: Callable[[Config], None]) -> None:
        """Put what a snapshot held into force; returns without waiting for the workers."""
        self._apply = apply
        await self._take(saved, "snapshot")

    async def run(self, apply: Callable[[Config], None]) -> None:
        """Bring changes into force until cancelled.

        Args:
            apply: tells the workers; the generation is one higher afterwards.
        """
        self._apply = apply
        while True:
            while self._inbox is None and not self._unconfirmed:
                await self._news.wait()
                self._news = trio.Event()
            if self._inbox is not None:
                change, self._inbox = self._inbox, None
                await self._take(change, "operator")
            with trio.move_on_after(PATIENCE_S):
                await self._workers.until_in_force(self._workers.generation)
                self._confirm()

    async def _take(self, change: Change, origin: Origin) -> None:
        session = self._session
        judged = await self._judged(change)
        if session != self._session:
            return  # the next session sends it again
        for key, reason in judged.bad.items():
            self._log.error("resource-refused", key=key, hash=change.upserts[key][0], reason=reason)
        before = self.ledger.entries
        self.ledger.take(judged, self._workers.generation + 1)
        self._unconfirmed = True
        if self.ledger.entries != before or self.current is None or self.current.origin != origin:
            self._tell(origin)
        refused = "refused" if judged.bad else "applied"
        self._metrics.add("weft_config_reloads_total", outcome=refused)
        self._log.info(
            "config-changed",
            origin=origin,
            changed=len(change.upserts),
            removed=len(change.removes),
            resources=len(self.ledger.entries),
        )

    async def _judged(self, change: Change) -> Judged:
        if len(change.upserts) <= INLINE_UPSERTS:
            return judge(change, self._node)
        return await trio.to_thread.run_sync(judge, change, self._node)

    def _tell(self, origin: Origin) -> None:
        self.current = self.ledger.config(origin)
        self._apply(self.current)

    def _confirm(self) -> None:
        self._unconfirmed = False
        refusals = [WorkerRefusal(*refusal) for refusal in self._workers.take_refusals()]
        acks, changed = self.ledger.confirm(refusals)
        if changed and self.current is not None:
            self._tell(self.current.origin)
        self.acknowledge(acks)
        self.confirmed()
