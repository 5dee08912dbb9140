"""A whole operator as users start it, against a control plane on loopback: process, log, ports, and the certainty that it ends.

Outside the cluster the API server reaches its webhooks by URL, so `webhook_configurations` gives the chart's with URLs in
place of the Service.
"""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from weft_contract.labels import GROUP, MESH_ENABLED, MESH_LABEL
from weft_operator.controllers import WATCHED
from weft_testing.cluster.api import Kubectl, Object
from weft_testing.cluster.control_plane import PYTHON_VARIABLES, ControlPlane, python_command
from weft_testing.cluster.processes import log_tail, wait_until

CRDS: Final = Path(__file__).parents[3] / "manifests" / "crds"
NAMESPACE: Final = "weft-system"
GATE_IMAGE: Final = "weft.dev/agent:test"
PATIENCE_S: Final = 40.0


class OperatorProcess:
    """One replica.

    Args:
        directory: for its log.
        kubeconfig: how it reaches the API server.
        name: of the replica.
        arguments: further flags of `weft-operator run`.
    """

    def __init__(self, directory: Path, kubeconfig: Path, name: str = "one", arguments: Sequence[str] = ()) -> None:
        self.name, self.log = name, directory / f"operator-{name}.log"
        self._command = [
            *python_command("weft_operator", "run"),
            f"--kubeconfig={kubeconfig}",
            f"--namespace={NAMESPACE}",
            f"--gate-image={GATE_IMAGE}",
            f"--instance={name}",
            "--extra-names=127.0.0.1,localhost",
            *(f"--{server}-address=127.0.0.1:0" for server in ("stream", "webhook", "metrics", "health")),
            *arguments,
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | PYTHON_VARIABLES,
            )
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running process."""
        assert self._process is not None, "not started"
        return self._process

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)

    def stop(self, timeout_s: float = 30.0) -> int:
        """End it in order; return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    @property
    def events(self) -> list[dict[str, Any]]:
        """Everything it has logged."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Return what it has logged under one name."""
        return [entry for entry in self.events if entry.get("event") == event]

    def port(self, server: str) -> int:
        """Return the port of `stream`, `webhook`, `metrics` or `health`, once it listens."""
        found = [entry["port"] for entry in self.logged("listening") if entry["server"] == server]
        return int(found[-1]) if found else 0

    def get(self, server: str, path: str) -> tuple[int, str]:
        """Ask a server without TLS; status 0 while nobody answers."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port(server)}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as exc:
            return exc.code, exc.read().decode()
        except (URLError, OSError):
            return 0, ""

    def is_ready(self) -> bool:
        """Whether it says that it is ready."""
        return self.port("health") != 0 and self.get("health", "/healthz/ready")[0] == 200

    def wait_ready(self, timeout_s: float = PATIENCE_S) -> Self:
        """Wait until it is ready.

        Raises:
            AssertionError: it ended before.
        """

        def ready() -> bool:
            assert self.process.poll() is None, f"the operator ended:\n{log_tail(self.log, 30)}"
            return self.is_ready()

        wait_until(ready, f"operator {self.name} was ready", timeout_s, log=self.log)
        return self

    def metric(self, name: str) -> float:
        """Return a number from its metrics."""
        status, text = self.get("metrics", "/metrics")
        assert status == 200
        return next(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(f"{name} "))

    @property
    def leads(self) -> bool:
        """Whether it leads."""
        return self.port("metrics") != 0 and self.metric("weft_operator_leader") == 1.0


def webhook_configurations(port: int, namespaces: Sequence[str]) -> Iterator[Object]:
    """Yield the chart's two configurations, by URL and for some namespaces alone.

    Args:
        port: of the webhooks on loopback.
        namespaces: whose objects are asked about.
    """
    selector = {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": [*namespaces]}]}
    shared = {
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
        "timeoutSeconds": 5,
        "namespaceSelector": selector,
    }
    plurals = [watched.plural for watched in WATCHED.values() if watched.group == GROUP]
    yield {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "weft"},
        "webhooks": [
            {
                **shared,
                "name": f"objects.{GROUP}",
                "clientConfig": {"url": f"https://127.0.0.1:{port}/validate"},
                "rules": [_rule([GROUP], ["*"], plurals, ["CREATE", "UPDATE"])],
            }
        ],
    }
    yield {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "weft"},
        "webhooks": [
            {
                **shared,
                "name": f"pods.gate.{GROUP}",
                "clientConfig": {"url": f"https://127.0.0.1:{port}/mutate"},
                "rules": [_rule([""], ["v1"], ["pods"], ["CREATE"])],
                "objectSelector": {"matchLabels": {MESH_LABEL: MESH_ENABLED}},
            }
        ],
    }


def _rule(
    groups: Sequence[str], versions: Sequence[str], resources: Sequence[str], operations: Sequence[str]
) -> Object:
    return {
        "apiGroups": [*groups],
        "apiVersions": [*versions],
        "resources": [*resources],
        "operations": [*operations],
    }


@contextmanager
def definitions(kubectl: Kubectl) -> Iterator[None]:
    """Install our kinds; take them away again with all their objects, for the next module may bring them by its charts."""
    kubectl("apply", "--server-side", f"--filename={CRDS}")
    kubectl("wait", "--for=condition=Established", "--timeout=30s", f"--filename={CRDS}")
    try:
        yield
    finally:
        kubectl("delete", f"--filename={CRDS}", "--ignore-not-found")


@contextmanager
def mesh_kinds(kubectl: Kubectl) -> Iterator[None]:
    """Install our kinds and the namespace of the mesh; take everything away again, and wait until it is gone."""
    with definitions(kubectl):
        kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        try:
            yield
        finally:
            for kind in ("validatingwebhookconfigurations", "mutatingwebhookconfigurations"):
                kubectl("delete", kind, "weft", "--ignore-not-found")
            kubectl("delete", "namespace", NAMESPACE)


def token_kubeconfig(directory: Path, control_plane: ControlPlane, account: str) -> Path:
    """Write a kubeconfig of a service account of the mesh's namespace, as a pod of it would have its rights."""
    content = json.loads(control_plane.kubeconfig.read_text())
    token = control_plane.kubectl("create", "token", account, f"--namespace={NAMESPACE}", "--duration=1h").strip()
    content["users"][0]["user"] = {"token": token}
    path = directory / f"{account}.kubeconfig"
    path.write_text(json.dumps(content))
    return path


__all__ = [
    "GATE_IMAGE",
    "NAMESPACE",
    "PATIENCE_S",
    "OperatorProcess",
    "definitions",
    "mesh_kinds",
    "token_kubeconfig",
    "webhook_configurations",
]
