"""kopf against a small API server: kinds that come while it runs, with no event that would have it look for them in time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from weft_operator.controllers import Reference, late_kinds
from weft_operator.controllers.kopf_thread import Ears, Heard, KopfThread
from weft_operator.server.kopf_login import kopf_login
from weft_testing import objects as o
from weft_testing.small_api import OWN, SmallApi, small_api

pytestmark = pytest.mark.asyncio
LEASE = ("weft-system", "weft-operator")
PATIENCE_S = 20.0
TRAFFIC = Reference("XBackendTrafficPolicy", "shop/web")


class Listener:
    """Runs kopf, and keeps what it tells."""

    def __init__(self, api: SmallApi) -> None:
        self._api, self._news = api, asyncio.Event()
        self.heard: list[Heard] = []
        self.beats = 0
        self.kopf = KopfThread(kopf_login(api), Ears(heard=self._hear, beat=self._beat), LEASE)

    def _hear(self, heard: Heard) -> None:
        self.heard.append(heard)
        self._news.set()

    def _beat(self) -> None:
        self.beats += 1
        self._news.set()

    async def has_heard(self, reference: Reference) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while reference not in [each.reference for each in self.heard]:
                self._news.clear()
                await self._news.wait()

    async def renew(self) -> None:
        """Renew the Lease, and wait until kopf saw it."""
        before = self.beats
        metadata = {"namespace": LEASE[0], "name": LEASE[1]}
        self._api.put({"kind": "Lease", "metadata": metadata, "spec": {"leaseTransitions": before}})
        async with asyncio.timeout(PATIENCE_S):
            while self.beats == before:
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def listening(api: SmallApi) -> AsyncIterator[Listener]:
    metadata = {"namespace": LEASE[0], "name": LEASE[1]}
    api.put({"kind": "Lease", "metadata": metadata, "spec": {}})
    listener = Listener(api)
    listener.kopf.start()
    try:
        await listener.has_heard(Reference("AuthorizationPolicy", "shop/web"))
        yield listener
    finally:
        assert await listener.kopf.stop()


def install(api: SmallApi, plural: str) -> None:
    """Serve a kind from now on; nothing tells kopf."""
    (resource,) = [each for each in OWN if each.plural == plural]
    api.resources[plural] = resource


async def test_a_kind_that_comes_unseen_is_watched_after_the_next_renewal(tmp_path: Path) -> None:
    async with small_api(tmp_path, "xbackendtrafficpolicies", "tlsroutes") as api:
        api.put(o.policy("AuthorizationPolicy", "web", {}, namespace="shop"))
        async with listening(api) as listener:
            await listener.renew()  # too early: there is nothing to find
            install(api, "xbackendtrafficpolicies")
            api.put(o.backend_traffic("web", "web"))
            await listener.renew()
            await listener.has_heard(TRAFFIC)
            await listener.renew()
            api.put(o.backend_traffic("api", "api"))
            await listener.has_heard(Reference("XBackendTrafficPolicy", "shop/api"))
            references = [each.reference for each in listener.heard]
            assert references.count(TRAFFIC) == 1, "later looks leave what is watched alone"


async def test_looks_that_fail_cost_no_heartbeat_and_are_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[object] = []

    async def fail(**asked: object) -> None:
        failed.append(asked["groups"])
        raise OSError("no route")

    async with small_api(tmp_path, "xbackendtrafficpolicies") as api:
        api.put(o.policy("AuthorizationPolicy", "web", {}, namespace="shop"))
        with monkeypatch.context() as without_route:
            without_route.setattr(late_kinds, "scan_resources", fail)
            async with listening(api) as listener:
                install(api, "xbackendtrafficpolicies")
                api.put(o.backend_traffic("web", "web"))
                await listener.renew()
                await listener.renew()  # heard only when the look of the one before is over
                assert {"gateway.networking.x-k8s.io"} in failed
                assert TRAFFIC not in [each.reference for each in listener.heard]
                without_route.undo()
                await listener.renew()
                await listener.has_heard(TRAFFIC)
