"""The stage: a cluster with Weft on it, and what a user does there: kubectl, a command in a pod, a look at the wire."""

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from weft_lab.demonstration.stage import Answer, Family
from weft_testing.cluster.api import Kubectl, KubectlError
from weft_testing.cluster.cluster import Cluster
from weft_testing.cluster.helm import NAMESPACE, Helm

CALL_TIMEOUT_S: Final = 30.0
_SERIES: Final = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Stage:
    """A cluster, driven by kubectl and helm."""

    def __init__(self, cluster: Cluster, helm: Helm) -> None:
        self.cluster = cluster
        self.helm = helm
        self.kubectl: Kubectl = cluster.kubectl

    def in_pod(self, pod: str, *command: str, namespace: str, timeout_s: float = CALL_TIMEOUT_S) -> Answer:
        """Run a command in a pod, or in a pod of `deployment/NAME`."""
        try:
            done = self.kubectl.run(f"--namespace={namespace}", "exec", pod, "--", *command, timeout_s=timeout_s)
        except KubectlError as exc:
            return Answer(124, "", str(exc))
        return Answer(done.returncode, done.stdout, done.stderr)

    def on_node(self, node: str, *command: str) -> Answer:
        """Run a command on a node."""
        done = subprocess.run(
            self.cluster.nodes[node].command(*command),
            capture_output=True,
            text=True,
            timeout=CALL_TIMEOUT_S,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def start_on_node(self, node: str, *command: str) -> "subprocess.Popen[bytes]":
        """Start a command on a node, as the leader of a process group."""
        full = self.cluster.nodes[node].command(*command)
        return subprocess.Popen(full, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, process_group=0)

    def addresses(self, pod: str, namespace: str) -> dict[Family, str]:
        """Return a pod's addresses by family."""
        found = self.kubectl.get(f"--namespace={namespace}", "pod", pod)["status"]["podIPs"]
        return {6 if ":" in entry["ip"] else 4: entry["ip"] for entry in found}

    def netns(self, node: str, address: str) -> str:
        """Return the path of the network namespace that has an address, on a node.

        Raises:
            LookupError: none has it.
        """
        for name in self.on_node(node, "ls", "/run/netns").text.split():
            path = f"/run/netns/{name}"
            if f" {address}/" in self.on_node(node, "nsenter", f"--net={path}", "ip", "-o", "address").text:
                return path
        raise LookupError(f"no namespace on {node} has {address}")

    def rules(self, node: str, netns: str) -> str:
        """Return the packet filter's rules in a network namespace on a node."""
        return self.on_node(node, "nsenter", f"--net={netns}", "nft", "list", "ruleset").text

    def pod_of(self, app: str, namespace: str) -> str:
        """Return the name of a pod with label `app` that is not being deleted."""
        pods = self.kubectl.get(f"--namespace={namespace}", "pods", f"--selector=app={app}")["items"]
        return str(next(each["metadata"]["name"] for each in pods if "deletionTimestamp" not in each["metadata"]))

    def agent_on(self, node: str) -> str:
        """Return the name of a node's agent pod."""
        pods = self.kubectl.get(
            f"--namespace={NAMESPACE}", "pods", "--selector=app.kubernetes.io/component=agent",
            f"--field-selector=spec.nodeName={node}",
        )["items"]  # fmt: skip
        return str(next(each["metadata"]["name"] for each in pods if "deletionTimestamp" not in each["metadata"]))

    def count(self, node: str, name: str, labels: Mapping[str, str]) -> float:
        """Return what a node's agent has counted of a metric, over all series with these labels."""
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{self.agent_on(node)}:15020/proxy/metrics"
        total = 0.0
        for line in self.kubectl("get", "--raw", path).splitlines():
            match = _SERIES.match(line)
            if match and match[1] == name and labels.items() <= dict(_LABEL.findall(match[2] or "")).items():
                total += float(match[3])
        return total

    def conditions(self, kind: str, name: str, namespace: str) -> dict[str, Any]:
        """Return an object's conditions by type."""
        status = self.kubectl.get(f"--namespace={namespace}", kind, name).get("status", {})
        return {each["type"]: each for each in status.get("conditions", ())}

    def apply_file(self, path: Path) -> None:
        """Apply a file as it is."""
        self.kubectl("apply", "-f", str(path))

    def apply(self, *objects: Mapping[str, object]) -> None:
        """Apply objects."""
        self.kubectl("apply", "-f", "-", stdin="\n".join(json.dumps(each) for each in objects))
