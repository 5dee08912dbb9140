"""Helm for one cluster, with its files in a folder of its own; and installing Weft by its charts, as users do."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from weft_testing.cluster.binaries import Say, need, say_to_stderr

Major = Literal[3, 4]
CHARTS: Final = Path(__file__).resolve().parents[3] / "manifests" / "charts"
RELEASE: Final = "weft"
NAMESPACE: Final = "weft-system"
_TIMEOUT_S: Final = 300.0


class HelmError(Exception):
    """Helm failed; the message has the command and what it said."""


class Helm:
    """Helm of one major version.

    Args:
        kubeconfig: of the cluster.
        home: for Helm's own files.
        major: which Helm.
        say: takes a line when it is built first.

    Raises:
        BuildError, ToolchainError: it cannot be built.
    """

    def __init__(self, kubeconfig: Path, home: Path, major: Major = 4, *, say: Say = say_to_stderr) -> None:
        name = f"helm{major}"
        self._program = need(name, say=say)[name]
        self._kubeconfig = kubeconfig
        self._home = home
        home.mkdir(parents=True, exist_ok=True)

    def command(self, *arguments: str) -> list[str]:
        """Return the whole command."""
        return [str(self._program), *arguments]

    def environment(self) -> dict[str, str]:
        """Return the environment that it runs in."""
        unwanted = {"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"}
        own = {"KUBECONFIG": str(self._kubeconfig), "HOME": str(self._home)}
        own |= {f"HELM_{kind}_HOME": str(self._home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
        return {name: value for name, value in os.environ.items() if name not in unwanted} | own

    def __call__(self, *arguments: str, timeout_s: float = _TIMEOUT_S) -> str:
        """Run it and return what it printed.

        Raises:
            HelmError: it failed.
        """
        done = subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
            env=self.environment(),
        )
        if done.returncode != 0:
            raise HelmError(f"helm {' '.join(arguments)} failed with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout


@dataclass(frozen=True, slots=True)
class Charts:
    """Where the two charts of one version are: folders, or archives."""

    mesh: Path = CHARTS / "weft"
    definitions: Path = CHARTS / "weft-crds"

    @classmethod
    def packaged(cls, helm: Helm, directory: Path, version: str) -> "Charts":
        """Package the checkout's charts as another version; the images' tag is that version too."""
        versions = (f"--version={version}", f"--app-version={version}")
        for name in ("weft", "weft-crds"):
            helm("package", str(CHARTS / name), *versions, f"--destination={directory}")
        return cls(directory / f"weft-{version}.tgz", directory / f"weft-crds-{version}.tgz")


def install_weft(helm: Helm, settings: Sequence[str] = (), *, charts: Charts = Charts(), timeout: str = "180s") -> None:
    """Install or upgrade both charts and wait until operator and agents are ready.

    Args:
        helm: of the cluster.
        settings: `--set` values for the chart `weft`.
        charts: which.
        timeout: for all of it, as Helm writes durations.

    Raises:
        HelmError: it did not come about.
    """
    place = (f"--namespace={NAMESPACE}", "--create-namespace", "--wait", f"--timeout={timeout}")
    helm("upgrade", "--install", f"{RELEASE}-crds", str(charts.definitions), *place)
    helm("upgrade", "--install", RELEASE, str(charts.mesh), *place, *(f"--set={setting}" for setting in settings))
