"""The ConfigMap of roots: written once, written again when they change or somebody changed it, never emptied."""

import pytest

from weft_operator.controllers.roots import PublishedRoots
from weft_operator.controllers.store import ConflictError
from weft_testing.memory_api import MemoryApi

pytestmark = pytest.mark.asyncio
PATH = "/api/v1/namespaces/weft-system/configmaps/weft-roots"
PLACE = ("weft-system", "weft-roots")


async def test_it_is_made_and_kept() -> None:
    api = MemoryApi()
    published = PublishedRoots(api, PLACE)
    assert await published.write(["A\n", "B"])
    assert api.objects[PATH]["data"] == {"roots.pem": "A\nB\n"}
    assert not await published.write(["A", "B"]), "nothing changed"
    api.put(PATH, {**api.objects[PATH], "data": {"roots.pem": "C", "other": "x"}})
    assert await published.write(["A"])
    assert api.objects[PATH]["data"] == {"roots.pem": "A\n", "other": "x"}


async def test_without_roots_nothing_is_written() -> None:
    api = MemoryApi()
    assert not await PublishedRoots(api, PLACE).write([])
    assert not api.objects


async def test_a_faster_writer_is_read_again() -> None:
    api = MemoryApi()
    published = PublishedRoots(api, PLACE)
    await published.write(["A"])
    others = [dict(api.objects[PATH], data={"roots.pem": "Z"})]

    def faster_once(path: str) -> None:
        if others:
            api.put(path, others.pop())

    api.before_replace = faster_once
    assert await published.write(["B"])
    assert api.objects[PATH]["data"] == {"roots.pem": "B\n"}


async def test_one_that_is_always_faster_ends_with_an_error() -> None:
    api = MemoryApi()
    published = PublishedRoots(api, PLACE)
    await published.write(["A"])

    def faster(path: str) -> None:
        api.put(PATH, api.objects[PATH])

    api.before_replace = faster
    with pytest.raises(ConflictError, match="again and again"):
        await published.write(["B"])
