"""`python -m weft_testing.cluster`: a cluster for people: up, down, status, kubectl, helm, images, build, demo, conformance."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from weft_testing.cluster import records
from weft_testing.cluster.addresses import ClusterNameError
from weft_testing.cluster.api import KubectlError
from weft_testing.cluster.binaries import BuildError, missing, need, need_files
from weft_testing.cluster.catalog import CatalogError
from weft_testing.cluster.cluster import DEFAULT_NAME, Cluster
from weft_testing.cluster.control_plane import ControlPlane
from weft_testing.cluster.helm import Helm, HelmError
from weft_testing.cluster.network import NetworkError, namespaces
from weft_testing.cluster.node import NodeError
from weft_testing.cluster.processes import ProcessError, own_processes
from weft_testing.cluster.programs import CLUSTER, EVERYTHING, FILES, PROGRAMS
from weft_testing.cluster.records import RecordError
from weft_testing.cluster.toolchain import ToolchainError
from weft_testing.cluster.weft_images import ImagesError, weft_images

_EXPECTED = (
    ClusterNameError,
    RecordError,
    ProcessError,
    NodeError,
    NetworkError,
    BuildError,
    ToolchainError,
    CatalogError,
    ImagesError,
    HelmError,
    KubectlError,
)
_PASSED_ON = ("kubectl", "helm")
"""Commands whose words are another program's."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    words, passed_on = _split(list(sys.argv[1:] if arguments is None else arguments))
    options = _parser().parse_args(words)
    options.passed_on = passed_on
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except _EXPECTED as exc:
        print(f"error: {exc}", file=sys.stderr)  # noqa: T201 - a command's messages
        return 1


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """Part our own words from those of kubectl or helm, which argparse must not see: it would take away a `--`."""
    if not words or words[0] not in _PASSED_ON:
        return words, []
    own = 3 if words[1:2] == ["--name"] else 2 if words[1:] and words[1].startswith("--name=") else 1
    return words[:own], words[own:]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m weft_testing.cluster", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(required=True)

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        made.set_defaults(run=run)
        if run not in (_build, _demo, _conformance):
            made.add_argument("--name", default=DEFAULT_NAME, help="which cluster (default: %(default)s)")
        return made

    up = command("up", _up, "bring a cluster up and print how to use it")
    up.add_argument(
        "--nodes", type=int, default=2, help="how many nodes; 0: API server only, without root (default: 2)"
    )
    up.add_argument("--no-images", action="store_true", help="leave out Weft's images of agent, operator and demo")
    command("down", _down, "take a cluster away")
    command("status", _status, "say what runs")
    command("kubectl", _kubectl, "run kubectl as the cluster's administrator: kubectl [--name NAME] ARGUMENT...")
    command("helm", _helm, "run helm 4 as the cluster's administrator: helm [--name NAME] ARGUMENT...")
    enter = command("enter", _enter, "run a command, or a shell, on a node or beside the API server (cp)")
    enter.add_argument("place", help="n1, n2 … or cp")
    enter.add_argument("command", nargs=argparse.REMAINDER)
    images = command("images", _load, "import images from OCI archives into all nodes")
    images.add_argument("verb", choices=["load"])
    images.add_argument("archives", nargs="+", type=Path, metavar="FILE")
    demo = command("demo", _demo, "show Weft on a cluster of its own: charts, mutual TLS, identity, policy, as a table")
    demo.add_argument("--keep", action="store_true", help="leave the cluster running")
    demo.add_argument("--json", type=Path, metavar="FILE", help="write the checks to a file, too")
    conformance = command("conformance", _conformance, "run Gateway API's suite against Weft on a cluster of its own")
    conformance.add_argument("--keep", action="store_true", help="leave the cluster running")
    conformance.add_argument("--on", default="", metavar="NAME", help="use this cluster, which has Weft, instead")
    conformance.add_argument("--test", default="", metavar="NAME", help="a single test; writes no report")
    conformance.add_argument("--report", type=Path, metavar="FILE", help="instead of docs/conformance/gateway-api/…")
    build = command("build", _build, "build programs into the cache")
    build.add_argument(
        "programs", nargs="*", metavar="PROGRAM", help=f"of {', '.join(EVERYTHING)} (default: a cluster's)"
    )
    build.add_argument("--all", action="store_true", help="all of them, and the files of modules")
    return parser


def _up(options: argparse.Namespace) -> int:
    if options.nodes == 0:
        plane = ControlPlane.up(options.name, on_loopback=True, owned=False)
    else:
        archives = [] if options.no_images else weft_images()
        cluster = Cluster.up(options.name, nodes=options.nodes, owned=False)
        cluster.load(*archives)
        plane = cluster.control_plane
    _print(f"cluster {options.name} is up: {', '.join(plane.record.nodes) or 'API server only'}")
    _print(f"  export KUBECONFIG={plane.kubeconfig}")
    _print(f"  kubectl: {plane.programs['kubectl']}   (or: python -m weft_testing.cluster kubectl ...)")
    return 0


def _down(options: argparse.Namespace) -> int:
    if not records.exists(options.name):
        _print(f"no cluster {options.name} is up")
        return 0
    with records.machine_lock():
        records.destroy(options.name)
    _print(f"cluster {options.name} is gone")
    return 0


def _status(options: argparse.Namespace) -> int:
    for name in records.known():
        record = records.read(name)
        if record is None:
            _print(f"{name}: what a killed run left behind; `down --name {name}` removes it")
            continue
        owner = f"of process {record.owner.pid}" if record.owner else "until taken down"
        _print(f"{name} ({owner}): {record.directory}")
        for part, process in record.ledger.all().items():
            _print(f"  {part:26} pid {process.pid:<8} {'runs' if process.alive() else 'ENDED'}")
        others = len(own_processes(name, namespaces(name))) - len(record.ledger.all())
        _print(f"  {max(0, others)} more processes, {len(namespaces(name))} network namespaces")
    not_built = missing(CLUSTER)
    _print(f"not built yet: {', '.join(not_built)}" if not_built else "all programs of a cluster are built")
    return 0


def _kubectl(options: argparse.Namespace) -> int:
    kubectl = ControlPlane.attach(options.name).kubectl
    command = kubectl.command(*options.passed_on)
    os.execv(command[0], command)


def _helm(options: argparse.Namespace) -> int:
    plane = ControlPlane.attach(options.name)
    helm = Helm(plane.kubeconfig, plane.directory / "helm")
    command = helm.command(*options.passed_on)
    os.execve(command[0], command, helm.environment())


def _demo(options: argparse.Namespace) -> int:
    from weft_testing.cluster.demo.show import demonstrate  # here, because it needs the checkout's root on the path

    return 0 if demonstrate(keep=options.keep, json_file=options.json) else 1


def _enter(options: argparse.Namespace) -> int:
    arguments = options.command or [os.environ.get("SHELL", "/bin/sh")]
    if options.place == "cp":
        command = [*ControlPlane.attach(options.name).enter, *arguments]
    else:
        cluster = Cluster.attach(options.name)
        if options.place not in cluster.nodes:
            raise RecordError(f"cluster {options.name} has no node {options.place}")
        command = cluster.nodes[options.place].command(*arguments)
    os.execvp(command[0], command)


def _load(options: argparse.Namespace) -> int:
    Cluster.attach(options.name).load(*(archive.resolve() for archive in options.archives))
    return 0


def _conformance(options: argparse.Namespace) -> int:
    from weft_testing.cluster import gateway_conformance  # here, because it needs the checkout's root on the path

    report = options.report or gateway_conformance.report_path()
    passed = gateway_conformance.conform(
        keep=options.keep, attach=options.on, tests=options.test, report=report, say=_print
    )
    return 0 if passed else 1


def _build(options: argparse.Namespace) -> int:
    unknown = set(options.programs) - PROGRAMS.keys()
    if unknown:
        raise BuildError(f"no such program: {', '.join(sorted(unknown))}; there are {', '.join(EVERYTHING)}")
    names = EVERYTHING if options.all else tuple(options.programs) or CLUSTER
    for path in need(*names).values():
        _print(str(path))
    for name in FILES if options.all else ():
        _print(str(need_files(name)))
    return 0


def _print(line: str) -> None:
    with suppress(BrokenPipeError):
        print(line)  # noqa: T201 - a command's output


if __name__ == "__main__":
    sys.exit(main())
