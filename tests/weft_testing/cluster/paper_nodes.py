"""Whole agents and whole operators against a real API server, on nodes that exist on paper.

Nobody runs the nodes, so their pods are objects alone and are not captured; everything between an object that is applied and
the workers of the agents is real. One policy in one namespace is what changes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from weft_agent.__main__ import CONTROL
from weft_contract.labels import MESH_LABEL
from weft_contract.stream import TOKEN_AUDIENCE
from weft_testing.agent_process import AgentProcess, until
from weft_testing.cluster.api import Api, Kubectl, Object
from weft_testing.cluster.control_plane import ControlPlane
from weft_testing.cluster.operator_process import NAMESPACE, OperatorProcess, definitions
from weft_testing.cluster.processes import wait_until

SHOP: Final = "agents-shop"
POLICY: Final = f"/apis/weft.dev/v1alpha1/namespaces/{SHOP}/authorizationpolicies/web"
WORKERS: Final = 2
"""Of each agent."""
_AGENTS: Final = "weft-agent"
_LIMITS: Final = "operator_backoff_first_s=0.1,operator_backoff_max_s=0.5,snapshot_interval_s=0.2"


@dataclass
class PaperNodes:
    """What runs."""

    plane: ControlPlane
    directory: Path
    nodes: Sequence[str]
    operators: list[OperatorProcess] = field(default_factory=list)
    agents: dict[str, AgentProcess] = field(default_factory=dict)

    @property
    def api(self) -> Api:
        """The API server."""
        return self.plane.api

    @property
    def kubectl(self) -> Kubectl:
        """Its command line."""
        return self.plane.kubectl

    @property
    def operator(self) -> OperatorProcess:
        """The replica that was started last."""
        return self.operators[-1]

    # -- processes ----------------------------------------------------------------------------------------------------

    def start_operator(self, port: int = 0, *, leads: bool = True) -> OperatorProcess:
        """Start a replica and wait until it is ready.

        Args:
            port: of its streams, that of a dead predecessor; 0: any.
            leads: wait until it leads, too.
        """
        arguments = (f"--stream-address=127.0.0.1:{port}",) if port else ()
        name = f"agents-{len(self.operators)}"
        self.operators.append(OperatorProcess(self.directory, self.plane.kubeconfig, name, arguments))
        self.operator.__enter__()
        self.operator.wait_ready()
        if leads:
            wait_until(lambda: self.operator.leads, "it led", 40, log=self.operator.log)
        return self.operator

    def start_agent(self, node: str, port: int) -> AgentProcess:
        """Start a node's agent, whose operator is at a port on loopback."""
        agent = self.agents[node] = self._make_agent(node, port)
        agent.start()
        return agent

    def until_connected(self) -> None:
        """Wait until every agent has a stream."""
        for agent in self.agents.values():
            until(lambda agent=agent: _is_connected(agent), f"{agent.node} is connected")  # type: ignore[misc]  # bound now

    def end(self) -> None:
        """End everything that was started."""
        for agent in self.agents.values():
            agent.end()
        for operator in self.operators:
            operator.kill()

    def _make_agent(self, node: str, port: int) -> AgentProcess:
        directory = self.directory / node
        directory.mkdir()
        source = (
            "--operator", f"https://127.0.0.1:{port}", "--operator-roots", str(self._roots()),
            "--token", str(self.refresh_token(node)), "--snapshot", str(directory / "disk"),
        )  # fmt: skip
        arguments = ("--limit", _LIMITS)
        return AgentProcess(directory, control=CONTROL, source=source, arguments=arguments, workers=WORKERS, node=node)

    def _roots(self) -> Path:
        path = f"/api/v1/namespaces/{NAMESPACE}/configmaps/weft-roots"
        wait_until(lambda: self.api.healthy(path), "the roots were published", 30)
        roots = self.directory / "roots.pem"
        roots.write_text(self.api.get(path)["data"]["roots.pem"])
        return roots

    def refresh_token(self, node: str) -> Path:
        """Write an agent's token as the kubelet does: bound to its pod."""
        found = self.api.get(f"/api/v1/namespaces/{NAMESPACE}/pods/agent-{node}")
        bound = {"kind": "Pod", "apiVersion": "v1", "name": f"agent-{node}", "uid": found["metadata"]["uid"]}
        spec = {"audiences": [TOKEN_AUDIENCE], "expirationSeconds": 3600, "boundObjectRef": bound}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        answer = self.api.create(f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{_AGENTS}/token", body)
        path = self.directory / f"token-{node}"
        path.write_text(answer["status"]["token"])
        return path

    # -- the policy ---------------------------------------------------------------------------------------------------

    def allow(self, *paths: str) -> None:
        """Have the policy allow these paths; returns with the API server's answer."""
        self.kubectl.apply(policy(paths))

    def until_programmed(self, status: str, text: str = "") -> str:
        """Wait until the condition of the policy's present generation says so; return its message."""
        generation = self._policy()["metadata"]["generation"]

        def said() -> bool:
            found = self._programmed()
            return found[0] == status and found[2] == generation and text in found[1]

        wait_until(said, f"Programmed was {status} {text}", 40, log=self.operator.log)
        return self._programmed()[1]

    def _programmed(self) -> tuple[str, str, int]:
        """Return status and message of the condition, and the generation it is about."""
        for each in self._policy().get("status", {}).get("conditions", []):
            if each["type"] == "Programmed":
                return each["status"], each["message"], each["observedGeneration"]
        return "", "", 0

    def _policy(self) -> Object:
        return self.kubectl.get("authorizationpolicies", "web", "-n", SHOP)

    # -- objects ------------------------------------------------------------------------------------------------------

    def make_objects(self) -> None:
        """Make namespaces, nodes, the agents' pods and a member on every node."""
        self.kubectl.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SHOP, "labels": {MESH_LABEL: "enabled"}}},
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": _AGENTS, "namespace": NAMESPACE}},
        )
        for number, node in enumerate(self.nodes, 1):
            self.api.create("/api/v1/nodes", {"metadata": {"name": node}})
            self.api.create(f"/api/v1/namespaces/{SHOP}/serviceaccounts", {"metadata": {"name": f"web-{number}"}})
            self._run_pod(NAMESPACE, f"agent-{node}", node, _AGENTS, f"10.9.1.{number}")
            self._run_pod(SHOP, f"web-{number}", node, f"web-{number}", f"10.9.0.{number}")

    def _run_pod(self, namespace: str, name: str, node: str, account: str, address: str) -> None:
        """Make a pod and say of it what a kubelet would."""
        pods = f"/api/v1/namespaces/{namespace}/pods"
        spec = {"nodeName": node, "serviceAccountName": account, "containers": [{"name": "c", "image": "none"}]}
        self.api.create(pods, {"metadata": {"name": name}, "spec": spec})
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
        self.api.patch(f"{pods}/{name}/status", {"status": status})

    def take_objects_away(self) -> None:
        """Delete what was made, and wait: the next module makes namespaces of the same names."""
        for namespace in (NAMESPACE, SHOP):
            self.kubectl("delete", "pods", "--all", "-n", namespace, "--grace-period=0", "--force")
        for node in self.nodes:
            self.api.delete(f"/api/v1/nodes/{node}")
        self.kubectl("delete", "namespace", NAMESPACE, SHOP, "--timeout=60s")


def policy(paths: Sequence[str]) -> Object:
    """Return the policy."""
    return {
        "apiVersion": "weft.dev/v1alpha1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "web", "namespace": SHOP},
        "spec": {"rules": [{"to": [{"operation": {"paths": [*paths]}}]}]},
    }


def paths_of(agent: AgentProcess) -> list[str]:
    """Return the paths that an agent's policy allows; its workers may not all have been told yet."""
    for entry in agent.admin("/config")["resources"]:
        if entry["key"] == f"AuthorizationPolicy/{SHOP}/web":
            return [path["value"] for path in entry["spec"]["rules"][0]["operations"][0]["paths"]]
    return []


def _is_connected(agent: AgentProcess) -> bool:
    operator = agent.status().get("operator")
    return bool(operator and operator["connected"])


def in_force(agent: AgentProcess, *paths: str) -> bool:
    """Whether all workers of an agent have a policy of these paths: what it acknowledges, too."""
    if paths_of(agent) != [*paths]:
        return False
    told = agent.status()
    applied = [worker["appliedGeneration"] for worker in told["workers"]]
    return len(applied) == WORKERS and min(applied) >= told["config"]["generation"]


@contextmanager
def paper_nodes(plane: ControlPlane, directory: Path, nodes: Sequence[str]) -> Iterator[PaperNodes]:
    """Make the objects, for whoever starts operators and agents; end and take away everything afterwards."""
    made = PaperNodes(plane, directory, nodes)
    with definitions(plane.kubectl):
        try:
            made.make_objects()
            yield made
        finally:
            made.end()
            made.take_objects_away()
