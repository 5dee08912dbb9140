"""This replica as a candidate: the election, and the controllers of the present term of leadership."""

import asyncio
from collections.abc import Iterable, Sequence

from weft_operator.compile.view import ObjectKey
from weft_operator.controllers import WATCHED, Reference
from weft_operator.controllers.run import Controllers, Surroundings
from weft_operator.controllers.store import Store
from weft_operator.lease import Elector
from weft_operator.reflect import Seen


class Candidate:
    """Takes part in the election and runs the controllers while it leads.

    Args:
        store: the API server.
        identity: of this process.
        around: what the controllers are given.
    """

    def __init__(self, store: Store, identity: str, around: Surroundings) -> None:
        self._around = around
        self._controllers: Controllers | None = None
        self._past: Controllers | None = None
        self._writes = 0
        self.elector = Elector(store, around.lease, identity, self._lead)

    async def run(self) -> None:
        """Take part until cancelled; the Lease is given back, and then what the last term left has ended too."""
        try:
            await self.elector.run()
        finally:
            await asyncio.shield(self._settle())

    async def _settle(self) -> None:
        past, self._past = self._past, None
        if past is not None:
            await past.close()

    async def _lead(self) -> None:
        await self._settle()
        self._controllers = Controllers(self._around)
        try:
            await self._controllers.run()
        finally:
            self._writes += self._controllers.writes
            self._past, self._controllers = self._controllers, None

    @property
    def leads(self) -> bool:
        """Whether this replica is the leader."""
        return self.elector.leads

    @property
    def writes(self) -> int:
        """Statuses written by this process so far."""
        return self._writes + (self._controllers.writes if self._controllers is not None else 0)

    @property
    def waiting(self) -> int:
        """Objects that wait to be looked at."""
        return self._controllers.waiting if self._controllers is not None else 0

    def troubles(self) -> Iterable[str]:
        """Say why the process should be started anew."""
        if self._controllers is not None and not self._controllers.alive:
            yield "kopf hears nothing of what it watches, and starting it anew did not help"

    def changed(self, keys: Iterable[ObjectKey]) -> None:
        """Note that what is known about objects changed."""
        if self._controllers is not None:
            self._controllers.changed(Reference(kind, key) for kind, key in keys if kind in WATCHED)

    def seen(self, items: Sequence[Seen]) -> None:
        """Note what the reflectors saw, which kopf must see too."""
        if self._controllers is None:
            return
        for item in items:
            if item.kind in WATCHED and item.held is not None:
                self._controllers.expect(Reference(item.kind, item.key), item.version)

    def roots_changed(self) -> None:
        """Note that the webhooks' roots changed."""
        if self._controllers is not None:
            self._controllers.roots_changed()
