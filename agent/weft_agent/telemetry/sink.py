"""Standard output that never makes anybody wait: a thread writes, a bounded queue feeds it, what does not fit is counted.

Theory: a container runtime that stops reading blocks whoever writes to standard output (fault F30). Making the descriptor
non-blocking would change it for every process that shares it, the user's shell included, so a thread does the waiting.
"""

import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

MAX_QUEUED_BYTES: Final = 4 * 1024 * 1024
WRITE_BYTES: Final = 64 * 1024


class Sink:
    """Lines on their way to a descriptor.

    Args:
        fd: usually 1; stays open.
        dropped: told how many lines were lost.
    """

    def __init__(self, fd: int, dropped: Callable[[int], None]) -> None:
        self._fd = fd
        self._dropped = dropped
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._write, name="weft-output", daemon=True)
        self._thread.start()

    def put(self, lines: bytes) -> None:
        """Queue whole lines, each with its line end."""
        with self._changed:
            if self._closing or self._queued + len(lines) > MAX_QUEUED_BYTES:
                self._dropped(lines.count(b"\n"))
                return
            self._queue.append(lines)
            self._queued += len(lines)
            self._changed.notify_all()

    def close(self, timeout_s: float) -> None:
        """Write what is queued, for as long as the reader lets us but not longer than `timeout_s`."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)

    def _write(self) -> None:
        while lines := self._next():
            view = memoryview(lines)
            try:
                while view:
                    select.select([], [self._fd], [])  # somebody else may have made it non-blocking
                    view = view[self._write_some(view) :]
            except OSError:  # nobody reads any more
                self._dropped(lines.count(b"\n"))

    def _write_some(self, view: memoryview) -> int:
        try:
            return os.write(self._fd, view[:WRITE_BYTES])
        except BlockingIOError:
            return 0

    def _next(self) -> bytes:
        with self._changed:
            while not self._queue and not self._closing:
                self._changed.wait()
            if not self._queue:
                return b""
            lines = self._queue.popleft()
            self._queued -= len(lines)
            return lines
