"""The real control process, whose workers have the stand-in data plane and whose patience with stuck workers is short."""

from collections.abc import Sequence

from weft_agent.control import health
from weft_agent.control.__main__ import main as control


def main(argv: Sequence[str]) -> int:
    """Be control."""
    health.HOPELESS_S = 2.0  # type: ignore[misc]  # tests cannot wait half a minute
    health.INTERVAL_S = 0.2  # type: ignore[misc]  # as above
    return control(argv, worker="weft_testing.standin_worker")
