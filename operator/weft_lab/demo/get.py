"""Fetches URLs and prints status and body; exit statuses as curl has them (7 no answer, 22 status with --fail)."""

import argparse
import sys
from typing import Final

from weft_lab.demo.requests import Caller, Reply, UsageError, call

NO_ANSWER: Final = 7
BAD_STATUS: Final = 22
USAGE: Final = 2


def run(options: argparse.Namespace) -> int:
    """Fetch every URL so often as is asked, over one connection."""
    try:
        calls = [call(url, options) for url in options.urls for _ in range(options.count)]
    except UsageError as exc:
        sys.stderr.write(f"error: {exc}\n")
        return USAGE
    caller = Caller()
    worst = 0
    for what in calls:
        reply = caller.send(what)
        _print(reply, include=options.include)
        if reply.error:
            worst = NO_ANSWER
        elif options.fail and reply.status >= 400:
            worst = max(worst, BAD_STATUS)
        if options.close:
            caller.close()
    return worst


def _print(reply: Reply, *, include: bool) -> None:
    if reply.error:
        sys.stdout.flush()
        sys.stderr.write(f"error: {reply.error}\n")
        return
    sys.stdout.write(f"HTTP {reply.status} {reply.reason}\n")
    if include:
        sys.stdout.writelines(f"{name}: {value}\n" for name, value in reply.headers)
        sys.stdout.write("\n")
    sys.stdout.flush()
    sys.stdout.buffer.write(reply.body)
    if reply.body and not reply.body.endswith(b"\n"):
        sys.stdout.buffer.write(b"\n")
    sys.stdout.flush()
