"""What workers write: access-log lines on their way to standard output, and the last words of a dying interpreter."""

import os
from collections.abc import Callable
from typing import Final

import trio

READ_BYTES: Final = 64 * 1024
MAX_LINE_BYTES: Final = 32 * 1024
"""A record of 23 fields of 1 KiB; whoever writes more has no access log to write."""


def pipe(*, writer_waits: bool) -> tuple[int, int]:
    """Return read and write end of a pipe; the read end never waits."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(read_end, False)
    os.set_blocking(write_end, writer_waits)
    return read_end, write_end


async def follow_lines(read_end: int, take: Callable[[bytes], None]) -> None:
    """Hand on whole lines until the writer is gone; the read end is closed then.

    Args:
        read_end: of a pipe, owned from now on.
        take: takes one or more lines, each with its line end.
    """
    rest = b""
    try:
        while True:
            await trio.lowlevel.wait_readable(read_end)
            try:
                data = os.read(read_end, READ_BYTES)
            except BlockingIOError:
                continue
            if not data:
                break
            lines, end, last = data.rpartition(b"\n")
            if end:
                take(rest + lines + end)
                rest = last
            else:
                rest += data
            if len(rest) > MAX_LINE_BYTES:
                take(rest[:MAX_LINE_BYTES] + b"\n")
                rest = b""
    finally:
        trio.lowlevel.notify_closing(read_end)
        os.close(read_end)
        if rest:
            take(rest + b"\n")
