"""How the operator logs: one event per line, JSON or text, its own and the libraries', to stderr.

Theory: events are short fixed texts with fields; whoever reads logs by machine filters on the text. What libraries say through
the standard library's logging (aiohttp, asyncio) comes out in the same form, from WARNING on: their INFO repeats ours. kopf is
heard from ERROR on: it warns, at each start, of running in a thread and of kinds that are not installed, which we mean and tell.
"""

import logging
import sys
from typing import Final

import structlog

from weft_operator.server.settings import LogFormat, LogLevel

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_FIRST: Final = ("time", "level", "event")
MAX_TEXT: Final = 16 * 1024


def configure_logs(style: LogFormat, level: LogLevel) -> None:
    """Set up logging of this process."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.format_exc_info,
        _cut,
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(sort_keys=False)
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _ordered, renderer],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(_LEVELS[level], logging.WARNING))
    logging.getLogger("weft_operator").setLevel(_LEVELS[level])
    logging.getLogger("kopf").setLevel(logging.ERROR)


def _cut(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Bound every text: an API server may answer with pages."""
    for key, value in event.items():
        if isinstance(value, str) and len(value) > MAX_TEXT:
            event[key] = value[:MAX_TEXT] + "…"
    return event


def _ordered(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Put what every line has in front, for readers."""
    return {**{key: event.pop(key, "") for key in _FIRST}, **event}
