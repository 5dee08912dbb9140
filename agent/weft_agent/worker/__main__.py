"""A worker process: started by control only; everything is imported before the sandbox goes up."""

import sys
from collections.abc import Sequence

from weft_agent.proxy.dataplane import DataPlane
from weft_agent.worker.main import be_worker


def main(argv: Sequence[str]) -> int:
    """Be a worker with the real data plane; see `be_worker`."""
    return be_worker(argv, DataPlane)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
