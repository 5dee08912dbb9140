"""A worker as control sees it: told only what is new, heard as if it were an enemy, buried when it is dead."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from weft_agent.channel import Link
from weft_agent.channel.messages import (
    Applied,
    AskGate,
    Drain,
    FromWorker,
    Keys,
    KeysGone,
    NeedStock,
    PodGone,
    PodLeaving,
    PodListeners,
    Ready,
    Report,
    ToWorker,
    Update,
    from_worker_decoder,
    to_worker_decoder,
)
from weft_agent.control.desired import Certificate, Desired, PodSockets
from weft_agent.control.process import REPORTS_BURST, WorkerProcess
from weft_agent.telemetry.counters import CounterPage, new_page
from weft_agent.telemetry.log import Log
from weft_agent.telemetry.pages import WorkerPage

pytestmark = pytest.mark.trio


class Rig:
    """A worker whose process is `sleep` and whose channel's other end is ours."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(["sleep", "60"])
        a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.link: Link[ToWorker] = Link(a, to_worker_decoder)
        self.key = os.memfd_create("key")
        self.listener = socket.socket()
        self.needs: list[NeedStock | AskGate] = []
        self.lines: list[bytes] = []
        fd = new_page(0)
        page = WorkerPage(CounterPage(fd))
        os.close(fd)
        log = Log(self.lines.append, "json", "debug")
        link: Link[FromWorker] = Link(b, from_worker_decoder)
        pidfd = os.pidfd_open(self.process.pid)
        self.worker = WorkerProcess(
            0, self.process.pid, pidfd, link, page, log, lambda w, need: self.needs.append(need)
        )

    def heard(self) -> list[ToWorker]:
        found: list[ToWorker] = []
        while (received := self.link.receive()) is not None:
            for fd in received.fds:
                os.close(fd)
            found.append(received.message)
        return found

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.worker.run)
                yield
                self.worker.kill()

    def events(self) -> list[str]:
        return [json.loads(line)["event"] for line in self.lines]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.link.close()
        self.worker._pump._link.close()
        self.worker.page.close()
        self.listener.close()
        os.close(self.key)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    yield made
    made.close()


def state(rig: Rig, generation: int = 1) -> Desired:
    pod = PodListeners(pod="shop/web", uid="u1", listeners=(("inbound", 4),))
    return Desired(
        generation=generation,
        entries={"Service/shop/web": ("h1", b"{}")},
        certificates={"spiffe://x": Certificate("spiffe://x", b"chain", 0.0, 1.0, "d1", rig.key)},
        pods={"u1": PodSockets(pod, (rig.listener,))},
    )


async def test_a_fresh_worker_is_told_everything_in_the_right_order(rig: Rig) -> None:
    rig.worker.tell(state(rig))
    told = rig.heard()
    assert [type(message) for message in told] == [Keys, Update, PodListeners]
    update = told[1]
    assert isinstance(update, Update)
    assert update.whole


async def test_what_a_worker_knows_is_not_told_again(rig: Rig) -> None:
    desired = state(rig)
    rig.worker.tell(desired)
    rig.heard()
    rig.worker.tell(desired)
    assert rig.heard() == []


async def test_only_differences_are_told(rig: Rig) -> None:
    desired = state(rig)
    rig.worker.tell(desired)
    rig.heard()
    desired.generation = 2
    desired.entries = {"Service/shop/web": ("h1", b"{}"), "Service/shop/two": ("h2", b"{}")}
    desired.certificates.clear()
    desired.pods.clear()
    rig.worker.tell(desired)
    assert rig.heard() == [KeysGone(identity="spiffe://x"), Update(generation=2, whole=False), PodGone(uid="u1")]


async def test_a_pod_that_leaves_is_told_once_and_a_pod_that_comes_back_may_leave_again(rig: Rig) -> None:
    desired = state(rig)
    desired.leaving.add("u1")
    rig.worker.tell(desired)
    assert rig.heard()[-1] == PodLeaving(uid="u1")
    rig.worker.tell(desired)
    assert rig.heard() == []
    pods = dict(desired.pods)
    desired.pods.clear()
    rig.worker.tell(desired)
    assert rig.heard() == [PodGone(uid="u1")]
    desired.pods.update(pods)
    rig.worker.tell(desired)
    assert [type(message) for message in rig.heard()] == [PodListeners, PodLeaving]


async def test_without_a_configuration_resources_are_not_touched(rig: Rig) -> None:
    rig.worker.tell(Desired(generation=7))
    assert rig.heard() == []


async def test_an_adopted_worker_is_told_the_difference_in_pods_and_the_whole_configuration(rig: Rig) -> None:
    rig.worker.assume(["u1", "u0"])
    rig.worker.tell(state(rig, 5))
    told = rig.heard()
    assert PodGone(uid="u0") in told
    assert not [message for message in told if isinstance(message, PodListeners)]
    assert Update(generation=5, whole=True) in told


async def test_its_state_follows_what_it_says(rig: Rig) -> None:
    states = [rig.worker.state]
    async with rig.running():
        for message in (Ready(pid=1), Applied(generation=3, refused=(("Route/x", "broken"),))):
            rig.link.send(message)
            await trio.testing.wait_all_tasks_blocked(0.05)
            states.append(rig.worker.state)
        assert rig.worker.applied_generation == 3
        assert rig.worker.refused == {"Route/x": "broken"}
        assert rig.worker.ready_s > 0
    assert [*states, rig.worker.state] == ["starting", "loading", "serving", "gone"]
    assert "resource-refused" in rig.events()


async def test_a_refusal_stands_until_the_resource_is_told_anew(rig: Rig) -> None:
    async def told(generation: int, refused: tuple[tuple[str, str], ...], **entries: str) -> dict[str, str]:
        rig.worker.tell(Desired(generation, {key: (value, b"{}") for key, value in entries.items()}))
        rig.link.send(Applied(generation=generation, refused=refused))
        await trio.testing.wait_all_tasks_blocked(0.05)
        return rig.worker.refused

    async with rig.running():
        assert await told(1, (("a", "bad"),), a="h1", b="h1") == {"a": "bad"}
        assert await told(2, (), a="h1", b="h2") == {"a": "bad"}, "a change of something else says nothing of it"
        assert await told(3, (), a="h2", b="h2") == {}
        assert await told(4, (("a", "worse"),), a="h3", b="h2") == {"a": "worse"}
        assert await told(5, (), b="h2") == {}, "it is gone"


async def test_its_wishes_and_reports_are_passed_on(rig: Rig) -> None:
    async with rig.running():
        rig.link.send(NeedStock(uid="u", role="app", family=4, count=3))
        rig.link.send(Report(level="warning", event="certificate-refused", detail="x"))
        await trio.testing.wait_all_tasks_blocked(0.05)
    assert rig.needs == [NeedStock(uid="u", role="app", family=4, count=3)]
    assert "certificate-refused" in rig.events()


async def test_a_flood_of_reports_is_cut(rig: Rig) -> None:
    async with rig.running():
        for number in range(500):
            rig.link.send(Report(level="error", event="flood", detail=str(number)))
            if number % 50 == 0:
                await trio.testing.wait_all_tasks_blocked(0.01)
        await trio.testing.wait_all_tasks_blocked(0.05)
    assert REPORTS_BURST <= rig.events().count("flood") <= REPORTS_BURST + 20


@pytest.mark.parametrize(
    "data", [b"\xc1", b"\x91\xaaadopt-end", b"\x94\xa5adopt\x00\xc4\x00\x01"], ids=["garbage", "end", "adopt"]
)
async def test_an_enemy_is_killed(rig: Rig, data: bytes) -> None:
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.worker.run)
            rig.link.sock.send(data)
    assert rig.worker.state == "gone"
    assert "worker-channel" in rig.events()


async def test_descriptors_that_nobody_asked_for_are_closed(rig: Rig) -> None:
    async with rig.running():
        before = len(os.listdir("/proc/self/fd"))
        rig.link.send(Ready(pid=1), [0, 0, 0])
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert len(os.listdir("/proc/self/fd")) == before


async def test_a_process_that_closed_its_channel_is_not_waited_for_long(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weft_agent.control.process.GOODBYE_S", 0.05)
    rig.link.close()
    with trio.fail_after(20):
        await rig.worker.run()
    assert rig.worker.state == "gone"


async def test_a_death_is_noticed_and_buried(rig: Rig) -> None:
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.worker.run)
            await trio.testing.wait_all_tasks_blocked()
            os.kill(rig.process.pid, signal.SIGKILL)
    assert rig.worker.state == "gone"
    assert rig.events()[-1] == "worker-ended"


async def test_a_draining_worker_stays_draining(rig: Rig) -> None:
    async with rig.running():
        rig.worker.drain(3.0)
        rig.link.send(Applied(generation=1))
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert rig.worker.state == "draining"
        assert rig.heard() == [Drain(timeout_s=3.0)]
