"""HPACK without state: literals out, a scanner in. No dynamic table exists on either side of a tunnel.

Theory: both agents advertise SETTINGS_HEADER_TABLE_SIZE=0, so a block means the same wherever it is read, may be forwarded
as it came, and may be skipped unread. Whatever would need state (an index above 61, a table size above 0) is a
COMPRESSION_ERROR of the connection. A literal "with incremental indexing" is legal: it fits no table of size 0 and leaves no
trace. Too many or too large fields are one stream's fault, because nothing behind them has to be read.

Source: RFC 7541; performance measurement: a scan is a tenth of a stateful decode.
"""

from collections.abc import Iterable
from typing import Final

from weft_core.facts import Header
from weft_core.tunnel.breach import ConnectionBreachError, StreamBreachError
from weft_core.tunnel.frames import ErrorCode
from weft_core.tunnel.huffman import decode
from weft_core.tunnel.static_table import STATIC

NO_TABLE: Final = b"\x20"
"""Dynamic table size update to 0: opens the first block of a connection, so that the peer's decoder knows too (§4.2)."""
MAX_SIZE_UPDATES: Final = 2
"""At the start of a block (§4.2)."""
FIELD_OVERHEAD_BYTES: Final = 32
"""Counted per field on top of name and value. Source: RFC 9113 §6.5.2."""
MAX_INTEGER_BYTES: Final = 5
"""Behind the prefix: 35 bits, above any length that fits a block."""

_INDEXED: Final = 0x80
_INCREMENTAL: Final = 0x40
_SIZE_UPDATE: Final = 0x20
_HUFFMAN: Final = 0x80
_LAST_STATIC: Final = len(STATIC) - 1

_WHOLE: Final = {header: bytes((_INDEXED | index,)) for index, header in enumerate(STATIC) if header[1]}


def _integer(value: int, mask: int, flags: int = 0) -> bytes:
    """Return an integer with a prefix of `mask` bits below `flags`. Source: RFC 7541 §5.1."""
    if value < mask:
        return bytes((flags | value,))
    tail = bytearray((flags | mask,))
    value -= mask
    while value > 0x7F:
        tail.append(value & 0x7F | 0x80)
        value >>= 7
    tail.append(value)
    return bytes(tail)


_SHORT: Final = [bytes((length,)) for length in range(0x7F)]
_NAMED: Final = {header[0]: _integer(index, 0x0F) for index, header in reversed(list(enumerate(STATIC))) if index}
"""Literal without indexing, name from the static table; of equal names the first index."""


def encode(headers: Iterable[Header]) -> bytes:
    """Return a block that needs no state to be read.

    Args:
        headers: names in lower case, pseudo headers first.
    """
    pieces: list[bytes] = []
    for header in headers:
        whole = _WHOLE.get(header)
        if whole is not None:
            pieces.append(whole)
            continue
        name, value = header
        known = _NAMED.get(name)
        if known is not None:
            pieces += (known, _length(value), value)
        else:
            pieces += (b"\0", _length(name), name, _length(value), value)
    return b"".join(pieces)


def _length(text: bytes) -> bytes:
    size = len(text)
    return _SHORT[size] if size < 0x7F else _integer(size, 0x7F)


def scan(block: bytes, *, count: int, size_bytes: int) -> tuple[list[Header], bytes]:
    """Read a block.

    Args:
        block: the whole block.
        count: fields allowed.
        size_bytes: sum allowed of names, values and 32 per field.

    Returns:
        The fields as sent, and the block as it may be forwarded (without table size updates at its start).

    Raises:
        ConnectionBreachError: COMPRESSION_ERROR; the block is broken or needs state.
        StreamBreachError: too many or too large fields.
    """
    try:
        start = _skip_size_updates(block)
        headers = _fields(block, start, count, size_bytes)
    except IndexError as exc:
        raise _broken("the block ends inside a field") from exc
    return headers, block[start:] if start else block


def _broken(why: str) -> ConnectionBreachError:
    return ConnectionBreachError(ErrorCode.COMPRESSION_ERROR, f"header block: {why}", "hpack")


def _skip_size_updates(block: bytes) -> int:
    at = updates = 0
    while at < len(block) and block[at] & 0xE0 == _SIZE_UPDATE:
        value, at = _read_integer(block, at, 0x1F)
        updates += 1
        if value or updates > MAX_SIZE_UPDATES:
            raise _broken("a dynamic table was announced, but its size is 0 on this connection")
    return at


def _fields(block: bytes, at: int, count: int, size_bytes: int) -> list[Header]:
    headers: list[Header] = []
    end = len(block)
    room = size_bytes
    while at < end:
        first = block[at]
        if first & _INDEXED:
            index = first & 0x7F
            if not 0 < index <= _LAST_STATIC:
                raise _broken("an index outside the static table")
            header = STATIC[index]
            at += 1
        else:
            header, at = _literal(block, at, first)
        room -= len(header[0]) + len(header[1]) + FIELD_OVERHEAD_BYTES
        if room < 0 or len(headers) == count:
            raise StreamBreachError(
                ErrorCode.ENHANCE_YOUR_CALM, f"more than {count} fields or {size_bytes} bytes of them", "head_too_large"
            )
        headers.append(header)
    return headers


def _literal(block: bytes, at: int, first: int) -> tuple[Header, int]:
    if first & _INCREMENTAL:
        index, at = _read_integer(block, at, 0x3F)
    elif first & _SIZE_UPDATE:
        raise _broken("a table size update behind a field")
    else:
        index, at = _read_integer(block, at, 0x0F)
    if index > _LAST_STATIC:
        raise _broken("an index outside the static table")
    if index:
        name = STATIC[index][0]
    else:
        name, at = _read_string(block, at)
    value, at = _read_string(block, at)
    return (name, value), at


def _read_integer(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """Return an integer and the position behind it; IndexError where the block ends too early."""
    value = block[at] & mask
    at += 1
    if value < mask:
        return value, at
    for shift in range(0, 7 * MAX_INTEGER_BYTES, 7):
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _broken("an integer without end")


def _read_string(block: bytes, at: int) -> tuple[bytes, int]:
    first = block[at]
    if first & 0x7F < 0x7F:
        length, at = first & 0x7F, at + 1
    else:
        length, at = _read_integer(block, at, 0x7F)
    stop = at + length
    if stop > len(block):
        raise _broken("a string longer than the block")
    text = block[at:stop]
    if first & _HUFFMAN:
        try:
            text = decode(text)
        except ValueError as exc:
            raise _broken(str(exc)) from exc
    return text, stop
