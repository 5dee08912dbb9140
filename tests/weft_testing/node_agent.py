"""A whole agent on a node of the test cluster: on the node's files, processes and network, watching its pods at the API server.

Theory: it is started as on a plain host, by entering the node, so no image is needed; its directory is on the machine's /tmp,
which nodes share. Its processes are counted by the node's own process namespace, so it is never ended by the ids it tells:
what descends from the command that entered the node is killed, by the machine's ids.
"""

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from weft_agent.__main__ import CONTROL
from weft_agent.control.status import ask
from weft_iptables.namespaces import Namespace, open_namespace
from weft_testing.agent_process import AgentProcess
from weft_testing.cluster.api import Object
from weft_testing.cluster.cluster import Cluster
from weft_testing.cluster.node import Node
from weft_testing.cluster.processes import children

ACCOUNT: Final = "weft-agent-test"


def make_account(cluster: Cluster) -> tuple[str, str]:
    """Make the service account that agents watch pods with; return its token and the cluster's roots."""
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": "default"}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ACCOUNT}
    rbac = "rbac.authorization.k8s.io/v1"
    objects: list[Object] = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": "default"}},
        {"apiVersion": rbac, "kind": "ClusterRole", "metadata": {"name": ACCOUNT}, "rules": rules},
        {"apiVersion": rbac, "kind": "ClusterRoleBinding", "metadata": {"name": ACCOUNT}, "roleRef": reference,
         "subjects": [subject]},
    ]  # fmt: skip
    cluster.kubectl.apply(*objects)
    asked: Object = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    path = f"/api/v1/namespaces/default/serviceaccounts/{ACCOUNT}/token"
    token = str(cluster.control_plane.api.create(path, asked)["status"]["token"])
    roots = cluster.control_plane.setting.pki / "ca.crt"
    return token, roots.read_text()


class NodeAgent(AgentProcess):
    """An agent with the real data plane on one node.

    Args:
        cluster: of the node.
        node: where it runs.
        account: token and roots for the API server; None: it does not watch pods.
    """

    def __init__(self, cluster: Cluster, node: Node, account: tuple[str, str] | None) -> None:
        directory = Path(tempfile.mkdtemp(prefix=f"wa-{node.name}-", dir="/tmp"))
        arguments: list[str] = ["--limit", "drain_timeout_s=5"]
        if account is not None:
            token, roots = account
            (directory / "account").mkdir()
            (directory / "account/token").write_text(token)
            (directory / "account/ca.crt").write_text(roots)
            server = json.loads(cluster.control_plane.inner_kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
            arguments += ["--kubernetes", server, "--kubernetes-account", str(directory / "account")]
        super().__init__(
            directory, control=CONTROL, arguments=arguments, workers=1, prefix=node.command(), node=node.name
        )
        self.host = node

    def status(self) -> dict[str, Any]:
        """Ask the admin socket; empty while nobody answers."""
        try:
            status: dict[str, Any] = ask(self.state / "admin.sock", "/status")
        except OSError:
            return {}
        return status

    def pod(self, name: str) -> dict[str, Any]:
        """Return what the agent says of a pod, by its name; empty when it does not know it."""
        return next((pod for pod in self.status().get("pods", ()) if pod["pod"].endswith(f"/{name}")), {})

    def open(self, netns: str) -> Namespace:
        """Open a pod's namespace by the path that the agent tells, which is the node's."""
        return open_namespace(f"{self.host.root}{netns}")

    def end(self) -> None:
        """Kill every process of this agent and take its directory away."""
        for process in self._started:
            for pid in list(descendants(process.pid)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.kill()
            process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def descendants(pid: int) -> Iterable[int]:
    """Yield the processes that descend from one, the youngest generation first."""
    for child in children(pid):
        yield from descendants(child)
        yield child
