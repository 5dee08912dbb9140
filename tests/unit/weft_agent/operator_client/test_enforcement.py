"""Between stream and workers: merged while they are busy, told all the same when one hangs, acknowledged when all have it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio
import trio.lowlevel
from trio.testing import MockClock

from weft_agent.control.config_source import Config
from weft_agent.operator_client.assembly import Change
from weft_agent.operator_client.enforcement import PATIENCE_S, Enforcement
from weft_agent.telemetry.log import Log
from weft_agent.telemetry.metrics import Metrics
from weft_contract.codec import digest, encode
from weft_contract.resources import Service
from weft_contract.stream import Ack


def change(nonce: int, *names: str) -> Change:
    bodies = {f"Service/shop/{name}": encode(Service(namespace="shop", name=name)) for name in names}
    return Change((nonce,), {key: (digest(body), body) for key, body in bodies.items()}, frozenset())


class Rig:
    """Workers that follow when they are told to."""

    def __init__(self) -> None:
        self.generation = 0
        self.in_force = 0
        self.refused: list[tuple[int, str, str]] = []
        self.news = trio.Event()
        self.told: list[Config] = []
        self.acks: list[Ack] = []
        self.confirmed = 0
        log = Log(lambda line: None, "json", "debug")
        self.enforcement = Enforcement("n1", self, log, Metrics())
        self.enforcement.acknowledge = self.acks.extend
        self.enforcement.confirmed = self.note

    def note(self) -> None:
        self.confirmed += 1

    def apply(self, config: Config) -> None:
        self.generation += 1
        self.told.append(config)

    async def until_in_force(self, generation: int) -> None:
        while self.in_force < generation:
            await self.news.wait()

    def take_refusals(self) -> list[tuple[int, str, str]]:
        found, self.refused = self.refused, []
        return found

    async def follow(self) -> None:
        self.in_force = self.generation
        self.news.set()
        self.news = trio.Event()
        await trio.testing.wait_all_tasks_blocked()

    async def put(self, *changes: Change) -> None:
        for each in changes:
            self.enforcement.put(each)
        await trio.testing.wait_all_tasks_blocked()

    def nonces(self) -> list[int]:
        return [ack.nonce for ack in self.acks]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.enforcement.run, self.apply)
            yield
            nursery.cancel_scope.cancel()


def play(script: Callable[[Rig], Awaitable[None]]) -> None:
    async def main() -> None:
        rig = Rig()
        async with rig.running():
            await script(rig)

    trio.run(main, clock=MockClock())


def test_what_comes_while_workers_are_busy_is_merged_and_acknowledged_one_by_one() -> None:
    async def script(rig: Rig) -> None:
        await rig.put(change(1, "a"))
        await rig.put(change(2, "b"), change(3, "c"))
        assert (len(rig.told), rig.nonces()) == (1, [])
        await rig.follow()
        assert (len(rig.told), rig.nonces()) == (2, [1])
        await rig.follow()
        assert rig.nonces() == [1, 2, 3]
        assert rig.confirmed == 2
        assert set(rig.told[-1].entries) == {"Service/shop/a", "Service/shop/b", "Service/shop/c"}

    play(script)


def test_a_worker_that_hangs_keeps_the_others_waiting_for_a_while_only() -> None:
    async def script(rig: Rig) -> None:
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, MockClock)
        await rig.put(change(1, "a"))
        await rig.put(change(2, "b"))
        clock.jump(PATIENCE_S - 0.1)
        await trio.testing.wait_all_tasks_blocked()
        assert len(rig.told) == 1
        clock.jump(0.2)
        await trio.testing.wait_all_tasks_blocked()
        assert (len(rig.told), rig.nonces()) == (2, [])
        clock.jump(100)
        await trio.testing.wait_all_tasks_blocked()
        assert rig.nonces() == [], "nothing is acknowledged that one worker lacks"
        await rig.follow()
        assert rig.nonces() == [1, 2]

    play(script)


def test_what_an_ended_session_sent_is_neither_taken_later_nor_acknowledged() -> None:
    async def script(rig: Rig) -> None:
        await rig.put(change(1, "a"))
        await rig.put(change(2, "b"))
        rig.enforcement.session_ended()
        await rig.put(change(1, "c"))
        await rig.follow()
        await rig.follow()
        assert rig.nonces() == [1]
        assert set(rig.told[-1].entries) == {"Service/shop/a", "Service/shop/c"}

    play(script)


def test_a_change_that_is_judged_when_its_session_ends_is_dropped() -> None:
    async def script(rig: Rig) -> None:
        names = [f"s{number}" for number in range(200)]  # so many are judged in a thread
        rig.enforcement.put(change(1, *names))
        await trio.lowlevel.checkpoint()
        rig.enforcement.session_ended()
        with trio.fail_after(1e9):
            rig.enforcement.put(change(1, "a"))
            while not rig.told:
                await trio.lowlevel.checkpoint()
        await rig.follow()
        await rig.follow()
        assert rig.nonces() == [1]
        assert set(rig.told[-1].entries) <= {"Service/shop/a"}

    play(script)


def test_what_was_refused_is_told_anew_in_its_last_good_version() -> None:
    async def script(rig: Rig) -> None:
        await rig.put(change(1, "a"))
        await rig.follow()
        good = rig.told[-1].entries["Service/shop/a"]
        bad = Change(
            (2,),
            {"Service/shop/a": (digest(b := encode(Service(namespace="shop", name="a", addresses=("x",)))), b)},
            frozenset(),
        )
        await rig.put(bad)
        rig.refused = [(rig.generation, "Service/shop/a", "no address")]
        await rig.follow()
        assert rig.acks[-1].refused[0][0] == "Service/shop/a"
        assert rig.told[-1].entries["Service/shop/a"] == good
        assert len(rig.told) == 3

    play(script)


def test_the_same_again_is_acknowledged_without_telling_anybody() -> None:
    async def script(rig: Rig) -> None:
        await rig.put(change(1, "a"))
        await rig.follow()
        await rig.put(change(2, "a"))
        assert rig.nonces() == [1, 2]
        assert len(rig.told) == 1

    play(script)


def test_an_operator_that_has_nothing_to_say_agrees() -> None:
    async def script(rig: Rig) -> None:
        await rig.enforcement.begin(change(0, "a"), rig.apply)
        rig.enforcement.agree()
        assert rig.enforcement.current is not None
        assert (rig.told[0].origin, rig.enforcement.current.origin) == ("snapshot", "operator")

    play(script)
