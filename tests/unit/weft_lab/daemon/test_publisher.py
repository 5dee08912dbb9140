"""Publishing: the lab's objects reach the compiler as Kubernetes documents, whole and with their status."""

from weft_contract.resources import Workload
from weft_lab.daemon.publisher import collect, document, identities_of, trust_domain
from weft_lab.model import Foreign, LabObject, Metadata, Namespace
from weft_lab.model.kinds import kind_named
from weft_lab.plan.view import View
from weft_operator.compile import compile_cluster
from weft_testing.lab import key_of, node, one, pod

POLICY = """
apiVersion: weft.dev/v1alpha1
kind: AuthorizationPolicy
metadata: {name: a, namespace: shop}
spec: {action: DENY, rules: [{}]}
"""
MESH = "{apiVersion: weft.dev/v1alpha1, kind: Mesh, metadata: {name: default}, spec: {trustDomain: example.org}}"


def cluster() -> View:
    shop = Namespace(metadata=Metadata(name="shop", labels={"weft.dev/mesh": "enabled"}))
    runs = pod("web", node="node-1", addresses=("10.64.1.2", "fd57::2"), ready=True)
    plain: tuple[LabObject, ...] = (shop, runs, node("node-1"))
    objects = {key_of(item): item for item in plain}
    for text in (POLICY, MESH):
        found = one(text)
        assert isinstance(found, Foreign)
        kind = str(found.document["kind"])
        objects[key_of(found)._replace(kind=kind)] = found
    return View(objects)


def test_pods_nodes_and_policies_compile_to_the_nodes_document() -> None:
    compiled = compile_cluster(collect(cluster()).view({}))
    (workload,) = [entry.spec for entry in compiled.nodes["node-1"].resources if isinstance(entry.spec, Workload)]
    assert workload.addresses == ("10.64.1.2", "fd57::2")
    assert workload.identity == "spiffe://example.org/ns/shop/sa/default"
    assert workload.policies == ("shop/a",)


def test_identities_are_those_of_the_nodes_workloads() -> None:
    compiled = compile_cluster(collect(cluster()).view({}))
    assert {str(item) for item in identities_of(compiled, "node-1")} == {"spiffe://example.org/ns/shop/sa/default"}
    assert identities_of(compiled, "node-2") == set()


def test_the_trust_domain_is_the_mesh_objects() -> None:
    assert trust_domain(collect(cluster()).view({})) == "example.org"
    assert trust_domain(collect(View({})).view({})) == "cluster.local"


def test_documents_name_kind_and_version() -> None:
    view = cluster()
    for key, found in view.objects.items():
        kind = kind_named(key.kind)
        assert kind is not None
        made = document(key, found)
        assert (made["kind"], made["apiVersion"]) == (key.kind, kind.api_version)
