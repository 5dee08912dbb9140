"""The identity directory: what is right is read, every broken file is named with a remedy and costs nobody else."""

import os
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from weft_agent.channel.memfd import content
from weft_agent.tls import IdentityDirectory, TlsContexts, load_directory
from weft_contract.identity_layout import MAX_FILE_BYTES
from weft_core.identity import read_certificates, read_pem
from weft_testing import pki
from weft_testing.tls_peers import ALICE, BOB

ROOT = pki.root()
MIDDLE = ROOT.intermediate()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Alice's key pair and the roots."""
    (tmp_path / "roots").mkdir()
    (tmp_path / "roots" / "cluster.local.pem").write_text(ROOT.pem_text)
    write(tmp_path, "shop.alice.pem", MIDDLE.issue())
    return tmp_path


def write(directory: Path, name: str, issued: pki.Issued | bytes, mode: int = 0o600) -> None:
    path = directory / name
    path.write_bytes(issued if isinstance(issued, bytes) else issued.key_pem + issued.chain_pem)
    path.chmod(mode)


def load(directory: Path) -> IdentityDirectory:
    return load_directory(directory, time.time())


def test_reads_key_pairs_and_bundles(directory: Path) -> None:
    write(directory, "shop.bob.pem", MIDDLE.issue(uris=(pki.BOB,), ends_in_s=5000.0))
    (directory / "roots" / "other.example.pem").write_text(pki.root().pem_text)
    (directory / ".shop.carol.pem.123").write_text("being written")
    found = load(directory)
    assert not found.problems
    assert set(found.key_pairs) == {ALICE, BOB}
    assert found.key_pairs[BOB].not_after_unix_s == pytest.approx(time.time() + 5000, abs=5)
    assert set(found.bundles) == {"cluster.local", "other.example"}
    assert found.bundles["cluster.local"] == (ROOT.pem_text,)


def test_what_was_read_works(directory: Path) -> None:
    """From file to context, as control and worker do it between them."""
    found = load(directory)
    contexts = TlsContexts("cluster.local")
    assert not contexts.put_bundles(found.bundles)
    pair = found.key_pairs[ALICE]
    contexts.put_key_pair(pair.identity, pair.chain_pem, pair.seal(), time.time())
    assert contexts.server(ALICE, time.time()).identity == ALICE
    contexts.close()


def test_a_sealed_key_pair_cannot_be_changed(directory: Path) -> None:
    fd = load(directory).key_pairs[ALICE].seal()
    try:
        assert [block.label for block in read_pem(content(fd))] == ["PRIVATE KEY", "CERTIFICATE", "CERTIFICATE"]
        for change in (lambda: os.write(fd, b"x"), lambda: os.ftruncate(fd, 0), lambda: os.ftruncate(fd, 1 << 20)):
            with pytest.raises(PermissionError):
                change()
    finally:
        os.close(fd)


def test_keys_are_not_shown(directory: Path) -> None:
    text = repr(load(directory))
    assert "PRIVATE" not in text
    assert "alice" in text


def test_the_digest_tells_of_renewal(directory: Path) -> None:
    first, again = load(directory).key_pairs[ALICE].digest, load(directory).key_pairs[ALICE].digest
    write(directory, "shop.alice.pem", MIDDLE.issue())
    assert first == again != load(directory).key_pairs[ALICE].digest


def test_order_and_remarks_do_not_matter(directory: Path) -> None:
    issued = MIDDLE.issue(key=pki.rsa_key(2048))
    old_style = issued.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    assert b"BEGIN RSA PRIVATE KEY" in old_style
    write(directory, "shop.alice.pem", b"# Alice\r\n" + issued.chain_pem.replace(b"\n", b"\r\n") + old_style)
    found = load(directory)
    assert not found.problems
    assert read_certificates(found.key_pairs[ALICE].chain_pem, at_most=5) == issued.chain


def encrypted(issued: pki.Issued) -> bytes:
    return issued.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"pw")
    )


GOOD = MIDDLE.issue(uris=(pki.BOB,))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "found: nothing"),
        (b"no pem", "found: nothing"),
        (GOOD.chain_pem, "one private key"),
        (GOOD.key_pem, "0 certificates"),
        (GOOD.key_pem * 2 + GOOD.chain_pem, "one private key"),
        (encrypted(GOOD) + GOOD.chain_pem, "encrypted"),
        (GOOD.key_pem + GOOD.chain_pem[:-10], "END"),
        (GOOD.key_pem + GOOD.chain_pem * 3, "6 certificates"),
        (pki.key_pem(pki.p256()) + GOOD.chain_pem, "does not belong to the certificate"),
        (GOOD.key_pem + pki.pem(*reversed(GOOD.chain)), "0 URI names"),
        (GOOD.key_pem + pki.pem(GOOD.der, GOOD.der), "not an authority"),
        (GOOD.key_pem + pki.pem(b"garbage"), "malformed"),
        (GOOD.key_pem + MIDDLE.issue(key=GOOD.key).chain_pem, "its name must be shop.alice.pem"),
        (
            GOOD.key_pem + MIDDLE.issue(key=GOOD.key, uris=(pki.BOB,), ends_in_s=-100.0, starts_in_s=-900.0).chain_pem,
            "renew",
        ),
        (
            GOOD.key_pem + MIDDLE.issue(key=GOOD.key, uris=(pki.BOB,), starts_in_s=9000.0, ends_in_s=18000.0).chain_pem,
            "clocks",
        ),
        (GOOD.key_pem + MIDDLE.issue(key=GOOD.key, uris=(pki.BOB,), usage=(0, 5)).chain_pem, "sign certificates"),
        (
            GOOD.key_pem + MIDDLE.issue(key=GOOD.key, uris=(pki.BOB,), purposes=(pki.CLIENT_AUTH,)).chain_pem,
            "to be a server",
        ),
        (b"x" * (MAX_FILE_BYTES + 1), "no regular file of at most"),
    ],
)
def test_a_broken_file_is_named_and_costs_nobody_else(directory: Path, text: bytes, why: str) -> None:
    write(directory, "shop.bob.pem", text)
    found = load(directory)
    assert set(found.key_pairs) == {ALICE}
    (problem,) = found.problems
    assert problem.source == str(directory / "shop.bob.pem")
    assert why in str(problem)
    assert problem.remedy
    assert not problem.warning


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_key_that_others_may_read_is_refused(directory: Path, mode: int) -> None:
    (directory / "shop.alice.pem").chmod(mode)
    found = load(directory)
    assert not found.key_pairs
    assert f"mode {mode:04o}" in str(found.problems[0])
    assert "chmod 0600" in str(found.problems[0])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
def test_a_key_of_somebody_else_is_refused(directory: Path) -> None:
    os.chown(directory / "shop.alice.pem", 12345, -1)
    assert "belongs to user 12345" in str(load(directory).problems[0])


def test_what_is_no_file_is_refused(directory: Path) -> None:
    os.mkfifo(directory / "shop.fifo.pem", 0o600)
    (directory / "shop.gone.pem").symlink_to("/nowhere")
    (directory / "notes.txt").write_text("hello")
    found = load(directory)
    assert set(found.key_pairs) == {ALICE}
    texts = [str(problem) for problem in found.problems]
    assert len(texts) == 3
    assert "does not end in .pem" in texts[0]
    assert found.problems[0].warning
    assert "no regular file" in texts[1]
    assert "cannot be read" in texts[2]


def test_links_are_followed(directory: Path) -> None:
    """Kubernetes mounts Secrets as links."""
    (directory / "..data").mkdir()
    (directory / "shop.alice.pem").rename(directory / "..data" / "shop.alice.pem")
    (directory / "shop.alice.pem").symlink_to("..data/shop.alice.pem")
    found = load(directory)
    assert set(found.key_pairs) == {ALICE}
    assert not found.problems


def test_a_bundle_needs_a_domains_name(directory: Path) -> None:
    (directory / "roots" / "Cluster Local.pem").write_text(ROOT.pem_text)
    found = load(directory)
    assert set(found.bundles) == {"cluster.local"}
    assert "name it <trust domain>.pem" in str(found.problems[0])


def test_a_missing_directory_is_a_problem_with_a_remedy(tmp_path: Path) -> None:
    found = load(tmp_path / "none")
    assert not found.key_pairs
    assert not found.bundles
    (problem,) = found.problems
    assert problem.source == str(tmp_path / "none")
    assert "weft ca issue" in problem.remedy


def test_roots_may_come_from_elsewhere(directory: Path) -> None:
    (directory / "roots" / "cluster.local.pem").unlink()
    (directory / "roots").rmdir()
    found = load(directory)
    assert set(found.key_pairs) == {ALICE}
    assert not found.bundles
    assert not found.problems
