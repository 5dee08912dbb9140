"""From an authority's directory to a tunnel: what the control plane writes is what agents connect with, rotations included."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from weft_agent.channel.memfd import sealed
from weft_agent.tls import TlsContexts, TlsEngine, load_directory
from weft_contract.identity import SpiffeId, spiffe_id
from weft_core.errors import UntrustedPeerError
from weft_core.identity import verify_chain
from weft_operator.ca import Authority, create_intermediate, create_root, development
from weft_testing.tls_peers import connect

DOMAIN = "example.org"
WEB, API = spiffe_id(DOMAIN, "shop", "web"), spiffe_id(DOMAIN, "shop", "api.v2")


@dataclass
class Node:
    """An agent with its identity directory."""

    directory: Path
    identity: SpiffeId
    contexts: TlsContexts = field(default_factory=lambda: TlsContexts(DOMAIN))

    def reload(self) -> None:
        found = load_directory(self.directory, time.time())
        assert not found.problems
        assert not self.contexts.put_bundles(found.bundles)
        for pair in found.key_pairs.values():
            self.contexts.put_key_pair(pair.identity, pair.chain_pem, pair.seal(), time.time())


@dataclass
class Site:
    """An authority and two nodes."""

    ca: Path
    web: Node
    api: Node

    def issue(self, *nodes: Node) -> None:
        for node in nodes or (self.web, self.api):
            identity = node.identity
            development.issue(
                self.ca, identity.namespace, identity.service_account, node.directory, now_unix_s=time.time()
            )
            node.reload()

    def tell_roots(self, *nodes: Node) -> None:
        for node in nodes or (self.web, self.api):
            development.write_bundle(self.ca, node.directory)
            node.reload()

    def assert_connected(self) -> None:
        for one, other in ((self.web, self.api), (self.api, self.web)):
            now = time.time()
            client = TlsEngine(one.contexts.client(one.identity, DOMAIN, now))
            server = TlsEngine(other.contexts.server(other.identity, now))
            connect(client, server)
            for engine, peer in ((client, other), (server, one)):
                context = engine.context
                verify_chain(engine.peer_chain(), now, context.bundles, role=context.peer_role, expected=peer.identity)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "ca", Node(tmp_path / "node-1", WEB), Node(tmp_path / "node-2", API))
    development.init(made.ca, now_unix_s=time.time(), trust_domain=DOMAIN)
    made.issue()
    yield made
    made.web.contexts.close()
    made.api.contexts.close()


def test_what_is_issued_connects(site: Site) -> None:
    site.assert_connected()
    assert set(site.web.contexts.identities) == {WEB}
    assert set(site.api.contexts.identities) == {API}


def test_a_rotation_of_roots_node_by_node(site: Site) -> None:
    """Fault F9: after every single step on every single node the two still connect, both ways."""
    (old,) = development.list_roots(site.ca)
    new = development.add_root(site.ca, now_unix_s=time.time())
    for node in (site.web, site.api):
        site.tell_roots(node)
        site.assert_connected()
    development.sign_with(site.ca, new.name, now_unix_s=time.time())
    for node in (site.api, site.web):
        site.issue(node)
        site.assert_connected()
    development.retire_root(site.ca, old.name)
    for node in (site.web, site.api):
        site.tell_roots(node)
        site.assert_connected()


def test_a_rotation_in_the_wrong_order_is_refused_and_not_quietly_weak(site: Site) -> None:
    """New certificates before the new root is known everywhere: the peer says whom it does not believe."""
    new = development.add_root(site.ca, now_unix_s=time.time())
    development.sign_with(site.ca, new.name, now_unix_s=time.time())
    site.issue(site.web)
    with pytest.raises(UntrustedPeerError, match="unable to get"):
        site.assert_connected()
    site.tell_roots(site.api)
    site.assert_connected()


def test_the_intermediate_may_be_renewed_at_any_time(site: Site) -> None:
    (root,) = development.list_roots(site.ca)
    development.sign_with(site.ca, root.name, now_unix_s=time.time())
    site.issue(site.web)
    site.assert_connected()


def test_an_intermediate_is_held_to_its_trust_domain() -> None:
    """Both domains trust the root; the intermediate's name constraint is what refuses the foreign name."""
    now = time.time()
    root = create_root(DOMAIN, now_unix_s=now)
    bundles = {domain: [root.certificate_pem.decode()] for domain in (DOMAIN, "other.example")}
    middle = create_intermediate(root, DOMAIN, now_unix_s=now)
    foreign_middle = create_intermediate(root, "other.example", now_unix_s=now)

    def side(signer: Authority, identity: SpiffeId) -> TlsContexts:
        key = ec.generate_private_key(ec.SECP256R1())
        issued = signer.issue(key.public_key(), identity, now_unix_s=now)
        key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        contexts = TlsContexts(DOMAIN)
        assert not contexts.put_bundles(bundles)
        contexts.put_key_pair(identity, issued.chain_pem, sealed("k", key_pem + issued.chain_pem), now)
        return contexts

    foreign = spiffe_id("other.example", "shop", "web")
    server = side(Authority(middle, DOMAIN), API)
    honest = side(Authority(foreign_middle, "other.example"), foreign)
    forged = side(Authority(middle, "other.example"), foreign)
    connect(TlsEngine(honest.client(foreign, DOMAIN, now)), TlsEngine(server.server(API, now)))
    with pytest.raises(UntrustedPeerError, match="permitted subtree violation"):
        connect(TlsEngine(forged.client(foreign, DOMAIN, now)), TlsEngine(server.server(API, now)))
    for contexts in (server, honest, forged):
        contexts.close()
