"""The lab's objects: pods of every contestant in the same places, Services, and the policy of ours. Pure.

Theory: three sets of pods, alike but for their names. The set `weft` is in the mesh; the sets `first` and `second` are not,
and get Envoys with the same capture rules. A set has a client on node-1, a server on node-2 for the way through both, and a
server `hop` on node-2 for the way through one agent, to which one client outside of the mesh, on the same node, speaks plaintext.
"""

import json
from typing import Final

from perf.bench.envoy_config import PATH_PREFIX
from perf.bench.scenarios import (
    ECHO_PORTS,
    FRESH_PORTS_FROM,
    LARGE_BYTES,
    LARGE_PORT,
    OPAQUE_PORT,
    SINK_PORT,
    SMALL_BYTES,
    SMALL_PORT,
)

Document = dict[str, object]

NAMESPACE: Final = "perf"
TRUST_DOMAIN: Final = "cluster.local"
OUTSIDE: Final = "outside"
"""The client of the way through one agent."""
WEFT: Final = "weft"
PEER_SETS: Final = ("first", "second")
CLIENT_NODE, SERVER_NODE = "node-1", "node-2"


def client_pod(of: str) -> str:
    """Return the client pod of a set."""
    return f"{of}-client"


def server_pod(of: str) -> str:
    """Return the server pod of a set on the way through two agents; its Service has the same name."""
    return f"{of}-server"


def hop_pod(of: str) -> str:
    """Return the server pod of a set on the way through one agent."""
    return f"{of}-hop"


def identity(pod: str) -> str:
    """Return the SPIFFE ID of a pod; its service account has its name."""
    return f"spiffe://{TRUST_DOMAIN}/ns/{NAMESPACE}/sa/{pod}"


def scene(backend: str, core: int, fresh_ports: int) -> str:
    """Return the YAML of everything.

    Args:
        backend: path of the server program.
        core: where servers run.
        fresh_ports: how many echo ports there are for new tunnels.
    """
    documents: list[Document] = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}]
    documents += _pod(OUTSIDE, SERVER_NODE, _waits(), meshed=False)
    serves = backend_command(backend, core, fresh_ports)
    for name in (WEFT, *PEER_SETS):
        meshed = name == WEFT
        documents += _pod(client_pod(name), CLIENT_NODE, _waits(), meshed=meshed)
        documents += _pod(server_pod(name), SERVER_NODE, serves, meshed=meshed)
        documents += _pod(hop_pod(name), SERVER_NODE, serves, meshed=meshed)
        documents += [_service(server_pod(name)), _service(hop_pod(name))]
    documents += [_permissive(), _hop_policy(), _server_policy()]
    return "\n---\n".join(json.dumps(document) for document in documents) + "\n"


def backend_command(backend: str, core: int, fresh_ports: int) -> list[str]:
    """Return the command of a server's container."""
    last = FRESH_PORTS_FROM + fresh_ports - 1
    services = (
        f"http:{SMALL_PORT}:{SMALL_BYTES}",
        f"http:{OPAQUE_PORT}:{SMALL_BYTES}",
        f"http:{LARGE_PORT}:{LARGE_BYTES}",
        f"echo:{ECHO_PORTS[0]}-{ECHO_PORTS[1]}",
        f"sink:{SINK_PORT}",
        f"echo:{FRESH_PORTS_FROM}-{last}",
    )
    return ["taskset", "-c", str(core), backend, *services]


def _waits() -> list[str]:
    return ["sleep", "infinity"]


def _pod(name: str, node: str, command: list[str], *, meshed: bool) -> list[Document]:
    account: Document = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": NAMESPACE},
    }
    labels = {"app": name, "weft.dev/mesh": "enabled" if meshed else "disabled"}
    pod: Document = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "serviceAccountName": name,
            "nodeSelector": {"kubernetes.io/hostname": node},
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "main", "image": "perf.invalid/none", "command": command}],
        },
    }
    return [account, pod]


def _service(name: str) -> Document:
    ports = [
        _port("small", SMALL_PORT, "http"),
        _port("opaque", OPAQUE_PORT, "tcp"),
        _port("large", LARGE_PORT, "http"),
        *(_port(f"echo-{port}", port, "tcp") for port in range(ECHO_PORTS[0], ECHO_PORTS[1] + 1)),
        _port("sink", SINK_PORT, "tcp"),
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"selector": {"app": name}, "ports": ports},
    }


def _port(name: str, port: int, protocol: str) -> Document:
    return {"name": name, "port": port, "targetPort": port, "appProtocol": protocol}


# -- policy ---------------------------------------------------------------------------------------------------------


def _permissive() -> Document:
    return _mesh("PeerAuthentication", "default", {"mtls": {"mode": "PERMISSIVE"}})


def _hop_policy() -> Document:
    ports = [*(str(port) for port in range(ECHO_PORTS[0], ECHO_PORTS[1] + 1)), str(SINK_PORT)]
    rules: list[Document] = [{"to": [_may_get()]}, {"to": [{"operation": {"ports": ports}}]}]
    return _allow(hop_pod(WEFT), rules)


def _server_policy() -> Document:
    callers = [{"source": {"principals": [identity(client_pod(WEFT)).removeprefix("spiffe://")]}}]
    opaque = {"operation": {"notPorts": [str(SMALL_PORT), str(LARGE_PORT)]}}
    rules: list[Document] = [{"from": callers, "to": [_may_get()]}, {"from": callers, "to": [opaque]}]
    return _allow(server_pod(WEFT), rules)


def _may_get() -> Document:
    return {
        "operation": {"methods": ["GET"], "paths": [f"{PATH_PREFIX}*"], "ports": [str(SMALL_PORT), str(LARGE_PORT)]}
    }


def _allow(pod: str, rules: list[Document]) -> Document:
    return _mesh(
        "AuthorizationPolicy",
        pod,
        {"selector": {"matchLabels": {"app": pod}}, "action": "ALLOW", "rules": rules},
    )


def _mesh(kind: str, name: str, spec: Document) -> Document:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "weft.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}
