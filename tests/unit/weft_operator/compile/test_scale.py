"""What compiling from nothing costs grows as the cluster does, up to 5 000 Services, 20 000 pods, 1 000 policies, 100 routes.

Judged by the ratio of CPU times of two sizes, which no other load on the machine and no machine changes much: it is eight where
cost is in proportion, and sixty-four where each object looks at each other. How long it takes is for `make perf-control` to say.
"""

import gc
import time

import pytest

from weft_operator.compile import Document, compile_cluster, read_view
from weft_testing import objects as o

_SERVICES, _REPLICAS, _NODES, _NAMESPACES = 5000, 4, 200, 100
_FACTOR = 8
_ALLOWED_RATIO = 3 * _FACTOR
"""Collisions of caches and the garbage collector's rounds are in it."""


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


def _documents(services: int) -> list[Document]:
    bodies = [o.namespace(f"ns{number}") for number in range(_NAMESPACES)]
    bodies += [o.node(f"node{number}", f"172.16.{number // 250}.{number % 250 + 1}") for number in range(_NODES)]
    for number in range(services):
        bodies += _service(number)
    return [o.document(body, f"d#{number}") for number, body in enumerate(bodies)]


def _cpu_s(services: int) -> float:
    """Compile so many Services and return what it took of this process's CPU."""
    documents = _documents(services)
    gc.collect()
    started = time.process_time()
    compiled = compile_cluster(read_view(documents, {"cluster.local": ["root"]}))
    size = sum(len(compiled.document_bytes(node)) for node in compiled.nodes)
    elapsed_s = time.process_time() - started
    assert compiled.problems == ()
    assert len(compiled.nodes) == _NODES
    assert size > 0
    return elapsed_s


@pytest.mark.slow
def test_compiling_a_large_cluster_costs_in_proportion() -> None:
    small_s = min(_cpu_s(_SERVICES // _FACTOR) for _ in range(3))
    large_s = _cpu_s(_SERVICES)
    assert large_s < _ALLOWED_RATIO * small_s, f"{small_s:.2f} s for an eighth, {large_s:.2f} s for all"
