"""Agents by real tokens: who is let in, who gets which certificate, and that a deleted pod's token ends at once for us."""

import asyncio
import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from weft_contract.labels import MESH_LABEL
from weft_contract.stream import CERTIFICATE_PATH, SERVER_NAME, TOKEN_AUDIENCE, Goodbye
from weft_testing.cluster.api import Api, Object
from weft_testing.cluster.control_plane import ControlPlane
from weft_testing.cluster.operator_process import NAMESPACE, OperatorProcess
from weft_testing.cluster.processes import wait_until
from weft_testing.stream_agent import StreamAgent

pytestmark = [pytest.mark.cluster]
CRDS = Path(__file__).parents[2] / "manifests" / "crds"
AGENTS = "weft-agent"
NODES = ("here", "there")
SHOP = "identity-shop"


@dataclass
class Place:
    """A running operator, two nodes with an agent's pod each, and a shop of which all pods are on the first."""

    api: Api
    operator: OperatorProcess
    tls: ssl.SSLContext

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.operator.port('stream')}"

    def token(
        self,
        node: str,
        *,
        account: str = AGENTS,
        audience: str = TOKEN_AUDIENCE,
        namespace: str = NAMESPACE,
        pod: str = "",
    ) -> str:
        """Ask for a token as the kubelet does, bound to the agent's pod on a node; `pod` "-": bound to none."""
        spec: Object = {"audiences": [audience], "expirationSeconds": 600}
        if pod != "-":
            name = pod or f"agent-{node}"
            found = self.api.get(f"/api/v1/namespaces/{namespace}/pods/{name}")
            spec["boundObjectRef"] = {"kind": "Pod", "apiVersion": "v1", "name": name, "uid": found["metadata"]["uid"]}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        token: str = self.api.create(path, body)["status"]["token"]
        return token

    def ask(self, token: str, account: str, *, namespace: str = SHOP) -> tuple[int, Object]:
        """Ask for a certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
        pem = request.public_bytes(serialization.Encoding.PEM).decode()
        body = json.dumps({"namespace": namespace, "serviceAccount": account, "csr": pem}).encode()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        return asyncio.run(self._post(body, headers))

    async def _post(self, body: bytes, headers: dict[str, str]) -> tuple[int, Object]:
        url = self.url + CERTIFICATE_PATH
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http,
            http.post(url, data=body, headers=headers, ssl=self.tls, server_hostname=SERVER_NAME) as answer,
        ):
            return answer.status, json.loads(await answer.read())

    def refused(self, token: str, account: str, *, namespace: str = SHOP) -> tuple[int, str]:
        status, answer = self.ask(token, account, namespace=namespace)
        assert status >= 400
        return status, str(answer["detail"])


def run_pod(
    api: Api, namespace: str, name: str, node: str, account: str, *, finished: bool = False, **spec: object
) -> None:
    """Make a pod and say of it what a kubelet would, since nobody runs the node."""
    pods = f"/api/v1/namespaces/{namespace}/pods"
    body = {"nodeName": node, "serviceAccountName": account, "containers": [{"name": "c", "image": "none"}], **spec}
    api.create(pods, {"metadata": {"name": name}, "spec": body})
    phase = "Succeeded" if finished else "Running"
    api.patch(
        f"{pods}/{name}/status", {"status": {"phase": phase, "podIP": "10.9.8.7", "podIPs": [{"ip": "10.9.8.7"}]}}
    )


def make_account(api: Api, namespace: str, name: str) -> None:
    api.create(f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": name}})


@pytest.fixture(scope="module")
def place(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    api, kubectl = control_plane.api, control_plane.kubectl
    kubectl("apply", "--server-side", f"--filename={CRDS}")
    kubectl("wait", "--for=condition=Established", "--timeout=30s", f"--filename={CRDS}")
    labels = {MESH_LABEL: "enabled"}
    kubectl.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SHOP, "labels": labels}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": AGENTS, "namespace": NAMESPACE}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "other", "namespace": NAMESPACE}},
    )
    for account in ("web", "hostly", "finished", "outside"):
        make_account(api, SHOP, account)
    for node in NODES:
        api.create("/api/v1/nodes", {"metadata": {"name": node}})
        run_pod(api, NAMESPACE, f"agent-{node}", node, AGENTS)
    run_pod(api, NAMESPACE, "stranger", "here", "other")
    run_pod(api, SHOP, "web", "here", "web")
    run_pod(api, SHOP, "hostly", "here", "hostly", hostNetwork=True)
    run_pod(api, SHOP, "finished", "here", "finished", finished=True)
    directory = tmp_path_factory.mktemp("identity")
    with OperatorProcess(directory, control_plane.kubeconfig, "identity") as operator:
        operator.wait_ready()
        wait_until(lambda: operator.leads, "it led", 30, log=operator.log)
        yield Place(api, operator, trusting(control_plane))
    for node in NODES:
        api.delete(f"/api/v1/nodes/{node}")
    kubectl("delete", "namespace", NAMESPACE, SHOP, "--wait=false")


def trusting(control_plane: ControlPlane) -> ssl.SSLContext:
    """Trust the roots that the leader publishes for the agents."""
    path = f"/api/v1/namespaces/{NAMESPACE}/configmaps/weft-roots"
    wait_until(lambda: control_plane.api.healthy(path), "the roots were published", 30)
    roots = control_plane.api.get(path)["data"]["roots.pem"]
    return ssl.create_default_context(cadata=roots)


def test_an_agent_gets_the_certificate_of_a_pod_on_its_node(place: Place) -> None:
    status, answer = place.ask(place.token("here"), "web")
    assert (status, answer["identity"]) == (200, f"spiffe://cluster.local/ns/{SHOP}/sa/web")
    leaf = x509.load_pem_x509_certificate(answer["chain"].encode())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [answer["identity"]]


def test_an_identity_that_is_not_on_the_node_is_refused_always(place: Place) -> None:
    there = place.token("there")
    for account in ("web", "hostly", "finished", "outside", "default", "no-such-account"):
        status, detail = place.refused(there, account)
        assert (status, "is on node there" in detail) == (403, True), account
    status, detail = place.refused(place.token("here"), AGENTS, namespace=NAMESPACE)
    assert (status, "did not opt in" in detail) == (403, True), "the agents themselves are not in the mesh"


@pytest.mark.parametrize(("account", "why"), [("hostly", "uses the node's network"), ("finished", "has finished")])
def test_a_pod_that_is_no_member_gives_no_identity(place: Place, account: str, why: str) -> None:
    status, detail = place.refused(place.token("here"), account)
    assert (status, why in detail) == (403, True)


def test_who_is_no_agent_is_refused(place: Place) -> None:
    status, detail = place.refused(place.token("here", account="other", pod="stranger"), "web")
    assert (status, f"only system:serviceaccount:{NAMESPACE}:{AGENTS} is served" in detail) == (403, True)
    status, detail = place.refused(place.token("here", audience="https://kubernetes.default.svc"), "web")
    assert status == 401
    status, detail = place.refused(place.token("here", pod="-"), "web")
    assert (status, "does not name its node and pod" in detail) == (403, True)
    assert place.refused("nonsense", "web")[0] == 401


def test_a_deleted_agent_s_token_is_refused_although_the_api_server_accepts_it(place: Place) -> None:
    run_pod(place.api, NAMESPACE, "agent-short", "here", AGENTS)
    token = place.token("here", pod="agent-short")
    wait_until(lambda: place.ask(token, "web")[0] == 200, "the operator knew the pod", 10)
    place.api.delete(f"/api/v1/namespaces/{NAMESPACE}/pods/agent-short?gracePeriodSeconds=0")
    wait_until(lambda: place.ask(token, "web")[0] == 403, "the operator knew that the pod is gone", 5)
    spec = {"token": token, "audiences": [TOKEN_AUDIENCE]}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
    place.api.create("/apis/authentication.k8s.io/v1/tokenreviews", body)
    assert place.refused(token, "web")[0] == 403


def test_a_pod_that_is_gone_takes_its_identity_along(place: Place) -> None:
    make_account(place.api, SHOP, "short")
    run_pod(place.api, SHOP, "short", "there", "short")
    token = place.token("there")
    wait_until(lambda: place.ask(token, "short")[0] == 200, "the operator knew the pod", 10)
    place.api.delete(f"/api/v1/namespaces/{SHOP}/pods/short?gracePeriodSeconds=0")
    wait_until(lambda: place.ask(token, "short")[0] == 403, "the operator knew that the pod is gone", 5)


def test_an_agent_s_stream_begins_and_ends_with_its_pod(place: Place) -> None:
    run_pod(place.api, NAMESPACE, "agent-stream", "here", AGENTS)
    agent = StreamAgent("here", token=place.token("here", pod="agent-stream"))

    async def follow() -> Goodbye:
        async with aiohttp.ClientSession() as http:
            async with asyncio.timeout(10):
                while True:
                    try:
                        return await session(http)
                    except aiohttp.WSServerHandshakeError as exc:
                        if exc.status not in (403, 503):  # else its pod is not known there yet
                            raise
                        await asyncio.sleep(0.1)

    async def session(http: aiohttp.ClientSession) -> Goodbye:
        async with agent.connected(http, place.url, tls=place.tls):
            assert isinstance(await agent.next_update(), list)
            assert f"Workload/{SHOP}/web" in agent.held
            assert "TrustBundle/cluster.local" in agent.held
            path = f"/api/v1/namespaces/{NAMESPACE}/pods/agent-stream?gracePeriodSeconds=0"
            await asyncio.to_thread(place.api.delete, path)
            while not isinstance(message := await agent.receive(), Goodbye):
                assert message is not None
            return message

    goodbye = asyncio.run(follow())
    assert f"the agent's pod {NAMESPACE}/agent-stream is not there any more" in goodbye.reason


def test_a_node_may_not_say_that_it_is_another(place: Place) -> None:
    agent = StreamAgent("there", token=place.token("here"))

    async def follow() -> Goodbye:
        async with aiohttp.ClientSession() as http, agent.connected(http, place.url, tls=place.tls):
            message = await agent.receive()
            assert isinstance(message, Goodbye)
            return message

    assert "Hello of node 'there', but the token is of node here" in asyncio.run(follow()).reason


def test_every_answer_is_in_the_audit_log(place: Place) -> None:
    place.ask(place.token("here"), "web")
    place.refused(place.token("there"), "web")
    issued, refused = place.operator.logged("certificate issued")[-1], place.operator.logged("certificate refused")[-1]
    assert (issued["node"], issued["agent"]) == ("here", f"{NAMESPACE}/agent-here")
    assert issued["identity"] == f"spiffe://cluster.local/ns/{SHOP}/sa/web"
    assert (refused["node"], refused["service_account"], refused["status"]) == ("there", "web", 403)
