"""Running the rule tools: found once, fed by standard input, in the namespace of the calling thread."""

import os
import shutil
import subprocess
from functools import cache
from typing import Final

from weft_iptables.errors import KernelRefusedError, ToolMissingError

_TIMEOUT_S: Final = 20.0
"""Tools take milliseconds; a host that is starting may hold iptables' lock for seconds."""
_SEARCH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where to look beside PATH, which leaves out sbin for many users."""


@cache
def find(tool: str) -> str:
    """Return the path of a program.

    Raises:
        ToolMissingError: it is not installed.
    """
    found = shutil.which(tool, path=f"{os.environ.get('PATH', '')}:{_SEARCH}")
    if found is None:
        raise ToolMissingError(f"{tool} is not installed on this node")
    return found


def run(command: list[str], text: str = "") -> str:
    """Run a tool and return what it printed.

    Raises:
        ToolMissingError: it is not installed.
        KernelRefusedError: it failed or took too long; its own words are in the message.
    """
    path = find(command[0])
    environment = {"PATH": _SEARCH, "LC_ALL": "C"} | {
        name: value for name in ("XTABLES_LOCKFILE", "XTABLES_LIBDIR") if (value := os.environ.get(name))
    }
    try:
        done = subprocess.run(
            [path, *command[1:]],
            input=text,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            env=environment,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise KernelRefusedError(f"{' '.join(command)} did not finish: {exc}") from exc
    if done.returncode != 0:
        raise KernelRefusedError(f"{' '.join(command)} failed ({done.returncode}): {done.stderr.strip()[:2000]}")
    return done.stdout
