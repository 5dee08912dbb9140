"""The agent's own log: one event per line, JSON or text, escaped like the access log and never waited for.

Theory: an event has a short fixed name and fields; whoever reads logs by machine filters on the name. Level and format are
one value shared by all parts of a process, so that `POST /loglevel` reaches everything. This is a page of code instead of a
logging library, because the library costs control 4 MiB and the tiny import rules of the worker.
"""

import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec

from weft_agent.telemetry.access_log import Format, escaped

Level = Literal["debug", "info", "warning", "error"]
LEVELS: Final[tuple[Level, ...]] = ("debug", "info", "warning", "error")
Field = str | int | float | bool | None | list[str] | dict[str, int]

MAX_TEXT_CHARACTERS: Final = 8 * 1024
"""A worker's report with its traceback fits; nothing that a client sent gets here without being cut before."""
MAX_TRACEBACK_CHARACTERS: Final = 16 * 1024

_encoder: Final = msgspec.json.Encoder()


class Log:
    """Where events go.

    Args:
        put: takes whole lines; must not wait.
        style: of the lines.
        level: the lowest level that is written.
    """

    def __init__(self, put: Callable[[bytes], None], style: Format, level: Level) -> None:
        self._put = put
        self._style = style
        self.level: Level = level

    def debug(self, event: str, **fields: Field) -> None:
        """Tell a developer."""
        self.write("debug", event, fields)

    def info(self, event: str, **fields: Field) -> None:
        """Tell what happens in normal work."""
        self.write("info", event, fields)

    def warning(self, event: str, **fields: Field) -> None:
        """Tell what somebody should look at soon."""
        self.write("warning", event, fields)

    def error(self, event: str, **fields: Field) -> None:
        """Tell what somebody must look at now."""
        self.write("error", event, fields)

    def exception(self, event: str, error: BaseException, **fields: Field) -> None:
        """Tell of a bug of ours, with its traceback."""
        text = "".join(traceback.format_exception(error))[-MAX_TRACEBACK_CHARACTERS:]
        self._write_line("error", event, {**fields, "error": str(error), "traceback": text})

    def write(self, level: Level, event: str, fields: dict[str, Field]) -> None:
        """Write one event if its level is high enough; long texts are cut."""
        if LEVELS.index(level) >= LEVELS.index(self.level):
            self._write_line(level, event, {name: _cut(value) for name, value in fields.items()})

    def _write_line(self, level: Level, event: str, fields: dict[str, Field]) -> None:
        moment = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if self._style == "json":
            text = _encoder.encode({"time": moment, "level": level, "event": event, **fields, "log": "agent"})
        else:
            pairs = "".join(f" {name}={_encoder.encode(value).decode()}" for name, value in fields.items())
            text = f"{moment} {level:7} {event}{pairs}".encode()
        self._put(escaped(text) + b"\n")


def _cut(value: Field) -> Field:
    if isinstance(value, str):
        return _cut_text(value)
    if isinstance(value, list):
        return [_cut_text(item) for item in value]
    return value


def _cut_text(value: str) -> str:
    text = value.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= MAX_TEXT_CHARACTERS else text[: MAX_TEXT_CHARACTERS - 1] + "…"
