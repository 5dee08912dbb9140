"""The command lines of the small programs in `weft_lab.container`."""

import sys
from pathlib import Path
from typing import Final

import weft_lab

HOLDER: Final = str(Path(weft_lab.__file__).parent.parent)
"""Folder that the package is imported from."""
_BOOT: Final = "import sys; sys.path.insert(0, sys.argv[1]); from weft_lab.container.{} import main; main()"


def small_program(module: str, *arguments: str) -> list[str]:
    """Return the command of a small program: isolated, without site packages, so that it starts in 10 ms."""
    return [sys.executable, "-I", "-S", "-c", _BOOT.format(module), HOLDER, *arguments]
