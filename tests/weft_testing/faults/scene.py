"""The scene of the faults as Kubernetes objects: a caller, a server on its node and one on the other, policy everywhere.

    node-1: caller, near        node-2: far        outside the mesh, on node-1: stranger

`near` and `far` are Services of one server each, `both` has the two, `split` sends by a route's weights. Every server is
STRICT, lets only `caller` in, over HTTP only to the paths of the load.
"""

import json
import os
import sys
from collections.abc import Sequence
from typing import Final

from weft_testing.lab import REPOSITORY, python_path

NAMESPACE: Final = "faults"
HTTP: Final = 80
ECHO: Final = 7000

_HEAD: Final = f"""
apiVersion: v1
kind: Namespace
metadata: {{name: {NAMESPACE}, labels: {{weft.dev/mesh: enabled}}}}
---
apiVersion: v1
kind: Namespace
metadata: {{name: outside}}
---
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: {{name: default}}
spec:
  trustDomain: cluster.local
  explainRefusals: Mesh
  telemetry: {{accessLog: Errors}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: caller, namespace: {NAMESPACE}}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: server, namespace: {NAMESPACE}}}
---
apiVersion: weft.dev/v1alpha1
kind: PeerAuthentication
metadata: {{name: default, namespace: {NAMESPACE}}}
spec: {{mtls: {{mode: STRICT}}}}
"""


def scene() -> str:
    """Return all objects of the scene."""
    documents = [
        _HEAD,
        server_policy(),
        idle_pod("caller", node="node-1", account="caller"),
        idle_pod("stranger", node="node-1", namespace="outside"),
        server_pod("near", node="node-1"),
        server_pod("far", node="node-2"),
        service("near", {"name": "near"}),
        service("far", {"name": "far"}),
        service("both", {"app": "server"}),
        service("split", {"app": "server"}),
        split(50),
    ]
    return "\n---\n".join(documents)


def idle_pod(name: str, *, node: str, account: str = "default", namespace: str = NAMESPACE) -> str:
    """Return a pod that is only a place to call from."""
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}, labels: {{name: {name}}}}}
spec:
  serviceAccountName: {account}
  nodeSelector: {{kubernetes.io/hostname: {node}}}
  containers: [{{name: main, image: weft.dev/demo, args: [client]}}]
"""


def server_pod(name: str, *, node: str, labels: dict[str, str] | None = None) -> str:
    """Return a pod with the load's server."""
    own = json.dumps({"name": name, "app": "server"} if labels is None else labels)
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {NAMESPACE}, labels: {own}}}
spec:
  serviceAccountName: server
  nodeSelector: {{kubernetes.io/hostname: {node}}}
  containers:
  - {server_container("--name", name)}
"""


def server_container(*arguments: str) -> str:
    """Return a container with the load's server, as one line of YAML."""
    path = f"{REPOSITORY / 'tests'}{os.pathsep}{python_path()}"
    return json.dumps(
        {
            "name": "server",
            "image": "python",
            "command": [sys.executable, "-P", "-m", "weft_testing.load_backend", *arguments],
            "env": [{"name": "PYTHONPATH", "value": path}],
            "ports": [{"name": "http", "containerPort": 8080}, {"name": "tcp-echo", "containerPort": 7000}],
            "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1},
        }
    )


def service(name: str, selector: dict[str, str]) -> str:
    """Return a Service in both families."""
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {NAMESPACE}}}
spec:
  ipFamilyPolicy: PreferDualStack
  selector: {json.dumps(selector)}
  ports:
  - {{name: http, port: {HTTP}, targetPort: 8080}}
  - {{name: tcp-echo, port: {ECHO}, targetPort: 7000}}
"""


def split(near_percent: int) -> str:
    """Return a route that divides the calls of Service `split`."""
    return f"""
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: split, namespace: {NAMESPACE}}}
spec:
  parentRefs: [{{group: "", kind: Service, name: split, port: {HTTP}}}]
  rules:
  - backendRefs:
    - {{name: near, port: {HTTP}, weight: {near_percent}}}
    - {{name: far, port: {HTTP}, weight: {100 - near_percent}}}
"""


def server_policy(*further: str) -> str:
    """Return the policy of the servers: the caller may, and whoever else is named (nobody of them exists)."""
    accounts = json.dumps(["caller", *further])
    return f"""
apiVersion: weft.dev/v1alpha1
kind: AuthorizationPolicy
metadata: {{name: only-the-caller, namespace: {NAMESPACE}}}
spec:
  selector: {{matchLabels: {{app: server}}}}
  action: ALLOW
  rules:
  - from: [{{source: {{serviceAccounts: {accounts}}}}}]
    to: [{{operation: {{ports: ["8080"], methods: [GET], paths: ["/check/*", "/bytes/*"]}}}}]
  - from: [{{source: {{serviceAccounts: {accounts}}}}}]
    to: [{{operation: {{ports: ["7000"]}}}}]
"""


def unrelated_policy(number: int, names: Sequence[str] = ("nobody",)) -> str:
    """Return a policy that concerns no pod of the load, different for each number."""
    return f"""
apiVersion: weft.dev/v1alpha1
kind: AuthorizationPolicy
metadata: {{name: unrelated, namespace: {NAMESPACE}}}
spec:
  selector: {{matchLabels: {{app: none-of-the-load}}}}
  action: DENY
  rules: [{{from: [{{source: {{serviceAccounts: {json.dumps([f"{name}-{number}" for name in names])}}}}}]}}]
"""
