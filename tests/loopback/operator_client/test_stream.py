"""The agent's stream over real TLS and a real WebSocket: from hello to acknowledgement, through every way it can fail."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

from weft_agent.control.config_source import Config
from weft_agent.operator_client.disk_snapshot import FILE, Place, read_snapshot
from weft_agent.operator_client.stream import ConfigStream, StreamSettings
from weft_agent.operator_client.transport import Endpoint
from weft_agent.telemetry.log import Log
from weft_agent.telemetry.metrics import Metrics
from weft_contract.codec import digest, encode
from weft_contract.limits import Limits
from weft_contract.resources import Service
from weft_contract.stream import Ack, Goodbye, Pods, Update
from weft_testing.node_resources import NODE, large, workload
from weft_testing.pki import root
from weft_testing.standin_operator import TOKEN, StandinOperator

pytestmark = pytest.mark.trio

QUICK = Limits(
    operator_backoff_first_s=0.02,
    operator_backoff_max_s=0.1,
    operator_connect_timeout_s=5.0,
    operator_ping_interval_s=0.2,
    operator_ping_timeout_s=0.2,
    snapshot_interval_s=0.1,
)


def service(name: str, *addresses: str) -> Service:
    return Service(namespace="shop", name=name, addresses=addresses)


class FakeWorkers:
    """Workers that have everything in force at once, unless they are told to be slow; what they refuse is listed."""

    def __init__(self) -> None:
        self.generation = 0
        self.slow = False
        self.woken = trio.Event()
        self.refuse: dict[str, str] = {}
        self._refused: list[tuple[int, str, str]] = []

    async def until_in_force(self, generation: int) -> None:
        while self.slow:
            await self.woken.wait()
        await trio.lowlevel.checkpoint()

    def take_refusals(self) -> list[tuple[int, str, str]]:
        found, self._refused = self._refused, []
        return found

    def apply(self, config: Config) -> None:
        self.generation += 1
        self._refused += [(self.generation, key, why) for key, why in self.refuse.items() if key in config.entries]


class Rig:
    """A stream, its stand-in operator, and workers that only pretend."""

    def __init__(self, directory: Path, operator: StandinOperator | None = None) -> None:
        self.operator = operator or StandinOperator(directory)
        self.directory = directory
        self.snapshot = directory / "snapshot"
        self.place = Place(self.snapshot, "n1", "1.0")
        self.workers = FakeWorkers()
        self.lines: list[bytes] = []
        self.metrics = Metrics()
        self.pods = Pods()
        self.applied: list[Config] = []
        self.news = trio.Event()
        self.limits = QUICK

    def stream(self) -> ConfigStream:
        operator = self.operator
        endpoint = Endpoint("127.0.0.1", operator.port, operator.roots_path, self.limits.operator_connect_timeout_s)
        settings = StreamSettings(
            node="n1",
            build="1.0",
            endpoint=endpoint,
            token=operator.token_path,
            snapshot=self.snapshot,
            limits=self.limits,
        )
        log = Log(self.log, "json", "debug")
        return ConfigStream(settings, self.workers, lambda: self.pods, log, self.metrics, Random(1))

    def log(self, line: bytes) -> None:
        self.lines.append(line)
        self.wake()

    def apply(self, config: Config) -> None:
        self.workers.apply(config)
        self.applied.append(config)
        self.wake()

    def wake(self) -> None:
        self.news.set()
        self.news = trio.Event()

    def events(self, name: str) -> list[dict[str, Any]]:
        return [event for line in self.lines if (event := json.loads(line))["event"] == name]

    async def until_event(self, name: str, **fields: object) -> dict[str, Any]:
        with trio.fail_after(10):
            while True:
                for event in self.events(name):
                    if fields.items() <= event.items():
                        return event
                await self.news.wait()

    async def until_applied(self, count: int) -> Config:
        with trio.fail_after(10):
            while len(self.applied) < count:
                await self.news.wait()
        return self.applied[-1]

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.operator.run)
            yield
            nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def following(self) -> AsyncIterator[ConfigStream]:
        stream = self.stream()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.run, self.apply)
            yield stream
            nursery.cancel_scope.cancel()


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


async def test_from_hello_to_acknowledgement(rig: Rig) -> None:
    rig.operator.put(NODE, workload("a", "10.0.0.1"))
    async with rig.serving(), rig.following() as stream:
        ack = await rig.operator.until_acked()
        assert ack == Ack(nonce=ack.nonce)
        config = rig.applied[-1]
        assert config.origin == "operator"
        assert config.node == NODE
        assert [each.name for each in config.workloads] == ["a"]
        (session,) = rig.operator.sessions
        assert session.hello is not None
        assert (session.hello.node, session.hello.build, session.hello.have) == ("n1", "1.0", {})
        rig.operator.put(service("web"))
        await rig.operator.until_acked()
        assert "Service/shop/web" in rig.applied[-1].entries
        rig.operator.remove("Service/shop/web")
        await rig.operator.until_acked()
        assert "Service/shop/web" not in rig.applied[-1].entries
        assert list(stream.degraded()) == []
        assert stream.problems == ()
        assert rig.metrics.get("weft_operator_connected") == 1
        assert rig.metrics.get("weft_config_stale") == 0


async def test_a_large_configuration_comes_in_parts_and_is_applied_once(rig: Rig) -> None:
    resources = large(1000)
    rig.operator.put(*resources)
    async with rig.serving(), rig.following():
        await rig.operator.until_acked()
        assert len(rig.applied) == 1
        assert len(rig.applied[0].entries) == len(resources)


async def test_what_workers_refuse_is_named_and_goes_back(rig: Rig) -> None:
    rig.operator.put(NODE, service("web", "10.0.0.1"))
    async with rig.serving(), rig.following() as stream:
        await rig.operator.until_acked()
        good = rig.applied[-1].entries["Service/shop/web"]
        rig.workers.refuse = {"Service/shop/web": "no address"}
        bad = service("web", "nonsense")
        rig.operator.put(bad)
        ack = await rig.operator.until_acked()
        assert ack.refused == (("Service/shop/web", digest(encode(bad)), "no address"),)
        assert rig.applied[-1].entries["Service/shop/web"] == good
        assert stream.problems == ("Service/shop/web: no address",)
        assert stream.refused == 1


async def test_what_cannot_be_read_is_named_and_nothing_else_suffers(rig: Rig) -> None:
    rig.operator.put(NODE)
    async with rig.serving(), rig.following():
        await rig.operator.until_acked()
        body = b'{"kind":"Teapot","name":"x"}'
        item = (digest(body), body)
        rig.operator.put_raw({"Teapot/x": item, "Service/shop/web": (digest(b := encode(service("web"))), b)})
        ack = await rig.operator.until_acked()
        assert [refused[:2] for refused in ack.refused] == [("Teapot/x", item[0])]
        assert "newer version" in ack.refused[0][2]
        assert set(rig.applied[-1].entries) == {"Node/n1", "Service/shop/web"}


async def test_nothing_is_acknowledged_before_every_worker_has_it(rig: Rig) -> None:
    rig.operator.put(NODE)
    async with rig.serving(), rig.following():
        await rig.operator.until_acked()
        rig.workers.slow = True
        rig.operator.put(service("one"))
        await rig.until_applied(2)
        rig.operator.put(service("two"))
        rig.operator.put(service("three"))
        await trio.sleep(0.1)
        assert len(rig.operator.acks) == 1
        assert len(rig.applied) == 2, "what comes meanwhile waits"
        rig.workers.slow = False
        rig.workers.woken.set()
        await rig.operator.until_acked()
        assert len(rig.operator.acks) == 4, "each update is acknowledged, in order"
        assert [ack.nonce for ack in rig.operator.acks] == sorted(ack.nonce for ack in rig.operator.acks)
        assert len(rig.applied) == 3, "and what waited was applied at once"


async def test_a_reconnect_brings_differences_only(rig: Rig) -> None:
    rig.operator.put(NODE, service("web"), service("old"))
    async with rig.serving(), rig.following():
        await rig.operator.until_acked()
        held = {key: item[0] for key, item in rig.applied[-1].entries.items()}
        del rig.operator.resources["Service/shop/old"]
        rig.operator.resources |= {"Service/shop/new": (digest(b := encode(service("new"))), b)}
        rig.operator.alive[0].cut()
        await rig.operator.until(lambda: len(rig.operator.sessions) == 2)
        second = rig.operator.sessions[1]
        assert second.hello is not None
        assert second.hello.have == held
        await rig.operator.until(lambda: second.acks)
        assert set(rig.applied[-1].entries) == {"Node/n1", "Service/shop/web", "Service/shop/new"}


async def test_a_restart_without_an_operator_serves_from_the_snapshot(rig: Rig, tmp_path: Path) -> None:
    rig.operator.put(NODE, workload("a", "10.0.0.1"))
    async with rig.serving(), rig.following():
        await rig.operator.until_acked()
    assert read_snapshot(rig.place) is not None, "written at the latest when the agent ends"
    second = Rig(tmp_path, rig.operator)
    async with second.following() as stream:
        config = await second.until_applied(1)
        assert config.origin == "snapshot"
        assert [each.name for each in config.workloads] == ["a"]
        await second.until_event("operator-away", reason="unreachable")
        (told,) = stream.degraded()
        assert "no operator for" in told
        assert second.metrics.get("weft_config_stale") == 1
        async with second.serving():
            await second.operator.until(lambda: len(second.operator.sessions) == 2)
            hello = second.operator.sessions[1].hello
            assert hello is not None
            assert set(hello.have) == {"Node/n1", "Workload/shop/a"}
            second.operator.put(service("web"))
            await second.operator.until_acked()
            assert second.applied[-1].origin == "operator"


async def test_the_snapshot_is_written_soon_after_a_change(rig: Rig) -> None:
    rig.operator.put(NODE)
    async with rig.serving(), rig.following():
        await rig.operator.until_acked()
        with trio.fail_after(10):
            while not rig.metrics.get("weft_snapshot_writes_total", outcome="written"):  # noqa: ASYNC110 - a number is no event
                await trio.sleep(0.01)
        kept = read_snapshot(rig.place)
        assert kept is not None
        assert [entry[0] for entry in kept.entries] == ["Node/n1"]


async def test_a_restart_without_an_operator_does_not_make_the_snapshot_look_younger(rig: Rig, tmp_path: Path) -> None:
    rig.operator.put(NODE)
    async with rig.serving(), rig.following():
        await rig.operator.until_acked()
    before = rig.snapshot.joinpath(FILE).read_bytes()
    second = Rig(tmp_path, rig.operator)
    async with second.following() as stream:
        await second.until_event("operator-away")
        await trio.sleep(0.8)  # longer than a change waits to be written
        assert stream.contact.age_s() > 0
    assert rig.snapshot.joinpath(FILE).read_bytes() == before


@pytest.mark.parametrize("damage", ["cut", "flipped", "foreign", "empty"])
async def test_a_broken_snapshot_is_told_passed_over_and_replaced(rig: Rig, damage: str) -> None:
    rig.operator.put(NODE)
    async with rig.serving(), rig.following():
        await rig.operator.until_acked()
    path = rig.snapshot / FILE
    data = path.read_bytes()
    path.write_bytes({"cut": data[:-9], "flipped": data[:-1] + b"!", "foreign": b"x\n" + data, "empty": b""}[damage])
    second = Rig(rig.directory, rig.operator)
    async with second.following() as stream:
        await second.until_event("snapshot-unusable")
        assert stream.current is None
        assert stream.problems
        async with second.serving():
            await second.operator.until(lambda: [each for each in second.operator.alive if each.acks])
    assert read_snapshot(rig.place) is not None


async def test_a_disk_that_cannot_be_written_is_told_and_costs_nothing_else(rig: Rig) -> None:
    rig.snapshot.write_text("a file where a directory should be")
    rig.operator.put(NODE)
    async with rig.serving(), rig.following() as stream:
        await rig.operator.until_acked()
        await rig.until_event("snapshot-not-written")
        assert any("cannot be written" in text for text in stream.problems)


async def test_goodbye_is_honoured(rig: Rig) -> None:
    rig.operator.put(NODE)
    async with rig.serving(), rig.following():
        await rig.operator.until_acked()
        rig.operator.say(Goodbye(reason="shutting down", retry_after_s=0.3))
        told = await rig.until_event("operator-away", reason="goodbye")
        assert "shutting down" in told["error"]
        assert 0.3 <= told["retry_s"] <= 0.4
        await rig.operator.until(lambda: len(rig.operator.sessions) == 2)


async def test_a_refusal_is_told_in_the_operators_words_and_tried_again(rig: Rig) -> None:
    rig.operator.refuse_stream = (403, "node n1 is not known")
    async with rig.serving(), rig.following() as stream:
        told = await rig.until_event("operator-away", reason="refused")
        assert "403: node n1 is not known" in told["error"]
        assert told["retry_s"] >= 1.0, "as the operator asked for"
        rig.operator.refuse_stream = None
        stream.reload()
        await rig.operator.until(lambda: rig.operator.alive)


async def test_the_token_is_read_at_each_connection(rig: Rig) -> None:
    rig.operator.put(NODE)
    rig.operator.token_path.write_text("old")
    async with rig.serving(), rig.following() as stream:
        await rig.until_event("operator-away", reason="refused")
        rig.operator.token_path.write_text(TOKEN + "\n")
        stream.reload()
        await rig.operator.until_acked()


@pytest.mark.parametrize("content", [None, b"", b"two words", b"\xff"])
async def test_a_token_that_is_none_is_told(rig: Rig, content: bytes | None) -> None:
    rig.operator.token_path.unlink()
    if content is not None:
        rig.operator.token_path.write_bytes(content)
    async with rig.serving(), rig.following():
        await rig.until_event("operator-away", reason="credentials")


async def test_another_authority_is_not_trusted_and_replaced_roots_are_noticed(rig: Rig) -> None:
    rig.operator.put(NODE)
    right = rig.operator.roots_path.read_text()
    rig.operator.roots_path.write_text(root().pem_text)
    async with rig.serving(), rig.following() as stream:
        await rig.until_event("operator-away", reason="untrusted")
        assert not rig.operator.sessions
        rig.operator.roots_path.write_text(right)
        stream.reload()
        await rig.operator.until_acked()
        rig.operator.roots_path.write_text(root().pem_text + right)
        await rig.until_event("operator-reconnect", reason="the roots were replaced")
        await rig.operator.until(lambda: len(rig.operator.sessions) == 2)


async def test_a_server_of_another_name_is_not_the_operator(rig: Rig) -> None:
    rig.operator.server_name = "somebody-else"
    async with rig.serving(), rig.following():
        await rig.until_event("operator-away", reason="untrusted")
        assert not rig.operator.sessions


async def test_a_server_that_speaks_something_else_is_told(rig: Rig) -> None:
    rig.operator.subprotocol = None
    async with rig.serving(), rig.following():
        told = await rig.until_event("operator-away", reason="protocol")
        assert "weft.config.v1" in told["error"]


async def test_a_silent_operator_is_left(rig: Rig) -> None:
    rig.operator.put(NODE)
    async with rig.serving(), rig.following():
        await rig.operator.until_acked()
        first = rig.operator.alive[0]
        await rig.operator.until(lambda: first.pings >= 2 or not first.open)
        with trio.move_on_after(0.5):
            await rig.operator.until(lambda: first.pings >= 3)
        assert first.open, "a quiet operator that answers pings is alive"
        rig.operator.mute = True
        await rig.until_event("operator-away", reason="silent")


@pytest.mark.parametrize(
    "message",
    [Update(nonce=0), Update(nonce=10**6, upserts=(("a", "h", b""), ("a", "h", b"")))],
    ids=["nonce", "twice"],
)
async def test_an_operator_that_breaks_the_rules_is_left(rig: Rig, message: Update) -> None:
    rig.operator.put(NODE)
    async with rig.serving(), rig.following():
        await rig.operator.until_acked()
        rig.operator.say(message)
        await rig.until_event("operator-away", reason="protocol")
        await rig.operator.until(lambda: len(rig.operator.sessions) >= 2)


async def test_pods_are_reported_at_the_beginning_and_when_they_change(rig: Rig) -> None:
    rig.pods = Pods(captured=("shop/a",))
    async with rig.serving(), rig.following() as stream:
        await rig.operator.until(lambda: rig.operator.alive and rig.operator.alive[0].pods)
        rig.pods = Pods(captured=("shop/a",), waiting=(("shop/b", "pending"),))
        stream.pods_changed()
        await rig.operator.until(lambda: len(rig.operator.alive[0].pods) == 2)
        stream.pods_changed()
        await trio.sleep(0.6)
        assert rig.operator.alive[0].pods == [Pods(captured=("shop/a",)), rig.pods], "nothing new is not told"


async def test_half_an_update_leaves_nothing_behind(rig: Rig) -> None:
    rig.operator.put(NODE)
    async with rig.serving(), rig.following():
        await rig.operator.until_acked()
        body = encode(service("half"))
        nonce = rig.operator.next_nonce()
        part = Update(nonce=nonce, upserts=(("Service/shop/half", digest(body), body),), more=True)
        rig.operator.say(part)
        await trio.sleep(0.1)
        rig.operator.alive[0].cut()
        await rig.operator.until(lambda: len(rig.operator.sessions) == 2)
        hello = rig.operator.sessions[1].hello
        assert hello is not None
        assert set(hello.have) == {"Node/n1"}
