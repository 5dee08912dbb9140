"""Who is in the mesh, under which identity, at which address."""

import pytest

from weft_contract.objects import Pod, decode_object
from weft_operator.compile.members import Members, find_members, is_ready, owner_name, pod_uid
from weft_testing import objects as o


def _members(*bodies: o.Doc) -> Members:
    return find_members(o.view_of(*bodies), "cluster.local")


def _pod(*arguments: str, **options: object) -> Pod:
    item = decode_object(o.pod(*arguments, **options), "x")  # type: ignore[arg-type]  # the builder's own options
    assert isinstance(item, Pod)
    return item


@pytest.mark.parametrize(
    ("namespace_label", "pod_label", "enrolled"),
    [
        (None, None, False),
        ("enabled", None, True),
        ("disabled", None, False),
        (None, "enabled", True),
        ("disabled", "enabled", True),
        ("enabled", "disabled", False),
        ("enabled", "true", True),
        (None, "true", False),
        ("yes", None, False),
    ],
)
def test_the_pods_label_beats_the_namespaces(
    namespace_label: str | None, pod_label: str | None, enrolled: bool
) -> None:
    labels = {"app": "web"} | ({"weft.dev/mesh": pod_label} if pod_label else {})
    found = _members(o.namespace("shop", mesh=namespace_label), o.pod("web", "10.0.0.1", labels=labels))
    assert (list(found.by_key) == ["shop/web"]) == enrolled
    assert ("shop" in found.namespaces) == (enrolled or namespace_label == "enabled")


def test_identity_of_account_namespace_and_trust_domain() -> None:
    found = _members(
        o.namespace("shop"),
        o.pod("a", "10.0.0.1", account="web"),
        o.pod("b", "10.0.0.2"),
        o.pod("c", "10.0.0.3", spec={"serviceAccount": "old"}),
    )
    identities = {key: member.identity for key, member in found.by_key.items()}
    assert identities == {
        "shop/a": "spiffe://cluster.local/ns/shop/sa/web",
        "shop/b": "spiffe://cluster.local/ns/shop/sa/default",
        "shop/c": "spiffe://cluster.local/ns/shop/sa/old",
    }


def test_pods_on_the_nodes_network_are_refused_aloud() -> None:
    found = _members(o.namespace("shop"), o.pod("web", "172.16.0.1", spec={"hostNetwork": True}))
    assert not found.by_key
    (problem,) = found.problems
    assert not problem.warning
    assert problem.path == "$.spec.hostNetwork"
    assert problem.subject == "Pod shop/web"


def test_pods_that_are_not_running_anywhere_are_skipped_silently() -> None:
    found = _members(
        o.namespace("shop"),
        o.pod("a"),
        o.pod("b", "10.0.0.2", node=""),
        o.pod("c", "10.0.0.3") | {"status": {"phase": "Succeeded", "podIP": "10.0.0.3"}},
        o.pod("d", "10.0.0.4") | {"status": {"phase": "Failed", "podIP": "10.0.0.4"}},
    )
    assert not found.by_key
    assert not found.problems
    assert not found.owners


@pytest.mark.parametrize("node", ["../../etc", "a/b", "-x", "N1", "a\x00"])
def test_a_node_name_that_could_be_a_path_is_refused(node: str) -> None:
    found = _members(o.namespace("shop"), o.pod("web", "10.0.0.1", node=node))
    assert not found.by_key
    assert [problem.path for problem in found.problems] == ["$.spec.nodeName"]


def test_a_service_account_that_makes_no_identity_is_refused() -> None:
    found = _members(o.namespace("shop"), o.pod("web", "10.0.0.1", account="We_b"))
    assert not found.by_key
    assert [problem.path for problem in found.problems] == ["$.spec.serviceAccountName"]


def test_addresses_are_canonical_and_of_both_families() -> None:
    found = _members(o.namespace("shop"), o.pod("web", "10.0.0.1", "FD00:0:0::1", "10.0.0.1", "nonsense"))
    assert found.by_key["shop/web"].addresses == ("10.0.0.1", "fd00::1")
    assert set(found.by_address) == {"10.0.0.1", "fd00::1"}


def test_a_reused_address_belongs_to_the_pod_that_is_not_going_away() -> None:
    old = o.pod("old", "10.0.0.1", account="old", metadata={"deletionTimestamp": "2026-01-02T00:00:00Z"})
    new = o.pod("new", "10.0.0.1", account="new", metadata={"creationTimestamp": "2026-01-01T00:00:00Z"})
    for bodies in ((old, new), (new, old)):
        found = _members(o.namespace("shop"), *bodies)
        assert found.by_address["10.0.0.1"].service_account == "new"
        assert not found.problems


def test_an_address_of_two_living_pods_belongs_to_the_younger_and_is_reported() -> None:
    first = o.pod("a", "10.0.0.1", metadata={"creationTimestamp": "2026-01-02T00:00:00Z"})
    second = o.pod("b", "10.0.0.1", metadata={"creationTimestamp": "2026-01-01T00:00:00Z"})
    found = _members(o.namespace("shop"), first, second)
    assert found.by_address["10.0.0.1"].key == "shop/a"
    assert "claimed by several pods: shop/a and shop/b" in found.problems[0].message


def test_an_address_taken_over_by_a_stranger_has_no_identity() -> None:
    member = o.pod("a", "10.0.0.1", metadata={"deletionTimestamp": "2026-01-02T00:00:00Z"})
    stranger = o.pod("b", "10.0.0.1", namespace="outside")
    found = _members(o.namespace("shop"), member, stranger)
    assert found.by_address == {}
    assert found.owners["10.0.0.1"].metadata.name == "b"


def _owned(kind: str, name: str, **labels: str) -> Pod:
    return _pod(
        "web-1", labels=labels, metadata={"ownerReferences": [{"kind": kind, "name": name, "controller": True}]}
    )


def test_workload_names_are_those_people_know() -> None:
    assert owner_name(_pod("web"), {}) == "web"
    assert owner_name(_owned("StatefulSet", "db"), {}) == "db"
    assert owner_name(_owned("ReplicaSet", "web-7d9f", **{"pod-template-hash": "7d9f"}), {}) == "web"
    assert owner_name(_owned("ReplicaSet", "web-7d9f"), {}) == "web-7d9f"
    assert owner_name(_owned("Job", "backup-29001234"), {}) == "backup"
    assert owner_name(_owned("Job", "migrate-1"), {}) == "migrate-1"
    unowned = _pod("web", metadata={"ownerReferences": [{"kind": "Node", "name": "n1"}]})
    assert owner_name(unowned, {}) == "web"


def test_a_replica_set_in_view_names_its_deployment() -> None:
    replica_set: o.Doc = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": "x-1",
            "namespace": "shop",
            "ownerReferences": [{"kind": "Deployment", "name": "real", "controller": True}],
        },
    }
    view = o.view_of(replica_set)
    assert owner_name(_owned("ReplicaSet", "x-1"), view.replica_sets) == "real"


def test_uids() -> None:
    assert pod_uid(_pod("web")) == "uid-shop-web"
    first = pod_uid(_pod("web", metadata={"uid": ""}))
    assert first.startswith("weft-")
    assert first == pod_uid(_pod("web", metadata={"uid": ""}))
    assert first != pod_uid(_pod("api", metadata={"uid": ""}))


def test_readiness() -> None:
    assert is_ready(_pod("web", ready=True))
    assert not is_ready(_pod("web", ready=False))
    plain = decode_object(o.pod("web") | {"status": {"podIP": "10.0.0.1"}}, "x")
    assert isinstance(plain, Pod)
    assert is_ready(plain)
