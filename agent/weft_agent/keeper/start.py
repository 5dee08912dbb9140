"""First code of every process of the agent: `python -I start.py PATHS MODULE ARGUMENTS…` runs `MODULE.main(ARGUMENTS)`.

Theory: processes run isolated (`-I`), so that neither the environment nor the working directory can slip code into them;
the folders of our own packages are therefore given by whoever starts them.
"""

import sys
from importlib import import_module


def run() -> int:
    """Run the module named on the command line and return its exit status."""
    _, paths, module, *arguments = sys.argv
    sys.path[0:0] = [path for path in paths.split(":") if path not in sys.path]
    status: int = import_module(module).main(arguments)
    return status


if __name__ == "__main__":
    sys.exit(run())
