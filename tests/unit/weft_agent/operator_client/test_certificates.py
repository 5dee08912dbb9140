"""Certificates by the clock: asked for at half life, tried again ever more slowly, kept while valid, dropped when unused.

Time is MockClock's; keys, requests and certificates are real.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
import trio
from cryptography import x509
from trio.testing import MockClock

from weft_agent.operator_client.certificates import Certificates
from weft_agent.operator_client.errors import ProtocolError, RefusedError, UnreachableError
from weft_agent.telemetry.log import Log
from weft_agent.telemetry.metrics import Metrics
from weft_agent.tls.identity_files import load_directory
from weft_contract.identity import parse_spiffe_id
from weft_contract.identity_layout import key_pair_file_name
from weft_contract.limits import Limits
from weft_contract.resources import TrustBundle
from weft_contract.stream import CertificateAnswer, CertificateRequest
from weft_testing.pki import DAY_S, Authority, p256, root
from weft_testing.standin_operator import PublicHalf

EPOCH_S = 1_800_000_000.0
"""Wall clock when the test begins."""


def identity(name: str) -> str:
    return f"spiffe://cluster.local/ns/shop/sa/{name}"


class Rig:
    """Certificates with an operator that is a function."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "identity"
        self.authority: Authority = root()
        self.bundle = TrustBundle(trust_domain="cluster.local", roots=(self.authority.pem_text,))
        self.asked: list[tuple[float, str]] = []
        """When, and for which service account."""
        self.failure: Exception | None = None
        self.ttl_s = DAY_S
        self.changes: dict[str, object] = {}
        self.open = 0
        self.most_open = 0
        self.lines: list[bytes] = []
        self.metrics = Metrics()
        self.began_s = trio.current_time()
        log = Log(self.lines.append, "json", "debug")
        self.certificates = Certificates(
            self.directory, Limits(), self.ask, log, self.metrics, Random(7), clock=self.now
        )
        self.stored = 0
        self.certificates.stored = self.note

    def note(self) -> None:
        self.stored += 1

    def now(self) -> float:
        return EPOCH_S + self.elapsed_s

    @property
    def elapsed_s(self) -> float:
        return trio.current_time() - self.began_s

    async def ask(self, request: CertificateRequest) -> bytes:
        self.asked.append((self.elapsed_s, request.service_account))
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            await trio.sleep(0.01)
        finally:
            self.open -= 1
        if self.failure is not None:
            raise self.failure
        return msgspec.json.encode(self.issue(request))

    def issue(self, request: CertificateRequest) -> CertificateAnswer:
        key = PublicHalf(x509.load_pem_x509_csr(request.csr.encode()).public_key())
        uri = f"spiffe://cluster.local/ns/{request.namespace}/sa/{request.service_account}"
        wishes = {"key": key, "uris": (uri,), "ends_in_s": self.ttl_s, "now_unix_s": self.now()} | self.changes
        issued = self.authority.issue(**wishes)
        return CertificateAnswer(chain=issued.chain_pem.decode(), identity=uri, not_after_unix_s=0.0)

    def want(self, *names: str) -> None:
        self.certificates.want([identity(name) for name in names], [self.bundle])

    def file(self, name: str) -> Path:
        return self.directory / key_pair_file_name(parse_spiffe_id(identity(name)))

    def present(self) -> set[str]:
        return {str(found) for found in load_directory(self.directory, self.now()).key_pairs}

    def events(self, name: str) -> list[dict[str, Any]]:
        return [event for line in self.lines if (event := json.loads(line))["event"] == name]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.certificates.run)
            yield
            nursery.cancel_scope.cancel()


@pytest.fixture(autouse=True)
def _no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that jumps knows nothing of threads that are at work."""

    async def at_once(function: Callable[..., object], *args: object) -> object:
        await trio.lowlevel.checkpoint()
        return function(*args)

    monkeypatch.setattr(trio.to_thread, "run_sync", at_once)


Scene = Callable[[Rig], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Scene], None]:
    """Run a scene on a clock that jumps."""

    def run(scene: Scene) -> None:
        async def main() -> None:
            rig = Rig(tmp_path)
            async with rig.running():
                await scene(rig)

        trio.run(main, clock=MockClock(autojump_threshold=0))

    return run


def test_a_certificate_is_asked_for_judged_and_stored(play: Callable[[Scene], None]) -> None:
    async def scene(rig: Rig) -> None:
        rig.want("a")
        await trio.sleep(1)
        assert rig.present() == {identity("a")}
        assert rig.file("a").stat().st_mode & 0o777 == 0o600
        assert rig.directory.stat().st_mode & 0o777 == 0o700
        assert rig.stored == 1
        assert rig.metrics.get("weft_certificate_requests_total", outcome="issued") == 1
        assert b"BEGIN PRIVATE KEY" in rig.file("a").read_bytes()

    play(scene)


def test_it_is_renewed_at_half_life_with_jitter_again_and_again(play: Callable[[Scene], None]) -> None:
    async def scene(rig: Rig) -> None:
        rig.want("a", "b", "c", "d")
        await trio.sleep(1.7 * DAY_S)
        for name in "abcd":
            moments = [when for when, account in rig.asked if account == name]
            lives = [later - earlier for earlier, later in pairwise(moments)]
            assert len(lives) >= 3
            assert all(0.44 * DAY_S <= life <= 0.56 * DAY_S for life in lives), lives
        seconds = [[when for when, account in rig.asked if account == name][1] for name in "abcd"]
        assert len({round(when) for when in seconds}) == 4, "not all at once"

    play(scene)


def test_failures_are_tried_again_ever_more_slowly_and_the_old_one_stays(play: Callable[[Scene], None]) -> None:
    async def scene(rig: Rig) -> None:
        rig.want("a")
        await trio.sleep(1)
        before = rig.file("a").read_bytes()
        rig.failure = UnreachableError("operator:15010 does not answer")
        await trio.sleep(0.8 * DAY_S)
        assert rig.file("a").read_bytes() == before
        moments = [when for when, _ in rig.asked[1:]]
        waits = [later - earlier for earlier, later in pairwise(moments)]
        assert 0.4 <= waits[0] <= 1.6
        assert all(wait <= 61 for wait in waits)
        assert waits[-1] >= 29
        assert (
            rig.certificates.warnings()[0] == f"no new certificate for {identity('a')}: operator:15010 does not answer"
        )
        assert len([e for e in rig.events("certificate-not-issued") if e["level"] == "warning"]) == 1, (
            "once, then quietly"
        )
        rig.failure = None
        await trio.sleep(120)
        assert rig.file("a").read_bytes() != before
        assert not any("no new certificate" in text for text in rig.certificates.warnings())

    play(scene)


def test_an_operator_that_comes_back_is_asked_at_once(play: Callable[[Scene], None]) -> None:
    async def scene(rig: Rig) -> None:
        rig.failure = UnreachableError("away")
        rig.want("a")
        await trio.sleep(600)
        rig.failure = None
        rig.certificates.hurry()
        await trio.sleep(1.5)
        assert rig.present() == {identity("a")}

    play(scene)


def test_a_refusal_is_counted_and_its_wish_respected(play: Callable[[Scene], None]) -> None:
    async def scene(rig: Rig) -> None:
        rig.failure = RefusedError(429, "too many requests of this node", 30.0)
        rig.want("a")
        await trio.sleep(100)
        moments = [when for when, _ in rig.asked]
        assert all(later - earlier >= 30 for earlier, later in pairwise(moments))
        assert rig.metrics.get("weft_certificate_requests_total", outcome="refused") == len(moments)

    play(scene)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"uris": (identity("other"),)}, "sent a certificate of"),
        ({"uris": ()}, "URI names"),
        ({"key": p256()}, "for another key than ours"),
        ({"ends_in_s": -3600.0}, "expired"),
        ({"authority": True}, "authority"),
        ({"purposes": ("1.3.6.1.5.5.7.3.1",)}, "client"),
    ],
    ids=["identity", "no identity", "key", "expired", "authority", "purpose"],
)
def test_an_answer_that_breaks_the_rules_is_not_used(
    play: Callable[[Scene], None], changes: dict[str, object], reason: str
) -> None:
    async def scene(rig: Rig) -> None:
        rig.changes = changes
        rig.want("a")
        await trio.sleep(1)
        assert not rig.file("a").exists()
        assert reason in rig.certificates.warnings()[0]
        assert rig.metrics.get("weft_certificate_requests_total", outcome="failed") >= 1

    play(scene)


def test_an_answer_of_a_stranger_is_not_used(play: Callable[[Scene], None]) -> None:
    async def scene(rig: Rig) -> None:
        rig.authority = root()
        rig.want("a")
        await trio.sleep(1)
        assert not rig.file("a").exists()
        assert "no root that this node holds" in rig.certificates.warnings()[0]

    play(scene)


def test_an_answer_through_an_intermediate_is_used(play: Callable[[Scene], None]) -> None:
    async def scene(rig: Rig) -> None:
        rig.authority = rig.authority.intermediate(now_unix_s=EPOCH_S)
        rig.want("a")
        await trio.sleep(1)
        assert rig.present() == {identity("a")}

    play(scene)


def test_nobody_is_asked_before_there_are_roots(play: Callable[[Scene], None]) -> None:
    async def scene(rig: Rig) -> None:
        rig.certificates.want([identity("a")], [])
        await trio.sleep(100)
        assert not rig.asked
        assert "has no roots" in rig.certificates.warnings()[0]
        rig.want("a")
        await trio.sleep(1.5)
        assert rig.present() == {identity("a")}

    play(scene)


def test_a_certificate_that_no_root_vouches_for_any_more_is_replaced_at_once(play: Callable[[Scene], None]) -> None:
    async def scene(rig: Rig) -> None:
        rig.want("a")
        await trio.sleep(100)
        assert len(rig.asked) == 1
        rig.authority = root()
        both = (*rig.bundle.roots, rig.authority.pem_text)
        rig.bundle = TrustBundle(trust_domain="cluster.local", roots=both)
        rig.want("a")
        await trio.sleep(100)
        assert len(rig.asked) == 1, "an additional root changes nothing"
        rig.bundle = TrustBundle(trust_domain="cluster.local", roots=both[1:])
        rig.want("a")
        await trio.sleep(2)
        assert len(rig.asked) == 2

    play(scene)


def test_an_unused_certificate_is_dropped_after_a_while_and_kept_for_a_pod_that_comes_back(
    play: Callable[[Scene], None],
) -> None:
    async def scene(rig: Rig) -> None:
        rig.want("a", "b")
        await trio.sleep(1)
        rig.want("b")
        await trio.sleep(200)
        assert rig.file("a").exists()
        rig.want("a", "b")
        await trio.sleep(1000)
        assert len(rig.asked) == 2, "it was still there"
        rig.want("b")
        await trio.sleep(400)
        assert not rig.file("a").exists()
        assert rig.present() == {identity("b")}
        rig.want("a", "b")
        await trio.sleep(1)
        assert rig.present() == {identity("a"), identity("b")}

    play(scene)


def test_many_are_asked_for_few_at_a_time(play: Callable[[Scene], None]) -> None:
    async def scene(rig: Rig) -> None:
        rig.want(*(f"a{number}" for number in range(30)))
        await trio.sleep(5)
        assert len(rig.present()) == 30
        assert rig.most_open == 4

    play(scene)


def test_what_an_agent_left_behind_is_used_and_what_nobody_wants_goes(tmp_path: Path) -> None:
    async def main() -> None:
        first = Rig(tmp_path)
        async with first.running():
            first.want("a", "b")
            await trio.sleep(1)
        second = Rig(tmp_path)
        second.began_s = first.began_s
        second.authority, second.bundle = first.authority, first.bundle
        second.want("a")
        async with second.running():
            await trio.sleep(100)
            assert second.present() == {identity("a"), identity("b")}
            assert not second.asked
            await trio.sleep(300)
            assert second.present() == {identity("a")}
            await trio.sleep(0.6 * DAY_S)
            assert [account for _, account in second.asked] == ["a"]

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_a_damaged_file_is_replaced(tmp_path: Path) -> None:
    async def main() -> None:
        rig = Rig(tmp_path)
        rig.directory.mkdir(mode=0o700)
        rig.file("a").write_text("garbage")
        rig.want("a")
        async with rig.running():
            await trio.sleep(1)
            assert rig.present() == {identity("a")}

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        rig = Rig(tmp_path)
        rig.directory.write_text("a file")
        rig.want("a")
        async with rig.running():
            await trio.sleep(1)
            assert any("cannot hold keys" in text for text in rig.certificates.warnings())
            assert rig.events("key-directory")

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_an_answer_that_is_none_is_told(play: Callable[[Scene], None]) -> None:
    async def scene(rig: Rig) -> None:
        rig.failure = ProtocolError("the operator's answer cannot be read")
        rig.want("a")
        await trio.sleep(1)
        assert "cannot be read" in rig.certificates.warnings()[0]

    play(scene)
