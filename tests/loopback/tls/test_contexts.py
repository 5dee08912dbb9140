"""Contexts: every switch as it must be, one per identity, role and domain, changed with keys and roots, never half."""

import os
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from weft_agent.channel.memfd import sealed
from weft_agent.tls import TUNNEL_ALPN, TlsContexts, TlsEngine, hardened_context
from weft_contract.identity import parse_spiffe_id
from weft_core.errors import (
    CertificateExpiredError,
    IdentityError,
    IdentityMismatchError,
    NoIdentityError,
    UntrustedPeerError,
)
from weft_core.identity import Role, verify_chain
from weft_testing import pki
from weft_testing.tls_peers import ALICE, BOB, Mesh, connect, key_pair_fd

ROLES: tuple[Role, ...] = ("client", "server")
DOMAIN = pki.TRUST_DOMAIN


@pytest.fixture
def root() -> pki.Authority:
    return pki.root()


@pytest.fixture
def contexts(root: pki.Authority) -> Iterator[TlsContexts]:
    made = TlsContexts(DOMAIN)
    assert not made.put_bundles({DOMAIN: [root.pem_text]})
    yield made
    made.close()


def put(contexts: TlsContexts, issued: pki.Issued, uri: str = pki.ALICE) -> None:
    contexts.put_key_pair(parse_spiffe_id(uri), issued.chain_pem, key_pair_fd(issued), time.time())


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# -- switches -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_switches(role: Role) -> None:
    context = hardened_context(role)
    assert context.minimum_version == context.maximum_version == ssl.TLSVersion.TLSv1_3
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert not context.check_hostname
    assert context.verify_flags & ssl.VERIFY_X509_STRICT
    assert not context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN
    assert context.options & ssl.OP_NO_TICKET
    assert context.options & ssl.OP_NO_COMPRESSION
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert not context.options & ssl.OP_IGNORE_UNEXPECTED_EOF
    assert context.security_level >= 2
    assert not context.keylog_filename
    assert not context.post_handshake_auth
    assert not context.get_ca_certs()
    assert role == "client" or context.num_tickets == 0


def test_keylog_of_the_environment_has_no_effect(tmp_path: Path) -> None:
    """A whole handshake in a process with SSLKEYLOGFILE set writes no file; Python's own default context would."""
    log = tmp_path / "keys"
    program = (
        "import ssl, sys\n"
        "from weft_testing.tls_peers import Mesh\n"
        "mesh = Mesh(); client, server = mesh.sessions(); assert client.alpn == 'weft/1'; mesh.close()\n"
        "if sys.argv[1] == 'default': ssl.create_default_context()\n"
    )
    for kind, exists in (("ours", False), ("default", True)):
        environment = {**os.environ, "SSLKEYLOGFILE": str(log), "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run([sys.executable, "-c", program, kind], env=environment, check=True, timeout=30)
        assert log.exists() is exists


# -- one per identity, role and domain --------------------------------------------------------------------------------


def test_contexts_are_kept(contexts: TlsContexts, root: pki.Authority) -> None:
    put(contexts, root.issue())
    put(contexts, root.issue(uris=(pki.BOB,)), pki.BOB)
    now = time.time()
    server, client = contexts.server(ALICE, now), contexts.client(ALICE, DOMAIN, now)
    assert server is contexts.server(ALICE, now)
    assert client is contexts.client(ALICE, DOMAIN, now)
    assert len({id(each.ssl_context) for each in (server, client, contexts.server(BOB, now))}) == 3
    assert (server.role, server.peer_role, server.identity) == ("server", "client", ALICE)
    assert (client.role, client.peer_role) == ("client", "server")


def test_a_client_context_holds_the_dialled_domains_roots_alone(contexts: TlsContexts, root: pki.Authority) -> None:
    other = pki.root()
    assert not contexts.put_bundles({DOMAIN: [root.pem_text], "other.example": [other.pem_text]})
    put(contexts, root.issue())
    now = time.time()
    client = contexts.client(ALICE, "other.example", now)
    assert dict(client.bundles) == {"other.example": frozenset({other.der})}
    assert client.ssl_context.get_ca_certs(binary_form=True) == [other.der]
    server = contexts.server(ALICE, now)
    assert set(server.bundles) == {DOMAIN, "other.example"}
    assert set(server.ssl_context.get_ca_certs(binary_form=True)) == {root.der, other.der}


def test_without_key_pair_or_roots_there_is_no_context(contexts: TlsContexts, root: pki.Authority) -> None:
    now = time.time()
    with pytest.raises(NoIdentityError, match="no certificate for"):
        contexts.server(ALICE, now)
    put(contexts, root.issue())
    with pytest.raises(UntrustedPeerError, match=r"no roots are known for trust domain other\.example"):
        contexts.client(ALICE, "other.example", now)
    rootless = TlsContexts(DOMAIN)
    put(rootless, root.issue())
    with pytest.raises(UntrustedPeerError, match="no roots"):
        rootless.server(ALICE, now)
    rootless.close()


def test_an_expired_key_pair_serves_nobody(contexts: TlsContexts, root: pki.Authority) -> None:
    """Fault F8: at expiry new handshakes fail closed, and say why."""
    put(contexts, root.issue(ends_in_s=100.0))
    now = time.time()
    assert contexts.server(ALICE, now + 155).identity == ALICE
    with pytest.raises(NoIdentityError, match="has expired and was not renewed"):
        contexts.server(ALICE, now + 165)
    with pytest.raises(NoIdentityError, match="has expired"):
        contexts.client(ALICE, DOMAIN, now + 165)


# -- changes --------------------------------------------------------------------------------------------------------


def test_a_renewed_key_pair_makes_new_contexts(contexts: TlsContexts, root: pki.Authority) -> None:
    first = root.issue(ends_in_s=1000.0)
    put(contexts, first)
    now = time.time()
    old, before = contexts.server(ALICE, now), open_descriptors()
    put(contexts, first)  # the same once more changes nothing
    assert contexts.server(ALICE, now) is old
    put(contexts, root.issue(ends_in_s=2000.0))
    assert contexts.server(ALICE, now) is not old
    assert open_descriptors() == before
    assert contexts.identities[ALICE] == pytest.approx(now + 2000, abs=5)


def test_new_roots_make_new_contexts(contexts: TlsContexts, root: pki.Authority) -> None:
    put(contexts, root.issue())
    now = time.time()
    old, fresh = contexts.server(ALICE, now), pki.root()
    assert not contexts.put_bundles({DOMAIN: [root.pem_text]})
    assert contexts.server(ALICE, now) is old
    assert not contexts.put_bundles({DOMAIN: [root.pem_text + fresh.pem_text]})
    both = contexts.server(ALICE, now)
    assert both is not old
    assert both.bundles[DOMAIN] == {root.der, fresh.der}
    assert old.bundles[DOMAIN] == {root.der}


def test_a_live_session_outlives_every_change() -> None:
    mesh = Mesh()
    client, server = mesh.sessions()
    for side in (mesh.alice, mesh.bob):
        side.contexts.put_bundles({DOMAIN: [pki.root().pem_text]})
        side.contexts.drop_key_pair(side.identity)
    client.write(b"still here")
    server.feed(client.pending_output())
    buffer = memoryview(bytearray(20))
    assert bytes(buffer[: server.read_into(buffer)]) == b"still here"
    mesh.close()


def test_a_rotation_of_roots_loses_nobody() -> None:
    """New root everywhere, then new certificates, then the old root goes: every step connects with every other."""
    old, new = pki.root(), pki.root()
    sides = [TlsContexts(DOMAIN), TlsContexts(DOMAIN)]
    names = (pki.ALICE, pki.BOB)

    def connects() -> None:
        now = time.time()
        for one, other in ((0, 1), (1, 0)):
            client = TlsEngine(sides[one].client(parse_spiffe_id(names[one]), DOMAIN, now))
            server = TlsEngine(sides[other].server(parse_spiffe_id(names[other]), now))
            connect(client, server)
            for engine in (client, server):
                context = engine.context
                verify_chain(engine.peer_chain(), now, context.bundles, role=context.peer_role)

    for contexts, name in zip(sides, names, strict=True):
        contexts.put_bundles({DOMAIN: [old.pem_text]})
        put(contexts, old.intermediate().issue(uris=(name,)), name)
    connects()
    for contexts in sides:
        contexts.put_bundles({DOMAIN: [old.pem_text, new.pem_text]})
        connects()
    for contexts, name in zip(sides, names, strict=True):
        put(contexts, new.intermediate().issue(uris=(name,)), name)
        connects()
    for contexts in sides:
        contexts.put_bundles({DOMAIN: [new.pem_text]})
        connects()
    for contexts in sides:
        contexts.close()


def test_who_was_vouched_for_by_a_root_that_left() -> None:
    mesh = Mesh()
    client, server = mesh.sessions()
    context = server.context
    peer = verify_chain(server.peer_chain(), time.time(), context.bundles, role="client")
    assert mesh.bob.contexts.still_trusts(peer)
    mesh.bob.contexts.put_bundles({DOMAIN: [mesh.root.pem_text, pki.root().pem_text]})
    assert mesh.bob.contexts.still_trusts(peer)
    mesh.bob.contexts.put_bundles({DOMAIN: [pki.root().pem_text]})
    assert not mesh.bob.contexts.still_trusts(peer)
    mesh.bob.contexts.put_bundles({"other.example": [mesh.root.pem_text]})
    assert not mesh.bob.contexts.still_trusts(peer)
    del client
    mesh.close()


def test_what_was_made_with_a_certificate_that_was_replaced_is_superseded(
    contexts: TlsContexts, root: pki.Authority
) -> None:
    now = time.time()
    first, second = root.issue(), root.issue()
    put(contexts, first)
    made = [contexts.server(ALICE, now), contexts.client(ALICE, DOMAIN, now)]
    assert [contexts.superseded(context, ALICE) for context in made] == [False, False]
    contexts.put_bundles({DOMAIN: [root.pem_text, pki.root().pem_text]})
    put(contexts, first)
    assert not contexts.superseded(made[0], ALICE), "neither new roots nor the same certificate again are a renewal"
    put(contexts, second)
    assert [contexts.superseded(context, ALICE) for context in made] == [True, True]
    assert not contexts.superseded(contexts.server(ALICE, now), ALICE)
    assert not contexts.superseded(made[0], None), "a pod that is not in the configuration now"
    contexts.drop_key_pair(ALICE)
    assert not contexts.superseded(made[0], ALICE), "nothing could take its place"


def test_a_pod_that_became_somebody_else_supersedes_what_was_made_before(
    contexts: TlsContexts, root: pki.Authority
) -> None:
    put(contexts, root.issue())
    made = contexts.server(ALICE, time.time())
    assert not contexts.superseded(made, BOB), "its certificate is not there yet"
    put(contexts, root.issue(uris=(pki.BOB,)), pki.BOB)
    assert contexts.superseded(made, BOB)


# -- bad changes change nothing -----------------------------------------------------------------------------------------


def test_a_bad_key_pair_leaves_the_good_one(contexts: TlsContexts, root: pki.Authority) -> None:
    good = root.issue()
    put(contexts, good)
    now = time.time()
    kept, before = contexts.server(ALICE, now), open_descriptors()
    stranger = pki.p256()
    for issued, error in (
        (root.issue(uris=(pki.BOB,)), IdentityMismatchError),
        (root.issue(starts_in_s=-1000.0, ends_in_s=-500.0), CertificateExpiredError),
        (root.issue(purposes=(pki.CLIENT_AUTH,)), UntrustedPeerError),
        (pki.Issued(good.der, stranger), IdentityError),
        (pki.Issued(b"garbage", good.key), IdentityError),
        (pki.Issued(good.der, good.key, (root.der,) * 5), IdentityError),
    ):
        if issued.key is stranger:
            contexts.drop_key_pair(ALICE)  # the same chain would be taken as no change
            with pytest.raises(IdentityError, match="does the key belong"):
                put(contexts, issued)
            put(contexts, good)
            kept = contexts.server(ALICE, now)
            continue
        with pytest.raises(error):
            put(contexts, issued)
        assert contexts.server(ALICE, now) is kept
    for text in (b"", b"no pem", good.key_pem):
        with pytest.raises(IdentityError, match="cannot be read"):
            contexts.put_key_pair(ALICE, text, key_pair_fd(good), now)
    with pytest.raises(IdentityError):
        contexts.put_key_pair(ALICE, root.issue().chain_pem, sealed("empty", b""), now)
    assert contexts.server(ALICE, now) is kept
    assert open_descriptors() == before


def test_an_encrypted_key_is_refused_without_asking_anybody(contexts: TlsContexts, root: pki.Authority) -> None:
    issued = root.issue()
    encrypted = issued.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    with pytest.raises(IdentityError):
        contexts.put_key_pair(ALICE, issued.chain_pem, sealed("k", encrypted + issued.chain_pem), time.time())


def test_a_bad_bundle_leaves_the_good_roots(contexts: TlsContexts, root: pki.Authority) -> None:
    put(contexts, root.issue())
    kept = contexts.server(ALICE, time.time())
    problems = contexts.put_bundles({DOMAIN: ["garbage"]})
    assert [problem.source for problem in problems] == [f"TrustBundle/{DOMAIN}"] * 2
    assert contexts.server(ALICE, time.time()) is kept


def test_keys_need_no_file_and_leave_no_descriptor(root: pki.Authority) -> None:
    before = open_descriptors()
    contexts = TlsContexts(DOMAIN)
    contexts.put_bundles({DOMAIN: [root.pem_text]})
    put(contexts, root.issue())
    contexts.server(ALICE, time.time())
    contexts.client(ALICE, DOMAIN, time.time())
    assert open_descriptors() == before + 1  # the sealed key pair, for contexts to come
    contexts.close()
    assert open_descriptors() == before


def test_descriptors_may_have_their_names_elsewhere(root: pki.Authority, tmp_path: Path) -> None:
    """Workers live in a root of their own, where `/proc` is not mounted."""
    (tmp_path / "fd").symlink_to("/proc/self/fd")
    for directory, works in ((str(tmp_path / "fd"), True), (str(tmp_path / "none"), False)):
        contexts = TlsContexts(DOMAIN, fd_directory=directory)
        contexts.put_bundles({DOMAIN: [root.pem_text]})
        if works:
            put(contexts, root.issue())
            assert contexts.server(ALICE, time.time()).identity == ALICE
        else:
            with pytest.raises(IdentityError):
                put(contexts, root.issue())
        contexts.close()


def test_alpn_is_ours_alone() -> None:
    mesh = Mesh()
    client, server = mesh.sessions()
    assert client.alpn == server.alpn == TUNNEL_ALPN == "weft/1"
    mesh.close()
