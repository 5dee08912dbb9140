"""Noticing that files in a directory changed: inotify where it works, a look every few seconds where it does not.

Theory: what is reported is only "look again". Whoever watches compares contents, so a lost or doubled event costs a look
and never a change. Directories are watched, not files, because files are replaced by rename and Kubernetes swaps whole
directories behind a link. A directory that is not there yet, and file systems without events, are covered by the poll.

Source: inotify(7).
"""

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import trio

POLL_S: Final = 2.0
SETTLE_S: Final = 0.02
"""Writers often rename several files in a row; one look serves them all."""

_IN_NONBLOCK: Final = os.O_NONBLOCK
_IN_CLOEXEC: Final = os.O_CLOEXEC
_CHANGES: Final = 0x2 | 0x4 | 0x8 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800
"""IN_MODIFY, ATTRIB, CLOSE_WRITE, MOVED_FROM, MOVED_TO, CREATE, DELETE, DELETE_SELF, MOVE_SELF."""

_libc: Final = ctypes.CDLL(None, use_errno=True)


class Watch:
    """Watches directories.

    Args:
        directories: to be watched; they need not exist yet.
        poll_s: longest time without a look.
    """

    def __init__(self, directories: Iterable[Path], poll_s: float = POLL_S) -> None:
        self._directories = tuple(directories)
        self._poll_s = poll_s
        self._fd: int = _libc.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC)
        self._asked = trio.Event()

    def close(self) -> None:
        """Stop watching."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def ask(self) -> None:
        """Make the next `changed` return at once: somebody wants a look now."""
        self._asked.set()

    async def changed(self) -> None:
        """Return when something may have changed: an event, a request, or the poll interval."""
        self._add()
        with trio.move_on_after(self._poll_s):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._wait_event, nursery.cancel_scope)
                await self._asked.wait()
                nursery.cancel_scope.cancel()
        self._asked = trio.Event()

    async def _wait_event(self, scope: trio.CancelScope) -> None:
        if self._fd < 0:
            return
        await trio.lowlevel.wait_readable(self._fd)
        await trio.sleep(SETTLE_S)
        self._drain()
        scope.cancel()

    def _add(self) -> None:
        """(Re)add every directory; adding again is free, and one that was replaced needs it."""
        for directory in self._directories:
            if self._fd >= 0:
                _libc.inotify_add_watch(self._fd, os.fsencode(directory), _CHANGES)

    def _drain(self) -> None:
        try:
            while os.read(self._fd, 65536):
                pass
        except BlockingIOError:
            return
