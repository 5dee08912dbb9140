"""Locked Python packages: the closure of an extra, fetched by digest with pip, unpacked without running anything of theirs.

Theory. `requirements.lock` names every package with the digests of its files; what an image needs of it follows from the
wheels' own metadata. A package that the lock lacks is an error, never a download of something else.

Source: PEP 427 (wheels), PEP 508 (requirements), pip's `--require-hashes`.
"""

import hashlib
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping
from email.parser import Parser
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from manifests.image.recipes import SITE
from manifests.image.tree import File, Tree

_PIN: Final = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+)")
_LEFT_OUT: Final = ("/tests/", "/test/", "__pycache__/")


class WheelError(Exception):
    """Python packages cannot be had; the message says why."""


def read_pins(lock: Path) -> dict[str, str]:
    """Return the lock's entries by canonical name, each as pip reads it, digests included."""
    found: dict[str, str] = {}
    name = ""
    for line in lock.read_text().splitlines():
        match = _PIN.match(line)
        if match:
            name = canonicalize_name(match[1])
            found[name] = line
        elif name and line.strip().startswith("--hash"):
            found[name] += "\n" + line
    return found


def fetch_closure(wanted: Iterable[str], pins: Mapping[str, str], store: Path) -> dict[str, Path]:
    """Return the wheels of requirements and of all that these require, by canonical name.

    Args:
        wanted: requirements (PEP 508) for this machine's platform.
        pins: from `read_pins`.
        store: folder that keeps wheels.

    Raises:
        WheelError: the lock lacks one, or pip could not fetch it.
    """
    store.mkdir(parents=True, exist_ok=True)
    found: dict[str, Path] = {}
    queue = [Requirement(text) for text in wanted]
    while queue:
        names = _new_names(queue, pins, found)
        fetched = _download({name: pins[name] for name in names}, store)
        found |= fetched
        queue = [requirement for wheel in fetched.values() for requirement in _requires(wheel)]
    return dict(sorted(found.items()))


def _new_names(queue: Iterable[Requirement], pins: Mapping[str, str], found: Mapping[str, Path]) -> list[str]:
    names = {canonicalize_name(requirement.name): requirement for requirement in queue}
    for name, requirement in names.items():
        if name not in pins:
            raise WheelError(f"requirements.lock has no {name}, which is required as `{requirement}`")
    return sorted(set(names) - set(found))


def _download(pins: Mapping[str, str], store: Path) -> dict[str, Path]:
    if not pins:
        return {}
    present = {name: _stored(name, pin, store) for name, pin in pins.items()}
    missing = [pin for name, pin in pins.items() if present[name] is None]
    if missing:
        listed = store / "wanted.txt"
        listed.write_text("\n".join(missing) + "\n")
        _pip(
            "download",
            "--no-deps",
            "--only-binary=:all:",
            "--require-hashes",
            f"--dest={store}",
            f"--requirement={listed}",
        )
    paths = {name: _stored(name, pin, store) for name, pin in pins.items()}
    for name, path in paths.items():
        if path is None:
            raise WheelError(f"pip fetched no wheel of {name}")
    return {name: path for name, path in paths.items() if path is not None}


def _stored(name: str, pin: str, store: Path) -> Path | None:
    """Return the kept wheel of a pin whose digest the lock names."""
    version = _PIN.match(pin)
    for path in sorted(store.glob("*.whl")):
        project, its_version, *_ = path.name.split("-")
        if version is None or canonicalize_name(project) != name or its_version != version[2]:
            continue
        if hashlib.sha256(path.read_bytes()).hexdigest() in pin:
            return path
    return None


def _pip(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", *arguments, "--disable-pip-version-check", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )
    if done.returncode != 0:
        raise WheelError(f"pip {arguments[0]} failed:\n{done.stderr.strip()}")


def _requires(wheel: Path) -> list[Requirement]:
    """Return what a wheel requires on this platform; extras of requirements are not followed, no package here needs one."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
        metadata = Parser().parsestr(archive.read(name).decode())
    listed = [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]
    return [each for each in listed if each.marker is None or each.marker.evaluate({"extra": ""})]


def unpack(wheel: Path) -> Tree:
    """Return a wheel's files at their places in an image; its scripts and data stay out."""
    tree: Tree = {}
    with zipfile.ZipFile(wheel) as archive:
        for info in archive.infolist():
            path = info.filename
            data = re.match(r"[^/]+\.data/(?:pure|plat)lib/", path)
            if data:
                path = path[data.end() :]
            elif ".data/" in path.partition("/")[0] + "/":
                continue
            if info.is_dir() or any(part in f"/{path}" for part in _LEFT_OUT):
                continue
            mode = 0o755 if path.endswith(".so") or ".so." in path else 0o644
            tree[f"{SITE}/{path}"] = File(archive.read(info), mode)
    return tree
