"""Builders of Kubernetes documents for compiler tests: short to write, complete enough to compile.

`scheduled` does what a cluster's scheduler and kubelets would do to a set of YAML documents: pods from templates, each
with a node, addresses and a Ready condition, so that the examples can be compiled without a cluster.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import count

from weft_operator.compile import ClusterView, Compiled, Document, compile_cluster, read_view

Doc = dict[str, object]


def document(body: Doc, source: str = "test.yaml#1") -> Document:
    """Wrap a plain document."""
    return Document(source=source, body=body)


def view_of(*bodies: Doc, bundles: Mapping[str, list[str]] | None = None) -> ClusterView:
    """Make a view of plain documents."""
    numbered = (document(body, f"test.yaml#{number}") for number, body in enumerate(bodies, 1))
    return read_view(numbered, bundles)


def compiled(*bodies: Doc, bundles: Mapping[str, list[str]] | None = None) -> Compiled:
    """Compile plain documents."""
    return compile_cluster(view_of(*bodies, bundles=bundles))


def namespace(name: str, *, mesh: str | None = "enabled") -> Doc:
    """A namespace, in the mesh unless said otherwise."""
    labels = {} if mesh is None else {"weft.dev/mesh": mesh}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def node(name: str, *addresses: str, zone: str = "") -> Doc:
    """A node with addresses."""
    labels = {"topology.kubernetes.io/zone": zone} if zone else {}
    status = {"addresses": [{"type": "InternalIP", "address": address} for address in addresses]}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "status": status}


def pod(
    name: str,
    *addresses: str,
    namespace: str = "shop",
    node: str = "n1",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    account: str | None = None,
    ports: Iterable[Doc] = (),
    ready: bool = True,
    spec: Mapping[str, object] | None = None,
    metadata: Mapping[str, object] | None = None,
) -> Doc:
    """A running pod; `app` is its name unless labels say otherwise."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-{namespace}-{name}",
            "labels": {"app": name} if labels is None else dict(labels),
            "annotations": dict(annotations or {}),
            **(metadata or {}),
        },
        "spec": {
            "nodeName": node,
            "containers": [{"name": "main", "ports": list(ports)}],
            **({"serviceAccountName": account} if account else {}),
            **(spec or {}),
        },
        "status": {
            "phase": "Running",
            "podIP": addresses[0] if addresses else "",
            "podIPs": [{"ip": address} for address in addresses],
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


def service(
    name: str,
    *ports: Doc | int,
    namespace: str = "shop",
    addresses: Iterable[str] = ("10.96.0.10",),
    selector: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    spec: Mapping[str, object] | None = None,
) -> Doc:
    """A Service of the pods with the label `app` of its name; a bare number is a port of itself."""
    entries = [{"port": port, "name": f"p{port}"} if isinstance(port, int) else port for port in ports]
    ips = list(addresses)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "annotations": dict(annotations or {})},
        "spec": {
            "clusterIP": ips[0] if ips else "None",
            "clusterIPs": ips or ["None"],
            "selector": {"app": name} if selector is None else dict(selector),
            "ports": entries,
            **(spec or {}),
        },
    }


def endpoint_slice(
    service: str, endpoints: Iterable[Doc], ports: Iterable[Doc], *, namespace: str = "shop", name: str = ""
) -> Doc:
    """An EndpointSlice of a Service."""
    labels = {"kubernetes.io/service-name": service}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name or f"{service}-abc", "namespace": namespace, "labels": labels},
        "addressType": "IPv4",
        "endpoints": list(endpoints),
        "ports": list(ports),
    }


def policy(kind: str, name: str, spec: object, *, namespace: str = "shop", **metadata: object) -> Doc:
    """An object of our own group."""
    meta: Doc = {"name": name, "namespace": namespace, **metadata}
    return {"apiVersion": "weft.dev/v1alpha1", "kind": kind, "metadata": meta, "spec": spec}


def route(
    name: str,
    parents: Iterable[Doc],
    rules: Iterable[Doc],
    *,
    kind: str = "HTTPRoute",
    namespace: str = "shop",
    created: str = "",
    **spec: object,
) -> Doc:
    """A Gateway API route."""
    metadata: Doc = {"name": name, "namespace": namespace}
    if created:
        metadata["creationTimestamp"] = created
    body: Doc = {"parentRefs": list(parents), "rules": list(rules), **spec}
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": kind, "metadata": metadata, "spec": body}


def parent(name: str, **more: object) -> Doc:
    """A reference to a Service as a route's parent."""
    return {"group": "", "kind": "Service", "name": name, **more}


def backend_traffic(name: str, *services: str, namespace: str = "shop", **spec: object) -> Doc:
    """An XBackendTrafficPolicy on Services of its namespace."""
    targets = [{"group": "", "kind": "Service", "name": service} for service in services]
    return {
        "apiVersion": "gateway.networking.x-k8s.io/v1alpha1",
        "kind": "XBackendTrafficPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"targetRefs": targets, **spec},
    }


def scheduled(documents: Iterable[Document], nodes: int = 2) -> list[Document]:
    """Turn templates into running pods on nodes, give Services addresses, and add the nodes."""
    result = [document(node(f"node-{index}", f"172.20.0.{index}"), f"nodes#{index}") for index in range(1, nodes + 1)]
    pods, addresses = count(), count(10)
    for item in documents:
        for body in _instances(item.body):
            if body["kind"] == "Pod":
                body = _placed(body, next(pods), nodes)
            elif body["kind"] == "Service":
                body = _addressed(body, next(addresses))
            result.append(Document(source=item.source, body=body, problems=item.problems))
    return result


def _mapping(value: object) -> Doc:
    assert isinstance(value, dict)
    return value


def _instances(body: Doc) -> Iterator[Doc]:
    if body["kind"] != "Deployment":
        yield body
        return
    metadata, spec = _mapping(body["metadata"]), _mapping(body["spec"])
    template = _mapping(spec["template"])
    replicas = spec.get("replicas", 1)
    assert isinstance(replicas, int)
    for index in range(replicas):
        name = f"{metadata['name']}-abcde-{index}"
        owner = {"kind": "ReplicaSet", "name": f"{metadata['name']}-abcde", "controller": True}
        labels = {**_mapping(_mapping(template["metadata"])["labels"]), "pod-template-hash": "abcde"}
        meta = {"name": name, "namespace": metadata["namespace"], "labels": labels, "ownerReferences": [owner]}
        yield {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"]}


def _placed(body: Doc, number: int, nodes: int) -> Doc:
    place = number % nodes + 1
    address = f"10.{place}.0.{number + 10}"
    status = {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}, {"ip": f"fd00:{place}::{number + 16:x}"}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    return {**body, "spec": {**_mapping(body["spec"]), "nodeName": f"node-{place}"}, "status": status}


def _addressed(body: Doc, number: int) -> Doc:
    addresses = [f"10.96.0.{number}", f"fd96::{number:x}"]
    return {**body, "spec": {**_mapping(body["spec"]), "clusterIP": addresses[0], "clusterIPs": addresses}}
