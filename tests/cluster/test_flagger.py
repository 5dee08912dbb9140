"""Flagger, as it is, releases a Deployment step by step on Weft's routes and metrics, and takes back one that fails.

The example's own files (docs/progressive-delivery.md) on two real nodes, with Prometheus on the agents' metrics.
"""

import json
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import pytest

from weft_testing.cluster.cluster import Cluster
from weft_testing.cluster.crds import apply_gateway_api
from weft_testing.cluster.delivery import apply_example, flagger
from weft_testing.cluster.processes import wait_until
from weft_testing.cluster.prometheus import Prometheus, prometheus

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

NAMESPACE = "delivery"
ROUTE = f"/apis/gateway.networking.k8s.io/v1/namespaces/{NAMESPACE}/httproutes/web"
DEPLOYMENT = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
PATIENCE_S = 150.0
RATE = 20


@dataclass
class Delivery:
    """A canary under Flagger, and what is seen of it."""

    cluster: Cluster
    metrics: Prometheus
    refusals: Counter[str] = field(default_factory=Counter)
    """What the mesh answered in a server's place, and why."""

    def release(self, *arguments: str) -> None:
        """Give the Deployment's server other arguments: a new release."""
        patch = [{"op": "replace", "path": "/spec/template/spec/containers/0/args", "value": list(arguments)}]
        self.cluster.kubectl(
            f"--namespace={NAMESPACE}", "patch", "deployment", "web", "--type=json", f"--patch={json.dumps(patch)}"
        )

    def until(self, phase: str) -> None:
        """Wait until the canary is in a phase."""
        self.cluster.kubectl(
            f"--namespace={NAMESPACE}", "wait", f"--for=jsonpath={{.status.phase}}={phase}", "canary/web",
            f"--timeout={PATIENCE_S}s", timeout_s=PATIENCE_S + 10,
        )  # fmt: skip

    @contextmanager
    def weights(self) -> Iterator[list[tuple[int, ...]]]:
        """Watch the route while the block lasts: its (primary, canary) weights, once per change, are in the value then."""
        seen: list[tuple[int, ...]] = []
        command = self.cluster.kubectl.command(
            f"--namespace={NAMESPACE}", "get", "httproute", "web", "--watch",
            '--output=jsonpath={.spec.rules[0].backendRefs[*].weight}{"\\n"}',
        )  # fmt: skip
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            yield seen
        finally:
            process.terminate()
            out, _ = process.communicate(timeout=10)
            seen += [weights for weights, _ in groupby(tuple(map(int, line.split())) for line in out.splitlines())]

    def accepted(self) -> bool:
        """Tell whether the route's parent, as the spec has it, is accepted in the route's very generation."""
        route = self.cluster.control_plane.api.get(ROUTE)
        (entry,) = route["status"]["parents"]
        condition = next(each for each in entry["conditions"] if each["type"] == "Accepted")
        return bool(
            [entry["parentRef"]] == route["spec"]["parentRefs"]
            and condition["status"] == "True"
            and condition["observedGeneration"] == route["metadata"]["generation"]
        )

    def arguments(self, deployment: str) -> list[str]:
        """Return what a Deployment's server is started with."""
        spec = self.cluster.control_plane.api.get(f"{DEPLOYMENT}/{deployment}")["spec"]
        return list(spec["template"]["spec"]["containers"][0]["args"])

    @contextmanager
    def load(self) -> Iterator[Counter[str]]:
        """Call the Service from a pod while the block lasts; the value counts statuses and errors, whole when it is over."""
        counted: Counter[str] = Counter()
        over = threading.Event()

        def call() -> None:
            while not over.is_set():
                counted.update(self.called())

        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        try:
            yield counted
        finally:
            over.set()
            thread.join(PATIENCE_S)

    def called(self) -> Counter[str]:
        """Call the Service for five seconds and count statuses and errors."""
        answer = self.cluster.kubectl.run(
            f"--namespace={NAMESPACE}", "exec", "client", "--",
            "weft-demo", "load", "--rps", str(RATE), "--duration", "5", "--connections", "4", f"http://web.{NAMESPACE}/",
        )  # fmt: skip
        if not answer.stdout:
            return Counter({answer.stderr: 1})
        result = json.loads(answer.stdout)
        self.refusals.update(result["refusals"])
        return Counter(result["statuses"]) + Counter(result["errors"])

    def counted(self, workload: str, codes: str) -> float:
        """Return how many requests a workload's own nodes counted, by Prometheus, with statuses that match."""
        return self.metrics.value(
            f'istio_requests_total{{reporter="destination",destination_workload_namespace="{NAMESPACE}",'
            f'destination_workload="{workload}",response_code=~"{codes}"}}'
        )


@pytest.fixture(scope="module")
def delivery(
    cluster: Cluster, programs: Callable[..., dict[str, Path]], request: pytest.FixtureRequest
) -> Iterator[Delivery]:
    """The example under Flagger, initialised: all requests go to the primary."""
    programs("flagger", "prometheus")
    apply_gateway_api(cluster.kubectl)
    request.getfixturevalue("mesh")
    with prometheus(cluster) as metrics, flagger(cluster, metrics):
        apply_example(cluster, "metrics.yaml", metrics)
        cluster.kubectl("wait", "--for=create", "--timeout=60s", f"--namespace={NAMESPACE}", "serviceaccount/default")
        apply_example(cluster, "canary.yaml", metrics)
        made = Delivery(cluster, metrics)
        try:
            made.until("Initialized")
            cluster.kubectl("wait", "--for=condition=Ready", "--timeout=60s", f"--namespace={NAMESPACE}", "pod/client")
            yield made
        finally:
            cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def test_a_good_release_is_promoted_step_by_step_without_a_failed_request(delivery: Delivery) -> None:
    with delivery.load() as answers, delivery.weights() as weights:
        delivery.release("serve", "--port", "8080", "--linger", "4")
        delivery.until("Succeeded")
    assert weights == [(100, 0), (75, 25), (50, 50), (100, 0)]
    assert delivery.arguments("web-primary") == ["serve", "--port", "8080", "--linger", "4"]
    assert delivery.counted("web", "200") > 0, "the canary's requests are in the metrics that Flagger asks for"
    assert answers.keys() == {"200"}, (answers, delivery.refusals)
    wait_until(delivery.accepted, "the route is accepted as it is", 10)


def test_a_release_that_fails_is_rolled_back(delivery: Delivery) -> None:
    before = delivery.arguments("web-primary")
    with delivery.load() as answers, delivery.weights() as weights:
        delivery.release("serve", "--port", "8080", "--linger", "4", "--status", "503")
        delivery.until("Failed")
    assert weights == [(100, 0), (75, 25), (100, 0)]
    assert delivery.arguments("web-primary") == before
    assert delivery.counted("web", "503") > 0
    assert answers.keys() == {"200", "503"}, answers
    assert answers["503"] < answers["200"], "the canary's share fails, no more"
    assert delivery.called().keys() == {"200"}, "rolled back, nobody meets it any more"
