"""Session tickets carry a client past another identity's certificate check; ours are off. Kept forever.

A server with several identities chooses its context by SNI. A ticket it gave as identity A (which trusts root 1) is taken
by identity B (which trusts only root 2) without a look at the client's certificate: the class of CVE-2025-23419. The first
tests show the hole in bare contexts, so that the last ones are known to be able to fail.

Source: reliability §0.1 and appendix B.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from weft_agent.tls import hardened_context
from weft_core.identity import Role
from weft_testing import pki
from weft_testing.tls_peers import load

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@dataclass
class World:
    """Identity A believes `trusted`, B believes `other`; the client's certificate is of `trusted`."""

    trusted: pki.Authority
    other: pki.Authority
    server: ssl.SSLContext
    client: ssl.SSLContext


def world(make: Callable[[Role], ssl.SSLContext]) -> World:
    trusted, other = pki.root(), pki.root()
    contexts = {}
    for name, root in (("a.example", trusted), ("b.example", other)):
        contexts[name] = make("server")
        contexts[name].load_verify_locations(cadata=root.pem_text)
        load(contexts[name], trusted.issue())
    base = make("server")
    base.load_verify_locations(cadata=trusted.pem_text)
    load(base, trusted.issue())

    def choose(session: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        session.context = contexts[str(name)]

    base.sni_callback = choose
    client = make("client")
    client.load_verify_locations(cadata=trusted.pem_text)
    load(client, trusted.issue())
    return World(trusted, other, base, client)


class Maker:
    """Makes bare contexts of one version, with tickets or without."""

    def __init__(self, version: ssl.TLSVersion, *, tickets: bool) -> None:
        self.version = version
        self.tickets = tickets

    def __call__(self, role: Role) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if role == "server" else ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = context.maximum_version = self.version
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        if not self.tickets:
            context.options |= ssl.OP_NO_TICKET
            if role == "server":
                context.num_tickets = 0
        return context


def visit(here: World, name: str, session: ssl.SSLSession | None = None) -> ssl.SSLObject:
    """One connection to the identity `name`, with a byte each way; returns the client's end."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = here.client.wrap_bio(to_client, to_server, server_hostname=name, session=session)
    server = here.server.wrap_bio(to_server, to_client, server_side=True)
    done: set[ssl.SSLObject] = set()
    for _ in range(6):
        for end in (client, server):
            if end not in done:
                try:
                    end.do_handshake()
                except ssl.SSLWantReadError:
                    continue
                done.add(end)
    assert len(done) == 2
    server.write(b"x")
    assert client.read(1) == b"x"  # TLS 1.3 tickets arrive before it
    return client


@pytest.mark.parametrize("version", VERSIONS)
def test_the_hole_is_there_with_tickets(version: ssl.TLSVersion) -> None:
    here = world(Maker(version, tickets=True))
    ticket = visit(here, "a.example").session
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        visit(here, "b.example")
    bypassed = visit(here, "b.example", session=ticket)
    assert bypassed.session_reused


@pytest.mark.parametrize("version", VERSIONS)
def test_the_hole_is_closed_without_tickets(version: ssl.TLSVersion) -> None:
    here = world(Maker(version, tickets=False))
    ticket = visit(here, "a.example").session
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        visit(here, "b.example", session=ticket)


def test_the_hole_is_closed_in_our_contexts() -> None:
    here = world(hardened_context)
    first = visit(here, "a.example")
    assert first.session is None or not first.session.has_ticket
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        visit(here, "b.example", session=first.session)


def test_our_server_gives_no_ticket_to_a_client_that_wants_one() -> None:
    """Also where only the server is ours."""
    here = world(hardened_context)
    bare = Maker(ssl.TLSVersion.TLSv1_3, tickets=True)("client")
    bare.load_verify_locations(cadata=here.trusted.pem_text)
    load(bare, here.trusted.issue())
    here.client = bare
    first = visit(here, "a.example")
    assert first.session is None or not first.session.has_ticket
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        visit(here, "b.example", session=first.session)
    assert not visit(here, "a.example", session=first.session).session_reused
