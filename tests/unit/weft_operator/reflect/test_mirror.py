"""All kinds together: known when each is, and what is said while one is not."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

import msgspec
import pytest

from weft_operator.access import ApiError, NotFoundError
from weft_operator.live.cluster import COMPILED_KINDS
from weft_operator.reflect import REFLECTED, Mirror, Seen
from weft_operator.reflect.mirror import STALE_S

pytestmark = pytest.mark.asyncio
PATIENCE_S = 10.0


class Server:
    """Serves nodes and namespaces; routes are not installed; of the rest it says what `refuse` says."""

    def __init__(self, refuse: ApiError | None) -> None:
        self.refuse = refuse

    async def pages(self, path: str, *, chunk: int) -> AsyncGenerator[bytes, None]:
        if "gateway.networking" in path:
            raise NotFoundError("no such kind", status=404)
        if self.refuse is not None and path.endswith("/pods"):
            raise self.refuse
        yield msgspec.json.encode({"metadata": {"resourceVersion": "1"}, "items": []})

    async def watch(self, path: str, version: str) -> AsyncGenerator[bytes, None]:
        yield b""
        await asyncio.Event().wait()


def nobody(items: Sequence[Seen]) -> None:
    assert not items


async def test_every_kind_that_is_compiled_is_reflected() -> None:
    assert set(REFLECTED) == COMPILED_KINDS
    assert REFLECTED["EndpointSlice"].path("discovery.k8s.io/v1") == "/apis/discovery.k8s.io/v1/endpointslices"
    assert REFLECTED["Pod"].path("v1") == "/api/v1/pods"


async def test_known_when_every_kind_is_or_is_known_to_be_absent() -> None:
    now = 0.0
    mirror = Mirror(Server(None), nobody, clock=lambda: now)
    assert len(mirror.missing) == len(REFLECTED)
    task = asyncio.create_task(mirror.run())
    await asyncio.wait_for(mirror.synced.wait(), PATIENCE_S)
    assert (mirror.missing, mirror.dead, mirror.failing) == ([], [], {})
    assert mirror.reflectors["HTTPRoute"].state == "absent"
    now = STALE_S + 1
    assert "Pod" in mirror.dead, "a watch that says nothing at all, not even bookmarks"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def mirror_said(mirror: Mirror, missing: list[str]) -> None:
    while True:
        await asyncio.sleep(0.01)
        if mirror.missing == missing:
            return


async def test_what_keeps_it_from_being_known_is_said() -> None:
    mirror = Mirror(Server(ApiError("403 Forbidden: pods", status=403)), nobody)
    task = asyncio.create_task(mirror.run())
    await asyncio.wait_for(mirror_said(mirror, ["Pod: 403 Forbidden: pods"]), PATIENCE_S)
    assert not mirror.synced.is_set()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
