"""Everybody whom an agent must turn away, as server and as client, over real sockets, each with its reason.

OpenSSL alone would let most of the certificates below in (`test_openssl_is_lenient` shows which): the rules are ours.
"""

import os
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import ec

from weft_agent.tls import HandshakeGate, TlsEngine
from weft_contract.limits import DEFAULT_LIMITS
from weft_core.errors import (
    CertificateExpiredError,
    HandshakeError,
    HandshakeTimeoutError,
    IdentityMismatchError,
    UntrustedPeerError,
    WeftError,
)
from weft_core.identity import PeerCertificate
from weft_testing import asn1, pki
from weft_testing.tls_peers import BOB, Mesh, Side, bare_context, meet, outcome_of, shake, tcp_pair

FOREIGN = "spiffe://other.example/ns/shop/sa/alice"


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    made = Mesh()
    yield made
    made.close()


async def as_client_of_bob(mesh: Mesh, issued: pki.Issued | None) -> PeerCertificate | WeftError:
    """What Bob makes of a client with this certificate."""
    outcome, _ = await meet(TlsEngine(mesh.bob.server()), bare_context(False, issued))
    return outcome


async def as_server_for_alice(mesh: Mesh, issued: pki.Issued, dialled: str = "") -> PeerCertificate | WeftError:
    """What Alice makes of a server with this certificate."""
    outcome, _ = await meet(TlsEngine(mesh.alice.client()), bare_context(True, issued), dialled=dialled)
    return outcome


@pytest.mark.trio
async def test_accepts_who_should_be_accepted(mesh: Mesh) -> None:
    """The bare peers of this file are refused for what they show, not for being bare."""
    outcome = await as_client_of_bob(mesh, mesh.middle.issue())
    assert isinstance(outcome, PeerCertificate)
    assert str(outcome.identity) == pki.ALICE
    outcome = await as_server_for_alice(mesh, mesh.middle.issue(uris=(pki.BOB,)), pki.BOB)
    assert isinstance(outcome, PeerCertificate)
    assert outcome.identity == BOB


# -- certificates that OpenSSL takes and we do not ------------------------------------------------------------------

LENIENT: list[tuple[str, Mapping[str, object], type[WeftError], str]] = [
    ("two identities", {"uris": (pki.ALICE, pki.BOB)}, UntrustedPeerError, "2 URI names"),
    ("one identity twice", {"uris": (pki.ALICE, pki.ALICE)}, UntrustedPeerError, "2 URI names"),
    ("no identity", {"uris": (), "subject": "alice"}, UntrustedPeerError, "0 URI names"),
    ("authority as leaf", {"authority": True, "usage": (0, 5, 6), "subject": "alice"}, UntrustedPeerError, "authority"),
    ("upper-case domain", {"uris": ("spiffe://Cluster.Local/ns/shop/sa/alice",)}, UntrustedPeerError, "trust domain"),
    ("dots in the path", {"uris": ("spiffe://cluster.local/ns/a/../sa/b",)}, UntrustedPeerError, "segment"),
    ("escape in the path", {"uris": ("spiffe://cluster.local/ns/a/sa/%61",)}, UntrustedPeerError, "segment"),
    ("NUL in the URI", {"uris": (b"spiffe://cluster.local/ns/a/sa/b\x00",)}, UntrustedPeerError, "ASCII"),
    ("NUL in a DNS name", {"other_names": (asn1.implicit(2, b"a\x00b"),)}, UntrustedPeerError, "ASCII"),
    ("port in the domain", {"uris": ("spiffe://cluster.local:1/ns/a/sa/b",)}, UntrustedPeerError, "trust domain"),
    ("no path", {"uris": ("spiffe://cluster.local",)}, UntrustedPeerError, "form"),
    ("trailing slash", {"uris": (pki.ALICE + "/",)}, UntrustedPeerError, "segment"),
    ("other scheme", {"uris": ("https://cluster.local/ns/a/sa/b",)}, UntrustedPeerError, "spiffe://"),
    ("over 2048 bytes", {"uris": (pki.ALICE + "a" * 2048,)}, UntrustedPeerError, "longer"),
    ("another trust domain, our root", {"uris": (FOREIGN,)}, UntrustedPeerError, "no roots are known"),
    ("key usage not critical", {"usage_critical": False}, UntrustedPeerError, "not critical"),
    ("no key usage", {"usage": None}, UntrustedPeerError, "missing"),
    ("usage keyCertSign", {"usage": (0, 5), "authority": True, "subject": "alice"}, UntrustedPeerError, "authority"),
    ("usage cRLSign", {"usage": (0, 6), "subject": "alice"}, UntrustedPeerError, "revocation lists"),
    ("no extended key usage", {"purposes": None}, UntrustedPeerError, "does not allow"),
    ("curve P-521", {"key": ec.generate_private_key(ec.SECP521R1())}, UntrustedPeerError, "key is neither"),
    ("expired", {"starts_in_s": -1000.0, "ends_in_s": -90.0}, CertificateExpiredError, "expired"),
    ("not yet valid", {"starts_in_s": 90.0}, CertificateExpiredError, "becomes valid"),
]  # fmt: skip


@pytest.mark.trio
@pytest.mark.parametrize(("wishes", "error", "why"), [row[1:] for row in LENIENT], ids=[row[0] for row in LENIENT])
async def test_refuses_such_a_client(
    mesh: Mesh, wishes: Mapping[str, object], error: type[WeftError], why: str
) -> None:
    outcome = await as_client_of_bob(mesh, mesh.middle.issue(**wishes))
    assert type(outcome) is error
    assert why in str(outcome)


@pytest.mark.trio
@pytest.mark.parametrize(("wishes", "error", "why"), [row[1:] for row in LENIENT], ids=[row[0] for row in LENIENT])
async def test_refuses_such_a_server(
    mesh: Mesh, wishes: Mapping[str, object], error: type[WeftError], why: str
) -> None:
    outcome = await as_server_for_alice(mesh, mesh.middle.issue(**wishes))
    assert type(outcome) is error
    assert why in str(outcome)


@pytest.mark.parametrize("wishes", [row[1] for row in LENIENT], ids=[row[0] for row in LENIENT])
def test_openssl_is_lenient(mesh: Mesh, wishes: Mapping[str, object]) -> None:
    """A bare server that requires certificates of our root lets every one of them in as a client."""
    timeless = ssl.VerifyFlags(0x200000)  # for the two rows about time
    server = bare_context(True, mesh.middle.issue(), trusts=mesh.root)
    server.verify_flags |= timeless
    client = bare_context(False, mesh.middle.issue(**wishes))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)]
    done = 0
    while done < 2:
        for end in list(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            ends.remove(end)
            done += 1


# -- chains ---------------------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_refuses_another_root(mesh: Mesh) -> None:
    stranger = pki.root().intermediate()
    outcome = await as_client_of_bob(mesh, stranger.issue())
    assert isinstance(outcome, UntrustedPeerError)
    assert "unable to get" in str(outcome)
    outcome = await as_server_for_alice(mesh, stranger.issue(uris=(pki.BOB,)))
    assert isinstance(outcome, UntrustedPeerError)


@pytest.mark.trio
async def test_refuses_a_root_that_took_our_roots_name_and_key_identifier(mesh: Mesh) -> None:
    double = pki.root(mesh.root.subject, subject_key_id=mesh.root.key_id)
    for issued in (double.issue(), double.intermediate().issue()):
        outcome = await as_client_of_bob(mesh, issued)
        assert isinstance(outcome, UntrustedPeerError)


@pytest.mark.trio
async def test_refuses_its_own_root_at_the_end_of_the_chain(mesh: Mesh) -> None:
    """A self-signed certificate that the peer itself sends is no anchor."""
    stranger = pki.root()
    issued = stranger.issue()
    outcome = await as_client_of_bob(mesh, replace(issued, above=(stranger.der,)))
    assert isinstance(outcome, UntrustedPeerError)
    outcome = await as_client_of_bob(mesh, stranger.issued)
    assert isinstance(outcome, UntrustedPeerError)


@pytest.mark.trio
async def test_refuses_a_workload_as_issuer(mesh: Mesh) -> None:
    """A workload's own certificate must not vouch for another name."""
    workload = mesh.middle.issue(subject="alice")
    forger = pki.Authority(workload, "alice", pki.key_id(workload.key), is_root=False)
    outcome = await as_client_of_bob(mesh, forger.issue(uris=(pki.BOB,)))
    assert isinstance(outcome, UntrustedPeerError)


@pytest.mark.trio
@pytest.mark.parametrize(
    "wishes",
    [
        {"usage": None},
        {"authority": False},
        {"key": pki.rsa_key(1024)},
        {"ends_in_s": -90.0, "starts_in_s": -1000.0},
    ],
    ids=["no key usage", "no basic constraints", "RSA 1024", "expired"],
)
async def test_refuses_a_chain_over_a_broken_intermediate(mesh: Mesh, wishes: Mapping[str, object]) -> None:
    outcome = await as_client_of_bob(mesh, mesh.root.intermediate(**wishes).issue())
    assert isinstance(outcome, UntrustedPeerError | CertificateExpiredError)


@pytest.mark.trio
async def test_refuses_a_path_that_is_longer_than_its_authority_allows(mesh: Mesh) -> None:
    outcome = await as_client_of_bob(mesh, mesh.root.intermediate(path_length=0).intermediate().issue())
    assert isinstance(outcome, UntrustedPeerError)
    assert "path length" in str(outcome)


@pytest.mark.trio
async def test_refuses_sha1_signatures(mesh: Mesh) -> None:
    outcome = await as_client_of_bob(mesh, mesh.middle.issue(digest="sha1"))
    assert isinstance(outcome, UntrustedPeerError | HandshakeError)


@pytest.mark.trio
async def test_refuses_a_huge_chain(mesh: Mesh) -> None:
    """RUSTSEC-2023-0052: a chain of six is refused by count, one of hundreds by bytes, before anything is computed."""
    authority = mesh.root
    for _ in range(4):
        authority = authority.intermediate()
    outcome = await as_client_of_bob(mesh, authority.issue())
    assert isinstance(outcome, UntrustedPeerError)
    assert "6 certificates" in str(outcome)
    issued = mesh.middle.issue()
    outcome = await as_client_of_bob(mesh, replace(issued, above=issued.above * 400))
    assert isinstance(outcome, HandshakeError)


@pytest.mark.trio
async def test_refuses_a_foreign_domains_root_for_our_names() -> None:
    """Two domains are known; the root of the other one signs a name in ours. Also the other way round."""
    ours, theirs = pki.root(), pki.root()
    roots = {pki.TRUST_DOMAIN: [ours], "other.example": [theirs]}
    bob = Side(ours.issue(uris=(pki.BOB,)), roots, uri=pki.BOB)
    try:
        for issued, trusted in (
            (theirs.issue(uris=(FOREIGN,)), True),
            (ours.issue(), True),
            (theirs.issue(), False),
            (ours.issue(uris=(FOREIGN,)), False),
        ):
            outcome, _ = await meet(TlsEngine(bob.server()), bare_context(False, issued))
            assert isinstance(outcome, PeerCertificate) is trusted
            if not trusted:
                assert isinstance(outcome, UntrustedPeerError)
                assert "not one of trust domain" in str(outcome)
        outcome, _ = await meet(
            TlsEngine(bob.client()), bare_context(True, theirs.issue(uris=(pki.BOB,))), dialled=pki.BOB
        )
        assert isinstance(outcome, UntrustedPeerError)
        assert "unable to get" in str(outcome)  # the dialling side's context does not even hold the other root
    finally:
        bob.close()


@pytest.mark.trio
async def test_refuses_somebody_else_than_dialled(mesh: Mesh) -> None:
    outcome = await as_server_for_alice(mesh, mesh.middle.issue(uris=(pki.ALICE,)), pki.BOB)
    assert isinstance(outcome, IdentityMismatchError)
    assert outcome.retryable


# -- protocol -------------------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_refuses_a_client_without_certificate(mesh: Mesh) -> None:
    outcome, told = await meet(TlsEngine(mesh.bob.server()), bare_context(False, None))
    assert isinstance(outcome, UntrustedPeerError)
    assert "no certificate" in str(outcome)
    assert "CERTIFICATE_REQUIRED" in told


@pytest.mark.trio
@pytest.mark.parametrize("alpn", [(), ("h2",), ("weft/2", "http/1.1"), ("weft/1.",), ("WEFT/1",)])
async def test_refuses_another_protocol(mesh: Mesh, alpn: tuple[str, ...]) -> None:
    outcome, _ = await meet(TlsEngine(mesh.bob.server()), bare_context(False, mesh.middle.issue(), alpn=alpn))
    assert isinstance(outcome, HandshakeError)
    assert "does not speak weft/1" in str(outcome)
    issued = mesh.middle.issue(uris=(pki.BOB,))
    outcome, _ = await meet(TlsEngine(mesh.alice.client()), bare_context(True, issued, alpn=alpn))
    assert isinstance(outcome, HandshakeError)


@pytest.mark.trio
async def test_refuses_tls_1_2(mesh: Mesh) -> None:
    for server_side, engine in ((False, TlsEngine(mesh.bob.server())), (True, TlsEngine(mesh.alice.client()))):
        peer = bare_context(server_side, mesh.middle.issue(uris=(pki.BOB,)))
        peer.maximum_version = ssl.TLSVersion.TLSv1_2
        outcome, _ = await meet(engine, peer)
        assert type(outcome) is HandshakeError


@pytest.mark.trio
@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: bob\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        bytes(4096),
        b"\x16\x03\x01\xff\xff" + bytes(70000),
        b"\x16\x03\x01\x00\x05\x01\x00\xff\xff\xff" + bytes(64),
        os.urandom(4096),
        b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes(40),
    ],
)
@pytest.mark.parametrize("role", ["server", "client"])
async def test_refuses_garbage(mesh: Mesh, garbage: bytes, role: str) -> None:
    engine = TlsEngine(mesh.bob.server() if role == "server" else mesh.alice.client())
    async with tcp_pair() as (dialled, accepted):
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_and_leave, dialled, garbage)
                outcome = await outcome_of(engine, accepted)
                nursery.cancel_scope.cancel()
    assert isinstance(outcome, HandshakeError)


async def send_and_leave(wire: trio.SocketStream, data: bytes) -> None:
    try:
        await wire.send_all(data)
        await wire.send_eof()
    except trio.BrokenResourceError:
        pass


def client_hello(mesh: Mesh) -> bytes:
    engine = TlsEngine(mesh.alice.client())
    assert not engine.handshake_step()
    return engine.pending_output()


@pytest.mark.trio
async def test_refuses_half_a_handshake(mesh: Mesh) -> None:
    """The peer leaves after every part of its first flight."""
    hello = client_hello(mesh)
    for size in (0, 1, 5, 6, len(hello) // 2, len(hello) - 1, len(hello)):
        async with tcp_pair() as (dialled, accepted):
            await send_and_leave(dialled, hello[:size])
            with trio.fail_after(5):
                outcome = await outcome_of(TlsEngine(mesh.bob.server()), accepted)
            assert isinstance(outcome, HandshakeError)
            assert "closed the connection" in str(outcome)


@pytest.mark.trio
async def test_refuses_a_reset(mesh: Mesh) -> None:
    async with tcp_pair() as (dialled, accepted):
        dialled.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        await dialled.aclose()
        with trio.fail_after(5):
            outcome = await outcome_of(TlsEngine(mesh.bob.server()), accepted)
        assert isinstance(outcome, HandshakeError)
        assert "broke the connection" in str(outcome)


@pytest.mark.trio
async def test_refuses_silence(mesh: Mesh) -> None:
    limits = replace(DEFAULT_LIMITS, handshake_timeout_s=0.05)
    for hello in (b"", client_hello(mesh)):
        async with tcp_pair() as (dialled, accepted):
            if hello:
                await dialled.send_all(hello)
            with trio.fail_after(5), pytest.raises(HandshakeTimeoutError, match=r"after 0\.05 s"):
                await shake(TlsEngine(mesh.bob.server()), accepted, HandshakeGate(limits))


@pytest.fixture
def fast_clock() -> trio.testing.MockClock:
    """Fifty seconds a second; a real clock otherwise, since handshakes compute in threads."""
    return trio.testing.MockClock(rate=50.0)


@pytest.mark.trio
async def test_refuses_a_byte_a_second(mesh: Mesh, fast_clock: trio.testing.MockClock) -> None:
    """It may last `handshake_timeout_s` in all, however alive it seems."""
    hello = client_hello(mesh)
    sent = 0

    async def dribble(wire: trio.SocketStream) -> None:
        nonlocal sent
        for byte in hello:
            await wire.send_all(bytes((byte,)))
            sent += 1
            await trio.sleep(1.0)

    began = trio.current_time()
    async with tcp_pair() as (dialled, accepted), trio.open_nursery() as nursery:
        nursery.start_soon(dribble, dialled)
        with pytest.raises(HandshakeTimeoutError):
            await shake(TlsEngine(mesh.bob.server()), accepted)
        nursery.cancel_scope.cancel()
    assert 5.0 <= trio.current_time() - began < 100.0
    assert 1 <= sent < len(hello)


@pytest.mark.trio
async def test_bounds_what_a_peer_may_send(mesh: Mesh) -> None:
    """A ClientHello that is always about to end is over after `handshake_bytes`."""
    limits = replace(DEFAULT_LIMITS, handshake_bytes=20_000)
    first = b"\x16\x03\x01\x40\x00" + b"\x01\x01\xff\xf0" + b"\x03\x03" + bytes(16378)
    more = b"\x16\x03\x01\x40\x00" + bytes(16384)
    async with tcp_pair() as (dialled, accepted), trio.open_nursery() as nursery:
        nursery.start_soon(send_and_leave, dialled, first + more * 6)
        with trio.fail_after(5), pytest.raises(HandshakeError, match=r"sent \d+ bytes and .* not complete"):
            await shake(TlsEngine(mesh.bob.server()), accepted, HandshakeGate(limits))
        nursery.cancel_scope.cancel()
