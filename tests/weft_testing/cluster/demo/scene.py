"""What the demonstration puts on the stage beside the example: two plain pods that are opted in later, and an outsider."""

from typing import Any, Final

from manifests.image.layers import version
from weft_contract.labels import API_VERSION, MESH_LABEL

TOUR: Final = "tour"
CLIENT_NODE: Final = "n1"
SERVER_NODE: Final = "n2"
STRICT: Final = {
    "apiVersion": API_VERSION,
    "kind": "PeerAuthentication",
    "metadata": {"name": "default", "namespace": "backend"},
    "spec": {"mtls": {"mode": "STRICT"}},
}
IMAGE: Final = f"weft.dev/demo:{version()}"


def tour() -> list[dict[str, Any]]:
    """Return a server on one node, a client on the other, and one in a namespace that stays outside."""
    return [
        namespace(TOUR),
        namespace("outside"),
        pod(TOUR, "server", SERVER_NODE, {"serve": 8080, "tcp-echo": 7000}),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "server", "namespace": TOUR},
            "spec": {
                "ipFamilyPolicy": "PreferDualStack",
                "selector": {"app": "server"},
                "ports": [
                    {"name": "http", "port": 80, "targetPort": 8080},
                    {"name": "tcp-echo", "port": 7000, "targetPort": 7000},
                ],
            },
        },
        pod(TOUR, "client", CLIENT_NODE, {}),
        pod("outside", "outsider", CLIENT_NODE, {}),
    ]


def namespace(name: str, **labels: str) -> dict[str, Any]:
    """Return a namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def pod(namespace: str, name: str, node: str, servers: dict[str, int], *client: str) -> dict[str, Any]:
    """Return a pod of servers by program and port; without any, of a client: a place for `exec`, or a program with arguments."""
    containers: list[dict[str, Any]] = [
        {"name": program, "image": IMAGE, "args": [program, "--port", str(port)], "ports": [{"containerPort": port}]}
        for program, port in servers.items()
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "terminationGracePeriodSeconds": 2,
            "containers": containers or [{"name": "client", "image": IMAGE, "args": list(client or ["client"])}],
        },
    }


__all__ = ["CLIENT_NODE", "MESH_LABEL", "SERVER_NODE", "STRICT", "TOUR", "namespace", "pod", "tour"]
