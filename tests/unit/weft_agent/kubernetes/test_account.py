"""Where the API server is and whom the agent is there: every setting that cannot be used says why."""

from pathlib import Path

import pytest

from weft_agent.kubernetes import Account, AccountError

IN_POD = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}


@pytest.mark.parametrize(
    ("where", "environment", "authority"),
    [
        ("in-cluster", IN_POD, "10.96.0.1:443"),
        ("in-cluster", {"KUBERNETES_SERVICE_HOST": "fd96::1", "KUBERNETES_SERVICE_PORT": "443"}, "[fd96::1]:443"),
        ("https://api.example:6443", {}, "api.example:6443"),
        ("https://api.example/", {}, "api.example:443"),
        ("https://[fd96::1]:6443", {}, "[fd96::1]:6443"),
    ],
)
def test_where_the_server_is(tmp_path: Path, where: str, environment: dict[str, str], authority: str) -> None:
    assert Account.at(where, tmp_path, environment).authority == authority


@pytest.mark.parametrize(
    ("where", "environment"),
    [
        ("in-cluster", {}),
        ("in-cluster", {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "https"}),
        ("http://api.example", {}),
        ("api.example", {}),
        ("https://", {}),
        ("https://api.example:port", {}),
        ("https://api.example/path", {}),
        ("https://me@api.example", {}),
    ],
)
def test_what_names_no_server_is_refused(tmp_path: Path, where: str, environment: dict[str, str]) -> None:
    with pytest.raises(AccountError, match="https://HOST:PORT"):
        Account.at(where, tmp_path, environment)


def test_the_token_is_read_each_time(tmp_path: Path) -> None:
    account = Account("h", 1, tmp_path)
    for word in ("first", "second"):
        (tmp_path / "token").write_text(f"{word}\n")
        assert account.token() == word
    assert "second" not in repr(account)


@pytest.mark.parametrize("content", [None, b"", b"two words", b"caf\xc3\xa9", b"line\nline"])
def test_a_token_that_is_none_is_told_by_its_file(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    with pytest.raises(AccountError, match=str(tmp_path / "token")):
        Account("h", 1, tmp_path).token()


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_roots_that_are_none_are_told_by_their_file(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "ca.crt").write_bytes(content)
    with pytest.raises(AccountError, match=str(tmp_path / r"ca.crt")):
        Account("h", 1, tmp_path).tls()
