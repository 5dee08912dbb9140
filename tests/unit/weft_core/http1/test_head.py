"""Fields of a head as values."""

from weft_core.http1 import split_fields


def test_split_fields() -> None:
    block = b"A: b\r\nB:\tc\t \r\nC:\r\nD: e: f\r\na: \xc3\xa9\r\n"
    assert split_fields(block) == [
        (b"a", b"b"),
        (b"b", b"c"),
        (b"c", b""),
        (b"d", b"e: f"),
        (b"a", b"\xc3\xa9"),
    ]
    assert split_fields(b"") == []
