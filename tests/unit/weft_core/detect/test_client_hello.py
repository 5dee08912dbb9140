"""ClientHellos: real ones, fragmented ones, and every length that lies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_core.detect import ClientHello
from weft_core.detect.client_hello import MAX_RECORDS, read_client_hello
from weft_testing.hellos import alpn, extension, message, real_hello, records, server_name, vector

LIMIT = 16 * 1024
PLAIN = ClientHello("a.example", (b"h2", b"http/1.1"))
MESSAGE = message(server_name(b"a.example"), alpn(b"h2", b"http/1.1"))


def test_real_clients() -> None:
    assert read_client_hello(real_hello(("h2", "http/1.1")), LIMIT) == PLAIN
    assert read_client_hello(real_hello(sni=None), LIMIT) == ClientHello("", ())
    assert read_client_hello(real_hello(sni="A.Example"), LIMIT) == ClientHello("a.example", ())


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 16, 50, 1 << 14])
def test_fragmented_over_records(size: int) -> None:
    payload = MESSAGE if size > 1 else message()
    expected: object = PLAIN if size > 1 else ClientHello("", ())
    if (len(payload) + size - 1) // size > MAX_RECORDS:
        expected = False
    assert read_client_hello(records(payload, size), LIMIT) == expected


@pytest.mark.parametrize("size", [7, 40, 1 << 14])
def test_every_prefix_waits(size: int) -> None:
    data = records(MESSAGE, size)
    for end in range(len(data)):
        assert read_client_hello(data[:end], LIMIT) is None
    assert read_client_hello(data, LIMIT) == PLAIN
    assert read_client_hello(data + b"\x14\x03\x03\x00\x01\x01", LIMIT) == PLAIN


def test_name_without_its_dot_and_any_bytes_in_alpn() -> None:
    data = records(message(server_name(b"A.b_c."), alpn(b"\x1a\x1a", b"weft/1")))
    assert read_client_hello(data, LIMIT) == ClientHello("a.b_c", (b"\x1a\x1a", b"weft/1"))


def test_without_extensions() -> None:
    assert read_client_hello(records(message()), LIMIT) == ClientHello("", ())


@pytest.mark.parametrize(
    "data",
    [
        b"\x17",
        b"\x16\x02",
        b"\x16\x03\x05",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\x40\x01",
        records(message(kind=2)),
        records(b"\x01\x00\x00\x00"),
        records(MESSAGE + b"\x00"),
        records(message(version=b"\x02\x00")),
        records(message(session=bytes(33))),
        records(message(ciphers=b"")),
        records(message(ciphers=b"\x13")),
        records(message(compression=b"")),
        records(message(tail=b"\x00")),
        records(message(alpn(b"a"), tail=b"\x00")),
        records(message(alpn(b"a"), alpn(b"a"))),
        records(message(extension(16, b""))),
        records(message(extension(16, vector(2, b"")))),
        records(message(extension(16, vector(2, vector(1, b""))))),
        records(message(extension(16, vector(2, b"\x05ab")))),
        records(message(extension(16, vector(2, vector(1, b"a")) + b"x"))),
        records(message(extension(0, b""))),
        records(message(extension(0, vector(2, b"")))),
        records(message(server_name(b""))),
        records(message(server_name(b"a", kind=1))),
        records(message(server_name(b"a.b/c"))),
        records(message(server_name(b"a\x00"))),
        records(message(server_name(b"a..b"))),
        records(message(server_name(b".a"))),
        records(message(server_name("ä".encode()))),
        records(message(server_name(b"a" * 64))),
        records(message(server_name(b".".join([b"a" * 60] * 5)))),
        records(message(extension(0, vector(2, b"\x00" + vector(2, b"a") + b"\x00" + vector(2, b"b"))))),
        records(message(extension(0, vector(2, b"\x00" + vector(2, b"a")) + b"x"))),
        records(message(extension(5, b"x") + b"\x00")),
    ],
)
def test_what_is_no_client_hello(data: bytes) -> None:
    assert read_client_hello(data, LIMIT) is False


def test_largest_message() -> None:
    size = len(MESSAGE)
    assert read_client_hello(records(MESSAGE), size) == PLAIN
    assert read_client_hello(records(MESSAGE), size - 1) is False
    assert read_client_hello(records(MESSAGE)[:12], size - 1) is False


@given(st.data())
def test_a_changed_byte_never_raises(data: st.DataObject) -> None:
    hello = bytearray(records(MESSAGE, data.draw(st.sampled_from([20, 1 << 14]))))
    place = data.draw(st.integers(0, len(hello) - 1))
    hello[place] = data.draw(st.integers(0, 255))
    found = read_client_hello(bytes(hello), LIMIT)
    assert found is None or found is False or isinstance(found, ClientHello)


@given(st.binary(max_size=200))
def test_garbage_behind_a_record_header_never_raises(data: bytes) -> None:
    read_client_hello(b"\x16\x03\x01" + data, LIMIT)
    read_client_hello(records(b"\x01" + vector(3, data)), LIMIT)
