"""The engine: every cut of the ciphertext gives the same plaintext, forgery and truncation are seen, ends are ends."""

import ssl
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft_agent.tls import TUNNEL_ALPN, TlsEngine
from weft_agent.tls import engine as engine_module
from weft_agent.tls.engine import RECORD_BYTES
from weft_core.errors import HandshakeError, LocalProtocolError, PeerRefusedError, RemoteProtocolError, WeftError
from weft_core.identity import read_certificate
from weft_testing import pki
from weft_testing.tls_peers import Mesh, Side, bare_context, connect

SHARED = Mesh()


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    """For the tests of this file; hypothesis, which wants no fixtures, takes `SHARED` itself."""
    yield SHARED
    SHARED.close()


def read_all(engine: TlsEngine, buffer_bytes: int = 1 << 16) -> bytes:
    """Everything there is, as the reactor reads: until a call fills less than the buffer."""
    buffer = memoryview(bytearray(buffer_bytes))
    pieces = []
    while True:
        size = engine.read_into(buffer)
        pieces.append(bytes(buffer[:size]))
        if size < buffer_bytes:
            return b"".join(pieces)


def sealed_by(engine: TlsEngine, *pieces: bytes) -> bytes:
    for piece in pieces:
        engine.write(piece)
    return engine.pending_output()


def records(ciphertext: bytes) -> list[bytes]:
    found = []
    while ciphertext:
        size = 5 + int.from_bytes(ciphertext[3:5], "big")
        found.append(ciphertext[:size])
        ciphertext = ciphertext[size:]
    return found


def test_handshake_in_memory(mesh: Mesh) -> None:
    client, server = mesh.sessions()
    for engine, uri in ((client, pki.BOB), (server, pki.ALICE)):
        assert engine.alpn == TUNNEL_ALPN
        assert read_certificate(engine.peer_certificate_der()).uris == (uri,)
        chain = engine.peer_chain()
        assert chain.sent == chain.verified[:-1]
        assert chain.sent[0] == engine.peer_certificate_der()
        assert chain.verified[-1] == mesh.root.der
        assert engine.pending_output() == b""


def test_handshake_byte_by_byte(mesh: Mesh) -> None:
    client, server = mesh.engines()
    done = {client: False, server: False}
    for _ in range(3):
        for one, other in ((client, server), (server, client)):
            if not done[one]:
                done[one] = one.handshake_step()
            for byte in one.pending_output():
                assert not done[other]
                other.feed(bytes((byte,)))
                done[other] = other.handshake_step()
    assert all(done.values())


def test_nothing_is_known_of_the_peer_before(mesh: Mesh) -> None:
    client, _ = mesh.engines()
    with pytest.raises(LocalProtocolError):
        client.peer_certificate_der()
    assert client.peer_chain().sent == ()
    with pytest.raises(LocalProtocolError):
        client.write(b"early")
    client.finish()
    assert client.pending_output() == b""


# -- data -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("size", [0, 1, 300, RECORD_BYTES - 1, RECORD_BYTES, RECORD_BYTES + 1, 1_000_003])
def test_both_ways_in_all_sizes(mesh: Mesh, size: int, kind: type) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    for one, other in (mesh.sessions(), mesh.sessions()[::-1]):
        one.write(kind(data))
        ciphertext = one.pending_output()
        assert size < 300 or data not in ciphertext
        assert len(records(ciphertext)) == -(-size // RECORD_BYTES) == one.records_written
        other.feed(memoryview(ciphertext))
        assert read_all(other) == data


def test_many_records_leave_together_and_are_read_together(mesh: Mesh) -> None:
    client, server = mesh.sessions()
    ciphertext = sealed_by(client, *[b"x" * 300] * 200)
    assert len(records(ciphertext)) == 200
    server.feed(ciphertext)
    buffer = memoryview(bytearray(1 << 17))
    assert server.read_into(buffer) == 60_000
    assert server.records_read == 200
    assert server.read_into(buffer) == 0


@pytest.mark.parametrize("buffer_bytes", [1, 7, 299, 300, 301, RECORD_BYTES, 1 << 18])
def test_small_buffers_lose_nothing(mesh: Mesh, buffer_bytes: int) -> None:
    client, server = mesh.sessions()
    data = bytes(range(250)) * 20
    server.feed(sealed_by(client, data[:300], data[300:]))
    assert read_all(server, buffer_bytes) == data


def test_every_cut_of_the_ciphertext(mesh: Mesh) -> None:
    client, server = mesh.sessions()
    for cut in range(len(sealed_by(client, b"hello", b"world"))):
        client, server = (client, server) if cut else mesh.sessions()
        ciphertext = sealed_by(client, b"hello", b"world")
        server.feed(ciphertext[:cut])
        first = read_all(server)
        server.feed(ciphertext[cut:])
        assert first + read_all(server) == b"helloworld"


def test_byte_by_byte(mesh: Mesh) -> None:
    client, server = mesh.sessions()
    got = b""
    for byte in sealed_by(client, b"a" * 700, b"b" * 20_000):
        server.feed(bytes((byte,)))
        got += read_all(server)
    assert got == b"a" * 700 + b"b" * 20_000


@settings(max_examples=50, deadline=None)
@given(
    pieces=st.lists(st.binary(min_size=1, max_size=40_000), max_size=6),
    cuts=st.lists(st.integers(1, 30_000), max_size=20),
    buffer_bytes=st.integers(1, 70_000),
)
def test_any_chunking_gives_the_same_bytes(pieces: list[bytes], cuts: list[int], buffer_bytes: int) -> None:
    client, server = SHARED.sessions()
    ciphertext, got = sealed_by(client, *pieces), b""
    for cut in [*cuts, len(ciphertext)]:
        server.feed(ciphertext[:cut])
        ciphertext = ciphertext[cut:]
        got += read_all(server, buffer_bytes)
    assert got == b"".join(pieces)


def test_what_was_sent_behind_the_handshake_is_not_lost(mesh: Mesh) -> None:
    client, server = mesh.engines()
    client.handshake_step()
    server.feed(client.pending_output())
    server.handshake_step()
    client.feed(server.pending_output())
    assert client.handshake_step()
    server.feed(sealed_by(client, b"first words"))
    assert server.handshake_step()
    assert read_all(server) == b"first words"


def test_much_behind_the_handshake_in_one_piece(mesh: Mesh) -> None:
    """More than OpenSSL is given at once, with the end of the handshake at its head."""
    client, server = mesh.engines()
    client.handshake_step()
    server.feed(client.pending_output())
    server.handshake_step()
    client.feed(server.pending_output())
    client.handshake_step()
    data = bytes(range(250)) * 1200
    server.feed(sealed_by(client, data))
    assert server.handshake_step()
    assert read_all(server) == data


def test_many_small_writes_keep_their_order(mesh: Mesh) -> None:
    client, server = mesh.sessions()
    pieces = [bytes((number % 251,)) * 300 for number in range(2000)]
    server.feed(sealed_by(client, *pieces, b"large" * 50_000, *pieces))
    assert read_all(server, 100_000) == b"".join(pieces) + b"large" * 50_000 + b"".join(pieces)
    assert client.pending_output() == b""


def test_large_pieces_may_be_fed_before_any_is_read(mesh: Mesh) -> None:
    client, server = mesh.sessions()
    data = bytes(range(250)) * 1000
    for _ in range(3):
        server.feed(sealed_by(client, data))
    assert read_all(server, 70_000) == data * 3
    server.feed(sealed_by(client, b"after"))
    assert read_all(server) == b"after"


def test_reading_nothing_costs_nothing(mesh: Mesh) -> None:
    client, _ = mesh.sessions()
    assert client.read_into(memoryview(bytearray(10))) == 0
    assert client.records_read == 0


def test_wear_is_noticed(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python cannot renew keys, so a connection must be replaced in time (RFC 8446 §5.5)."""
    monkeypatch.setattr(engine_module, "MAX_RECORDS", 3)
    client, server = mesh.sessions()
    for count in range(5):
        assert client.worn_out is server.worn_out is (count > 3)
        server.feed(sealed_by(client, b"x"))
        read_all(server)


# -- faults ---------------------------------------------------------------------------------------------------------


def test_a_forged_record_is_refused_and_stays_refused(mesh: Mesh) -> None:
    ciphertext = sealed_by(mesh.sessions()[0], b"x" * 50)
    for position in (0, 1, 3, 5, len(ciphertext) // 2, len(ciphertext) - 1):
        client, server = mesh.sessions()
        data = bytearray(sealed_by(client, b"x" * 50))
        data[position] ^= 1
        server.feed(bytes(data) + bytes(40_000))
        with pytest.raises(RemoteProtocolError) as first:
            read_all(server)
        assert first.value.detail == "tls_record"
        with pytest.raises(RemoteProtocolError):
            server.read_into(memoryview(bytearray(10)))
        with pytest.raises(LocalProtocolError):
            server.write(b"more")


def test_what_was_authentic_before_a_forgery_is_delivered(mesh: Mesh) -> None:
    client, server = mesh.sessions()
    good, bad = sealed_by(client, b"good"), bytearray(sealed_by(client, b"bad"))
    bad[-1] ^= 1
    server.feed(good + bad)
    buffer = memoryview(bytearray(100))
    assert bytes(buffer[: server.read_into(buffer)]) == b"good"
    with pytest.raises(RemoteProtocolError):
        server.read_into(buffer)


def test_records_out_of_order_twice_or_missing_are_refused(mesh: Mesh) -> None:
    for order in ((1, 0), (0, 0), (1,)):
        client, server = mesh.sessions()
        made = [sealed_by(client, b"a"), sealed_by(client, b"b")]
        server.feed(b"".join(made[index] for index in order))
        with pytest.raises(RemoteProtocolError):
            list(map(read_all, [server] * 3))


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=5, max_size=200))
def test_garbage_after_the_handshake_is_refused_or_incomplete(garbage: bytes) -> None:
    _, server = SHARED.sessions()
    server.feed(garbage)
    try:
        got = read_all(server)
    except RemoteProtocolError:
        return
    assert got == b""


# -- ends -----------------------------------------------------------------------------------------------------------


def test_close_notify_ends_one_direction(mesh: Mesh) -> None:
    client, server = mesh.sessions()
    client.write(b"last words")
    client.finish()
    server.feed(client.pending_output())
    assert read_all(server) == b"last words"
    assert server.peer_finished
    server.end_of_input()
    client.feed(sealed_by(server, b"still here"))
    assert read_all(client) == b"still here"
    server.finish()
    client.feed(server.pending_output())
    assert read_all(client) == b""
    assert client.peer_finished
    client.end_of_input()
    with pytest.raises(LocalProtocolError):
        client.write(b"after the end")


def test_finishing_with_unread_input_still_says_goodbye(mesh: Mesh) -> None:
    client, server = mesh.sessions()
    client.feed(sealed_by(server, b"unread"))
    client.finish()
    client.finish()
    server.feed(client.pending_output())
    assert read_all(server) == b""
    assert server.peer_finished


def test_an_end_without_close_notify_is_a_cut(mesh: Mesh) -> None:
    client, server = mesh.sessions()
    ciphertext = sealed_by(client, b"whole", b"cut in half")
    server.feed(ciphertext[:-3])
    assert read_all(server) == b"whole"
    assert not server.peer_finished
    with pytest.raises(RemoteProtocolError) as caught:
        server.end_of_input()
    assert caught.value.detail == "tls_cut"
    with pytest.raises(RemoteProtocolError):
        server.read_into(memoryview(bytearray(10)))


def test_after_close_notify_nothing_is_read(mesh: Mesh) -> None:
    client, server = mesh.sessions()
    client.finish()
    server.feed(client.pending_output() + bytes(100))
    assert read_all(server) == b""
    assert read_all(server) == b""
    server.end_of_input()


# -- refusals that arrive late ----------------------------------------------------------------------------------------


def test_a_client_learns_of_its_refusal_when_it_reads(mesh: Mesh) -> None:
    """TLS 1.3: the client's handshake is complete before the server has seen its certificate."""
    stranger = pki.root()
    roots = {pki.TRUST_DOMAIN: [mesh.root]}
    mallory = Side(stranger.issue(), roots, uri=pki.ALICE)
    try:
        client, server = TlsEngine(mallory.client()), TlsEngine(mesh.bob.server())
        client.handshake_step()
        server.feed(client.pending_output())
        server.handshake_step()
        client.feed(server.pending_output())
        assert client.handshake_step()
        server.feed(client.pending_output())
        with pytest.raises(WeftError, match="chain was refused"):
            server.handshake_step()
        with pytest.raises(WeftError, match="chain was refused"):
            server.handshake_step()
        client.feed(server.pending_output())
        with pytest.raises(PeerRefusedError, match=r"peer refused our certificate: .*unknown ca"):
            client.read_into(memoryview(bytearray(10)))
    finally:
        mallory.close()


def test_a_session_without_our_protocol_is_refused_by_the_engine_itself(mesh: Mesh) -> None:
    peer = bare_context(True, mesh.middle.issue(uris=(pki.BOB,)), alpn=())
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = peer.wrap_bio(to_server, to_client, server_side=True)
    client = TlsEngine(mesh.alice.client())
    assert not client.handshake_step()
    to_server.write(client.pending_output())
    with pytest.raises(ssl.SSLWantReadError):
        server.do_handshake()
    client.feed(to_client.read())
    with pytest.raises(HandshakeError, match="does not speak"):
        client.handshake_step()


def test_engines_of_two_meshes_do_not_connect(mesh: Mesh) -> None:
    other = Mesh()
    try:
        with pytest.raises(WeftError):
            connect(TlsEngine(mesh.alice.client()), TlsEngine(other.bob.server()))
    finally:
        other.close()
