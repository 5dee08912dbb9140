"""Tokens and roots: read as they are, replaced in time, and never waited for beyond their end."""

import base64
import json
import math
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
import trio
from trio.testing import MockClock

from weft_agent.operator_client.bearer import read_token
from weft_agent.operator_client.credentials import CredentialFiles, until_roots_change, until_token_ends
from weft_agent.operator_client.errors import CredentialsError
from weft_agent.operator_client.transport import client_context, read_roots
from weft_testing.pki import root

NOW_S = 1_800_000_000.0


def jwt(**claims: object) -> str:
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256"}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + ".c2ln"


@pytest.mark.parametrize(
    ("text", "expires"),
    [
        (jwt(exp=NOW_S, sub="x"), NOW_S),
        (jwt(sub="x"), math.inf),
        ("opaque", math.inf),
        ("a.b.c", math.inf),
        (jwt(exp="soon"), math.inf),
        (jwt(exp=NOW_S) + "\n", NOW_S),
    ],
)
def test_a_token_is_read_with_its_end(tmp_path: Path, text: str, expires: float) -> None:
    path = tmp_path / "token"
    path.write_text(text)
    token = read_token(path)
    assert token.text == text.strip()
    assert token.expires_unix_s == expires
    assert text.strip() not in repr(token), "a log must not hold it"


@pytest.mark.parametrize("data", [b"", b"a b", b"a\r\nx: y", b"\xff", b"a" * 20_000])
def test_what_is_no_token_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(data)
    with pytest.raises(CredentialsError, match="no bearer token"):
        read_token(path)
    with pytest.raises(CredentialsError, match="cannot be read"):
        read_token(tmp_path / "missing")


def test_roots_are_certificates_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "roots.pem"
    with pytest.raises(CredentialsError, match="cannot be read"):
        read_roots(path)
    path.write_text("nothing")
    with pytest.raises(CredentialsError, match="no PEM certificates"):
        read_roots(path)
    with pytest.raises(CredentialsError, match="cannot be read"):
        client_context(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    path.write_text(root().pem_text + root().pem_text)
    assert len(client_context(read_roots(path)).get_ca_certs()) == 2


class Files:
    """A token that lives ten minutes and, if wished, is replaced as a kubelet does it."""

    def __init__(self, directory: Path) -> None:
        self.files = CredentialFiles(directory / "token", directory / "roots.pem")
        self.write(600)

    def write(self, lasts_s: float) -> None:
        self.files.token.write_text(jwt(exp=NOW_S + lasts_s))


def at(files: Files, script: Callable[[], object], after_s: float, seed: int = 1) -> tuple[str, float]:
    """Return why and when the watcher returned, if a script runs after so many seconds."""

    async def main() -> tuple[str, float]:
        began_s = trio.current_time()

        async def later() -> None:
            await trio.sleep(after_s)
            script()

        def clock() -> float:
            return NOW_S + trio.current_time() - began_s

        token = read_token(files.files.token)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(later)
            reason = await until_token_ends(files.files, token, clock, Random(seed))
            when_s = trio.current_time() - began_s
            nursery.cancel_scope.cancel()
        return reason, when_s

    return trio.run(main, clock=MockClock(autojump_threshold=0))


def test_a_replaced_token_is_used_before_the_old_one_ends(tmp_path: Path) -> None:
    moments = set()
    for seed in range(10):
        files = Files(tmp_path)
        reason, when_s = at(files, lambda files=files: files.write(1080), 480, seed)  # type: ignore[misc]  # bound now
        assert "there is a new one" in reason
        assert 480 <= when_s < 560
        moments.add(round(when_s))
    assert len(moments) > 3, "nodes that started together do not come together"


def test_a_token_that_is_replaced_late_is_used_as_soon_as_it_is_there(tmp_path: Path) -> None:
    files = Files(tmp_path)
    assert 590 <= at(files, lambda: files.write(1200), 590)[1] <= 596


def test_a_token_that_nobody_replaces_is_said_to_have_ended(tmp_path: Path) -> None:
    files = Files(tmp_path)
    with pytest.raises(BaseExceptionGroup) as caught:
        at(files, lambda: None, 10_000)
    assert caught.group_contains(CredentialsError, match="was not replaced")


def test_a_token_without_an_end_never_ends(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.files.token.write_text("opaque")

    async def main() -> bool:
        with trio.move_on_after(1e6) as scope:
            await until_token_ends(files.files, read_token(files.files.token), trio.current_time, Random(1))
        return scope.cancelled_caught

    assert trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.trio
async def test_replaced_roots_are_noticed_and_broken_ones_waited_for(tmp_path: Path) -> None:
    files = CredentialFiles(tmp_path / "token", tmp_path / "roots.pem")
    old, new = root().pem_text, root().pem_text
    files.roots.write_text(old)
    done: list[str] = []

    async def watch() -> None:
        done.append(await until_roots_change(files, old.encode()))

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            files.roots.write_text("half writ")
            await trio.sleep(0.1)
            assert not done
            replaced = tmp_path / ".new"
            replaced.write_text(new)
            replaced.rename(files.roots)
    assert done == ["the roots were replaced"]
