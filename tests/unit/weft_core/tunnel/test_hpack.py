"""The stateless coder against the hpack library in both directions, and everything it must refuse."""

import hpack as library
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from weft_core.facts import Header
from weft_core.tunnel import hpack
from weft_core.tunnel.breach import ConnectionBreachError, StreamBreachError
from weft_core.tunnel.frames import ErrorCode
from weft_core.tunnel.static_table import STATIC

names = st.one_of(
    st.sampled_from([header[0] for header in STATIC[1:]]), st.binary(min_size=1, max_size=20), st.just(b"x" * 300)
)
values = st.one_of(
    st.sampled_from([header[1] for header in STATIC[1:]]),
    st.binary(max_size=40),
    st.just(b"v" * 127),
    st.just(b"w" * 5000),
)
header_lists = st.lists(st.tuples(names, values), max_size=12)


def scan(block: bytes, count: int = 100, size_bytes: int = 1 << 20) -> list[Header]:
    return hpack.scan(block, count=count, size_bytes=size_bytes)[0]


def refused(block: bytes) -> str:
    with pytest.raises(ConnectionBreachError) as caught:
        scan(block)
    assert caught.value.code is ErrorCode.COMPRESSION_ERROR
    assert caught.value.detail == "hpack"
    return str(caught.value)


@settings(deadline=None)
@given(header_lists)
@example([(b"", b"")])
def test_a_decoder_without_table_reads_what_we_write(headers: list[Header]) -> None:
    decoder = library.Decoder(max_header_list_size=1 << 20)
    decoder.max_allowed_table_size = 0
    decoder.header_table_size = 0
    assert [tuple(header) for header in decoder.decode(hpack.encode(headers), raw=True)] == headers
    assert scan(hpack.encode(headers)) == headers


def test_the_first_block_tells_a_strict_decoder_the_table_size() -> None:
    decoder = library.Decoder()
    decoder.max_allowed_table_size = 0
    block = hpack.encode([(b":status", b"200")])
    with pytest.raises(library.InvalidTableSizeError):
        library.Decoder.decode(decoder, block)
    assert decoder.decode(hpack.NO_TABLE + block, raw=True) == [(b":status", b"200")]
    assert decoder.decode(block, raw=True) == [(b":status", b"200")]


@settings(deadline=None)
@given(header_lists, st.booleans())
def test_we_read_what_an_encoder_without_table_writes(headers: list[Header], huffman: bool) -> None:
    encoder = library.Encoder()
    encoder.header_table_size = 0
    block = encoder.encode(headers, huffman=huffman)
    found, forward = hpack.scan(block, count=100, size_bytes=1 << 20)
    assert found == headers
    assert block == hpack.NO_TABLE + forward, "only the size update is missing from what is forwarded"
    assert scan(forward) == headers


@settings(deadline=None)
@given(header_lists)
def test_never_indexed_literals_are_read(headers: list[Header]) -> None:
    encoder = library.Encoder()
    encoder.header_table_size = 0
    block = encoder.encode([library.NeverIndexedHeaderTuple(*header) for header in headers])
    assert scan(block) == headers


@pytest.mark.parametrize("index", range(1, 62))
def test_every_static_entry(index: int) -> None:
    assert scan(bytes((0x80 | index,))) == [STATIC[index]]
    assert STATIC[index] == library.table.HeaderTable.STATIC_TABLE[index - 1]
    for prefix, mask in ((0x00, 0x0F), (0x10, 0x0F), (0x40, 0x3F)):
        start = bytes((prefix | index,)) if index < mask else bytes((prefix | mask, index - mask))
        assert scan(start + b"\x01v") == [(STATIC[index][0], b"v")]


def test_known_headers_are_one_byte() -> None:
    assert hpack.encode([(b":method", b"GET"), (b":status", b"200")]) == b"\x82\x88"
    assert hpack.encode([(b":method", b"CONNECT")]) == b"\x02\x07CONNECT"
    assert hpack.encode([(b"weft-a", b"b")]) == b"\x00\x06weft-a\x01b"


@pytest.mark.parametrize("length", [126, 127, 128, 254, 255, 16_000, 65_535])
def test_lengths_at_the_edges_of_their_encoding(length: int) -> None:
    header = (b"n" * length, b"v" * length)
    block = hpack.encode([header])
    assert scan(block) == [header]
    assert library.Decoder(max_header_list_size=1 << 20).decode(block, raw=True) == [header]


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",  # index 0
        b"\xbe",  # index 62: the first of a dynamic table
        b"\xff\x00",  # index 127
        b"\xff\x80\x80\x01",
        b"\x7e\x01v",  # name index 62, incremental
        b"\x0f\x2f\x01v",  # name index 62, without indexing
        b"\x1f\x2f\x01v",  # name index 62, never indexed
        b"\x21",  # table size 1
        b"\x3f\xe1\x1f",  # table size 4096
        b"\x20\x20\x20",  # three updates
        b"\x82\x20",  # an update behind a field
        b"\x82\x3f\x00",
        b"\xff\xff\xff\xff\xff\xff\xff\x01",  # an integer without end
        b"\x00\x7f\xff\xff\xff\xff\xff\x01",
        b"\x00\x81\xff\x00",  # Huffman: eight ones
        b"\x00\x84\xff\xff\xff\xfc\x00",  # Huffman: EOS
        b"\x00\x81\x00\x00",  # Huffman: padding of zeros
    ],
)
def test_whatever_needs_state_or_is_broken_is_a_compression_error(block: bytes) -> None:
    refused(block)


def test_up_to_two_size_updates_of_zero_open_a_block() -> None:
    assert scan(b"\x20\x82") == scan(b"\x20\x20\x82") == [(b":method", b"GET")]
    assert hpack.scan(b"\x20\x20\x82", count=9, size_bytes=999)[1] == b"\x82"


def test_a_literal_for_a_table_of_size_0_leaves_no_trace() -> None:
    block = b"\x40\x01a\x01b"
    assert scan(block * 3) == [(b"a", b"b")] * 3
    refused(block + b"\xbe")


def test_every_truncation_is_refused_or_ends_at_a_field() -> None:
    headers = [(b":method", b"PUT"), (b"name", b"value"), (b"x" * 200, b"y" * 200)]
    encoder = library.Encoder()
    encoder.header_table_size = 0
    for block in (hpack.encode(headers), encoder.encode(headers)):
        for end in range(len(block)):
            try:
                found = scan(block[:end])
            except ConnectionBreachError:
                continue
            assert found == headers[: len(found)]


def test_too_many_fields_are_one_streams_fault() -> None:
    block = b"\x82" * 101
    assert len(scan(b"\x82" * 100)) == 100
    with pytest.raises(StreamBreachError) as caught:
        scan(block)
    assert caught.value.code is ErrorCode.ENHANCE_YOUR_CALM
    assert not caught.value.closes_connection


def test_too_many_bytes_are_one_streams_fault() -> None:
    header = (b"n" * 10, b"v" * 10)
    assert scan(hpack.encode([header]), size_bytes=52) == [header]
    with pytest.raises(StreamBreachError):
        scan(hpack.encode([header]), size_bytes=51)
    with pytest.raises(StreamBreachError):
        scan(hpack.encode([header] * 2), size_bytes=103)


def test_cve_2016_6581_hpack_bomb_costs_nothing() -> None:
    with pytest.raises(StreamBreachError):
        scan(b"\x82" * 60_000)


@settings(deadline=None)
@given(st.binary(max_size=120))
@example(b"\x00")
def test_any_bytes_are_fields_or_a_defined_breach(block: bytes) -> None:
    try:
        headers = scan(block, count=20, size_bytes=500)
    except (ConnectionBreachError, StreamBreachError):
        return
    assert scan(hpack.encode(headers)) == headers
    decoder = library.Decoder()
    decoder.header_table_size = 0
    assert [tuple(header) for header in decoder.decode(block, raw=True)] == headers
