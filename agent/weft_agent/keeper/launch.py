"""How processes of the agent are started: isolated interpreters, clean signals, only the descriptors they are meant to have."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence

_START = os.path.join(os.path.dirname(os.path.abspath(__file__)), "start.py")


def command(paths: str, module: str, arguments: Sequence[str], *, site: bool = True) -> list[str]:
    """Return the command line that runs `module.main(arguments)`.

    Args:
        paths: folders of our packages, joined by colons.
        module: dotted name.
        arguments: passed on.
        site: False leaves installed packages out, for processes that need none and must stay small.
    """
    flags = ["-I"] if site else ["-I", "-S"]
    return [sys.executable, *flags, _START, paths, module, *arguments]


def package_paths(packages: Sequence[str]) -> str:
    """Return the folders that these packages lie in, joined by colons."""
    from importlib.util import find_spec  # here, because the keeper never calls this and should not pay for it

    found: list[str] = []
    for package in packages:
        spec = find_spec(package)
        places = spec.submodule_search_locations if spec is not None else None
        if not places:
            raise ModuleNotFoundError(f"{package} is not installed")
        folder = os.path.dirname(os.path.abspath(next(iter(places))))
        if folder not in found:
            found.append(folder)
    return ":".join(found)


def spawn(argv: Sequence[str], environment: Mapping[str, str], descriptors: Sequence[int], *, own_group: bool) -> int:
    """Start a process and return its id.

    Args:
        argv: from `command`.
        environment: the whole of it.
        descriptors: become 0, 1, 2, …; each is its own target or lies above all targets. No other reaches the process.
        own_group: True keeps the terminal's signals away from it.

    Raises:
        OSError: it could not be started.
    """
    for target, source in enumerate(descriptors):
        if source != target and source < len(descriptors):
            raise ValueError(f"descriptor {source} would be overwritten before it becomes {target}")
    actions = [(os.POSIX_SPAWN_DUP2, source, target) for target, source in enumerate(descriptors)]
    defaults = (signal.SIGPIPE, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
    if own_group:
        return os.posix_spawn(
            argv[0], list(argv), environment, file_actions=actions, setsigmask=(), setsigdef=defaults, setpgroup=0
        )
    return os.posix_spawn(argv[0], list(argv), environment, file_actions=actions, setsigmask=(), setsigdef=defaults)
