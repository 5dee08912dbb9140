"""The authority in a directory: made once, issues, renews, rotates, and says clearly what is wrong."""

import os
import stat
from pathlib import Path

import pytest
from cryptography import x509

from weft_contract.identity import spiffe_id
from weft_core.identity import read_certificates, read_pem, verify_own
from weft_operator.ca import CaError, development
from weft_operator.ca.authority import DAYS, INTERMEDIATE_TTL_S
from weft_operator.ca.development import (
    RootInfo,
    add_root,
    bundle,
    init,
    issue,
    list_roots,
    retire_root,
    sign_with,
    trust_domain_of,
    write_bundle,
)

NOW = 1_800_000_000.0


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    directory = tmp_path / "ca"
    init(directory, now_unix_s=NOW)
    return directory


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "identities"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def chain_of(path: Path) -> tuple[bytes, ...]:
    return tuple(block.der for block in read_pem(path.read_bytes()) if block.label == "CERTIFICATE")


def issuer_of(path: Path) -> x509.Name:
    return x509.load_der_x509_certificate(chain_of(path)[-1]).issuer


# -- making ---------------------------------------------------------------------------------------------------------


def test_init_makes_an_authority(tmp_path: Path) -> None:
    directory = tmp_path / "deep" / "ca"
    root = init(directory, now_unix_s=NOW, trust_domain="example.org")
    assert root == RootInfo(root.name, NOW + 3650 * DAYS, signs=True)
    assert trust_domain_of(directory) == "example.org"
    assert list_roots(directory) == (root,)
    assert sorted(str(path.relative_to(directory)) for path in directory.rglob("*.*")) == [
        "ca.json", "intermediate.pem", f"roots/{root.name}.pem",
    ]  # fmt: skip
    assert mode(directory) == mode(directory / "roots") == 0o700
    assert mode(directory / "intermediate.pem") == mode(directory / "roots" / f"{root.name}.pem") == 0o600


def test_init_takes_an_empty_directory(tmp_path: Path) -> None:
    init(tmp_path, now_unix_s=NOW)
    assert trust_domain_of(tmp_path) == "cluster.local"


def test_init_never_overwrites(ca: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in ca.rglob("*") if path.is_file()}
    with pytest.raises(CaError, match="is not empty: give another directory"):
        init(ca, now_unix_s=NOW)
    assert {path: path.read_bytes() for path in ca.rglob("*") if path.is_file()} == before
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("precious")
    with pytest.raises(CaError, match="is not empty"):
        init(tmp_path / "other", now_unix_s=NOW)


def test_init_refuses_what_is_no_trust_domain(tmp_path: Path) -> None:
    for domain in ("", "Example.org", ".local"):
        with pytest.raises(CaError, match="trust domain"):
            init(tmp_path / "x", now_unix_s=NOW, trust_domain=domain)
    assert not (tmp_path / "x").exists()


def test_init_names_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(CaError, match="file"):
        init(tmp_path / "file" / "ca", now_unix_s=NOW)
    with pytest.raises(CaError, match="file"):
        init(tmp_path / "file", now_unix_s=NOW)


# -- issuing --------------------------------------------------------------------------------------------------------


def test_issue_writes_an_identity_directory(ca: Path, out: Path) -> None:
    issued = issue(ca, "shop", "alice", out, now_unix_s=NOW)
    assert issued.path == out / "shop.alice.pem"
    assert issued.identity == spiffe_id("cluster.local", "shop", "alice")
    assert issued.not_after_unix_s == NOW + DAYS
    assert [block.label for block in read_pem(issued.path.read_bytes())] == ["PRIVATE KEY", *["CERTIFICATE"] * 2]
    assert verify_own(chain_of(issued.path), NOW).identity == issued.identity
    assert (out / "roots" / "cluster.local.pem").read_text() == "".join(bundle(ca))
    assert (mode(out), mode(issued.path)) == (0o700, 0o600)
    assert mode(out / "roots" / "cluster.local.pem") == 0o644
    assert not [path for path in out.rglob(".*") if path.is_file()]


def test_issue_again_is_a_renewal_with_a_new_key(ca: Path, out: Path) -> None:
    first = issue(ca, "shop", "alice", out, now_unix_s=NOW).path.read_bytes()
    second = issue(ca, "shop", "alice", out, now_unix_s=NOW + 1000, ttl_s=5000.0)
    assert second.not_after_unix_s == NOW + 6000
    assert read_pem(second.path.read_bytes())[0].der != read_pem(first)[0].der


def test_issue_overwrites_nothing_else(ca: Path, out: Path) -> None:
    path = issue(ca, "shop", "alice", out, now_unix_s=NOW).path
    path.rename(out / "shop.bob.pem")
    with pytest.raises(CaError, match=r"holds the certificate of spiffe://cluster\.local/ns/shop/sa/alice, not of"):
        issue(ca, "shop", "bob", out, now_unix_s=NOW)
    (out / "shop.carol.pem").write_text("precious")
    with pytest.raises(CaError, match="no certificate of ours"):
        issue(ca, "shop", "carol", out, now_unix_s=NOW)
    assert (out / "shop.carol.pem").read_text() == "precious"


@pytest.mark.parametrize(
    ("namespace", "service_account"), [("", "a"), ("Shop", "a"), ("a.b", "c"), ("../x", "a"), ("a", "../b"), ("a", "B")]
)
def test_issue_refuses_names_that_are_none(ca: Path, out: Path, namespace: str, service_account: str) -> None:
    with pytest.raises(CaError, match="is not an RFC 1123"):
        issue(ca, namespace, service_account, out, now_unix_s=NOW)
    assert not out.exists()


def test_issue_says_what_is_in_the_way(ca: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(CaError, match="file"):
        issue(ca, "shop", "alice", tmp_path / "file", now_unix_s=NOW)


def test_without_an_authority_everything_says_so(tmp_path: Path, out: Path) -> None:
    for call in (
        lambda: issue(tmp_path, "a", "b", out, now_unix_s=NOW),
        lambda: bundle(tmp_path),
        lambda: write_bundle(tmp_path, out),
        lambda: list_roots(tmp_path),
        lambda: add_root(tmp_path, now_unix_s=NOW),
        lambda: sign_with(tmp_path, "x", now_unix_s=NOW),
        lambda: retire_root(tmp_path, "x"),
        lambda: trust_domain_of(tmp_path),
    ):
        with pytest.raises(CaError, match="make one with `weft ca init`"):
            call()


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("ca.json", "{", "was not written by"),
        ("ca.json", '{"schema":"weft.dev/development-ca/v1","trustDomain":"A"}', "was not written by"),
        ("ca.json", '{"schema":"weft.dev/development-ca/v1","trustDomain":"a","x":1}', "was not written by"),
        ("ca.json", '{"schema":"weft.dev/development-ca/v9","trustDomain":"a"}', "this version knows"),
        ("intermediate.pem", "", "does not hold a private key"),
        ("intermediate.pem", "garbage", "does not hold a private key"),
    ],
)
def test_broken_files_are_named(ca: Path, out: Path, name: str, text: str, why: str) -> None:
    (ca / name).write_text(text)
    with pytest.raises(CaError, match=f"{name}.*{why}"):
        issue(ca, "shop", "alice", out, now_unix_s=NOW)


def test_a_key_with_another_keys_certificate_is_noticed(ca: Path, out: Path) -> None:
    other = ca.parent / "other"
    init(other, now_unix_s=NOW)
    mine, theirs = (path / "intermediate.pem" for path in (ca, other))
    key = mine.read_bytes().partition(b"-----BEGIN CERTIFICATE")[0]
    mine.write_bytes(key + b"-----BEGIN CERTIFICATE" + theirs.read_bytes().partition(b"-----BEGIN CERTIFICATE")[2])
    with pytest.raises(CaError, match=r"intermediate\.pem holds a private key that is not its certificate's"):
        issue(ca, "shop", "alice", out, now_unix_s=NOW)


def test_the_bundle_alone(ca: Path, out: Path) -> None:
    path = write_bundle(ca, out)
    assert path == out / "roots" / "cluster.local.pem"
    assert path.read_text() == "".join(bundle(ca))
    assert len(read_certificates(path.read_bytes(), at_most=5)) == 1


# -- rotation -------------------------------------------------------------------------------------------------------


def test_the_intermediate_is_renewed_when_a_third_is_left(ca: Path, out: Path) -> None:
    def intermediate(now: float) -> bytes:
        return chain_of(issue(ca, "shop", "alice", out, now_unix_s=now).path)[1]

    first = intermediate(NOW)
    assert intermediate(NOW + INTERMEDIATE_TTL_S * 0.66) == first
    later = NOW + INTERMEDIATE_TTL_S * 0.67
    renewed = intermediate(later)
    assert renewed != first
    assert intermediate(later + DAYS) == renewed
    assert len(bundle(ca)) == 1


def test_a_rotation_of_roots(ca: Path, out: Path) -> None:
    (old,) = list_roots(ca)
    old_pem = bundle(ca)
    new = add_root(ca, now_unix_s=NOW)
    assert not new.signs
    assert {root.name: root.signs for root in list_roots(ca)} == {old.name: True, new.name: False}
    assert len(bundle(ca)) == 2
    assert bundle(ca)[0] == old_pem[0]  # the one that signs comes first
    before = issuer_of(issue(ca, "shop", "alice", out, now_unix_s=NOW).path)
    with pytest.raises(CaError, match="let another sign first"):
        retire_root(ca, old.name)

    sign_with(ca, new.name, now_unix_s=NOW)
    assert {root.name: root.signs for root in list_roots(ca)} == {old.name: False, new.name: True}
    assert bundle(ca)[1] == old_pem[0]
    assert issuer_of(issue(ca, "shop", "alice", out, now_unix_s=NOW).path) != before
    assert len(read_certificates((out / "roots" / "cluster.local.pem").read_bytes(), at_most=5)) == 2

    retire_root(ca, old.name)
    assert [root.name for root in list_roots(ca)] == [new.name]
    assert old_pem[0] not in bundle(ca)
    issue(ca, "shop", "alice", out, now_unix_s=NOW)


def test_roots_are_called_by_name(ca: Path) -> None:
    (root,) = list_roots(ca)
    with pytest.raises(CaError, match=f"there is no root 'nobody', only {root.name}"):
        sign_with(ca, "nobody", now_unix_s=NOW)
    with pytest.raises(CaError, match="there is no root"):
        retire_root(ca, "../ca")


def test_an_authority_without_its_root_says_so(ca: Path, out: Path) -> None:
    (root,) = list_roots(ca)
    new = add_root(ca, now_unix_s=NOW)
    (ca / "roots" / f"{root.name}.pem").unlink()
    with pytest.raises(CaError, match="choose another to sign with"):
        issue(ca, "shop", "alice", out, now_unix_s=NOW + INTERMEDIATE_TTL_S)
    (ca / "roots" / f"{new.name}.pem").unlink()
    with pytest.raises(CaError, match="holds no root"):
        bundle(ca)


def test_the_module_writes_private_keys_for_nobody_else(ca: Path, out: Path) -> None:
    issue(ca, "shop", "alice", out, now_unix_s=NOW)
    add_root(ca, now_unix_s=NOW)
    for top in (ca, out):
        for folder, _, names in os.walk(top):
            for name in names:
                path = Path(folder) / name
                if b"PRIVATE" in path.read_bytes():
                    assert mode(path) == 0o600
    assert development.SCHEMA == "weft.dev/development-ca/v1"
