"""PEM: blocks come back, broken borders and content are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_core.identity import PemError, read_certificates, read_pem, write_pem

CERTIFICATE = write_pem("CERTIFICATE", b"one")


@given(st.lists(st.tuples(st.sampled_from(["CERTIFICATE", "PRIVATE KEY"]), st.binary(max_size=300)), max_size=5))
def test_what_is_written_is_read(blocks: list[tuple[str, bytes]]) -> None:
    text = b"".join(write_pem(label, der) for label, der in blocks)
    assert [(block.label, block.der) for block in read_pem(text)] == blocks
    assert [(block.label, block.der) for block in read_pem(text.replace(b"\n", b"\r\n"))] == blocks


def test_lines_are_64_characters() -> None:
    assert max(map(len, write_pem("CERTIFICATE", b"x" * 100).splitlines())) == 64


def test_text_around_blocks_is_passed_over() -> None:
    assert [block.der for block in read_pem(b"Subject: x\n" + CERTIFICATE + b"\n# end\n")] == [b"one"]


def test_no_block_is_no_error_of_the_grammar() -> None:
    assert read_pem(b"hello") == ()


@pytest.mark.parametrize(
    "text",
    [
        b"-----BEGIN CERTIFICATE-----\nb25l\n",
        b"b25l\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nb25l\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\nb25l\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE\nb25l\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nb25\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nb2*l\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nProc-Type: 4,ENCRYPTED\nb25l\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nb25l=\n-----END CERTIFICATE-----\n",
    ],
)
def test_refuses_broken_blocks(text: bytes) -> None:
    with pytest.raises(PemError):
        read_pem(text)


def test_certificates_alone() -> None:
    assert read_certificates(CERTIFICATE * 2, at_most=2) == (b"one", b"one")
    for text in (b"", CERTIFICATE * 3, CERTIFICATE + write_pem("PRIVATE KEY", b"k")):
        with pytest.raises(PemError):
            read_certificates(text, at_most=2)


def test_a_key_is_not_shown_by_repr() -> None:
    (block,) = read_pem(write_pem("PRIVATE KEY", b"secret"))
    assert "secret" not in repr(block)
    assert "PRIVATE KEY" in repr(block)


@given(st.binary(max_size=200))
def test_garbage_is_read_or_refused(data: bytes) -> None:
    try:
        read_pem(b"-----BEGIN CERTIFICATE-----\n" + data + b"\n-----END CERTIFICATE-----\n")
    except PemError:
        pass
