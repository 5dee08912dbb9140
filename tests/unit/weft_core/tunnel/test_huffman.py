"""The Huffman decoder against the encoder of the hpack library, and the rules for how a string may end."""

import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hypothesis import given, settings
from hypothesis import strategies as st

from weft_core.tunnel.huffman import EOS, codes, decode

encoder = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


def bits(text: str) -> bytes:
    assert len(text) % 8 == 0
    return bytes(int(text[at : at + 8], 2) for at in range(0, len(text), 8))


def code_of(symbol: int) -> str:
    return format(REQUEST_CODES[symbol], f"0{REQUEST_CODES_LENGTH[symbol]}b")


def test_the_codes_follow_from_the_lengths() -> None:
    assert {symbol: (code, length) for symbol, code, length in codes()} == {
        symbol: (REQUEST_CODES[symbol], REQUEST_CODES_LENGTH[symbol]) for symbol in range(257)
    }


@pytest.mark.parametrize("symbol", range(256))
def test_every_symbol_alone_and_repeated(symbol: int) -> None:
    for text in (bytes((symbol,)), bytes((symbol,)) * 9):
        assert decode(encoder.encode(text)) == text


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_what_the_library_encodes_we_decode(text: bytes) -> None:
    assert decode(encoder.encode(text)) == text


def test_examples_of_the_rfc() -> None:
    assert decode(bytes.fromhex("f1e3c2e5f23a6ba0ab90f4ff")) == b"www.example.com"
    assert decode(bytes.fromhex("a8eb10649cbf")) == b"no-cache"
    assert decode(b"") == b""


@pytest.mark.parametrize("padding", range(8))
def test_padding_is_up_to_seven_ones(padding: int) -> None:
    text = next(b"0" * count for count in range(1, 9) if (5 * count + padding) % 8 == 0)
    assert decode(bits(code_of(48) * len(text) + "1" * padding)) == text


def test_eight_ones_are_not_padding() -> None:
    with pytest.raises(ValueError, match="padding"):
        decode(b"\xff")
    with pytest.raises(ValueError, match="padding"):
        decode(bits(code_of(48) * 8 + "1" * 8))


@pytest.mark.parametrize("tail", ["110", "101", "011", "000"])
def test_padding_with_zeros_is_refused(tail: str) -> None:
    with pytest.raises(ValueError, match="padding"):
        decode(bits(code_of(48) + tail))


def test_eos_is_refused_wherever_it_stands() -> None:
    eos = code_of(EOS)
    for text in (eos + "11", code_of(48) + eos + "11111", eos + code_of(48) * 2):
        with pytest.raises(ValueError, match="EOS"):
            decode(bits(text + "1" * (-len(text) % 8)))


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_decode_or_are_refused(raw: bytes) -> None:
    try:
        text = decode(raw)
    except ValueError:
        return
    assert encoder.encode(text) == raw
