"""A worker process with the stand-in data plane; started by `weft_testing.standin_control`'s control."""

from collections.abc import Sequence

from weft_agent.worker.main import be_worker
from weft_testing.standin_plane import StandIn


def main(argv: Sequence[str]) -> int:
    """Be a worker."""
    return be_worker(argv, StandIn)
