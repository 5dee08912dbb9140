"""Running the demonstration: a cluster, the charts, the checks as a table; then everything away, or left standing."""

import sys
from pathlib import Path
from typing import Final, TextIO

import msgspec

from weft_lab.demonstration.checks import Check
from weft_testing.cluster import records
from weft_testing.cluster.binaries import Say, need
from weft_testing.cluster.cluster import Cluster
from weft_testing.cluster.demo.checks import all_checks
from weft_testing.cluster.demo.stage import Stage
from weft_testing.cluster.helm import Helm, install_weft
from weft_testing.cluster.programs import CLUSTER
from weft_testing.cluster.weft_images import weft_images

NAME: Final = "demo"
_WIDTHS: Final = (58, 44)


def demonstrate(*, keep: bool, json_file: Path | None, out: TextIO = sys.stdout) -> bool:
    """Show the mesh on a cluster.

    Args:
        keep: leave it running.
        json_file: where to write the checks, too.
        out: where the table goes.

    Returns:
        Whether every check passed.

    Raises:
        HelmError, KubectlError, ImagesError, and what `Cluster.up` raises: the stage could not be set.
    """

    def say(line: str) -> None:
        out.write(f"{line}\n")
        out.flush()

    need(*CLUSTER, "helm4", say=say)
    archives = weft_images(say=say)
    if records.exists(NAME):
        with records.machine_lock():
            records.destroy(NAME)
    say("a cluster of two nodes: API server, kubelets, containerd, kube-proxy, DNS: coming up …")
    cluster = Cluster.up(NAME, nodes=2, owned=not keep, say=say)
    try:
        passed = _show(cluster, archives, json_file, say)
    except BaseException:
        if not keep:
            cluster.down()
        raise
    if keep:
        say(_next_commands(cluster))
    else:
        cluster.down()
    return passed


def _show(cluster: Cluster, archives: list[Path], json_file: Path | None, say: Say) -> bool:
    say("loading the images of agent, operator and demo into both nodes …")
    cluster.load(*archives)
    helm = Helm(cluster.kubeconfig, cluster.record.directory / "helm", say=say)
    say("helm install weft-crds; helm install weft; waiting for operator and agents …")
    install_weft(helm)
    name_width, expected_width = _WIDTHS
    say(f"\n     {'what':{name_width}} {'expected':{expected_width}} measured")
    checks: list[Check] = []
    for check in all_checks(Stage(cluster, helm)):
        checks.append(check)
        mark = "ok  " if check.passed else "FAIL"
        say(f"{mark} {check.name:{name_width}} {check.expected:{expected_width}} {check.measured}")
    if json_file is not None:
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode({"checks": checks})) + b"\n")
    say(f"\n{sum(check.passed for check in checks)} of {len(checks)} as expected")
    return all(check.passed for check in checks)


def _next_commands(cluster: Cluster) -> str:
    return f"""
The cluster is still there. Worth typing next:
  export KUBECONFIG={cluster.kubeconfig}
  kubectl get authorizationpolicies,peerauthentications -A      (kubectl is {cluster.control_plane.programs["kubectl"]})
  kubectl -n shop exec deploy/web -- curl -si http://api.backend/bar
and when you have seen enough:
  make cluster-down ARGS="--name {NAME}"
"""
