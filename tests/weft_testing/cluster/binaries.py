"""`need("kube-apiserver", "etcd")`: the programs, built from pinned Go modules into the cache when they are not there yet.

Theory. What is built lies in `<cache>/bin/<name>-<version>/<name>` and never changes: a finished folder is renamed into
place, so a reader sees all of it or nothing, and readers take no lock. Builders do (one file lock on the cache), because
two builds side by side would do the same work twice. A build uses Go caches of its own below the same folder and removes
them afterwards: they weigh several gigabytes (4.3 for Kubernetes alone, 13.6 for every program), what they made 480 MB.
They stay when a build fails or is killed, so that the next one goes on from there.

Environment: WEFT_CACHE (default ~/.cache/weft), KUBEBUILDER_ASSETS (a folder whose kube-apiserver, etcd and kubectl are
used instead of built ones), WEFT_KEEP_GO_CACHE=1, WEFT_BUILD_JOBS (default 2), and Go's own: GOPROXY, GOFLAGS, GOSUMDB.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import IO, Final

from weft_testing.cluster.programs import FILES, MODULES, PROGRAMS, Program, SharedFiles
from weft_testing.cluster.toolchain import find_go

Say = Callable[[str], None]

_TAGS: Final = ("selinux", "notest", "grpcnotrace")
_HEARTBEAT_S: Final = 30.0
_LINKERS_SLOWDOWN: Final = 1.5
"""Wall seconds per CPU second on two cores: linking does not spread."""


class BuildError(Exception):
    """A program could not be built; the message has the end of what the go command said."""


def say_to_stderr(line: str) -> None:
    """Print one line of progress."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - progress of a build is for the terminal


def cache_root() -> Path:
    """Return the folder of everything that is kept between runs."""
    if "WEFT_CACHE" in os.environ:
        return Path(os.environ["WEFT_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "weft"


def need(*names: str, say: Say = say_to_stderr) -> dict[str, Path]:
    """Return the paths of programs, building those that are missing.

    Args:
        names: keys of `programs.PROGRAMS`.
        say: takes one line about what is built and about how long it takes.

    Raises:
        KeyError: no such program is known.
        ToolchainError: there is no Go to build with.
        BuildError: the go command failed.
    """
    wanted = [PROGRAMS[name] for name in names]
    if any(_find(program) is None for program in wanted):
        with _building(say) as builder:
            builder.build([program for program in wanted if _find(program) is None])
    return {program.name: _found(program) for program in wanted}


def need_files(name: str, *, say: Say = say_to_stderr) -> Path:
    """Return a folder of files that a module carries, such as Gateway API's CRDs; fetched if it is not there yet.

    Raises:
        KeyError, ToolchainError, BuildError: as for `need`.
    """
    files = FILES[name]
    place = cache_root() / "files" / f"{files.name}-{files.version}"
    if not place.is_dir():
        with _building(say) as builder:
            if not place.is_dir():
                builder.fetch(files, place)
    return place


def missing(names: Iterable[str]) -> list[str]:
    """Return which of the programs would have to be built."""
    return [name for name in names if _find(PROGRAMS[name]) is None]


def _find(program: Program) -> Path | None:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    candidates = [Path(assets, program.name)] if assets and program.name in _ASSETS else []
    candidates.append(_place(program) / program.name)
    return next((path for path in candidates if path.is_file()), None)


def _found(program: Program) -> Path:
    path = _find(program)
    if path is None:
        raise BuildError(f"{program.name} {program.version} was built, but {_place(program)} does not hold it")
    return path


_ASSETS: Final = frozenset({"kube-apiserver", "etcd", "kubectl"})
"""What the folder of KUBEBUILDER_ASSETS may hold, by the convention of controller-runtime's envtest."""


def _place(program: Program) -> Path:
    return cache_root() / "bin" / f"{program.name}-{program.version}"


@contextmanager
def _building(say: Say) -> "Iterator[_Builder]":
    """Hold the right to build, and clear up afterwards; the Go caches stay if the build fails."""
    root = cache_root()
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another build to finish ({root / 'lock'})")
            fcntl.flock(lock, fcntl.LOCK_EX)
        scratch = root / "scratch"
        remove_tree(scratch)  # of builders that were killed: whoever holds the lock is alone
        scratch.mkdir()
        yield _Builder(root, scratch, say)
        remove_tree(scratch)
        if os.environ.get("WEFT_KEEP_GO_CACHE") != "1":
            remove_tree(root / "go")


class _Builder:
    """Runs the go command for one holder of the lock."""

    def __init__(self, root: Path, scratch: Path, say: Say) -> None:
        self._root = root
        self._scratch = scratch
        self._say = say
        self._go = find_go(root, say)

    def build(self, programs: Sequence[Program]) -> None:
        """Build what is still missing, workspace by workspace, each workspace whole."""
        missing_now = [program for program in programs if _find(program) is None]
        for workspace, group in groupby(sorted(missing_now, key=_group), key=lambda program: program.workspace):
            if workspace:
                self._build_workspace(workspace)
            else:
                for program in group:
                    self._install(program)

    def fetch(self, files: SharedFiles, place: Path) -> None:
        """Copy files out of a module, which the checksum database or the workspace's go.sum vouches for."""
        self._say(f"fetching {files.name} {files.version}")
        argument = files.module if files.workspace else f"{files.module}@{files.version}"
        folder = MODULES / files.workspace if files.workspace else self._scratch
        answer = self._run(["mod", "download", "-json", argument], folder)
        source = Path(json.loads(answer)["Dir"], files.folder)
        with self._fresh(place) as target:
            shutil.copytree(source, target, dirs_exist_ok=True)
            for path in [target, *target.rglob("*")]:
                path.chmod(0o755 if path.is_dir() else 0o644)  # the module cache is read-only

    def _build_workspace(self, workspace: str) -> None:
        programs = [p for p in PROGRAMS.values() if p.workspace == workspace and not (_place(p) / p.name).is_file()]
        variables = sorted({pair for program in programs for pair in program.variables})
        flags = ["-mod=readonly", "-buildvcs=false", *_flags(variables, programs[0].tags)]
        verb = ["test", "-c"] if programs[0].is_test else ["build", "-v"]
        output = f"{self._scratch}/{programs[0].built_name}" if programs[0].is_test else f"{self._scratch}/"
        self._announce(workspace, programs)
        self._run([*verb, *flags, "-o", output, *(p.package for p in programs)], MODULES / workspace)
        self._keep(programs)

    def _install(self, program: Program) -> None:
        self._announce(program.name, [program])
        source = f"{program.package}@{program.version}"
        self._run(["install", "-v", *_flags(program.variables, program.tags), source], self._scratch)
        self._keep([program])

    def _keep(self, programs: Iterable[Program]) -> None:
        for program in programs:
            with self._fresh(_place(program)) as target:
                (self._scratch / program.built_name).rename(target / program.name)

    @contextmanager
    def _fresh(self, place: Path) -> Iterator[Path]:
        """Give a folder to fill that takes its place whole when it is full."""
        place.parent.mkdir(parents=True, exist_ok=True)
        target = Path(tempfile.mkdtemp(dir=self._scratch))
        target.chmod(0o755)
        yield target
        remove_tree(place)
        target.rename(place)

    def _announce(self, what: str, programs: Sequence[Program]) -> None:
        cpu_s = sum(program.cpu_s for program in programs)
        minutes = max(1, round(cpu_s * _LINKERS_SLOWDOWN / _jobs() / 60))
        names = ", ".join(f"{program.name} {program.version}" for program in programs)
        self._say(f"building {what}: {names}; once, about {minutes} min")

    def _run(self, arguments: Sequence[str], folder: Path) -> str:
        environment = os.environ | {
            "CGO_ENABLED": "0",
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
            "GOMODCACHE": str(self._root / "go" / "mod"),
            "GOCACHE": str(self._root / "go" / "build"),
            "GOTMPDIR": str(self._scratch),
            "GOBIN": str(self._scratch),
        }
        process = subprocess.Popen(
            ["nice", "-n", "10", str(self._go), *arguments],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        said: list[str] = []
        answered: list[str] = []
        readers = [
            threading.Thread(target=_collect, args=(stream, lines), daemon=True)
            for stream, lines in ((process.stderr, said), (process.stdout, answered))
        ]
        for reader in readers:
            reader.start()
        with process:
            self._wait(process, said)
            for reader in readers:
                reader.join()
        answer = "".join(answered)
        if process.returncode != 0:
            ending = "".join(said[-40:]) + answer[-2000:]
            raise BuildError(f"go {' '.join(arguments)} in {folder} failed with {process.returncode}:\n{ending}")
        return answer

    def _wait(self, process: subprocess.Popen[str], said: Sequence[str]) -> None:
        """Wait for the go command, saying twice a minute how far it is; it is stopped if we are."""
        waited_s = 0.0
        try:
            while True:
                try:
                    process.wait(_HEARTBEAT_S)
                    return
                except subprocess.TimeoutExpired:
                    waited_s += _HEARTBEAT_S
                    self._say(f"  {waited_s / 60:.1f} min, {len(said)} packages fetched or compiled")
        except BaseException:
            process.terminate()
            raise


def _collect(stream: IO[str] | None, lines: list[str]) -> None:
    """Read a pipe to its end."""
    if stream is not None:
        lines.extend(stream)


def _group(program: Program) -> tuple[str, str]:
    return (program.workspace, program.name)


def _jobs() -> int:
    return int(os.environ.get("WEFT_BUILD_JOBS", "2"))


def _flags(variables: Iterable[tuple[str, str]], tags: Iterable[str]) -> list[str]:
    """Return the flags of every build: no debugging tables, no paths of this machine, versions as released."""
    linker = " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in variables)])
    return ["-trimpath", f"-p={_jobs()}", f"-tags={','.join([*_TAGS, *tags])}", f"-ldflags={linker}"]


def remove_tree(path: Path) -> None:
    """Remove a tree even where its folders are read-only, as those of Go's module cache are."""
    if not path.exists():
        return
    for folder, _, _ in os.walk(path):
        os.chmod(folder, 0o700)
    shutil.rmtree(path)
