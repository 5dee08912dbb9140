"""Durations as Gateway API objects write them.

Source: GEP-2257: `^([0-9]{1,5}(h|m|s|ms)){1,4}$`, read as Go's `time.ParseDuration` does.
"""

import re
from typing import Final

_DURATION: Final = re.compile(r"([0-9]{1,5}(h|m|s|ms)){1,4}")
_PART: Final = re.compile(r"([0-9]{1,5})(ms|[hms])")
_UNIT_MS: Final = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}


class DurationError(ValueError):
    """The text is not a duration; the message says what one looks like."""


def seconds(text: str) -> float:
    """Return a duration in seconds.

    Raises:
        DurationError: the text is not of the form `1h30m`, `10s`, `500ms`.
    """
    if not _DURATION.fullmatch(text):
        raise DurationError(f"{text!r:.40} is not a duration; write it as 10s, 1m30s or 500ms")
    return sum(int(count) * _UNIT_MS[unit] for count, unit in _PART.findall(text)) / 1000
