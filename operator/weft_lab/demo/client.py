"""A place for `exec`: does nothing until it is told to end."""

import argparse

from weft_lab.demo.stop import stop_event


def run(_options: argparse.Namespace) -> int:
    """Wait for SIGTERM."""
    stop_event().wait()
    return 0
