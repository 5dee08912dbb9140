"""The servers' certificate: what it says, renewal at half of its life, an authority that cannot."""

import asyncio
import ssl
import time
from collections.abc import Sequence

import pytest

from weft_operator.ca import Authority, CaError, ServerCertificate, create_intermediate, create_root
from weft_operator.ca.authority import PublicKey
from weft_operator.server import certificate as module
from weft_operator.server.certificate import ServerTls

NAMES = ("weft-operator", "weft-operator.weft-system.svc", "127.0.0.1")
PATIENCE_S = 10.0


class Issuer:
    """An authority that counts, and fails when told to."""

    def __init__(self, ttl_s: float = 86400.0) -> None:
        now = time.time()
        self.root = create_root("cluster.local", now_unix_s=now)
        self.authority = Authority(create_intermediate(self.root, "cluster.local", now_unix_s=now), "cluster.local")
        self.ttl_s, self.count, self.fails = ttl_s, 0, False
        self.issued = asyncio.Event()

    def issue(self, key: PublicKey, names: Sequence[str], now_unix_s: float) -> ServerCertificate:
        if self.fails:
            raise CaError("the intermediate has ended")
        self.count += 1
        self.issued.set()
        return self.authority.issue_server(key, names, now_unix_s=now_unix_s, ttl_s=self.ttl_s)


def handshake(server: ssl.SSLContext, roots: str, name: str) -> ssl.SSLObject:
    """Connect a client that verifies to a server in memory; return the client's side."""
    client_context = ssl.create_default_context(cadata=roots)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    peer = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, peer):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return client


@pytest.mark.asyncio
@pytest.mark.parametrize("name", NAMES)
async def test_it_verifies_by_the_root_for_each_name(name: str) -> None:
    issuer = Issuer()
    tls = ServerTls(issuer.issue, NAMES)
    tls.renew()
    found = handshake(tls.context, issuer.root.certificate_pem.decode(), name).getpeercert()
    assert found is not None
    told = str(found["subjectAltName"])
    assert "URI" not in told, "it is nobody of the mesh"
    assert all(each in told for each in NAMES)


@pytest.mark.asyncio
async def test_another_root_does_not_verify_it() -> None:
    issuer = Issuer()
    tls = ServerTls(issuer.issue, NAMES)
    tls.renew()
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tls.context, Issuer().root.certificate_pem.decode(), NAMES[0])


@pytest.mark.asyncio
async def test_it_is_renewed_at_half_of_its_life() -> None:
    issuer, now = Issuer(), time.time()
    wall = now
    tls = ServerTls(issuer.issue, NAMES, wall=lambda: wall, rng=lambda: 0.5)
    tls.renew()
    assert tls._due_s() == pytest.approx((tls.not_after_unix_s - now) / 2)
    wall = now + 0.6 * 86400
    issuer.issued.clear()
    task = asyncio.create_task(tls.run())
    await asyncio.wait_for(issuer.issued.wait(), PATIENCE_S)
    assert issuer.count == 2
    task.cancel()


@pytest.mark.asyncio
async def test_while_the_authority_cannot_the_old_one_is_presented(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    issuer = Issuer()
    tls = ServerTls(issuer.issue, NAMES)
    tls.renew()
    issuer.fails = True
    task = asyncio.create_task(tls.run())
    tls.wake()
    await asyncio.sleep(0.05)
    handshake(tls.context, issuer.root.certificate_pem.decode(), NAMES[0])
    issuer.fails = False
    issuer.issued.clear()
    await asyncio.wait_for(issuer.issued.wait(), PATIENCE_S)
    assert issuer.count == 2
    task.cancel()


@pytest.mark.asyncio
async def test_an_authority_at_its_end_issues_nothing() -> None:
    issuer = Issuer(ttl_s=10.0)
    with pytest.raises(CaError, match="renew it"):
        ServerTls(issuer.issue, NAMES).renew()


def test_sessions_are_not_resumed() -> None:
    tls = ServerTls(lambda key, names, now: ServerCertificate((), b"", 0.0), NAMES)
    assert tls.context.num_tickets == 0
    assert tls.context.minimum_version is ssl.TLSVersion.TLSv1_3
