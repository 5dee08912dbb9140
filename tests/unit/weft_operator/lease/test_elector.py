"""The election: one leads, the next takes over, who cannot renew stops in time, clocks may differ. Time jumps."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from weft_operator.access import UnreachableError
from weft_operator.lease import Elector, lease_path
from weft_operator.lease.elector import DEADLINE_S, LEASE_S, LOOK_S, RENEW_S
from weft_operator.lease.record import micro_time, read_record
from weft_testing.jumping_loop import jumping
from weft_testing.memory_api import MemoryApi

LEASE = ("weft-system", "weft-operator")
PATH = lease_path(*LEASE)


class Api(MemoryApi):
    """A store whose connections can be cut, or hang."""

    def __init__(self) -> None:
        super().__init__()
        self.cut: set[str] = set()
        self.hanging: set[str] = set()


class Door:
    """The store as one replica reaches it."""

    def __init__(self, api: Api, name: str) -> None:
        self.api, self.name = api, name

    async def _pass(self) -> None:
        if self.name in self.api.hanging:
            await asyncio.sleep(3600)
        if self.name in self.api.cut:
            raise UnreachableError("cut")

    async def get(self, path: str) -> Any:
        await self._pass()
        return await self.api.get(path)

    async def replace(self, path: str, item: Mapping[str, object]) -> Any:
        await self._pass()
        return await self.api.replace(path, item)

    async def create(self, path: str, item: Mapping[str, object]) -> Any:
        await self._pass()
        return await self.api.create(path, item)


class Replica:
    """A candidate that notes when it leads."""

    def __init__(self, api: Api, name: str, wall_s: float = 0.0, rng: Callable[[], float] = lambda: 0.5) -> None:
        self.name = name
        self.leading, self.stopped = asyncio.Event(), asyncio.Event()
        self.begun = 0
        self.stopped_at = 0.0
        self.fail = False
        clock = asyncio.get_running_loop().time
        self.elector = Elector(
            Door(api, name), LEASE, name, self.lead, clock=clock, wall=lambda: wall_s + clock(), rng=rng
        )
        self.task: asyncio.Task[None] | None = None

    async def lead(self) -> None:
        self.begun += 1
        self.leading.set()
        if self.fail:
            self.fail = False
            raise RuntimeError("a bug of the controllers")
        try:
            await asyncio.sleep(1e6)
        finally:
            self.leading.clear()
            self.stopped.set()
            self.stopped_at = asyncio.get_running_loop().time()

    async def end(self) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Replica"]:
        self.task = asyncio.create_task(self.elector.run())
        try:
            yield self
        finally:
            await self.end()


def now() -> float:
    return asyncio.get_running_loop().time()


@jumping
async def test_one_leads_and_gives_the_lease_back_when_it_ends() -> None:
    api = Api()
    async with Replica(api, "a").running() as first:
        await first.leading.wait()
        async with Replica(api, "b", wall_s=1e9).running() as second:
            await asyncio.sleep(10 * LEASE_S)
            assert (first.elector.leads, second.elector.leads) == (True, False)
            assert second.elector.holder == "a"
            begun = now()
            await first.end()
            await second.leading.wait()
            assert now() - begun <= LOOK_S * 1.25
            record = read_record(api.objects[PATH])
            assert (record.holder, record.transitions) == ("b", 1)
            assert record.acquired > micro_time(1e9), "by its own clock, which is a generation ahead"
    assert read_record(api.objects[PATH]).holder == ""


@jumping
async def test_who_is_cut_off_stops_before_another_begins() -> None:
    for how in ("cut", "hanging"):
        api = Api()
        async with Replica(api, "a").running() as leader:
            await leader.leading.wait()
            async with Replica(api, "b").running() as other:
                await asyncio.sleep(LEASE_S)
                begun = now()
                getattr(api, how).add("a")
                await leader.stopped.wait()
                assert not other.leading.is_set()
                assert now() - begun <= DEADLINE_S, how
                await other.leading.wait()
                assert LEASE_S - RENEW_S <= now() - begun <= LEASE_S + LOOK_S, how
                getattr(api, how).clear()
                await asyncio.sleep(10 * LEASE_S)
                assert (leader.elector.leads, other.elector.leads) == (False, True)


@jumping
async def test_a_leader_that_dies_is_followed_the_moment_its_lease_lapses() -> None:
    """Whenever it dies between two looks of the other: one look to see its last renewal, and not another to see it lapse."""
    for seed in range(50):
        api = Api()
        async with Replica(api, "a").running() as leader:
            await leader.leading.wait()
            async with Replica(api, "b", rng=random.Random(seed).random).running() as other:
                await asyncio.sleep(LEASE_S + seed * LOOK_S / 10)
                api.cut.add("a")
                renewed_at = leader.elector._renewed_at
                await other.leading.wait()
                assert LEASE_S <= now() - renewed_at <= LEASE_S + 1.25 * LOOK_S, seed


@jumping
async def test_a_short_cut_costs_nothing() -> None:
    api = Api()
    async with Replica(api, "a").running() as leader, Replica(api, "b").running() as other:
        await leader.leading.wait()
        await asyncio.sleep(LEASE_S)
        api.cut.add("a")
        await asyncio.sleep(DEADLINE_S - RENEW_S - 1)
        api.cut.clear()
        await asyncio.sleep(10 * LEASE_S)
        assert (leader.elector.terms, leader.elector.leads, other.elector.leads) == (1, True, False)


@jumping
async def test_an_error_of_the_controllers_costs_a_pause_and_not_the_lease() -> None:
    replica = Replica(Api(), "a")
    replica.fail = True
    async with replica.running():
        await asyncio.sleep(LEASE_S)
        assert (replica.begun, replica.elector.terms, replica.elector.leads) == (2, 1, True)


@jumping
async def test_without_a_server_nobody_leads_and_nothing_ends() -> None:
    api = Api()
    api.cut.add("a")
    async with Replica(api, "a").running() as replica:
        await asyncio.sleep(10 * LEASE_S)
        assert not replica.elector.leads
        api.cut.clear()
        await replica.leading.wait()


@jumping
async def test_a_lease_that_somebody_else_took_is_let_go() -> None:
    api = Api()
    async with Replica(api, "a").running() as replica:
        await replica.leading.wait()
        stolen = await api.get(PATH)
        assert stolen is not None
        stolen["spec"] |= {"holderIdentity": "z", "leaseDurationSeconds": 1000}
        api.put(PATH, stolen)
        await replica.stopped.wait()
        assert replica.elector.holder == "z"
        assert now() <= RENEW_S + 1
