"""Exceptions that nobody expected, told to control: each place once in a while, however often it happens."""

import errno
import time
import traceback
from collections.abc import Callable
from typing import Final

from weft_agent.channel.messages import Report

SILENCE_S: Final = 10.0
"""One report per place and so many seconds; the counter shows the true number."""
MAX_PLACES: Final = 256
MAX_DETAIL_CHARACTERS: Final = 12_000
"""Fits a message with every character escaped."""


class Faults:
    """Reports bugs of ours.

    Args:
        send: the way to control.
        count: told of every fault.
        clock: monotonic seconds.
    """

    def __init__(
        self, send: Callable[[Report], None], count: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._send = send
        self._count = count
        self._clock = clock
        self._told: dict[str, float] = {}

    def __call__(self, error: BaseException) -> None:
        """Count a fault, and report it unless its place was reported a moment ago."""
        self._count()
        place = f"{type(error).__name__} at {_place(error)}"
        now = self._clock()
        if now - self._told.get(place, -SILENCE_S) < SILENCE_S:
            return
        if len(self._told) >= MAX_PLACES:
            self._told.clear()
        self._told[place] = now
        self._send(fault_report(error, place))


def fault_report(error: BaseException, place: str = "") -> Report:
    """Return what control logs of a fault; a call that the sandbox refused is called so."""
    refused = isinstance(error, OSError) and error.errno == errno.EPERM
    event = "worker-sandbox-refused" if refused else "worker-fault"
    text = "".join(traceback.format_exception(error))
    return Report(level="error", event=event, detail=f"{place}: {error}\n{text}"[:MAX_DETAIL_CHARACTERS])


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__, limit=-1)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "?"
