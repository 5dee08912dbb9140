"""Certificates: only what the node needs is handed out, renewals replace, broken files cost nobody else, alarms come once."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio

from weft_agent.channel import memfd
from weft_agent.control.desired import Desired
from weft_agent.control.fleet import Fleet
from weft_agent.control.identities import Identities
from weft_agent.telemetry.log import Log
from weft_agent.telemetry.metrics import Metrics
from weft_testing.pki import root

pytestmark = pytest.mark.trio

HOUR_S = 3600.0


def identity(name: str) -> str:
    return f"spiffe://cluster.local/ns/shop/sa/{name}"


class Rig:
    """An identity directory and who follows it; of the fleet only what it is told."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = root()
        (directory / "roots").mkdir(exist_ok=True)
        self.desired = Desired()
        self.told = 0
        self.news = trio.Event()
        self.lines: list[bytes] = []
        self.now = 0.0
        self.metrics = Metrics()
        fleet = cast("Fleet", SimpleNamespace(desired=self.desired, changed=self.changed))
        log = Log(self.lines.append, "json", "debug")
        self.identities = Identities(directory, fleet, log, self.metrics, self.clock)

    def clock(self) -> float:
        import time

        return time.time() + self.now

    def changed(self) -> None:
        self.told += 1
        self.news.set()

    def issue(self, name: str, hours: float = 24.0) -> None:
        issued = self.authority.issue(uris=(identity(name),), ends_in_s=hours * HOUR_S)
        new = self.directory / f".{name}"
        new.touch(mode=0o600)
        new.write_bytes(issued.key_pem + issued.chain_pem)
        new.rename(self.directory / f"shop.{name}.pem")

    async def until(self, *names: str) -> None:
        with trio.fail_after(10):
            while set(self.desired.certificates) != {identity(name) for name in names}:
                await self.news.wait()
                self.news = trio.Event()

    def events(self, name: str) -> list[dict[str, Any]]:
        return [event for line in self.lines if (event := json.loads(line))["event"] == name]

    @asynccontextmanager
    async def following(self, *names: str) -> AsyncIterator[None]:
        self.identities.want(frozenset(identity(name) for name in names))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.identities.run)
            yield
            nursery.cancel_scope.cancel()


async def test_only_identities_of_this_nodes_pods_are_handed_out(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    for name in ("a", "b", "c"):
        rig.issue(name)
    async with rig.following("a", "b"):
        await rig.until("a", "b")
        rig.identities.want(frozenset({identity("b"), identity("c")}))
        await rig.until("b", "c")
    key = memfd.content(rig.desired.certificates[identity("c")].key_fd)
    assert b"PRIVATE KEY" in key
    assert rig.metrics.get("weft_certificate_not_after_seconds", identity=identity("c")) > rig.clock()
    assert set(rig.metrics.snapshot()["weft_certificate_not_after_seconds"]) == {(identity("b"),), (identity("c"),)}


async def test_a_renewal_replaces_and_the_old_key_is_closed(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.issue("a")
    async with rig.following("a"):
        await rig.until("a")
        first = rig.desired.certificates[identity("a")]
        rig.issue("a", hours=48)
        with trio.fail_after(10):
            while rig.desired.certificates[identity("a")].digest == first.digest:
                await rig.news.wait()
                rig.news = trio.Event()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(first.key_fd)
    assert rig.desired.certificates[identity("a")].not_after_unix_s > first.not_after_unix_s + HOUR_S


async def test_a_broken_file_keeps_the_last_good_certificate_and_costs_nobody_else(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.issue("a")
    async with rig.following("a", "b"):
        await rig.until("a")
        (tmp_path / "shop.a.pem").write_text("garbage")
        rig.issue("b")
        await rig.until("a", "b")
        with trio.fail_after(10):
            while not rig.events("identity-problems"):  # noqa: ASYNC110 - a log line is no event
                await trio.sleep(0.01)
    assert any("shop.a.pem" in text for text in rig.identities.warnings())


async def test_a_missing_certificate_is_told(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    async with rig.following("a"):
        assert f"no certificate for {identity('a')}" in rig.identities.warnings()
        rig.issue("a")
        await rig.until("a")
        assert rig.identities.warnings() == []


async def test_alarms_come_at_two_fifths_a_quarter_and_a_tenth_once_each(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.issue("a", hours=24)
    async with rig.following("a"):
        await rig.until("a")
        seen: list[int] = []
        for hours in (1, 13, 15, 15.5, 19, 20, 22, 23, 25):
            rig.now = hours * HOUR_S
            rig.identities._alarm()
            rig.identities._alarm()
            seen.append(len(rig.events("certificate-expires")) + len(rig.events("certificate-expired")))
    assert seen == [0, 0, 1, 1, 2, 2, 3, 3, 4]
    assert [event["level"] for event in rig.events("certificate-expires")] == ["warning", "warning", "error"]
    assert rig.events("certificate-expired")[0]["identity"] == identity("a")
    assert rig.identities.warnings() == [f"certificate of {identity('a')} has expired"]
