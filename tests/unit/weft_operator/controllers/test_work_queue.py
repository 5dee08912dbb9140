"""The queue in an event loop: workers, repetition, failures, cancellation."""

import asyncio

import pytest

from weft_operator.controllers.work_queue import WorkQueue

pytestmark = pytest.mark.asyncio
PATIENCE_S = 10.0


async def test_each_key_is_worked_on_once_however_often_it_is_wished_for() -> None:
    queue: WorkQueue[str] = WorkQueue()
    seen: list[str] = []
    enough = asyncio.Event()

    async def work(key: str) -> None:
        seen.append(key)
        if key == "last":
            enough.set()

    for key in ("a", "b", "a", "a", "b"):
        queue.add(key)
    queue.add("last", 0.01)
    runner = asyncio.create_task(queue.run(work, workers=3))
    await asyncio.wait_for(enough.wait(), PATIENCE_S)
    runner.cancel()
    assert sorted(seen) == ["a", "b", "last"]


async def test_one_key_is_never_worked_on_twice_at_once_and_a_late_wish_is_not_lost() -> None:
    queue: WorkQueue[str] = WorkQueue()
    inside, most, rounds = 0, 0, 0
    twice = asyncio.Event()

    async def work(_: str) -> None:
        nonlocal inside, most, rounds
        inside += 1
        most = max(most, inside)
        if rounds == 0:
            queue.add("a")
        await asyncio.sleep(0)
        inside -= 1
        rounds += 1
        if rounds == 2:
            twice.set()

    queue.add("a")
    runner = asyncio.create_task(queue.run(work, workers=4))
    await asyncio.wait_for(twice.wait(), PATIENCE_S)
    runner.cancel()
    assert most == 1


async def test_a_key_comes_back_when_the_work_asks_for_it() -> None:
    queue: WorkQueue[str] = WorkQueue()
    rounds = 0
    done = asyncio.Event()

    async def work(_: str) -> float | None:
        nonlocal rounds
        rounds += 1
        if rounds == 3:
            done.set()
            return None
        return 0.001

    queue.add("a")
    runner = asyncio.create_task(queue.run(work, workers=1))
    await asyncio.wait_for(done.wait(), PATIENCE_S)
    runner.cancel()
    assert len(queue) == 0


async def test_a_failure_is_tried_again_and_stops_nobody_else() -> None:
    queue: WorkQueue[str] = WorkQueue()
    failures = 0
    healed, other = asyncio.Event(), asyncio.Event()

    async def work(key: str) -> None:
        nonlocal failures
        if key == "other":
            other.set()
            return
        failures += 1
        if failures == 1:
            raise ZeroDivisionError
        healed.set()

    queue.add("a")
    queue.add("other")
    runner = asyncio.create_task(queue.run(work, workers=1))
    await asyncio.wait_for(other.wait(), PATIENCE_S)
    await asyncio.wait_for(healed.wait(), PATIENCE_S)
    runner.cancel()


async def test_cancelling_ends_all_workers() -> None:
    queue: WorkQueue[str] = WorkQueue()
    started = asyncio.Event()

    async def work(_: str) -> None:
        started.set()
        await asyncio.Event().wait()

    queue.add("a")
    runner = asyncio.create_task(queue.run(work, workers=2))
    await asyncio.wait_for(started.wait(), PATIENCE_S)
    runner.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(runner, PATIENCE_S)
