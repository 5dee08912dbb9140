"""`weft install --dry-run`: what helm would apply, rendered from the charts alone, without a cluster."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import click

from weft_cli.cluster.options import system_namespace_option
from weft_cli.exits import FINDINGS, UNREACHABLE, USAGE
from weft_cli.output import CommandError

RELEASE: Final = "weft"
KUBE_VERSION: Final = "1.35.0"
"""What the chart is rendered for: helm 3 built without its release flags would take an ancient one."""
_CHARTS: Final = ("weft-crds", "weft")
_TIMEOUT_S: Final = 60.0
_CHECKOUT: Final = Path(__file__).parents[3] / "manifests" / "charts"


@click.command()
@click.option("--dry-run", is_flag=True, help="print what helm would apply")
@click.option(
    "--charts",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="directory with the charts weft and weft-crds (default: this checkout's)",
)
@click.option("-f", "--values", "values", multiple=True, metavar="FILE", help="values; may be given again")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="one value; may be given again")
@click.option("--skip-crds", is_flag=True, help="leave out the chart weft-crds")
@click.option("--kube-version", default=KUBE_VERSION, show_default=True, metavar="VERSION", help="render for this one")
@system_namespace_option
def install(  # one parameter for each option, as click wants it
    dry_run: bool,
    charts: Path | None,
    values: tuple[str, ...],
    settings: tuple[str, ...],
    skip_crds: bool,
    kube_version: str,
    system_namespace: str,
) -> None:
    """Print everything that installing Weft applies to a cluster: `weft install --dry-run | kubectl diff -f -`.

    Needs helm (3 or 4) and the charts, no cluster; so say `--set webhooks.gate.by=Policy` for a cluster that has
    MutatingAdmissionPolicy, which helm finds out by itself when it installs. Installing itself is helm's: it keeps what is
    needed to upgrade and to roll back.
    """
    places = _charts(charts)
    own = [*(f"--values={file}" for file in values), *(f"--set={setting}" for setting in settings)]
    if not dry_run:
        raise CommandError(_by_helm(places, system_namespace, own), USAGE)
    for name in _CHARTS[1:] if skip_crds else _CHARTS:
        where = [f"--namespace={system_namespace}", f"--kube-version={kube_version}", "--include-crds", "--no-hooks"]
        release = RELEASE if name == RELEASE else name
        click.echo(_helm(["template", release, str(places[name]), *where, *(own if name == RELEASE else [])]), nl=False)


def _charts(directory: Path | None) -> dict[str, Path]:
    place = directory or _CHECKOUT
    found = {name: place / name for name in _CHARTS}
    absent = [name for name, path in found.items() if not (path / "Chart.yaml").is_file()]
    if absent:
        remedy = "give --charts DIR, the directory manifests/charts of a checkout or of a release"
        raise CommandError(f"{place} has no chart {' and no chart '.join(absent)}; {remedy}", USAGE)
    return found


def _by_helm(places: dict[str, Path], namespace: str, own: list[str]) -> str:
    crds = f"helm upgrade --install {places['weft-crds'].name} {places['weft-crds']} --namespace {namespace}"
    rest = " ".join([f"helm upgrade --install weft {places['weft']} --namespace {namespace}", *own])
    return (
        "installing is helm's, so that upgrades and roll backs work; see what it would apply with --dry-run, then run\n"
        f"  {crds} --create-namespace\n  {rest}"
    )


def _helm(arguments: list[str]) -> str:
    helm = os.environ.get("HELM") or shutil.which("helm")
    if helm is None:
        raise CommandError("there is no helm on the PATH; install helm 3 or 4, or set HELM to its path", UNREACHABLE)
    try:
        done = subprocess.run(
            [helm, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise CommandError(f"{helm} could not be run: {exc}", UNREACHABLE) from exc
    if done.returncode != 0:
        raise CommandError(f"helm could not render the chart: {done.stderr.strip()}", FINDINGS)
    return done.stdout
