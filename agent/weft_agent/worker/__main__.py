"""`python -m weft_agent.worker`: started by control only; everything is imported before the sandbox goes up."""

import sys

from weft_agent.proxy.dataplane import DataPlane
from weft_agent.worker.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], DataPlane))
