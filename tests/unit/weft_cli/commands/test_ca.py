"""`weft ca`: an authority from its first day through a rotation, and its mistakes."""

from pathlib import Path

import pytest

from weft_testing.lab import Ran, run_weft


class Authority:
    def __init__(self, directory: Path) -> None:
        self.ca, self.out = str(directory / "ca"), str(directory / "identity")

    def run(self, *words: str) -> Ran:
        return run_weft("ca", *words, "--ca", self.ca)

    def roots(self) -> dict[str, str]:
        rows = [line.split() for line in self.run("roots").out.splitlines()[1:]]
        return {row[0]: row[2] for row in rows}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path)
    assert made.run("init", "--trust-domain", "example.org").status == 0
    return made


def test_certificates_are_issued_into_an_identity_directory(authority: Authority) -> None:
    ran = authority.run("issue", "shop/web", "shop/api", "-o", authority.out, "--ttl", "1h")
    assert ran.status == 0, ran.err
    assert "spiffe://example.org/ns/shop/sa/web" in ran.out
    names = {path.name for path in Path(authority.out).iterdir()}
    assert names == {"shop.web.pem", "shop.api.pem", "roots"}


def test_a_rotation_from_begin_to_end(authority: Authority) -> None:
    (old,) = authority.roots()
    assert authority.run("add-root").status == 0
    new = next(name for name in authority.roots() if name != old)
    assert authority.run("retire-root", old).status == 1, "it still signs"
    assert authority.run("sign-with", new).status == 0
    assert authority.roots() == {old: "no", new: "yes"}
    assert authority.run("retire-root", old).status == 0
    assert authority.roots() == {new: "yes"}
    assert authority.run("bundle", "-o", authority.out).status == 0
    assert (Path(authority.out) / "roots" / "example.org.pem").exists()


def test_mistakes_are_told_in_a_sentence(authority: Authority, tmp_path: Path) -> None:
    cases = [
        (authority.run("init"), 1, "not empty"),
        (authority.run("issue", "shop", "-o", authority.out), 2, "NAMESPACE/ACCOUNT"),
        (authority.run("issue", "Shop/web", "-o", authority.out), 1, "Shop"),
        (authority.run("sign-with", "nosuch"), 1, "nosuch"),
        (run_weft("ca", "roots", "--ca", str(tmp_path / "none")), 1, "weft ca init"),
    ]
    for ran, status, part in cases:
        assert ran.status == status
        assert part in ran.err
        assert "Traceback" not in ran.err
