"""A running operator with two nodes that nobody runs: agents' pods with real tokens, and a shop of which all pods are on one."""

import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from weft_contract.labels import MESH_LABEL
from weft_contract.stream import CERTIFICATE_PATH, SERVER_NAME, TOKEN_AUDIENCE
from weft_testing.cluster.api import Api, Object
from weft_testing.cluster.control_plane import ControlPlane
from weft_testing.cluster.operator_process import OperatorProcess, definitions
from weft_testing.cluster.processes import wait_until

AGENTS: Final = "weft-agent"
NODES: Final = ("here", "there")


@dataclass
class Place:
    """What is tested against."""

    control_plane: ControlPlane
    operator: OperatorProcess
    namespace: str
    """Of operator and agents; the shop's is beside it."""

    @property
    def api(self) -> Api:
        """The API server."""
        return self.control_plane.api

    @property
    def shop(self) -> str:
        """Namespace of the shop."""
        return f"{self.namespace}-shop"

    @property
    def url(self) -> str:
        """Where the operator serves agents."""
        return f"https://127.0.0.1:{self.operator.port('stream')}"

    @property
    def tls(self) -> ssl.SSLContext:
        """What trusts the roots that the leader publishes for the agents."""
        path = f"/api/v1/namespaces/{self.namespace}/configmaps/weft-roots"
        wait_until(lambda: self.api.healthy(path), "the roots were published", 30)
        return ssl.create_default_context(cadata=self.api.get(path)["data"]["roots.pem"])

    def token(self, node: str, *, account: str = AGENTS, audience: str = TOKEN_AUDIENCE, pod: str = "") -> str:
        """Ask for a token as the kubelet does, bound to the agent's pod on a node; `pod` "-": bound to none."""
        spec: Object = {"audiences": [audience], "expirationSeconds": 600}
        if pod != "-":
            name = pod or f"agent-{node}"
            uid = self.api.get(f"/api/v1/namespaces/{self.namespace}/pods/{name}")["metadata"]["uid"]
            spec["boundObjectRef"] = {"kind": "Pod", "apiVersion": "v1", "name": name, "uid": uid}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{account}/token"
        token: str = self.api.create(path, body)["status"]["token"]
        return token

    def ask(self, token: str, account: str, *, namespace: str = "") -> tuple[int, Object]:
        """Ask for a certificate; of the shop, unless said otherwise."""
        key = ec.generate_private_key(ec.SECP256R1())
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
        pem = request.public_bytes(serialization.Encoding.PEM).decode()
        body = {"namespace": namespace or self.shop, "serviceAccount": account, "csr": pem}
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        port = self.operator.port("stream")
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            self.tls.wrap_socket(plain, server_hostname=SERVER_NAME) as secure,
        ):
            connection = HTTPConnection("127.0.0.1", port)
            connection.sock = secure
            connection.request("POST", CERTIFICATE_PATH, json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def refused(self, token: str, account: str, *, namespace: str = "") -> tuple[int, str]:
        """Ask for a certificate that must not be given; return status and reason."""
        status, answer = self.ask(token, account, namespace=namespace)
        assert status >= 400, answer
        return status, str(answer["detail"])

    def account(self, name: str, *, namespace: str = "") -> None:
        """Make a service account."""
        path = f"/api/v1/namespaces/{namespace or self.shop}/serviceaccounts"
        self.api.create(path, {"metadata": {"name": name}})

    def run_pod(
        self, name: str, node: str, account: str, *, namespace: str = "", finished: bool = False, **spec: object
    ) -> None:
        """Make a pod and say of it what a kubelet would, since nobody runs the node."""
        pods = f"/api/v1/namespaces/{namespace or self.shop}/pods"
        container = {"name": "c", "image": "none"}
        body = {"nodeName": node, "serviceAccountName": account, "containers": [container], **spec}
        self.api.create(pods, {"metadata": {"name": name}, "spec": body})
        phase = "Succeeded" if finished else "Running"
        status = {"phase": phase, "podIP": "10.9.8.7", "podIPs": [{"ip": "10.9.8.7"}]}
        self.api.patch(f"{pods}/{name}/status", {"status": status})

    def remove_pod(self, name: str, *, namespace: str = "") -> None:
        """Delete a pod at once."""
        self.api.delete(f"/api/v1/namespaces/{namespace or self.shop}/pods/{name}?gracePeriodSeconds=0")


@contextmanager
def running_place(control_plane: ControlPlane, directory: Path, namespace: str) -> Iterator[Place]:
    """Give a place, in namespaces of its own."""
    api, kubectl = control_plane.api, control_plane.kubectl
    operator = OperatorProcess(directory, control_plane.kubeconfig, namespace, [f"--namespace={namespace}"])
    place = Place(control_plane, operator, namespace)
    labels = {MESH_LABEL: "enabled"}
    with definitions(kubectl):
        kubectl.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place.shop, "labels": labels}},
        )
        try:
            place.account(AGENTS, namespace=namespace)
            place.account("web")
            for node in NODES:
                api.create("/api/v1/nodes", {"metadata": {"name": node}})
                place.run_pod(f"agent-{node}", node, AGENTS, namespace=namespace)
            place.run_pod("web", "here", "web")
            with operator:
                operator.wait_ready()
                wait_until(lambda: operator.leads, "it led", 30, log=operator.log)
                yield place
        finally:
            for node in NODES:
                api.send("DELETE", f"/api/v1/nodes/{node}")
            kubectl("delete", "namespace", namespace, place.shop, "--wait=false")
