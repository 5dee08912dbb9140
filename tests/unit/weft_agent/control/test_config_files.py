"""The node's file: good ones come into force, bad ones change nothing and say everything, the last good one survives."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from weft_agent.control.config_files import LAST_GOOD, ConfigFiles, parse
from weft_agent.control.config_source import Config
from weft_agent.telemetry.log import Log
from weft_agent.telemetry.metrics import Metrics
from weft_contract.codec import document, encode
from weft_contract.problems import ContractError
from weft_contract.resources import Node, Resource, Service, TrustBundle

NODE = Node(name="n1", trust_domain="cluster.local")


def good(*resources: Resource) -> bytes:
    return encode(document("n1", [NODE, *resources]))


def service(name: str) -> Service:
    return Service(namespace="shop", name=name)


class Rig:
    """A followed directory."""

    def __init__(self, path: Path) -> None:
        self.directory = path / "config"
        self.state = path / "state"
        self.directory.mkdir(exist_ok=True)
        self.state.mkdir(exist_ok=True)
        self.lines: list[bytes] = []
        self.metrics = Metrics()
        log = Log(self.lines.append, "json", "debug")
        self.files = ConfigFiles(self.directory, "n1", self.state, log, self.metrics)
        self.applied: list[Config] = []
        self.news = trio.Event()

    def write(self, data: bytes) -> None:
        """Replace the file as `weft compile` does."""
        new = self.directory / ".new"
        new.write_bytes(data)
        new.rename(self.directory / "n1.json")

    def apply(self, config: Config) -> None:
        self.applied.append(config)
        self.news.set()

    async def until_applied(self, count: int) -> None:
        with trio.fail_after(10):
            while len(self.applied) < count:
                await self.news.wait()
                self.news = trio.Event()

    async def until_refused(self) -> None:
        with trio.fail_after(10):
            while not self.files.problems:  # noqa: ASYNC110 - the refusal is a log line and a value, no event
                await trio.sleep(0.01)

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.files.run, self.apply)
            yield
            nursery.cancel_scope.cancel()


def text(rig: Rig) -> str:
    return b"".join(rig.lines).decode()


@pytest.mark.trio
async def test_a_good_file_comes_into_force_and_is_kept(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.write(good(service("web")))
    async with rig.following():
        await rig.until_applied(1)
    config = rig.applied[0]
    assert config.origin == "file"
    assert set(config.entries) == {"Node/n1", "Service/shop/web"}
    assert config.node == NODE
    assert (rig.state / LAST_GOOD).read_bytes() == good(service("web"))
    assert rig.metrics.get("weft_config_stale") == 0
    assert not rig.files.problems


@pytest.mark.trio
async def test_a_change_is_noticed_at_once(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.write(good())
    async with rig.following():
        await rig.until_applied(1)
        with trio.fail_after(1.5):  # well below the poll interval: this is inotify
            rig.write(good(service("web")))
            await rig.until_applied(2)
    assert "Service/shop/web" in rig.applied[1].entries


@pytest.mark.trio
async def test_the_same_content_again_changes_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.write(good())
    async with rig.following():
        await rig.until_applied(1)
        rig.write(good())
        rig.files.reload()
        await trio.sleep(0.2)
        rig.write(b"x")
        await rig.until_refused()
        rig.write(good())
        with trio.fail_after(10):
            while rig.files.problems:  # noqa: ASYNC110 - as in `until_refused`
                await trio.sleep(0.01)
    assert len(rig.applied) == 1
    assert rig.metrics.get("weft_config_reloads_total", outcome="unchanged") == 1


BAD = {
    "empty": b"",
    "half": good(service("web"))[:-20],
    "not json": b"\xff\xfe",
    "wrong schema": good().replace(b"node/v1", b"node/v9"),
    "wrong node": encode(document("n2", [Node(name="n2", trust_domain="x")])),
    "edited": good(service("web")).replace(b'"name":"web"', b'"name":"wob"'),
    "unknown field": good().replace(b'"trustDomain"', b'"trustDomian"'),
    "large": b"[" * 10_000_000,
}


@pytest.mark.trio
@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
async def test_a_bad_file_changes_nothing_and_says_why(tmp_path: Path, data: bytes) -> None:
    rig = Rig(tmp_path)
    rig.write(good(service("web")))
    async with rig.following():
        await rig.until_applied(1)
        rig.write(data)
        await rig.until_refused()
        assert rig.metrics.get("weft_config_stale") == 1
        assert rig.files.current is rig.applied[0]
        rig.write(good(service("two")))
        await rig.until_applied(2)
    assert not rig.files.problems
    assert rig.metrics.get("weft_config_stale") == 0
    assert rig.metrics.get("weft_config_reloads_total", outcome="refused") == 1
    assert "config-refused" in text(rig)


@pytest.mark.trio
async def test_every_problem_of_a_bad_file_is_told(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    data = good(service("a"), service("b"))
    rig.write(data.replace(b'"name":"a"', b'"name":"x"').replace(b'"name":"b"', b'"name":"y"'))
    async with rig.following():
        await rig.until_refused()
    assert len(rig.files.problems) >= 4, "two hashes and two keys"


@pytest.mark.trio
@pytest.mark.parametrize("damage", ["bad", "missing"])
async def test_a_start_without_a_good_file_goes_on_with_the_last_good_one(tmp_path: Path, damage: str) -> None:
    first = Rig(tmp_path)
    first.write(good(service("web")))
    async with first.following():
        await first.until_applied(1)
    second = Rig(tmp_path)
    if damage == "bad":
        second.write(b"{")
    else:
        (second.directory / "n1.json").unlink()
    async with second.following():
        await second.until_applied(1)
        assert second.applied[0].origin == "last-good"
        assert second.metrics.get("weft_config_stale") == 1
        assert "config-last-good" in text(second)
        second.write(good(service("two")))
        await second.until_applied(2)
    assert second.applied[1].origin == "file"
    assert second.metrics.get("weft_config_stale") == 0


@pytest.mark.trio
async def test_a_start_with_nothing_waits_for_the_first_file(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    async with rig.following():
        await rig.until_refused()
        assert rig.files.current is None
        rig.write(good())
        await rig.until_applied(1)


@pytest.mark.trio
async def test_a_directory_that_comes_later_is_found(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.directory.rmdir()
    async with rig.following():
        await rig.until_refused()
        rig.directory.mkdir()
        rig.write(good())
        await rig.until_applied(1)


@pytest.mark.trio
async def test_a_directory_swapped_behind_a_link_is_noticed(tmp_path: Path) -> None:
    """Kubernetes replaces the files of a ConfigMap so."""
    rig = Rig(tmp_path)
    for number, data in enumerate((good(), good(service("web")))):
        version = rig.directory / f"..{number}"
        version.mkdir()
        (version / "n1.json").write_bytes(data)
    (rig.directory / "..data").symlink_to("..0")
    (rig.directory / "n1.json").symlink_to("..data/n1.json")
    async with rig.following():
        await rig.until_applied(1)
        (rig.directory / "..new").symlink_to("..1")
        os.replace(rig.directory / "..new", rig.directory / "..data")
        await rig.until_applied(2)


@pytest.mark.trio
async def test_a_flapping_writer_costs_two_applies_a_second(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.write(good())
    async with rig.following():
        await rig.until_applied(1)
        began = trio.current_time()
        while trio.current_time() - began < 1.3:
            rig.write(good(service(f"s{trio.current_time():.3f}".replace(".", "-"))))
            await trio.sleep(0.02)
        last = rig.applied[-1]
        applied = len(rig.applied)
        assert applied <= 5
        rig.write(good(service("final")))
        while "Service/shop/final" not in rig.applied[-1].entries:
            await rig.until_applied(applied := applied + 1)
    assert last is not rig.applied[-1]


@pytest.mark.trio
async def test_a_full_disk_does_not_keep_a_good_configuration_out(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.state.rmdir()  # nothing can be written there
    rig.write(good())
    async with rig.following():
        await rig.until_applied(1)
    assert "last-good-not-kept" in text(rig)


def test_parse_names_the_node_it_wants() -> None:
    assert parse(good(TrustBundle(trust_domain="x", roots=("a",))), "f", "n1", "file").digest
    with pytest.raises(ContractError, match="this agent is 'other'"):
        parse(good(), "f", "other", "file")
