"""Pods for templates and addresses for Services, where objects come from files and nothing runs yet.

Theory: who may call whom does not depend on addresses, so any will do; those of the documentation ranges (RFC 5737) are
taken, because nobody can mistake them for real ones. A template stands for one pod. What has an address or runs is left as it is.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address
from itertools import count
from typing import Any, Final

from weft_contract.codec import digest
from weft_operator.compile import Document

Body = dict[str, Any]  # a Kubernetes object as it was read; nothing about its shape is known yet
NODE: Final = "imagined"
_PODS: Final = IPv4Address("192.0.2.1")
_SERVICES: Final = IPv4Address("198.51.100.1")
_TEMPLATES: Final = frozenset({"Deployment", "StatefulSet", "DaemonSet", "Job", "ReplicaSet"})
_MOST: Final = 250


def imagine(documents: Iterable[Document]) -> list[Document]:
    """Return the documents with a running pod for every template, and an address for every Service that has none."""
    found: list[Document] = []
    pods, services = count(), count()
    for document in documents:
        body = document.body
        for item in (body, *_of_template(body)):
            made = item
            if item.get("kind") == "Pod" and not _part(item, "status").get("podIP"):
                made = _running(item, _PODS + next(pods) % _MOST)
            elif item.get("kind") == "Service" and not _part(item, "spec").get("clusterIP"):
                address = str(_SERVICES + next(services) % _MOST)
                made = {**item, "spec": {**_part(item, "spec"), "clusterIP": address}}
            found.append(Document(source=document.source, body=made, problems=document.problems))
    return found


def _of_template(body: Body) -> Iterator[Body]:
    template = _part(_part(body, "spec"), "template")
    if body.get("kind") not in _TEMPLATES or not template:
        return
    metadata = _part(body, "metadata")
    name = str(metadata.get("name", ""))
    owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": name, "uid": name, "controller": True}
    own = {**_part(template, "metadata"), "name": f"{name}-0", "ownerReferences": [owner]}
    if "namespace" in metadata:
        own["namespace"] = metadata["namespace"]
    yield {"apiVersion": "v1", "kind": "Pod", "metadata": own, "spec": template.get("spec", {})}


def _running(pod: Body, address: IPv4Address) -> Body:
    metadata = {"uid": f"imagined-{digest(str(address).encode())[:12]}", **_part(pod, "metadata")}
    ready = [{"type": "Ready", "status": "True"}]
    status = {"phase": "Running", "podIP": str(address), "podIPs": [{"ip": str(address)}], "conditions": ready}
    return {**pod, "metadata": metadata, "spec": {"nodeName": NODE, **_part(pod, "spec")}, "status": status}


def _part(body: Body, name: str) -> Body:
    part = body.get(name)
    return part if isinstance(part, dict) else {}
