"""Certificates: issued once, renewed in time, taken away with the last pod; one authority for each trust domain."""

import os
from pathlib import Path

import pytest

from weft_contract.identity import spiffe_id
from weft_lab.addressing import AddressPlan
from weft_lab.daemon import identities as module
from weft_lab.daemon.identities import IdentityKeeper
from weft_lab.daemon.lab import Lab
from weft_lab.daemon.loop import Loop
from weft_lab.daemon.spawner import Spawner
from weft_lab.daemon.store import Store
from weft_lab.machine.records import LabRecord

WEB = spiffe_id("example.org", "shop", "web")
API = spiffe_id("example.org", "shop", "api")


class Clock:
    now = 1_800_000_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


@pytest.fixture
def keeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> IdentityKeeper:
    monkeypatch.setattr("weft_lab.daemon.lab.state_directory", lambda name: tmp_path / name)
    lab = Lab(LabRecord("t", 0, ("node-1",), True, ""), AddressPlan(0), Loop(), Store(lambda: None), Spawner("t"))
    made = IdentityKeeper(lab, ttl_s=1000.0)
    made.bundles("example.org")
    return made


def files(keeper: IdentityKeeper) -> dict[str, int]:
    out = keeper.lab.node_directory("node-1") / "identity"
    return {path.name: path.stat().st_ino for path in out.iterdir() if path.is_file()}


def test_each_identity_has_one_file_and_the_roots_are_beside(keeper: IdentityKeeper) -> None:
    keeper.keep("node-1", [WEB, API])
    assert set(files(keeper)) == {"shop.web.pem", "shop.api.pem"}
    out = keeper.lab.node_directory("node-1") / "identity"
    assert (out / "roots" / "example.org.pem").read_text() == "".join(keeper.bundles("example.org")["example.org"])
    assert os.stat(out).st_mode & 0o777 == 0o700
    assert os.stat(out / "shop.web.pem").st_mode & 0o777 == 0o600


def test_nothing_is_issued_twice_before_its_time(keeper: IdentityKeeper, clock: Clock) -> None:
    keeper.keep("node-1", [WEB])
    first = files(keeper)
    clock.now += 400
    keeper.keep("node-1", [WEB])
    assert files(keeper) == first
    due = keeper.renew_at_unix_s()
    assert due == pytest.approx(clock.now + 100, abs=5)
    clock.now += 200
    keeper.keep("node-1", [WEB])
    assert files(keeper) != first


def test_who_left_the_node_leaves_no_key(keeper: IdentityKeeper) -> None:
    keeper.keep("node-1", [WEB, API])
    keeper.keep("node-1", [API])
    assert set(files(keeper)) == {"shop.api.pem"}


def test_another_trust_domain_brings_another_authority_and_all_roots(keeper: IdentityKeeper) -> None:
    keeper.keep("node-1", [WEB])
    keeper.bundles("new.example")
    keeper.keep("node-1", [spiffe_id("new.example", "shop", "web")])
    out = keeper.lab.node_directory("node-1") / "identity"
    assert {path.name for path in (out / "roots").iterdir()} == {"example.org.pem", "new.example.pem"}
    assert set(keeper.bundles("new.example")) == {"example.org", "new.example"}
