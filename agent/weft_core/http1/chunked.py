"""Chunked bodies: strict reading, canonical forwarding, no copying of what is canonical already.

Theory of operation. `feed` walks over the received bytes and keeps one span, from `start` to `pos`, of bytes that may be
forwarded as they came: chunk data, and size lines that are a plain hexadecimal number and nothing else. Whatever is not
canonical (an extension, leading zeros, trailers, a line that was cut between two reads) ends the span, is taken line by
line, and is replaced by its canonical form. So the next parser never sees an extension, a `00`, or a forbidden trailer,
and a stream as every server sends it costs one regular expression per chunk and no copy.

What extensions may cost is bounded twice: per line, and over the whole body by an allowance that data earns.

Source: RFC 9112 §7.1; CVE-2023-39326 for the allowance (Go's net/http counts the same way).
"""

import re
from typing import Final

from weft_contract.limits import KIB, Limits
from weft_core.http1.grammar import FORBIDDEN_TRAILERS, MAX_LENGTH, OURS, TOKEN
from weft_core.http1.rules import refused
from weft_core.http1.tokenizer import check_line, read_field

Buffer = bytes | bytearray | memoryview

OVERHEAD_ALLOWANCE_BYTES: Final = 16 * KIB
"""Framing beyond what chunks of honest size need, over a whole body (Go: 16 KiB)."""
_FREE_PER_CHUNK_BYTES: Final = 16
_SIZE_DIGITS: Final = 14
"""Hexadecimal digits of `MAX_LENGTH`."""

_SIZE: Final = re.compile(rb"([1-9A-Fa-f][0-9A-Fa-f]{0,12})\r\n|0\r\n\r\n").match
_END_AND_SIZE: Final = re.compile(rb"\r\n(?:([1-9A-Fa-f][0-9A-Fa-f]{0,12})\r\n|0\r\n\r\n)").match
_LINE_FEED: Final = re.compile(rb"\n").search
_QUOTED: Final = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
_EXTENSION: Final = rb";[ \t]*+" + TOKEN + rb"(?:[ \t]*+=[ \t]*+(?:" + TOKEN + rb"|" + _QUOTED + rb"))?"
_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]++)(?:" + _EXTENSION + rb"(?:[ \t]*+" + _EXTENSION + rb")*)?").fullmatch
"""No white space behind the size, extension or not: where one parser skips it, another ends the number (RFC 9112 §7.1.1
calls it bad and lets it be parsed)."""
_SIZE_THEN_EXTENSION: Final = re.compile(rb"[0-9A-Fa-f]++;").match
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
_IS_OURS: Final = re.compile(OURS).match

_AT_SIZE: Final = 0
_AT_DATA: Final = 1
_AT_DATA_END: Final = 2
_AT_TRAILERS: Final = 3
_DONE: Final = 4


class ChunkedDecoder:
    """Reads one chunked body.

    Args:
        limits: `chunk_line_bytes`, `trailer_count`, `head_bytes` (for all trailers together), `underscore_names`.
        decode: give the payload alone, for a receiver that cannot take chunks (HTTP/1.0, HTTP/2, a cache).
        response: the body is a response's, where underscores in trailer names do no harm.
    """

    __slots__ = (
        "_decode",
        "_end_seen",
        "_left",
        "_limits",
        "_line",
        "_overhead_bytes",
        "_state",
        "_trailer_bytes",
        "_trailer_count",
        "_underscores",
        "payload_bytes",
        "trailers",
    )

    def __init__(self, limits: Limits, *, decode: bool = False, response: bool = False) -> None:
        self._limits = limits
        self._decode = decode
        self._underscores = response or bool(limits.underscore_names)
        self._state = _AT_SIZE
        self._left = 0
        self._end_seen = False
        self._line = b""
        self._overhead_bytes = 0
        self._trailer_bytes = 0
        self._trailer_count = 0
        self.payload_bytes = 0
        """Bytes of content so far."""
        self.trailers = b""
        """Trailer field lines that may go on, each ending CRLF."""

    @property
    def finished(self) -> bool:
        """True once the body is complete."""
        return self._state == _DONE

    def feed(self, data: Buffer) -> tuple[list[Buffer], bool, int]:
        """Take the next bytes of the body.

        Args:
            data: what was received; views in the result are valid as long as it is.

        Returns:
            Pieces to forward in order (chunks in canonical framing, or payload with `decode`), whether the body is
            complete, and how many bytes belonged to it (all, unless it is complete).

        Raises:
            RemoteProtocolError: the framing is broken; nothing of `data` may be forwarded and the connection must close.
        """
        out: list[Buffer] = []
        size = len(data)
        start = pos = 0
        while pos < size and self._state != _DONE:
            if self._state == _AT_DATA:
                if self._decode:
                    start = pos
                pos = self._take_data(size, pos)
                if self._decode:
                    _add_span(out, data, start, pos)
                    start = pos
                continue
            if not self._line:
                end = self._take_canonical(data, pos)
                if end:
                    pos = end
                    continue
            if not self._decode:
                _add_span(out, data, start, pos)
            pos = start = self._take_line(data, pos, out)
        if not self._decode:
            _add_span(out, data, start, pos)
        return out, self._state == _DONE, pos

    def _take_data(self, size: int, pos: int) -> int:
        taken = min(self._left, size - pos)
        self.payload_bytes += taken
        self._left -= taken
        if not self._left:
            self._state = _AT_DATA_END
        return pos + taken

    def _take_canonical(self, data: Buffer, pos: int) -> int:
        """Pass over a canonical size line (and the CRLF before it); 0: it is not there, or not whole."""
        if self._state == _AT_SIZE:
            found = _SIZE(data, pos)
        elif self._state == _AT_DATA_END and not self._end_seen:
            found = _END_AND_SIZE(data, pos)
        else:
            return 0
        if found is None:
            return 0
        if found[1] is None:
            self._state = _DONE
        else:
            self._left = int(found[1], 16)
            self._state = _AT_DATA
        return found.end()

    def _take_line(self, data: Buffer, pos: int, out: list[Buffer]) -> int:
        """Take one line, or the part of it that is there."""
        if self._state == _AT_DATA_END:
            return self._take_data_end(data, pos, out)
        found = _LINE_FEED(data, pos)
        end = len(data) if found is None else found.end()
        self._line += bytes(data[pos:end])
        self._check_line_length()
        if found is None:
            return end
        line, self._line = self._line, b""
        if not line.endswith(b"\r\n"):
            raise refused("bare_lf")
        if self._state == _AT_SIZE:
            self._read_size(line[:-2], out)
        else:
            self._read_trailer(line[:-2], out)
        return end

    def _take_data_end(self, data: Buffer, pos: int, out: list[Buffer]) -> int:
        """Take the CRLF behind chunk data, in one or two parts; it is canonical, so it goes on as it came."""
        for expected in (b"\n",) if self._end_seen else (b"\r", b"\n"):
            if pos == len(data):
                break
            if data[pos] != expected[0]:
                raise refused("bad_chunk_end")
            pos += 1
            if not self._decode:
                out.append(expected)
            self._end_seen = expected == b"\r"
            if not self._end_seen:
                self._state = _AT_SIZE
        return pos

    def _check_line_length(self) -> None:
        if self._state == _AT_SIZE:
            if len(self._line) > self._limits.chunk_line_bytes + 2:
                raise refused("chunk_line_too_long")
        elif self._trailer_bytes + len(self._line) > self._limits.head_bytes:
            raise refused("too_many_trailers")

    def _read_size(self, line: bytes, out: list[Buffer]) -> None:
        check_line(line)
        found = _SIZE_LINE(line)
        if found is None:
            raise refused("bad_chunk_extension" if _SIZE_THEN_EXTENSION(line) else "bad_chunk_size")
        digits = found[1].lstrip(b"0")
        length = int(digits or b"0", 16) if len(digits) <= _SIZE_DIGITS else MAX_LENGTH + 1
        if length > MAX_LENGTH:
            raise refused("chunk_too_large")
        self._count_overhead(len(line), length)
        if length == 0:
            self._state = _AT_TRAILERS  # the last chunk goes on together with its trailers
            return
        self._left = length
        self._state = _AT_DATA
        if not self._decode:
            out.append(b"%x\r\n" % length)

    def _count_overhead(self, line_bytes: int, length: int) -> None:
        excess = self._overhead_bytes + line_bytes + 4 - _FREE_PER_CHUNK_BYTES - 2 * length
        self._overhead_bytes = max(excess, 0)
        if excess > OVERHEAD_ALLOWANCE_BYTES:
            raise refused("chunk_overhead")

    def _read_trailer(self, line: bytes, out: list[Buffer]) -> None:
        if not line:
            self._state = _DONE
            if not self._decode:
                out.append(b"0\r\n%b\r\n" % self.trailers)
            return
        self._trailer_bytes += len(line) + 2
        self._trailer_count += 1
        if self._trailer_count > self._limits.trailer_count:
            raise refused("too_many_trailers")
        sent_name, _ = read_field(line, underscores=self._underscores)
        name = sent_name.lower()
        if name in _FRAMING:  # never an accident: somebody hopes that it is merged into a head
            raise refused("framing_in_trailers")
        if may_be_trailer(name):
            self.trailers += line + b"\r\n"


def may_be_trailer(name: bytes) -> bool:
    """Tell whether a field may come behind the content.

    Args:
        name: in lower case.

    Source: RFC 9110 §6.5.1; fields of ours and identity headers by threat T14.
    """
    return not (
        name in FORBIDDEN_TRAILERS or name.startswith((b"x-forwarded-", b"proxy-")) or _IS_OURS(name) is not None
    )


def _add_span(out: list[Buffer], data: Buffer, start: int, end: int) -> None:
    if start == end:
        return
    out.append(data if end - start == len(data) else memoryview(data)[start:end])
