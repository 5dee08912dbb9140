"""A DER writer for tests: it writes what it is told, right or wrong, which no library does."""

from collections.abc import Iterable
from datetime import UTC, datetime


def element(tag: int, content: bytes) -> bytes:
    """One element with a minimal length."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def sequence(*items: bytes) -> bytes:
    return element(0x30, b"".join(items))


def set_of(*items: bytes) -> bytes:
    return element(0x31, b"".join(items))


def integer(value: int) -> bytes:
    return element(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    content = b""
    for arc in (40 * first + second, *rest):
        groups = bytes((arc & 0x7F,))
        while arc := arc >> 7:
            groups = bytes((0x80 | arc & 0x7F,)) + groups
        content += groups
    return element(0x06, content)


def true() -> bytes:
    return element(0x01, b"\xff")


def false() -> bytes:
    """Not DER where FALSE is the default; some issuers write it all the same."""
    return element(0x01, b"\x00")


def octets(content: bytes) -> bytes:
    return element(0x04, content)


def bits(content: bytes, unused: int = 0) -> bytes:
    return element(0x03, bytes((unused,)) + content)


def named_bits(numbers: Iterable[int]) -> bytes:
    """A BIT STRING of named bits, trailing zeros cut off."""
    numbers = sorted(numbers)
    if not numbers:
        return bits(b"")
    size = numbers[-1] // 8 + 1
    value = sum(1 << (size * 8 - 1 - number) for number in numbers)
    return bits(value.to_bytes(size, "big"), size * 8 - 1 - numbers[-1])


def utf8(text: str) -> bytes:
    return element(0x0C, text.encode())


def explicit(number: int, content: bytes) -> bytes:
    """`[number] EXPLICIT`."""
    return element(0xA0 | number, content)


def implicit(number: int, content: bytes) -> bytes:
    """`[number] IMPLICIT` of something primitive."""
    return element(0x80 | number, content)


def time(unix_s: float) -> bytes:
    """UTCTime before 2050, GeneralizedTime from then on."""
    moment = datetime.fromtimestamp(unix_s, UTC)
    if 1950 <= moment.year < 2050:
        return element(0x17, moment.strftime("%y%m%d%H%M%SZ").encode())
    return element(0x18, moment.strftime("%Y%m%d%H%M%SZ").encode())


def name(common_name: str) -> bytes:
    """A distinguished name of one common name; empty text: the empty name."""
    if not common_name:
        return sequence()
    return sequence(set_of(sequence(oid("2.5.4.3"), utf8(common_name))))
