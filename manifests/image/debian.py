"""Debian packages: their closure resolved once and written down, fetched by exact version and checked by digest ever after.

Theory. `apt-get` runs on a configuration and a state of its own below the cache, so neither the packages nor the sources of
this machine play a part; it checks the archive's signature. What it resolves is committed (`debian.lock`), so the same
commit gives the same files: a version that the mirror has dropped since is an error with a remedy and never another version.
Packages are unpacked, not installed: no script of theirs runs, no root is needed.

Source: apt.conf(5), apt-secure(8), dpkg-deb(1).
"""

import hashlib
import io
import os
import re
import subprocess
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LOCK: Final = Path(__file__).with_name("debian.lock")
KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MIRROR: Final = "http://deb.debian.org/{archive}"
"""`{archive}` becomes `debian` or `debian-security`."""
SNAPSHOT: Final = "http://snapshot.debian.org/archive/{archive}/20261121T000000Z"
"""An example of an address that keeps what the mirrors drop."""
ARCHITECTURES: Final[Mapping[str, str]] = {"x86_64": "amd64", "aarch64": "arm64"}
"""Debian's names by the machine's."""
_HEADER: Final = """\
# Debian packages of the images: set, architecture, package, version, SHA-256.
# Written by `python -m manifests.image lock`; do not edit.
"""
_INSTALL: Final = re.compile(r"^Inst (\S+) \((\S+) ")


class DebianError(Exception):
    """Packages cannot be had; the message says why and what to do."""


@dataclass(frozen=True, slots=True, order=True)
class Locked:
    """One line of the lock."""

    group: str
    """The set it belongs to: `python`, or an image's name."""
    architecture: str
    package: str
    version: str
    sha256: str


def read_lock(path: Path = LOCK) -> tuple[Locked, ...]:
    """Return the locked packages.

    Raises:
        DebianError: a line is not one.
    """
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = line.split()
        if not words or line.startswith("#"):
            continue
        if len(words) != 5 or not re.fullmatch("[0-9a-f]{64}", words[4]):
            raise DebianError(f"{path}:{number} is no locked package: {line!r}")
        found.append(Locked(*words))
    return tuple(found)


def write_lock(locked: Iterable[Locked], path: Path = LOCK) -> None:
    """Write the lock, sorted."""
    lines = [f"{e.group} {e.architecture} {e.package} {e.version} {e.sha256}\n" for e in sorted(locked)]
    path.write_text(_HEADER + "".join(lines))


class Apt:
    """apt with a configuration of its own.

    Args:
        directory: for its state and cache.
        suite: Debian release.
        architecture: Debian's name for it.
        mirror: as `MIRROR` or `SNAPSHOT`.
    """

    def __init__(self, directory: Path, suite: str, architecture: str, mirror: str = MIRROR) -> None:
        self._directory = directory / f"{suite}-{architecture}"
        self._configuration = self._directory / "apt.conf"
        self._suite = suite
        self._architecture = architecture
        self._mirror = mirror
        self._updated = False

    def resolve(self, seeds: Sequence[str]) -> dict[str, str]:
        """Return the versions of packages and of all they depend on, as nothing were installed.

        Raises:
            DebianError: apt cannot.
        """
        self._update()
        said = self._run("apt-get", "install", "--simulate", "--no-install-recommends", *seeds)
        matches = (_INSTALL.match(line) for line in said.splitlines())
        return {match[1].partition(":")[0]: match[2] for match in matches if match}

    def sha256(self, package: str, version: str) -> str:
        """Return the digest that the archive's signed index gives.

        Raises:
            DebianError: it knows no such package.
        """
        self._update()
        said = self._run("apt-cache", "show", f"{package}={version}")
        found = re.search(r"^SHA256: ([0-9a-f]{64})$", said, re.MULTILINE)
        if found is None:
            raise DebianError(f"the archive gives no digest of {package} {version}")
        return found[1]

    def fetch(self, wanted: Sequence[Locked], store: Path) -> dict[str, Path]:
        """Return the packages' files, by package, downloading those that are not in the store.

        Raises:
            DebianError: one cannot be had, or is not the one that was locked.
        """
        store.mkdir(parents=True, exist_ok=True)
        paths = {entry.package: store / f"{entry.sha256}.deb" for entry in wanted}
        missing = [entry for entry in wanted if not paths[entry.package].exists()]
        if missing:
            self._update()
            self._download(missing, store)
        for entry in wanted:
            digest = hashlib.sha256(paths[entry.package].read_bytes()).hexdigest()
            if digest != entry.sha256:
                raise DebianError(f"{paths[entry.package]} is not what was locked for {entry.package}; remove it")
        return paths

    def _download(self, missing: Sequence[Locked], store: Path) -> None:
        place = self._directory / "download"
        place.mkdir(exist_ok=True)
        for old in place.iterdir():
            old.unlink()
        names = [f"{entry.package}={entry.version}" for entry in missing]
        try:
            self._run("apt-get", "download", *names, cwd=place)
        except DebianError as exc:
            raise DebianError(
                f"{exc}\nIf the mirror has newer versions now: `python -m manifests.image lock`, look at the difference "
                f"and commit it; or name an older state of the archive, as --mirror '{SNAPSHOT}'"
            ) from exc
        by_digest = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in place.glob("*.deb")}
        for entry in missing:
            if entry.sha256 not in by_digest:
                raise DebianError(f"what the mirror has as {entry.package} {entry.version} is not what was locked")
            by_digest[entry.sha256].replace(store / f"{entry.sha256}.deb")

    def _update(self) -> None:
        if self._updated:
            return
        if not KEYRING.exists():
            raise DebianError(f"{KEYRING} is missing; install debian-archive-keyring")
        for name in ("state/lists/partial", "cache/archives/partial", "none"):
            (self._directory / name).mkdir(parents=True, exist_ok=True)
        (self._directory / "state" / "status").touch()
        (self._directory / "sources.list").write_text(self._sources())
        self._configuration.write_text(self._settings())
        self._run("apt-get", "update")
        self._updated = True

    def _sources(self) -> str:
        options = f"[signed-by={KEYRING} arch={self._architecture} check-valid-until=no]"
        suites = (("debian", ""), ("debian", "-updates"), ("debian-security", "-security"))
        return "".join(
            f"deb {options} {self._mirror.format(archive=archive)} {self._suite}{suffix} main\n"
            for archive, suffix in suites
        )

    def _settings(self) -> str:
        settings = {
            "APT::Architecture": self._architecture,
            "APT::Architectures": self._architecture,
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Dir::Cache": f"{self._directory}/cache",
            "Dir::Etc::main": f"{self._directory}/none/apt.conf",
            "Dir::Etc::parts": f"{self._directory}/none",
            "Dir::Etc::preferencesparts": f"{self._directory}/none",
            "Dir::Etc::sourcelist": f"{self._directory}/sources.list",
            "Dir::Etc::sourceparts": f"{self._directory}/none",
            "Dir::State": f"{self._directory}/state",
            "Dir::State::status": f"{self._directory}/state/status",
        }
        return "".join(f'{name} "{value}";\n' for name, value in settings.items())

    def _run(self, *command: str, cwd: Path | None = None) -> str:
        environment = os.environ | {"APT_CONFIG": str(self._configuration), "LC_ALL": "C.UTF-8"}
        try:
            done = subprocess.run(
                [command[0], "-q", *command[1:]] if command[0] == "apt-get" else command,
                cwd=cwd or self._directory,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
        except FileNotFoundError as exc:
            raise DebianError(
                "apt is missing: images are built on Debian or Ubuntu, or inside the Containerfile"
            ) from exc
        if done.returncode != 0:
            raise DebianError(f"{' '.join(command)} failed:\n{(done.stderr or done.stdout).strip()}")
        return done.stdout


def contents(package: Path) -> Iterator[tuple[str, tarfile.TarInfo, bytes]]:
    """Yield what a package holds: path without `./`, what it is, and the content of files.

    Raises:
        DebianError: dpkg-deb cannot read it.
    """
    data = _dpkg_deb("--fsys-tarfile", package)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isreg() or member.islnk() else None
            yield member.name.removeprefix("./").rstrip("/"), member, file.read() if file is not None else b""


def control(package: Path) -> bytes:
    """Return a package's control data, which tools that look for vulnerable packages read."""
    return _dpkg_deb("--field", package)


def _dpkg_deb(verb: str, package: Path) -> bytes:
    try:
        done = subprocess.run(["dpkg-deb", verb, str(package)], capture_output=True, check=False)
    except FileNotFoundError as exc:
        raise DebianError("dpkg is missing: images are built on Debian or Ubuntu, or inside the Containerfile") from exc
    if done.returncode != 0:
        raise DebianError(f"{package} cannot be read: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
