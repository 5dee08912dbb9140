"""What remains of broken objects: enough to refuse in the right place."""

from typing import Any

import pytest

from weft_contract import objects
from weft_contract.objects import salvage


def _policy(spec: object, **metadata: object) -> dict[str, Any]:
    meta = {"name": "web", "namespace": "shop", **metadata}
    return {"apiVersion": "weft.dev/v1alpha1", "kind": "AuthorizationPolicy", "metadata": meta, "spec": spec}


def test_the_scope_survives_broken_rules() -> None:
    spec = {
        "selector": {"matchLabels": {"app": "web"}},
        "action": "DENY",
        "mode": "DryRun",
        "rules": [{"from": "nobody"}],
        "surprise": 1,
    }
    item = salvage(_policy(spec, generation=7, creationTimestamp="2026-01-01T00:00:00Z", labels={"x": 3}))
    assert isinstance(item, objects.AuthorizationPolicy)
    assert item.spec.selector is not None
    assert item.spec.selector.match_labels == {"app": "web"}
    assert (item.spec.action, item.spec.mode, item.spec.rules) == ("DENY", "DryRun", ())
    assert (item.metadata.generation, item.metadata.created_unix_s) == (7, 1767225600.0)


@pytest.mark.parametrize(
    "spec", [None, [], 3, {"selector": "app=web"}, {"selector": {"matchLabls": {}}}, {"mode": "Dry"}]
)
def test_an_unreadable_scope_is_the_whole_namespace_and_is_enforced(spec: object) -> None:
    item = salvage(_policy(spec))
    assert isinstance(item, objects.AuthorizationPolicy)
    assert (item.spec.selector, item.spec.target_refs, item.spec.mode) == (None, (), "Enforce")


def test_targets_and_parents_survive() -> None:
    item = salvage(_policy({"targetRefs": [{"kind": "Service", "name": "web"}], "rules": 1}))
    assert isinstance(item, objects.AuthorizationPolicy)
    assert item.spec.target_refs[0].name == "web"
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "r"},
        "spec": {"parentRefs": [{"group": "", "kind": "Service", "name": "web"}], "rules": [{"nope": 1}]},
    }
    remains = salvage(route)
    assert isinstance(remains, objects.HTTPRoute)
    assert remains.spec.parent_refs[0].name == "web"
    assert remains.spec.rules == ()


def test_the_trust_domain_of_a_broken_mesh_survives() -> None:
    doc = {
        "apiVersion": "weft.dev/v1alpha1",
        "kind": "Mesh",
        "metadata": {"name": "default"},
        "spec": {"trustDomain": "corp.example", "defaultMode": "strict"},
    }
    item = salvage(doc)
    assert isinstance(item, objects.Mesh)
    assert item.spec.trust_domain == "corp.example"


@pytest.mark.parametrize(
    "doc",
    [
        {},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": 3},
        {"apiVersion": "weft.dev/v1alpha1", "kind": "AuthorizationPolicy", "metadata": {}},
        {"apiVersion": "weft.dev/v1alpha1", "kind": "TrafficPolicy", "metadata": {"name": "a"}},
        {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "ReferenceGrant", "metadata": {"name": "a"}},
    ],
)
def test_nothing_remains_of_what_has_no_name_or_refuses_by_being_absent(doc: dict[str, Any]) -> None:
    assert salvage(doc) is None


def test_an_unknown_version_still_refuses() -> None:
    doc = _policy({"selector": {"matchLabels": {"app": "web"}}}) | {"apiVersion": "weft.dev/v9"}
    assert isinstance(salvage(doc), objects.AuthorizationPolicy)
