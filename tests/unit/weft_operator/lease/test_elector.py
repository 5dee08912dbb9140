"""The election: one leads, the next takes over, who cannot renew stops in time, clocks may differ."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from weft_operator.access import UnreachableError
from weft_operator.lease import Elector, lease_path
from weft_operator.lease import elector as module
from weft_operator.lease.record import read_record
from weft_testing.memory_api import MemoryApi

pytestmark = pytest.mark.asyncio
LEASE = ("weft-system", "weft-operator")
PATH = lease_path(*LEASE)
PATIENCE_S = 10.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("LEASE_S", 0.6), ("RENEW_S", 0.1), ("DEADLINE_S", 0.4), ("LOOK_S", 0.05), ("AGAIN_S", 0.01)):
        monkeypatch.setattr(module, name, value)


class Api(MemoryApi):
    """A store whose connection can be cut, and whose lease durations are not whole seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.cut: set[str] = set()

    def of(self, name: str) -> "Door":
        return Door(self, name)


class Door:
    def __init__(self, api: Api, name: str) -> None:
        self.api, self.name = api, name

    def _check(self) -> None:
        if self.name in self.api.cut:
            raise UnreachableError("cut")

    async def get(self, path: str) -> Any:
        self._check()
        found = await self.api.get(path)
        if found is not None and found["spec"]["leaseDurationSeconds"] == 0:
            found["spec"]["leaseDurationSeconds"] = module.LEASE_S
        return found

    async def replace(self, path: str, item: Mapping[str, object]) -> Any:
        self._check()
        return await self.api.replace(path, item)

    async def create(self, path: str, item: Mapping[str, object]) -> Any:
        self._check()
        return await self.api.create(path, item)


class Replica:
    def __init__(self, api: Api, name: str, wall_s: float = 0.0) -> None:
        self.leading = asyncio.Event()
        self.stopped = asyncio.Event()
        self.begun = 0
        self.begun_anew = asyncio.Event()
        self.fail = False
        self.elector = Elector(api.of(name), LEASE, name, self.lead, wall=lambda: wall_s + time.monotonic())
        self.task: asyncio.Task[None] | None = None

    async def lead(self) -> None:
        self.begun += 1
        if self.begun == 2:
            self.begun_anew.set()
        self.leading.set()
        if self.fail:
            self.fail = False
            raise RuntimeError("a bug of the controllers")
        try:
            await asyncio.Event().wait()
        finally:
            self.leading.clear()
            self.stopped.set()

    async def leads(self) -> None:
        await asyncio.wait_for(self.leading.wait(), PATIENCE_S)

    @asynccontextmanager
    async def running(self) -> Any:
        self.task = asyncio.create_task(self.elector.run())
        try:
            yield self
        finally:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)


async def test_one_leads_and_gives_the_lease_back_when_it_ends() -> None:
    api = Api()
    async with Replica(api, "a").running() as first:
        await first.leads()
        async with Replica(api, "b", wall_s=1e9).running() as second:
            await asyncio.sleep(2 * module.LEASE_S)
            assert (first.elector.leads, second.elector.leads) == (True, False)
            assert second.elector.holder == "a"
            first.task.cancel()
            await second.leads()
            assert not first.elector.leads
            assert first.stopped.is_set()
            record = read_record(api.objects[PATH])
            assert (record.holder, record.transitions) == ("b", 1)
        assert read_record(api.objects[PATH]).holder == ""


async def test_who_is_cut_off_stops_before_another_begins() -> None:
    api = Api()
    async with Replica(api, "a").running() as first, Replica(api, "b").running() as second:
        await asyncio.wait(
            [asyncio.ensure_future(each.leading.wait()) for each in (first, second)],
            return_when=asyncio.FIRST_COMPLETED,
        )
        leader, other = (first, second) if first.leading.is_set() else (second, first)
        api.cut.add(leader.elector._identity)
        await asyncio.wait_for(leader.stopped.wait(), PATIENCE_S)
        assert not other.leading.is_set()
        await other.leads()
        api.cut.clear()
        await asyncio.sleep(2 * module.LEASE_S)
        assert (leader.elector.leads, other.elector.leads) == (False, True)


async def test_an_error_of_the_controllers_costs_a_pause_and_not_the_lease() -> None:
    replica = Replica(Api(), "a")
    replica.fail = True
    async with replica.running():
        await asyncio.wait_for(replica.begun_anew.wait(), PATIENCE_S)
        assert replica.elector.terms == 1
        assert replica.elector.leads


async def test_without_a_server_nobody_leads_and_nothing_ends() -> None:
    api = Api()
    api.cut.add("a")
    async with Replica(api, "a").running() as replica:
        await asyncio.sleep(5 * module.LOOK_S)
        assert not replica.elector.leads
        api.cut.clear()
        await replica.leads()


async def test_a_lease_that_somebody_else_took_is_let_go() -> None:
    api = Api()
    async with Replica(api, "a").running() as replica:
        await replica.leads()
        stolen = await api.get(PATH)
        assert stolen is not None
        stolen["spec"] |= {"holderIdentity": "z", "leaseDurationSeconds": 1000}
        api.put(PATH, stolen)
        await asyncio.wait_for(replica.stopped.wait(), PATIENCE_S)
        assert replica.elector.holder == "z"
