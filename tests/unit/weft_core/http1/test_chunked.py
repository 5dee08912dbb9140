"""Chunked bodies: what goes on as it came, what is made canonical, what is refused; how much it may cost."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft_contract.limits import Limits
from weft_core.errors import RemoteProtocolError
from weft_core.http1 import ChunkedDecoder, RuleName, may_be_trailer
from weft_testing.http1_mutations import CHUNK_SEEDS, mutated
from weft_testing.http1_properties import check_chunks
from weft_testing.http1_reader import LIMITS, each_byte

CANONICAL = b"5\r\nhello\r\na\r\n0123456789\r\n0\r\n\r\n"


def run(pieces: list[bytes], *, decode: bool = False, limits: Limits = LIMITS) -> tuple[bytes, ChunkedDecoder, int]:
    """Feed pieces one after another; give what came out, the decoder, and what was consumed."""
    decoder = ChunkedDecoder(limits, decode=decode)
    out = b""
    consumed = 0
    for piece in pieces:
        found, finished, taken = decoder.feed(piece)
        out += b"".join(found)
        consumed += taken
        assert finished is decoder.finished
        if not finished:
            assert taken == len(piece)
    return out, decoder, consumed


def refused(data: bytes, limits: Limits = LIMITS) -> tuple[str, str]:
    """Give the rules broken when fed whole and byte by byte."""
    found = []
    for pieces in ([data], each_byte(data)):
        with pytest.raises(RemoteProtocolError) as caught:
            run(pieces, limits=limits)
        found.append(caught.value.detail)
    return found[0], found[1]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_canonical_bytes_pass_without_a_copy(kind: type[bytes]) -> None:
    data = kind(CANONICAL)
    pieces, finished, consumed = ChunkedDecoder(LIMITS).feed(data)
    assert (len(pieces), finished, consumed) == (1, True, len(CANONICAL))
    assert pieces[0] is data


def test_what_belongs_to_the_next_message_is_left() -> None:
    pieces, finished, consumed = ChunkedDecoder(LIMITS).feed(CANONICAL + b"GET / HTTP/1.1")
    assert (b"".join(pieces), finished, consumed) == (CANONICAL, True, len(CANONICAL))
    assert isinstance(pieces[0], memoryview)


def test_nothing_is_taken_after_the_end() -> None:
    decoder = ChunkedDecoder(LIMITS)
    decoder.feed(CANONICAL)
    assert decoder.feed(b"more") == ([], True, 0)


CASES = [
    (CANONICAL, CANONICAL, b"hello0123456789"),
    (b"0\r\n\r\n", b"0\r\n\r\n", b""),
    (b"0005\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    (b"5;a\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    (b'5; a = b ;c\r\nhello\r\n000;x="y"\r\n\r\n', b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    (b"1\r\nx\r\n0\r\nA: b\r\nGrpc-Status:0\r\n\r\n", b"1\r\nx\r\n0\r\nA: b\r\nGrpc-Status:0\r\n\r\n", b"x"),
    (b"0\r\nContent-Type: x\r\nHost: x\r\nConnection: A\r\nA: b\r\n\r\n", b"0\r\nA: b\r\n\r\n", b""),
    (b"0\r\nWeft-Source: x\r\nX-Forwarded-For: y\r\nAuthorization: z\r\n\r\n", b"0\r\n\r\n", b""),
]


@pytest.mark.parametrize(("data", "framed", "payload"), CASES)
def test_what_goes_on(data: bytes, framed: bytes, payload: bytes) -> None:
    for cut in range(len(data) + 1):
        pieces = [data[:cut], data[cut:]]
        assert run(pieces)[0] == framed
        out, decoder, consumed = run(pieces, decode=True)
        assert (out, decoder.payload_bytes, consumed) == (payload, len(payload), len(data))
    assert run(each_byte(data))[0] == framed
    assert run(each_byte(data), decode=True)[0] == payload


def test_trailers_can_be_had_alone() -> None:
    decoder = ChunkedDecoder(LIMITS, decode=True)
    decoder.feed(b"0\r\nA: b\r\nHost: c\r\n\r\n")
    assert decoder.trailers == b"A: b\r\n"


def test_underscores_in_trailers_of_responses_do_no_harm() -> None:
    assert ChunkedDecoder(LIMITS, response=True).feed(b"0\r\nX_A: b\r\n\r\n")[1]
    assert ChunkedDecoder(Limits(underscore_names=1)).feed(b"0\r\nX_A: b\r\n\r\n")[1]
    assert refused(b"0\r\nX_A: b\r\n\r\n") == ("underscore_in_name", "underscore_in_name")


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"\r\n", "bad_chunk_size"),
        (b"5 \r\n", "bad_chunk_size"),
        (b"5\t\r\n", "bad_chunk_size"),
        (b" 5\r\n", "bad_chunk_size"),
        (b"g\r\n", "bad_chunk_size"),
        (b"5,5\r\n", "bad_chunk_size"),
        (b"5 ;a\r\n", "bad_chunk_size"),
        (b"5;\r\n", "bad_chunk_extension"),
        (b"5;;a\r\n", "bad_chunk_extension"),
        (b"5;a b\r\n", "bad_chunk_extension"),
        (b"5;a=\"\r\n", "bad_chunk_extension"),
        (b"5;a=\"b\"c\r\n", "bad_chunk_extension"),
        (b"5\n", "bare_lf"),
        (b"5;a\n", "bare_lf"),
        (b"5\r\r\n", "bare_cr"),
        (b"5;\x00\r\n", "control_character"),
        (b"20000000000001\r\n", "chunk_too_large"),
        (b"10000000000000000\r\n", "chunk_too_large"),
        (b"1\r\nxy", "bad_chunk_end"),
        (b"1\r\nx\n", "bad_chunk_end"),
        (b"1\r\nx\ry", "bad_chunk_end"),
        (b"0\r\n\n", "bare_lf"),
        (b"0\r\nA\r\n", "field_without_colon"),
        (b"0\r\ncontent-LENGTH: 0\r\n", "framing_in_trailers"),
        (b"0\r\nTransfer-Encoding: x\r\n", "framing_in_trailers"),
        (b"0\r\n A: b\r\n", "obs_fold"),
        (b"0\r\nA : b\r\n", "space_before_colon"),
        (b"0\r\n: b\r\n", "bad_field_name"),
        (b"0\r\nA: \x7f\r\n", "control_character"),
    ],
)  # fmt: skip
def test_what_is_refused(data: bytes, rule: RuleName) -> None:
    assert refused(data) == (rule, rule)


def test_the_largest_chunk_is_taken() -> None:
    decoder = ChunkedDecoder(LIMITS)
    assert decoder.feed(b"20000000000000\r\nx")[0] == [b"20000000000000\r\n", b"x"]
    assert decoder.payload_bytes == 1


def test_line_length() -> None:
    limits = Limits(chunk_line_bytes=10)
    assert run([b"1;" + b"a" * 8 + b"\r\nx\r\n0\r\n\r\n"], limits=limits)[0] == b"1\r\nx\r\n0\r\n\r\n"
    assert refused(b"1;" + b"a" * 9 + b"\r\n", limits) == ("chunk_line_too_long", "chunk_line_too_long")
    assert refused(b"1" * 13, limits) == ("chunk_line_too_long", "chunk_line_too_long")


def test_extensions_must_be_earned_by_data() -> None:
    extension = b";" + b"a" * 200
    assert refused((b"1" + extension + b"\r\nx\r\n") * 200) == ("chunk_overhead", "chunk_overhead")
    large = b"400" + extension + b"\r\n" + b"x" * 0x400 + b"\r\n"
    assert run([large * 200 + b"0\r\n\r\n"])[1].payload_bytes == 0x400 * 200


def test_small_honest_chunks_are_no_overhead() -> None:
    assert run([b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n"])[1].payload_bytes == 20_000
    assert run(each_byte(b"1\r\nx\r\n" * 5_000 + b"0\r\n\r\n"))[1].payload_bytes == 5_000


def test_trailers_are_bounded() -> None:
    limits = Limits(trailer_count=2, head_bytes=100)
    assert run([b"0\r\nA: b\r\nC: d\r\n\r\n"], limits=limits)[1].finished
    for data in (b"0\r\n" + b"A: b\r\n" * 3, b"0\r\nHost: b\r\n" * 1 + b"Host: c\r\n" * 2, b"0\r\nA: " + b"b" * 100):
        assert refused(data, limits) == ("too_many_trailers", "too_many_trailers")


@pytest.mark.parametrize("name", [b"grpc-status", b"grpc-message", b"x-sum", b"server-timing", b"digest"])
def test_may_be_trailer(name: bytes) -> None:
    assert may_be_trailer(name)


@pytest.mark.parametrize(
    "name",
    [b"content-length", b"host", b"transfer-encoding", b"connection", b"trailer", b"te", b"set-cookie", b"authorization",
     b"content-type", b"x-forwarded-proto", b"x-forwarded-client-cert", b"proxy-authorization", b"weft-source",
     b"weft_source", b"expect", b"cache-control", b"if-match", b"range"],
)  # fmt: skip
def test_may_not_be_trailer(name: bytes) -> None:
    assert not may_be_trailer(name)


@settings(max_examples=300, deadline=None)
@given(st.randoms(use_true_random=False))
def test_any_bytes(rng: Random) -> None:
    check_chunks(mutated(CHUNK_SEEDS, rng), rng)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.data())
def test_any_payload_in_any_cut(chunks: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    place = data.draw(st.integers(0, len(stream)))
    assert run([stream[:place], stream[place:]])[0] == stream
    assert run([stream[:place], stream[place:]], decode=True)[0] == b"".join(chunks)
