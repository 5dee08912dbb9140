"""The watch of a node's pods over real TLS, against a server that has every bad day an API server can have."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio

from weft_agent.kubernetes import PodWatch, list_watch
from weft_agent.telemetry.log import Log
from weft_agent.telemetry.metrics import Metrics
from weft_testing.cluster.pki import Authority
from weft_testing.stub_api_server import (
    Answer,
    Asked,
    Stream,
    StubApiServer,
    begin,
    end,
    event,
    failure,
    listing,
    reply,
    until,
)

pytestmark = pytest.mark.trio


class Rig(StubApiServer):
    """A server that answers as told, and a watch that asks it."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.changes = 0
        self.lines: list[bytes] = []
        self.metrics = Metrics()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Rig"]:
        log = Log(self.lines.append, "json", "debug")
        with trio.fail_after(20):
            async with self.serving() as account, trio.open_nursery() as nursery:
                self.watch = PodWatch(account, "n1", self._changed, log, self.metrics, Random(1))
                nursery.start_soon(self.watch.run)
                yield self
                nursery.cancel_scope.cancel()

    def _changed(self) -> None:
        self.changes += 1

    async def until(self, condition: Callable[[], bool]) -> None:
        await until(condition)

    @property
    def names(self) -> list[str]:
        return sorted(pod.metadata.name for pod in self.watch.pods.present.values())


def pod(name: str, version: str = "1", **status: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "shop", "uid": f"uid-{name}", "resourceVersion": version}
    return {"metadata": metadata, "spec": {"nodeName": "n1", "volumes": [{"name": "v"}]}, "status": status}


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


async def test_a_list_in_pages_and_then_every_change(rig: Rig) -> None:
    async def answer(asked: Asked, stream: Stream) -> None:
        if not asked.watches:
            more = "" if "continue" in asked.query else "page 2"
            await listing(stream, pod("b" if asked.query.get("continue") else "a"), more=more)
            return
        await begin(stream)
        await event(stream, "ADDED", {"apiVersion": "v1", "kind": "Pod", **pod("c", "11")}, pieces=40)
        await event(stream, "DELETED", pod("a", "12"))
        await event(stream, "BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": "15"}})
        await trio.sleep_forever()

    rig.answer = answer
    async with rig.running():
        await rig.until(lambda: rig.names == ["b", "c"])
        assert rig.watch.pods.is_gone("uid-a")
        assert rig.changes == 3
        first, _, watch = rig.asked
        assert urlsplit(first.path).path == "/api/v1/pods"
        assert first.query["fieldSelector"] == "spec.nodeName=n1"
        assert "resourceVersion" not in first.query, "an answer out of a cache could lack a living pod"
        assert watch.query["resourceVersion"] == "10"
        assert rig.watch.trouble == ""


async def test_a_watch_goes_on_where_it_was_with_the_token_of_the_moment(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_watch, "SHORT_S", 0.0)

    async def answer(asked: Asked, stream: Stream) -> None:
        if not asked.watches:
            await listing(stream, pod("a"))
        elif asked.query["resourceVersion"] == "10":
            await begin(stream)
            await event(stream, "BOOKMARK", {"metadata": {"resourceVersion": "20"}})
            (rig.directory / "token").write_text("second")
            await end(stream)
        else:
            await begin(stream)
            await event(stream, "ADDED", pod("b", "21"))
            await trio.sleep_forever()

    rig.answer = answer
    async with rig.running():
        await rig.until(lambda: rig.names == ["a", "b"])
        assert [(asked.query.get("resourceVersion"), asked.token) for asked in rig.asked] == [
            (None, "first"), ("10", "first"), ("20", "second"),
        ]  # fmt: skip


@pytest.mark.parametrize("where", ["status", "event"])
async def test_a_version_that_is_too_old_means_a_new_list_and_what_it_lacks_is_gone(rig: Rig, where: str) -> None:
    async def answer(asked: Asked, stream: Stream) -> None:
        lists = sum(not one.watches for one in rig.asked)
        if not asked.watches:
            await listing(stream, pod("b"), *([pod("a")] if lists == 1 else []), version=str(lists))
        elif lists > 1:
            await begin(stream)
            await trio.sleep_forever()
        elif where == "status":
            await reply(stream, failure(410), 410)
        else:
            await begin(stream)
            await event(stream, "ERROR", failure(410))

    rig.answer = answer
    async with rig.running():
        await rig.until(lambda: rig.names == ["b"])
        assert rig.watch.pods.is_gone("uid-a")


@pytest.mark.parametrize(("status", "remedy"), [(401, "token"), (403, "get, list and watch pods"), (500, "log")])
async def test_a_refusal_is_told_with_its_remedy_and_takes_nothing_away(rig: Rig, status: int, remedy: str) -> None:
    async def answer(asked: Asked, stream: Stream) -> None:
        if asked.watches:
            await reply(stream, failure(status, "because"), status)
        else:
            await listing(stream, pod("a"))

    rig.answer = answer
    async with rig.running():
        await rig.until(lambda: remedy in rig.watch.trouble)
        assert "because" in rig.watch.trouble
        assert rig.names == ["a"]
        asked = len(rig.asked)
        await rig.until(lambda: len(rig.asked) > asked)
        assert sum(b'"pod-watch"' in line for line in rig.lines) == 1, "told once"


async def cut(asked: Asked, stream: Stream) -> None:
    await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")


async def garbage(asked: Asked, stream: Stream) -> None:
    await stream.send_all(b"\x00\x01\x02 nonsense\r\n\r\n")


async def no_json(asked: Asked, stream: Stream) -> None:
    await reply(stream, "a text")


async def hang_up(asked: Asked, stream: Stream) -> None: ...


@pytest.mark.parametrize("bad", [cut, garbage, no_json, hang_up])
async def test_a_bad_answer_is_told_and_the_next_good_one_is_taken(rig: Rig, bad: Answer) -> None:
    rig.answer = bad

    async def good(asked: Asked, stream: Stream) -> None:
        if asked.watches:
            await begin(stream)
            await trio.sleep_forever()
        await listing(stream, pod("a"))

    async with rig.running():
        await rig.until(lambda: bool(rig.watch.trouble))
        rig.answer = good
        await rig.until(lambda: rig.names == ["a"] and not rig.watch.trouble)
        assert any(b"pod-watch-back" in line for line in rig.lines)


async def test_a_server_of_other_roots_is_not_believed_and_never_hears_the_token(rig: Rig, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    (rig.directory / "ca.crt").write_bytes(Authority.make(stranger).certificate_pem)
    async with rig.running():
        await rig.until(lambda: "certificate verify failed" in rig.watch.trouble)
        assert not rig.asked


async def test_a_missing_token_is_told_by_its_file(rig: Rig) -> None:
    (rig.directory / "token").unlink()
    async with rig.running():
        await rig.until(lambda: str(rig.directory / "token") in rig.watch.trouble)
        assert not rig.asked


async def test_a_silent_watch_is_given_up(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_watch, "SILENCE_S", 0.05)

    async def answer(asked: Asked, stream: Stream) -> None:
        if asked.watches:
            await begin(stream)
            await trio.sleep_forever()
        await listing(stream)

    rig.answer = answer
    async with rig.running():
        await rig.until(lambda: sum(asked.watches for asked in rig.asked) > 1)


async def test_an_object_that_cannot_be_read_does_not_hide_the_others(rig: Rig) -> None:
    async def answer(asked: Asked, stream: Stream) -> None:
        if asked.watches:
            await begin(stream)
            await trio.sleep_forever()
        nulls = pod("nulls") | {"status": {"podIPs": None, "phase": None}}
        await listing(stream, pod("a"), {"metadata": "nonsense"}, nulls)

    rig.answer = answer
    async with rig.running():
        await rig.until(lambda: rig.names == ["a", "nulls"])
        assert any(b"pod-unreadable" in line for line in rig.lines)
