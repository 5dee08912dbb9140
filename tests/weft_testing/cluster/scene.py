"""A namespace of the mesh with a server on one node and a client on the other, and calls between them while a test lasts."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from weft_contract.labels import MESH_LABEL
from weft_testing.cluster import steady_calls
from weft_testing.cluster.demo.scene import CLIENT_NODE, SERVER_NODE, pod
from weft_testing.cluster.demo.stage import Stage
from weft_testing.cluster.processes import wait_until

Object = dict[str, Any]  # JSON of Kubernetes
SERVES: Final = {"serve": 8080, "tcp-echo": 7000}
WAIT_S: Final = 90
_ENDS_S: Final = 60


@dataclass(slots=True)
class Calls:
    """What came of the calls; filled when their block has ended."""

    by_kind: dict[str, dict[str, Any]] = field(default_factory=dict)

    def check(self, *, but: str = "") -> str:
        """Return the figures as a line; raises where a call of another kind than `but` failed, or a kind was not called."""
        failed = {kind: found["errors"] for kind, found in self.by_kind.items() if found["errors"] and kind != but}
        assert not failed, failed
        assert self.by_kind.keys() == steady_calls.KINDS.keys(), self.by_kind
        assert all(found["done"] > 0 for found in self.by_kind.values()), self.by_kind
        figures = (
            f"{kind} {found['done']} (longest {found['longestS']:.2f} s)" for kind, found in self.by_kind.items()
        )
        return f"0 failed{' but of ' * bool(but)}{but}: " + ", ".join(figures)


class Scene:
    """The namespace.

    Args:
        stage: the cluster with Weft on it.
        namespace: its name; it is made.
    """

    def __init__(self, stage: Stage, namespace: str) -> None:
        self.stage = stage
        self.namespace = namespace
        labels = {MESH_LABEL: "enabled"}
        stage.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}})
        account = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
        wait_until(lambda: stage.cluster.control_plane.api.healthy(account), "the default account was there", WAIT_S)
        stage.apply(self.pod("server"), self.pod("client"), _service(namespace))
        self.wait_ready("client", "server")
        service = stage.kubectl.get(f"--namespace={namespace}", "service", "server")
        self.address = str(service["spec"]["clusterIP"])
        self._netns = stage.netns(CLIENT_NODE, stage.addresses("client", namespace)[4])

    def pod(self, like: str, name: str = "", *, held: bool = False) -> Object:
        """Return a pod like `client` or `server`; held: it is admitted, and scheduled only after `release`."""
        node, servers = (SERVER_NODE, SERVES) if like == "server" else (CLIENT_NODE, {})
        made = pod(self.namespace, like, node, servers)
        made["metadata"]["name"] = name or like
        if held:
            made["spec"]["schedulingGates"] = [{"name": "weft.dev/held-by-a-test"}]
        return made

    def release(self, name: str) -> None:
        """Let a held pod start."""
        patch = '--patch={"spec":{"schedulingGates":null}}'
        self.stage.kubectl(f"--namespace={self.namespace}", "patch", "pod", name, "--type=merge", patch)

    def wait_ready(self, *names: str) -> None:
        """Wait until pods are Ready."""
        pods = [f"pod/{name}" for name in names]
        self.stage.kubectl(
            f"--namespace={self.namespace}", "wait", "--for=condition=Ready", f"--timeout={WAIT_S}s", *pods
        )

    @contextmanager
    def calls(self) -> Iterator[Calls]:
        """Call the server from the client's place, across nodes, while the block lasts."""
        result = Calls()
        program = (sys.executable, "-I", str(Path(steady_calls.__file__)), self.address)
        process = subprocess.Popen(
            self.stage.cluster.nodes[CLIENT_NODE].command("nsenter", f"--net={self._netns}", *program),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            yield result
            out, errors = process.communicate(timeout=_ENDS_S)
            assert out, errors
            result.by_kind.update(json.loads(out))
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()


def _service(namespace: str) -> Object:
    ports = [{"name": "http", "port": 80, "targetPort": 8080}, {"name": "tcp-echo", "port": 7000, "targetPort": 7000}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "server", "namespace": namespace},
        "spec": {"selector": {"app": "server"}, "ports": ports},
    }
