"""Progressive delivery as users run it: Flagger, unmodified, a plain process beside a cluster that has Weft and a Prometheus.

Source: Flagger cmd/flagger, pkg/router/gateway_api.go.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from weft_testing.cluster.binaries import need, need_files
from weft_testing.cluster.cluster import Cluster
from weft_testing.cluster.processes import wait_until
from weft_testing.cluster.prometheus import Prometheus, beside, free_port

EXAMPLES: Final = Path(__file__).resolve().parents[3] / "manifests" / "examples" / "progressive-delivery"
PROMETHEUS_IN_EXAMPLES: Final = "http://prometheus.monitoring:9090"
PROVIDER: Final = "gatewayapi:v1"
_READY_TIMEOUT_S: Final = 60.0


@contextmanager
def flagger(cluster: Cluster, metrics: Prometheus) -> Iterator[Path]:
    """Run Flagger with its Gateway API provider; its definitions are applied first. The value is its log.

    Raises:
        BuildError, ToolchainError: it cannot be built.
        KubectlError: the API server refused its definitions.
        ProcessError: it did not come up.
    """
    definitions = f"--filename={need_files('flagger') / 'crd.yaml'}"
    cluster.kubectl("apply", "--server-side", "--force-conflicts", definitions)
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", definitions)
    log = cluster.record.directory / "flagger.log"
    command = [
        str(need("flagger")["flagger"]),
        f"-kubeconfig={cluster.kubeconfig}",
        f"-mesh-provider={PROVIDER}",
        f"-metrics-server={metrics.address}",
        f"-port={free_port()}",
        "-log-level=info",
    ]
    with beside(cluster, command, log) as process:
        wait_until(
            lambda: "Connected to metrics server" in log.read_text(errors="replace"),
            "Flagger has reached the cluster and Prometheus",
            _READY_TIMEOUT_S,
            process=process,
            log=log,
        )
        yield log


def apply_example(cluster: Cluster, name: str, metrics: Prometheus) -> None:
    """Apply an example with the address of this Prometheus in it.

    Raises:
        KubectlError: the API server refused.
    """
    text = (EXAMPLES / name).read_text().replace(PROMETHEUS_IN_EXAMPLES, metrics.address)
    cluster.kubectl("apply", "-f", "-", stdin=text)
