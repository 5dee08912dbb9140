"""A strict reader of DER: definite minimal lengths, one-byte tags, canonical values; anything else is a `DerError`.

Theory: the reader is total. It walks a `bytes` value forward only, every element must lie inside its parent, and whoever
opens an element says what tag it expects and closes it when nothing may be left over. There is no recursion and no guess,
so its cost is linear in the input. BER forms (indefinite length, padded integers, explicit defaults) are refused: two
readings of one certificate are one too many.

Object identifiers stay the bytes they are on the wire and are compared as such.

Source: ITU-T X.690 §8, §10, §11 (DER); RFC 5280 §4.1.2.5 (times), appendix B.
"""

from datetime import UTC, datetime
from typing import Final

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
NULL: Final = 0x05
OID: Final = 0x06
SEQUENCE: Final = 0x30
SET: Final = 0x31
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18

_MAX_LENGTH_OCTETS: Final = 4
_UTC_TIME_DIGITS: Final = 12
_GENERALIZED_TIME_DIGITS: Final = 14
_FIRST_GENERALIZED_YEAR: Final = 2050


class DerError(ValueError):
    """The bytes are not canonical DER of the expected shape; the message says what is wrong."""


def context(number: int, *, constructed: bool) -> int:
    """Return the tag byte of a context-specific element `[number]`."""
    return 0x80 | (0x20 if constructed else 0) | number


def object_identifier(dotted: str) -> bytes:
    """Return the content bytes of an object identifier, for constants: `object_identifier("2.5.29.15")`."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    content = bytearray()
    for arc in (first * 40 + second, *rest):
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(0x80 | (arc & 0x7F))
        content += bytes(reversed(groups))
    return bytes(content)


class Reader:
    """A forward-only reader over the elements of one value."""

    __slots__ = ("_data", "_offset")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._offset = 0

    @property
    def tag(self) -> int:
        """The next element's tag byte, or -1 at the end."""
        return self._data[self._offset] if self._offset < len(self._data) else -1

    def value(self, tag: int) -> bytes:
        """Consume the next element and return its content.

        Raises:
            DerError: it is not there, has another tag, or is not DER.
        """
        start, end = self._element(tag)
        self._offset = end
        return self._data[start:end]

    def whole(self, tag: int) -> bytes:
        """Consume the next element and return all of it, tag and length included."""
        begin = self._offset
        _, self._offset = self._element(tag)
        return self._data[begin : self._offset]

    def open(self, tag: int) -> "Reader":
        """Consume the next element and return a reader over its content."""
        return Reader(self.value(tag))

    def close(self) -> None:
        """Demand that nothing is left.

        Raises:
            DerError: there is.
        """
        if self._offset != len(self._data):
            raise DerError(f"{len(self._data) - self._offset} bytes follow the last element")

    def _element(self, tag: int) -> tuple[int, int]:
        data, offset = self._data, self._offset
        if offset + 2 > len(data):
            raise DerError("data ends where an element should be")
        if data[offset] != tag or tag & 0x1F == 0x1F:
            raise DerError(f"tag {data[offset]:#04x} where it should not be")
        length, start = data[offset + 1], offset + 2
        if length >= 0x80:
            length, start = self._long_length(length & 0x7F, start)
        if start + length > len(data):
            raise DerError(f"an element of {length} bytes is longer than what holds it")
        return start, start + length

    def _long_length(self, octets: int, start: int) -> tuple[int, int]:
        if octets == 0:
            raise DerError("indefinite length")
        content = self._data[start : start + octets]
        if octets > _MAX_LENGTH_OCTETS or len(content) != octets:
            raise DerError("length of a length is too large")
        length = int.from_bytes(content, "big")
        if length < 0x80 or content[0] == 0:
            raise DerError("length is not minimal")
        return length, start + octets


# -- values -------------------------------------------------------------------------------------------------------


def read_integer(content: bytes) -> int:
    """Return the number an INTEGER's content stands for."""
    if not content:
        raise DerError("empty INTEGER")
    if len(content) > 1 and (content[0], content[1] >> 7) in {(0x00, 0), (0xFF, 1)}:
        raise DerError("INTEGER is not minimal")
    return int.from_bytes(content, "big", signed=True)


def read_true(content: bytes) -> bool:
    """Return True; a FALSE is the default wherever certificates have a BOOLEAN, and DER leaves defaults out."""
    if content != b"\xff":
        raise DerError("BOOLEAN is not TRUE (a default of FALSE is left out)")
    return True


def read_oid(content: bytes) -> bytes:
    """Return the content of an OBJECT IDENTIFIER after checking its form."""
    if not content or content[-1] & 0x80:
        raise DerError("OBJECT IDENTIFIER ends inside an arc")
    at_start = True
    for octet in content:
        if at_start and octet == 0x80:
            raise DerError("OBJECT IDENTIFIER has a padded arc")
        at_start = not octet & 0x80
    return content


def read_octet_bits(content: bytes) -> bytes:
    """Return the octets of a BIT STRING that carries whole octets (keys, signatures)."""
    if not content or content[0] != 0:
        raise DerError("BIT STRING does not hold whole octets")
    return content[1:]


def read_named_bits(content: bytes) -> frozenset[int]:
    """Return the numbers of the bits that are set in a BIT STRING of named bits."""
    if not content:
        raise DerError("empty BIT STRING")
    unused, octets = content[0], content[1:]
    if not octets:
        raise DerError("no bit is set in a BIT STRING that must say something")
    if unused > 7 or (octets[-1] >> unused) & 1 == 0 or octets[-1] & ((1 << unused) - 1):
        raise DerError("BIT STRING of named bits is not canonical")  # trailing zero bits are cut off (X.690 §11.2.2)
    return frozenset(index for index in range(len(octets) * 8) if octets[index // 8] & (0x80 >> (index % 8)))


def read_time(reader: Reader) -> int:
    """Consume a UTCTime or GeneralizedTime as RFC 5280 wants them and return seconds since 1970.

    Raises:
        DerError: another form (fractions, offsets, no seconds), no such day, or the wrong one of the two types.
    """
    if reader.tag == UTC_TIME:
        digits = _digits(reader.value(UTC_TIME), _UTC_TIME_DIGITS)
        century = "19" if digits >= "50" else "20"
        return _unix_s(century + digits)
    digits = _digits(reader.value(GENERALIZED_TIME), _GENERALIZED_TIME_DIGITS)
    if int(digits[:4]) < _FIRST_GENERALIZED_YEAR:
        raise DerError("a year before 2050 is written as UTCTime")
    return _unix_s(digits)


def _digits(content: bytes, count: int) -> str:
    if len(content) != count + 1 or content[-1:] != b"Z" or not content[:-1].isdigit():
        raise DerError(f"time is not {count} digits and a Z")
    return content[:-1].decode("ascii")


def _unix_s(digits: str) -> int:
    year, rest = int(digits[:4]), digits[4:]
    month, day, hour, minute, second = (int(rest[index : index + 2]) for index in range(0, 10, 2))
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as exc:
        raise DerError(f"no such time: {digits}") from exc
    return int(moment.timestamp())
