"""Weft's own images for the nodes of a cluster: built from the checkout without an engine, loaded as if they had been pulled."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from weft_testing.cluster.binaries import Say, cache_root, say_to_stderr

NAMES: Final = ("agent", "operator", "demo")
_REPOSITORY: Final = Path(__file__).resolve().parents[3]
_TIMEOUT_S: Final = 900


class ImagesError(Exception):
    """The images could not be built; the message has what the builder said."""


def weft_images(names: Sequence[str] = NAMES, *, tag: str = "", say: Say = say_to_stderr) -> list[Path]:
    """Build images and return their archives; seconds where only our own sources changed, half a minute at first.

    Args:
        names: which.
        tag: another than the version.
        say: takes a line.

    Raises:
        ImagesError: the builder failed.
    """
    out = cache_root() / "images" / (f"weft-{tag}" if tag else "weft")
    say(f"building images: {', '.join(names)}")
    command = [sys.executable, "-m", "manifests.image", "--allow-newer", "build", f"--out={out}", *names]
    command += [f"--tag={tag}"] if tag else []
    done = subprocess.run(
        command, cwd=_REPOSITORY, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S, env=_environment()
    )
    if done.returncode != 0:
        raise ImagesError(f"{' '.join(command[1:])} failed:\n{done.stderr.strip()}")
    return [out / f"weft-{name}.tar" for name in names]


def _environment() -> dict[str, str]:
    """Return an environment in which the checkout is the import path and nothing else of ours is."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}
