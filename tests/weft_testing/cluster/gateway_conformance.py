"""Gateway API's conformance suite, unmodified, against Weft as its charts install it; the report in the upstream form.

Theory. The suite brings its own objects (two echo servers in a namespace it labels, as it is told) and calls from inside its pods
through `exec`. So a cluster with the CRDs of one channel, the echo image under the name the suite asks for, and Weft's charts is
all it needs. What is claimed is what the release does: every feature that the report lists was run. Never `-all-features`, which
turns on the tests of gateways.

Source: sigs.k8s.io/gateway-api/conformance v1.6.3: utils/flags, reports/README.md.
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from manifests.image.layers import version
from weft_contract.labels import MESH_ENABLED, MESH_LABEL
from weft_testing.cluster import records
from weft_testing.cluster.binaries import Say, need
from weft_testing.cluster.catalog import archive_of, echo_image
from weft_testing.cluster.cluster import Cluster
from weft_testing.cluster.crds import GATEWAY_API_VERSION, Channel, apply_gateway_api
from weft_testing.cluster.helm import Helm, install_weft
from weft_testing.cluster.pki import Authority
from weft_testing.cluster.programs import CLUSTER
from weft_testing.cluster.weft_images import weft_images

NAME: Final = "conformance"
CHANNEL: Final[Channel] = "standard"
PROFILES: Final = ("MESH-HTTP", "MESH-GRPC")
FEATURES: Final = (
    "Mesh",
    "HTTPRoute",
    "ReferenceGrant",
    "MeshClusterIPMatching",
    "MeshConsumerRoute",
    "MeshHTTPRouteBackendRequestHeaderModification",
    "MeshHTTPRouteNamedRouteRule",
    "MeshHTTPRouteQueryParamMatching",
    "MeshHTTPRouteRedirectPath",
    "MeshHTTPRouteRedirectPort",
    "MeshHTTPRouteRewritePath",
    "MeshHTTPRouteSchemeRedirect",
    "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode",
    "HTTPRouteParentRefPort",
    "HTTPRouteResponseHeaderModification",
)
"""What is claimed. GRPCRoute is not: its requests are not told apart yet, and the report says so."""
NOT_YET: Final = frozenset({"MeshGRPCRouteWeight"})
"""Tests of the profiles that fail, because what they ask for is refused; any other failure is one."""
REPORTS: Final = Path(__file__).resolve().parents[3] / "docs" / "conformance" / "gateway-api"
_TIMEOUT_S: Final = 420
_RESULT: Final = re.compile(r"^\s*--- (PASS|FAIL|SKIP): TestConformance/(\S+)")
_ECHO_PROGRAMS: Final = ("echo-server", "echo-client")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one test of the suite came to."""

    name: str
    result: str
    """PASS, FAIL or SKIP."""


def report_path() -> Path:
    """Return where the report of this release belongs, under the name that upstream wants."""
    minor = ".".join(GATEWAY_API_VERSION.split(".")[:2])
    return REPORTS / minor / "weft" / f"{CHANNEL}-v{version()}-default-report.yaml"


def read_outcomes(said: str) -> Iterator[Outcome]:
    """Yield the outcome of each test of the suite, read from what `go test -v` prints; parts of tests are left out."""
    for line in said.splitlines():
        found = _RESULT.match(line)
        if found is not None and "/" not in found[2]:
            yield Outcome(found[2], found[1])


def conform(*, keep: bool, attach: str, tests: str, report: Path, say: Say) -> bool:
    """Run the suite and print what came of it.

    Args:
        keep: leave the cluster running.
        attach: name of a cluster with Weft on it, to be used as it is; empty: one of its own is made.
        tests: name of a single test; empty: all.
        report: where the report goes; not written for a single test.
        say: takes each line.

    Returns:
        Whether nothing failed but what is known to (`NOT_YET`).

    Raises:
        HelmError, KubectlError, ImagesError, and what `Cluster.up` raises: the stage could not be set.
    """
    need(*CLUSTER, "helm4", "gateway-conformance", *_ECHO_PROGRAMS, say=say)
    if attach:
        cluster = Cluster.attach(attach)
        _load_echo(cluster)
        return _run(cluster, tests, report, say)
    with records.machine_lock():
        if records.exists(NAME):
            records.destroy(NAME)
    archives = weft_images(("agent", "operator"), say=say)
    cluster = Cluster.up(NAME, nodes=2, owned=not keep, say=say)
    try:
        _install(cluster, archives, say)
        return _run(cluster, tests, report, say)
    finally:
        if not keep:
            cluster.down()


def _install(cluster: Cluster, archives: Sequence[Path], say: Say) -> None:
    say(f"Gateway API {GATEWAY_API_VERSION} ({CHANNEL}), the images, and Weft's charts …")
    apply_gateway_api(cluster.kubectl, CHANNEL)
    cluster.load(*archives)
    _load_echo(cluster)
    install_weft(Helm(cluster.kubeconfig, cluster.record.directory / "helm", say=say))


def _load_echo(cluster: Cluster) -> None:
    with tempfile.TemporaryDirectory(dir=cluster.record.directory) as scratch:
        Authority.make(Path(scratch)).issue("echo", "echo", names=["echo"])
        pair = (Path(scratch, "echo.crt").read_bytes(), Path(scratch, "echo.key").read_bytes())
    cluster.load(archive_of(echo_image(need(*_ECHO_PROGRAMS), *pair)))


def _run(cluster: Cluster, tests: str, report: Path, say: Say) -> bool:
    log = cluster.record.directory / "gateway-conformance.log"
    say(f"the suite runs, up to {_TIMEOUT_S // 60} minutes; its log: {log}")
    with tempfile.TemporaryDirectory() as scratch, log.open("wb") as output:
        written = Path(scratch, "report.yaml")
        done = subprocess.run(
            _command(tests, written), stdout=output, stderr=subprocess.STDOUT, check=False, cwd=scratch,
            env=_environment(cluster), timeout=_TIMEOUT_S + 60,
        )  # fmt: skip
        said = log.read_text(errors="replace")
        if written.is_file() and not tests:
            report.parent.mkdir(parents=True, exist_ok=True)
            report.write_text(written.read_text())
            say(f"report: {report}")
    outcomes = list(read_outcomes(said))
    for outcome in outcomes:
        if outcome.result != "SKIP" or outcome.name.startswith("Mesh"):  # the others are of gateways
            known = " (not carried out yet)" if outcome.result == "FAIL" and outcome.name in NOT_YET else ""
            say(f"{outcome.result:5} {outcome.name}{known}")
    failed = {outcome.name for outcome in outcomes if outcome.result == "FAIL"}
    passed = sum(outcome.result == "PASS" for outcome in outcomes)
    say(f"{passed} passed, {len(failed)} failed, {len(failed - NOT_YET)} of them unexpectedly")
    if not outcomes or (done.returncode != 0 and not failed):
        say("\n".join(said.splitlines()[-20:]))
        return False
    return failed <= NOT_YET


def _command(tests: str, report: Path) -> list[str]:
    words = [
        str(need("gateway-conformance")["gateway-conformance"]),
        "-test.run=TestConformance",
        "-test.v",
        f"-test.timeout={_TIMEOUT_S}s",
        f"-conformance-profiles={','.join(PROFILES)}",
        f"-supported-features={','.join(FEATURES)}",
        f"-namespace-labels={MESH_LABEL}={MESH_ENABLED}",
        "-organization=weft",
        "-project=weft",
        "-url=https://weft.dev",
        f"-version=v{version()}",
        "-contact=maintainers@weft.dev",
        f"-report-output={report}",
    ]
    return [*words, f"-run-test={tests}"] if tests else words


def _environment(cluster: Cluster) -> dict[str, str]:
    proxies = {"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"}
    kept = {name: value for name, value in os.environ.items() if name not in proxies}
    return {**kept, "KUBECONFIG": str(cluster.kubeconfig)}
