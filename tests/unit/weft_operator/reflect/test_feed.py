"""The loop that compiles: nothing before everything is known, many changes in one round, one round at a time."""

import asyncio
import threading
from collections.abc import Mapping

import pytest

from weft_operator.compile import Held
from weft_operator.compile.view import ObjectKey
from weft_operator.live import Delta
from weft_operator.reflect import Feed, Round
from weft_operator.reflect import feed as module

pytestmark = pytest.mark.asyncio
PATIENCE_S = 10.0


class Compiler:
    def __init__(self) -> None:
        self.rounds: list[tuple[dict[ObjectKey, Held | None], object]] = []
        self.threads: set[int] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.inside = threading.Event()

    def apply(
        self, changed: Mapping[ObjectKey, Held | None], bundles: Mapping[str, tuple[str, ...]] | None = None
    ) -> Delta:
        self.inside.set()
        assert self.gate.wait(PATIENCE_S)
        self.rounds.append((dict(changed), bundles))
        self.threads.add(threading.get_ident())
        return Delta()


def keys(*names: str) -> dict[ObjectKey, Held | None]:
    return {("Pod", name): None for name in names}


async def until_rounds(published: asyncio.Queue[Round], count: int) -> list[Round]:
    return [await asyncio.wait_for(published.get(), PATIENCE_S) for _ in range(count)]


async def test_nothing_is_compiled_before_everything_is_known_and_then_all_at_once() -> None:
    compiler, published = Compiler(), asyncio.Queue[Round]()
    feed = Feed(compiler, published.put_nowait)
    runner = asyncio.create_task(feed.run())
    feed.put(keys("a"))
    await asyncio.sleep(2 * module.DEBOUNCE_S)
    assert not compiler.rounds
    feed.put(keys("b"))
    feed.set_bundles({"d": ("root",)})
    feed.open()
    (first,) = await until_rounds(published, 1)
    assert compiler.rounds == [(keys("a", "b"), {"d": ("root",)})]
    assert (first.changes, feed.compiled.is_set(), feed.waiting) == (2, True, 0)
    assert compiler.threads != {threading.get_ident()}
    runner.cancel()


async def test_an_empty_cluster_is_compiled_too() -> None:
    compiler, published = Compiler(), asyncio.Queue[Round]()
    feed = Feed(compiler, published.put_nowait)
    runner = asyncio.create_task(feed.run())
    feed.open()
    await until_rounds(published, 1)
    assert compiler.rounds == [({}, None)]
    runner.cancel()


async def test_what_comes_during_a_round_belongs_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEBOUNCE_S", 0.01)
    compiler, published = Compiler(), asyncio.Queue[Round]()
    feed = Feed(compiler, published.put_nowait)
    runner = asyncio.create_task(feed.run())
    compiler.gate.clear()
    feed.put(keys("a"))
    feed.open()
    assert await asyncio.to_thread(compiler.inside.wait, PATIENCE_S)
    assert feed.busy_since is not None
    feed.put(keys("b", "c"))
    compiler.gate.set()
    await until_rounds(published, 2)
    assert [set(changed) for changed, _ in compiler.rounds] == [set(keys("a")), set(keys("b", "c"))]
    runner.cancel()


async def test_a_stream_of_changes_does_not_put_off_a_round_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEBOUNCE_S", 0.05)
    monkeypatch.setattr(module, "MAX_DELAY_S", 0.2)
    compiler, published = Compiler(), asyncio.Queue[Round]()
    feed = Feed(compiler, published.put_nowait)
    runner = asyncio.create_task(feed.run())
    feed.open()
    await until_rounds(published, 1)

    async def change() -> None:
        for number in range(1000):
            feed.put(keys(str(number)))
            await asyncio.sleep(0.01)

    changing = asyncio.create_task(change())
    (found,) = await until_rounds(published, 1)
    assert found.changes > 1
    assert found.delay_s >= 0.2
    changing.cancel()
    runner.cancel()


async def test_an_error_of_the_compiler_is_not_swallowed() -> None:
    class Broken(Compiler):
        def apply(
            self, changed: Mapping[ObjectKey, Held | None], bundles: Mapping[str, tuple[str, ...]] | None = None
        ) -> Delta:
            raise RuntimeError("a bug")

    feed = Feed(Broken(), lambda found: None)
    feed.open()
    with pytest.raises(RuntimeError, match="a bug"):
        await asyncio.wait_for(feed.run(), PATIENCE_S)
