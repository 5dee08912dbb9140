"""The access log on the worker's side: records are tuples in a bounded queue, written in batches, dropped rather than waited for.

Theory: the hot path appends a tuple and nothing else. A task formats and writes what has gathered, some times a second, to a
non-blocking pipe of which control is the reader. When the pipe is full the text waits; when the queue is full records are
dropped and counted; the data path never notices (fault F30).

One record is one line whatever it contains: text is encoded as JSON, fields are cut to 1 KiB, and what a terminal or a log
viewer may act upon (control characters, bidirectional overrides, line separators) leaves only as an escape (threat T18).
The query of a request is not logged, because secrets travel there.
"""

import os
import re
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

import msgspec
import trio

MAX_FIELD_CHARACTERS: Final = 1024
BATCH_RECORDS: Final = 256
GATHER_S: Final = 0.05
"""A record reaches the pipe about so long after it was made."""
MAX_PENDING_BYTES: Final = 256 * 1024
"""Formatted text that waits for the pipe."""

Format = Literal["json", "text"]


class AccessRecord(NamedTuple):
    """One request or one opaque connection; a plain tuple in this order will do on the hot path."""

    unix_s: float
    direction: str
    source: str
    """SPIFFE ID of the caller, empty if unknown."""
    source_workload: str
    source_address: str
    destination: str
    destination_workload: str
    destination_address: str
    """Original destination, `ip:port`."""
    method: bytes
    host: bytes
    path: bytes
    """Canonical, without query."""
    status: int
    """0 for connections without HTTP."""
    flags: str
    """Envoy's response flags."""
    reason: str
    policy: str
    rule: str
    bytes_in: int
    bytes_out: int
    duration_s: float
    protocol: str
    request_id: bytes
    route: str
    upstream: str
    """Address of the endpoint chosen, `ip:port`."""


class _Line(msgspec.Struct, omit_defaults=True, tag_field="log", tag="access"):
    """The record as it is written; what is empty is left out."""

    time: str
    direction: str
    source: str = ""
    source_workload: str = ""
    source_address: str = ""
    destination: str = ""
    destination_workload: str = ""
    destination_address: str = ""
    method: str = ""
    host: str = ""
    path: str = ""
    status: int = 0
    flags: str = ""
    reason: str = ""
    policy: str = ""
    rule: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    duration_ms: float = 0.0
    protocol: str = ""
    request_id: str = ""
    route: str = ""
    upstream: str = ""


_encoder: Final = msgspec.json.Encoder()
_NEEDS_ESCAPE: Final = re.compile(
    "[\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)


def format_line(record: tuple[object, ...], style: Format) -> bytes:
    """Return the record as one line with its line end.

    Args:
        record: the fields of `AccessRecord`, in order.
        style: JSON object or `key=value` text.
    """
    line = _line(AccessRecord(*record))  # type: ignore[arg-type]  # the hot path builds plain tuples; tests hold the order
    if style == "json":
        return escaped(_encoder.encode(line)) + b"\n"
    pairs = msgspec.structs.asdict(line)
    text = " ".join(
        f"{name}={_encoder.encode(value).decode()}" for name, value in pairs.items() if value not in ("", 0)
    )
    return escaped(text.encode()) + b"\n"


def escaped(json_text: bytes) -> bytes:
    """Return JSON text in which everything a viewer may act upon is written as an escape; its meaning stays the same."""
    if json_text.isascii() and b"\x7f" not in json_text:
        return json_text
    return _NEEDS_ESCAPE.sub(lambda match: f"\\u{ord(match[0]):04x}", json_text.decode()).encode()


def _line(record: AccessRecord) -> _Line:
    texts = {
        name: _text(value)
        for name, value in zip(AccessRecord._fields, record, strict=True)
        if isinstance(value, str | bytes) and value
    }
    moment = datetime.fromtimestamp(record.unix_s, UTC).isoformat(timespec="milliseconds")
    return _Line(
        time=moment.replace("+00:00", "Z"),
        status=record.status,
        bytes_in=record.bytes_in,
        bytes_out=record.bytes_out,
        duration_ms=round(record.duration_s * 1000, 3),
        **texts,
    )


def _text(value: str | bytes) -> str:
    short = value[: MAX_FIELD_CHARACTERS + 1]
    text = short.decode("utf-8", "backslashreplace") if isinstance(short, bytes) else short
    if len(text) > MAX_FIELD_CHARACTERS:
        text = text[: MAX_FIELD_CHARACTERS - 1] + "…"
    return text.encode("utf-8", "backslashreplace").decode()


class AccessLog:
    """The queue and its writer.

    Args:
        limit: `Limits.access_log_queue`.
        style: of the lines.
        dropped: told of each record that is lost.
    """

    __slots__ = ("_dropped", "_fd", "_limit", "_pending", "_queue", "_style", "_wake")

    def __init__(self, limit: int, style: Format, dropped: Callable[[int], None]) -> None:
        self._limit = limit
        self._style = style
        self._dropped = dropped
        self._queue: deque[tuple[object, ...]] = deque()
        self._pending = b""
        self._fd = -1
        self._wake = trio.Event()

    def record(self, record: tuple[object, ...]) -> None:
        """Queue one record (`AccessRecord` or a tuple of its fields); never waits, never fails."""
        queue = self._queue
        if len(queue) >= self._limit:
            self._dropped(1)
            return
        if not queue:
            self._wake.set()
        queue.append(record)

    def attach(self, fd: int) -> None:
        """Write to this non-blocking pipe from now on; the descriptor is owned, an earlier one is closed."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = fd
        self._wake.set()

    async def run(self) -> None:
        """Write what is recorded, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            await trio.sleep(GATHER_S)
            await self._write_queued()

    def flush(self) -> None:
        """Write what the pipe takes now; for the last moments of a process."""
        self._format_batch(len(self._queue))
        self._write_pending()

    async def _write_queued(self) -> None:
        while self._queue or self._pending:
            self._format_batch(BATCH_RECORDS)
            self._write_pending()
            if self._pending:
                await trio.sleep(GATHER_S)  # the reader is slow; the queue's limit does the rest
            else:
                await trio.lowlevel.checkpoint()

    def _format_batch(self, most: int) -> None:
        lines: list[bytes] = []
        size = len(self._pending)
        while self._queue and len(lines) < most and size < MAX_PENDING_BYTES:
            lines.append(format_line(self._queue.popleft(), self._style))
            size += len(lines[-1])
        if lines:
            self._pending += b"".join(lines)

    def _write_pending(self) -> None:
        if self._fd < 0:
            return
        try:
            while self._pending:
                self._pending = self._pending[os.write(self._fd, self._pending) :]
        except BlockingIOError:
            return
        except OSError:  # control is gone; what waits is kept for the next one
            os.close(self._fd)
            self._fd = -1
