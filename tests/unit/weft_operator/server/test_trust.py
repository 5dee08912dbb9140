"""What hangs on the authority: other replicas are verified by the roots of now, whichever replica replaced them."""

import ssl
import time
from typing import cast

import pytest

from weft_contract.stream import SERVER_NAME
from weft_operator.apiserver import ApiServer
from weft_operator.ca.kept import ROTATE, KeptAuthority
from weft_operator.ca.rotation import MIN_DISTRIBUTION_S, OVERLAP_S
from weft_operator.server.settings import parse_settings
from weft_operator.server.trust import Trust
from weft_testing.memory_api import MemoryApi

pytestmark = pytest.mark.asyncio

PATH = "/api/v1/namespaces/weft-system/secrets/weft-ca"


class World:
    """An authority in its Secret, the leader that replaces its root, and two other replicas that follow."""

    def __init__(self) -> None:
        self.api = MemoryApi()
        self.now = time.time() - MIN_DISTRIBUTION_S - OVERLAP_S  # OpenSSL looks at the real clock, when all is done
        self.leader = KeptAuthority(self.api, ("weft-system", "weft-ca"), wall=lambda: self.now)
        self.asking, self.asked = self._replica(), self._replica()

    def _replica(self) -> Trust:
        settings = parse_settings({"namespace": "weft-system", "gate-image": "weft.dev/agent:1"}, host="one")
        return Trust(cast(ApiServer, self.api), settings, lambda: None, lambda: False)

    async def load(self) -> None:
        await self.leader.load("mesh.test")
        for trust in (self.asking, self.asked):
            await trust.load("mesh.test")

    async def step(self, later_s: float = 0.0) -> str:
        """Take the step that is due after a time; the others read it."""
        self.now += later_s
        step = await self.leader.step("mesh.test", lambda domain, roots: ())
        assert step is not None
        for trust in (self.asking, self.asked):
            await trust._kept.refresh()
        self.asked.tls.renew()  # as its task does, which `wake` has woken
        return step.does

    def wish_a_new_root(self) -> None:
        item = self.api.objects[PATH]
        item["metadata"]["annotations"] = {ROTATE: "root"}
        self.api.put(PATH, item)


def client(trust: Trust) -> ssl.SSLContext:
    found = trust.client_tls()
    assert found is not None
    return found


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    """Let two ends talk until both are content.

    Raises:
        ssl.SSLError: one refuses the other.
    """
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(down, up, server_hostname=SERVER_NAME), server.wrap_bio(up, down, server_side=True)]
    for _ in range(4):
        for end in list(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            ends.remove(end)
    assert not ends


async def test_replicas_know_each_other_through_all_steps_of_a_new_root() -> None:
    world = World()
    await world.load()
    first = client(world.asking)
    assert client(world.asking) is first, "it is made once"
    shake_hands(first, world.asked.tls.context)
    world.wish_a_new_root()
    await world.leader.refresh()
    for expected, later_s in (("add root", 0.0), ("move", MIN_DISTRIBUTION_S), ("retire", OVERLAP_S)):
        before = client(world.asking)
        assert await world.step(later_s) == expected
        assert client(world.asking) is not before
        shake_hands(client(world.asking), world.asked.tls.context)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(first, world.asked.tls.context)  # what was cached before would fail


async def test_a_root_that_was_retired_verifies_nobody() -> None:
    world = World()
    await world.load()
    old = world.asked.tls.context
    world.asked = world._replica()  # started anew; the old one's servers present the old root's certificate for ever
    await world.asked.load("mesh.test")
    shake_hands(client(world.asking), old)
    world.wish_a_new_root()
    await world.leader.refresh()
    for later_s in (0.0, MIN_DISTRIBUTION_S, OVERLAP_S):
        await world.step(later_s)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(client(world.asking), old)


async def test_nothing_is_verified_by_an_authority_that_is_not_known() -> None:
    assert World().asking.client_tls() is None
