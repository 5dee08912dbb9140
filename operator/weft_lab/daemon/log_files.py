"""Keeps log files from filling the memory file system that a lab lives in.

A container writes straight into its file, so that its output survives the daemon and costs no thread. Once a file is too
large its newest part is kept and the rest is cut; the writer appends, so it needs not be told. Lines that are written in
that very moment may be lost, which a kubelet's rotation does not do and a test of a lab will not notice.
"""

import logging
import os
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Final

from weft_lab.daemon.lab import Lab

_log: Final = logging.getLogger("weft_lab.log_files")
MAX_BYTES: Final = 32 * 1024 * 1024
KEPT_BYTES: Final = 8 * 1024 * 1024
_PERIOD_S: Final = 5.0


class LogKeeper:
    """Looks at all log files now and then."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def start(self) -> None:
        """Look from now on."""
        self._lab.loop.at(self._lab.loop.now + _PERIOD_S, self._look)

    def _look(self) -> None:
        self._lab.loop.in_thread(lambda: cut_all(self._lab.directory), self._looked)

    def _looked(self, future: "Future[None]") -> None:
        if (error := future.exception()) is not None:
            _log.error("log files could not be looked at: %s", error)
        self.start()


def cut_all(directory: Path) -> None:
    """Cut every log file of a lab that is too large."""
    for path in _log_files(directory):
        try:
            if path.stat().st_size > MAX_BYTES:
                cut(path)
        except FileNotFoundError:
            pass  # the pod went away meanwhile


def _log_files(directory: Path) -> Iterator[Path]:
    yield directory / "daemon.log"
    yield from directory.glob("nodes/*/agent.log")
    yield from directory.glob("pods/*/logs/*.log")


def cut(path: Path) -> None:
    """Keep the newest part of a file that is being appended to."""
    with path.open("r+b") as file:
        file.seek(-KEPT_BYTES, os.SEEK_END)
        kept = file.read()
        file.truncate(0)
    with path.open("ab") as file:
        file.write(b"[older lines were cut]\n" + kept.partition(b"\n")[2])
