"""Where our packages are imported from, so that a process with another working directory or user finds them too."""

import importlib.util
import os
from pathlib import Path
from typing import Final

_PACKAGES: Final = (
    "weft_agent",
    "weft_contract",
    "weft_core",
    "weft_iptables",
    "weft_operator",
    "weft_cli",
    "weft_lab",
)


def python_path() -> str:
    """Return a value for PYTHONPATH: the folders of a checkout, or the site packages of an installation."""
    found: dict[str, None] = {}
    for name in _PACKAGES:
        spec = importlib.util.find_spec(name)
        for place in (spec.submodule_search_locations or ()) if spec is not None else ():
            found[str(Path(place).parent)] = None
    return os.pathsep.join(found)
