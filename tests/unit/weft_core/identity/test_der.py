"""The DER reader: what is canonical is read, every other form is refused, and nothing else can happen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_core.identity.der import (
    GENERALIZED_TIME,
    INTEGER,
    OCTET_STRING,
    SEQUENCE,
    UTC_TIME,
    DerError,
    Reader,
    context,
    object_identifier,
    read_integer,
    read_named_bits,
    read_octet_bits,
    read_oid,
    read_time,
    read_true,
)
from weft_testing import asn1


def test_reads_elements_in_order_and_ends() -> None:
    reader = Reader(asn1.integer(5) + asn1.octets(b"abc"))
    assert reader.tag == INTEGER
    assert reader.value(INTEGER) == b"\x05"
    assert reader.whole(OCTET_STRING) == b"\x04\x03abc"
    assert reader.tag == -1
    reader.close()


def test_opens_nested_elements() -> None:
    inner = Reader(asn1.sequence(asn1.sequence(asn1.integer(1)), asn1.integer(2))).open(SEQUENCE)
    assert inner.open(SEQUENCE).value(INTEGER) == b"\x01"
    assert inner.value(INTEGER) == b"\x02"
    inner.close()


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65535, 65536])
def test_reads_every_length_form(size: int) -> None:
    assert Reader(asn1.octets(b"x" * size)).value(OCTET_STRING) == b"x" * size


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "ends"),
        (b"\x04", "ends"),
        (b"\x04\x02a", "longer"),
        (b"\x04\x80a\x00\x00", "indefinite"),
        (b"\x04\x81\x01a", "not minimal"),
        (b"\x04\x82\x00\x80" + b"a" * 128, "not minimal"),
        (b"\x04\x81", "too large"),
        (b"\x04\x85\x01\x00\x00\x00\x00", "too large"),
        (b"\x04\xff" + b"a" * 200, "too large"),
        (b"\x02\x01a", "tag"),
    ],
)
def test_refuses_what_is_not_der(data: bytes, why: str) -> None:
    with pytest.raises(DerError, match=why):
        Reader(data).value(OCTET_STRING)


def test_refuses_tags_of_more_than_one_byte() -> None:
    with pytest.raises(DerError, match="tag"):
        Reader(b"\x1f\x01a").value(0x1F)


def test_refuses_left_overs() -> None:
    reader = Reader(asn1.integer(1) + b"\x00")
    reader.value(INTEGER)
    with pytest.raises(DerError, match="1 bytes follow"):
        reader.close()


@given(st.integers())
def test_integers_come_back(number: int) -> None:
    content = Reader(asn1.integer(number)).value(INTEGER)
    if not (number < 0 and content[0] == 0xFF and len(content) > 1 and content[1] & 0x80):  # the writer may pad these
        assert read_integer(content) == number


@pytest.mark.parametrize("content", [b"", b"\x00\x01", b"\x00\x7f", b"\xff\x80", b"\xff\xff"])
def test_refuses_padded_integers(content: bytes) -> None:
    with pytest.raises(DerError):
        read_integer(content)


def test_keeps_needed_sign_octets() -> None:
    assert read_integer(b"\x00\x80") == 128
    assert read_integer(b"\xff\x7f") == -129


def test_only_true_is_a_boolean() -> None:
    assert read_true(b"\xff")
    for content in (b"\x00", b"\x01", b"", b"\xff\xff"):
        with pytest.raises(DerError):
            read_true(content)


@pytest.mark.parametrize("dotted", ["2.5.29.15", "1.3.6.1.5.5.7.3.1", "1.2.840.113549.1.1.1", "2.999.127.128.16384"])
def test_object_identifiers_are_the_bytes_on_the_wire(dotted: str) -> None:
    content = Reader(asn1.oid(dotted)).value(0x06)
    assert read_oid(content) == object_identifier(dotted)


@pytest.mark.parametrize("content", [b"", b"\x55\x80", b"\x80\x01", b"\x55\x80\x01"])
def test_refuses_other_forms_of_object_identifiers(content: bytes) -> None:
    with pytest.raises(DerError):
        read_oid(content)


def test_reads_whole_octets_of_bits_only() -> None:
    assert read_octet_bits(b"\x00ab") == b"ab"
    for content in (b"", b"\x01a"):
        with pytest.raises(DerError):
            read_octet_bits(content)


@given(st.sets(st.integers(0, 40), min_size=1))
def test_named_bits_come_back(numbers: set[int]) -> None:
    assert read_named_bits(Reader(asn1.named_bits(numbers)).value(0x03)) == numbers


@pytest.mark.parametrize("content", [b"", b"\x00", b"\x00\x80\x00", b"\x06\x80", b"\x07\x81", b"\x08\x80", b"\x00\x06"])
def test_refuses_named_bits_that_are_not_canonical(content: bytes) -> None:
    with pytest.raises(DerError):
        read_named_bits(content)


@given(st.integers(-631152000, 253402300799))
def test_times_come_back(unix_s: int) -> None:
    """From 1950 to 9999, by the type that RFC 5280 wants for the year."""
    reader = Reader(asn1.time(unix_s))
    assert read_time(reader) == unix_s
    reader.close()


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        (UTC_TIME, "2611210102Z"),
        (UTC_TIME, "261121010203"),
        (UTC_TIME, "261121010203+0000"),
        (UTC_TIME, "261321010203Z"),
        (UTC_TIME, "260230010203Z"),
        (UTC_TIME, "261121240000Z"),
        (UTC_TIME, "261121010260Z"),
        (UTC_TIME, "26112101020aZ"),
        (UTC_TIME, " 61121010203Z"),
        (GENERALIZED_TIME, "20261121010203Z"),
        (GENERALIZED_TIME, "20511121010203.5Z"),
        (GENERALIZED_TIME, "20511121010203"),
        (GENERALIZED_TIME, "00001121010203Z"),
        (OCTET_STRING, "261121010203Z"),
    ],
)
def test_refuses_other_forms_of_time(tag: int, text: str) -> None:
    with pytest.raises(DerError):
        read_time(Reader(asn1.element(tag, text.encode())))


def test_context_tags() -> None:
    assert context(0, constructed=True) == 0xA0
    assert context(6, constructed=False) == 0x86


@given(st.binary(max_size=64), st.integers(0, 255))
def test_garbage_is_read_or_refused(data: bytes, tag: int) -> None:
    reader = Reader(data)
    try:
        value = reader.value(tag)
        reader.close()
    except DerError:
        return
    assert asn1.element(tag, value) == data  # whatever is accepted has exactly one encoding
