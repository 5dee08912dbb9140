"""The first process of a node, in namespaces of its own: gives the node its own disk and /run, then keeps its programs up.

Theory. The node sees the machine's files, but /var, /etc and /opt are overlays whose upper side is the node's folder, and
/run is an empty memory file system, new at every boot: two nodes never share a hostPath below them, and nothing is left
on the machine. The folder is a disk: it outlives a crash. Only containerd's and the kubelet's own folders are bound plain,
because containers are overlays too, and an overlay cannot be the upper side of another.

Then it is the node's init: it starts the programs that the file `wanted` names, starts again whichever ends, reaps what
is left to it, and reads the file anew on SIGHUP. It waits for signals and for nothing else. Killing it, or the `unshare`
that started it, ends everything that runs on the node.

Run as: python -m weft_testing.cluster.node_init NODE_NAME NODE_FOLDER CLUSTER_FOLDER
"""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from weft_testing.cluster.node_root import own_the_root

PART_VARIABLE: Final = "WEFT_NODE_PART"
"""Environment variable of the programs that are kept up: which one it is."""
WANTED: Final = "wanted"
BOOTED: Final = "booted"
_OVERLAID: Final = ("/var", "/etc", "/opt")
_PLAIN: Final = ("/var/lib/containerd", "/var/lib/kubelet")
_STAGE: Final = Path("/tmp")  # there on every machine; covered only until the mount on it moves on
_SIGNALS: Final = frozenset({signal.SIGCHLD, signal.SIGHUP})
_AGAIN_AFTER_S: Final = 0.5
"""A program that ends is started again, but not more often than this."""


def main(name: str, folder: Path, cluster_folder: Path) -> None:
    """Boot and stay."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    Path("/proc/sys/kernel/hostname").write_text(name)
    mount_all(folder, cluster_folder)
    (folder / BOOTED).touch()
    Keeper(folder).run()


def mount_all(folder: Path, cluster_folder: Path) -> None:
    """Lay the node's own files over the machine's; mounts of pods must be seen by kubelet and agents, so all are shared.

    What else is mounted below the machine's /run is let go: a network namespace that is bound there lives as long as any
    mount of it, so a node that kept them would keep other nodes' and other people's namespaces alive.
    """
    own_the_root()
    _mount("--make-rprivate", "/")
    _mount("-t", "tmpfs", "-o", "mode=0755", "run", str(_STAGE))
    kept = _STAGE / cluster_folder.relative_to("/run")
    kept.mkdir(parents=True)
    _mount("--bind", str(cluster_folder), str(kept))
    for place in _OVERLAID:
        if Path(place).is_dir():
            upper, work = (folder / kind / place.lstrip("/") for kind in ("disk", "work"))
            upper.mkdir(parents=True, exist_ok=True)
            work.mkdir(parents=True, exist_ok=True)
            _mount("-t", "overlay", "-o", f"lowerdir={place},upperdir={upper},workdir={work}", "overlay", place)
    for place in _PLAIN:
        source = folder / "plain" / place.lstrip("/")
        source.mkdir(parents=True, exist_ok=True)
        Path(place).mkdir(parents=True, exist_ok=True)
        _mount("--bind", str(source), place)
    for point in reversed(_mounts_below("/run")):
        subprocess.run(["umount", "--no-mtab", "--lazy", point], check=True)
    _mount("--move", str(_STAGE), "/run")
    for place in ("/run/netns", "/run/lock"):
        Path(place).mkdir()
    _mount("--make-rshared", "/")


class Keeper:
    """Keeps the wanted programs running."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[int, str] = {}
        self._started_at: dict[str, float] = {}

    def run(self) -> None:
        """Serve until killed."""
        while True:
            pause_s = self._reconcile()
            if pause_s is None:
                signal.sigwait(_SIGNALS)
            else:
                signal.sigtimedwait(_SIGNALS, pause_s)
            self._reap()

    def _reconcile(self) -> float | None:
        """Start and stop what the file says.

        Returns:
            When to look again although nothing happened, in seconds, or None.
        """
        wanted = self._wanted()
        for pid, part in self._running.items():
            if part not in wanted:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        pause_s: float | None = None
        for part in wanted.keys() - set(self._running.values()):
            now = time.monotonic()
            left_s = self._started_at.get(part, -_AGAIN_AFTER_S) + _AGAIN_AFTER_S - now
            if left_s > 0:
                pause_s = left_s if pause_s is None else min(pause_s, left_s)
            else:
                self._started_at[part] = now
                self._running[self._start(part, wanted[part])] = part
        return pause_s

    def _wanted(self) -> dict[str, list[str]]:
        try:
            content = json.loads((self._folder / WANTED).read_bytes())
        except FileNotFoundError:
            return {}
        return {str(part): [str(word) for word in command] for part, command in content.items()}

    def _start(self, part: str, command: list[str]) -> int:
        log = self._folder / f"{part}.log"
        return os.posix_spawnp(
            command[0],
            command,
            {**os.environ, PART_VARIABLE: part},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            setsigmask=[],
        )

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while True:
                pid, _ = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                self._running.pop(pid, None)


def _mounts_below(place: str) -> list[str]:
    text = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    return [point for line in text.splitlines() if (point := line.split()[4]).startswith(f"{place}/")]


def _mount(*arguments: str) -> None:
    # Without --no-mtab, mount(8) keeps notes below /run, and fails once there is another /run.
    subprocess.run(["mount", "--no-mtab", *arguments], check=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
