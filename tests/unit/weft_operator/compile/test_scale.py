"""A large cluster compiles from nothing in seconds: 5 000 Services, 20 000 pods, 200 nodes, 1 000 policies, 100 routes."""

import time

import pytest

from weft_operator.compile import compile_cluster, read_view
from weft_testing import objects as o

_SERVICES, _REPLICAS, _NODES, _NAMESPACES = 5000, 4, 200, 100
_ALLOWED_S = 20.0


def _service(number: int) -> list[o.Doc]:
    namespace, name = f"ns{number % _NAMESPACES}", f"svc{number}"
    address = f"10.96.{number // 250}.{number % 250 + 1}"
    bodies = [
        o.service(name, {"name": "http", "port": 80, "targetPort": 8080}, namespace=namespace, addresses=[address])
    ]
    endpoints: list[o.Doc] = []
    for replica in range(_REPLICAS):
        pod = number * _REPLICAS + replica
        ip, node = f"10.{10 + pod // 62500}.{pod // 250 % 250}.{pod % 250 + 1}", f"node{pod % _NODES}"
        ports: list[o.Doc] = [{"containerPort": 8080, "name": "http"}]
        bodies.append(
            o.pod(
                f"{name}-{replica}", ip, namespace=namespace, node=node, labels={"app": name}, account=name, ports=ports
            )
        )
        endpoints.append({"addresses": [ip], "nodeName": node, "conditions": {"ready": True}})
    bodies.append(o.endpoint_slice(name, endpoints, [{"name": "http", "port": 8080}], namespace=namespace))
    if number % 5 == 0:
        rules = [{"from": [{"source": {"namespaces": [namespace]}}], "to": [{"operation": {"paths": ["/a", "/b/*"]}}]}]
        spec = {"selector": {"matchLabels": {"app": name}}, "rules": rules}
        bodies.append(o.policy("AuthorizationPolicy", name, spec, namespace=namespace))
    if number % 50 == 0:
        bodies.append(
            o.route(name, [o.parent(name)], [{"backendRefs": [{"name": name, "port": 80}]}], namespace=namespace)
        )
    return bodies


@pytest.mark.slow
def test_a_large_cluster_compiles_in_seconds() -> None:
    bodies = [o.namespace(f"ns{number}") for number in range(_NAMESPACES)]
    bodies += [o.node(f"node{number}", f"172.16.{number // 250}.{number % 250 + 1}") for number in range(_NODES)]
    for number in range(_SERVICES):
        bodies += _service(number)
    documents = [o.document(body, f"d#{number}") for number, body in enumerate(bodies)]
    started = time.perf_counter()
    compiled = compile_cluster(read_view(documents, {"cluster.local": ["root"]}))
    size = sum(len(compiled.document_bytes(node)) for node in compiled.nodes)
    elapsed_s = time.perf_counter() - started
    assert compiled.problems == ()
    assert len(compiled.nodes) == _NODES
    assert elapsed_s < _ALLOWED_S, f"{len(documents)} objects, {size / 1e6:.0f} MB of documents"
