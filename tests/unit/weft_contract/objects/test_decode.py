"""Decoding documents: objects, skips, and every problem at once."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_contract import objects
from weft_contract.objects import KINDS, LATER, Skipped, decode_object, read_header
from weft_contract.objects.decode import MAX_DEPTH
from weft_contract.problems import ContractError, Problem

_POLICY: dict[str, Any] = {
    "apiVersion": "weft.dev/v1alpha1",
    "kind": "AuthorizationPolicy",
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {"rules": [{"to": [{"operation": {"paths": ["/foo"]}}]}]},
}


def _refused(doc: dict[str, Any]) -> list[str]:
    with pytest.raises(ContractError) as caught:
        decode_object(doc, "web.yaml#2")
    assert all(problem.source == "web.yaml#2" for problem in caught.value.problems)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(("group", "kind"), KINDS)
def test_every_kind_decodes_from_its_smallest_document(group: str, kind: str) -> None:
    info = KINDS[group, kind]
    spec: dict[str, Any] = {}
    if kind == "ReferenceGrant":
        spec = {"from": [{"group": "g", "kind": "k", "namespace": "n"}], "to": [{"group": "", "kind": "Service"}]}
    for version in info.versions:
        doc = {"apiVersion": version, "kind": kind, "metadata": {"name": "a"}, "spec": spec}
        item = decode_object(doc, "x")
        assert isinstance(item, info.python_type)
        assert item.metadata.namespace == ("default" if info.namespaced else "")


def test_a_policy_decodes() -> None:
    item = decode_object(_POLICY, "web.yaml#1")
    assert isinstance(item, objects.AuthorizationPolicy)
    assert item.spec.rules[0].to[0].operation.paths == ("/foo",)
    assert item.metadata.key == "shop/web"


def test_all_problems_come_at_once_with_place_subject_and_remedy() -> None:
    spec = {"action": "ALOW", "selektor": {}, "rules": [{"from": [], "rateLimit": {"requestsPerSecond": "10"}}]}
    lines = _refused(_POLICY | {"spec": spec})
    assert len(lines) == 4
    assert all(line.startswith("web.yaml#2 AuthorizationPolicy shop/web: $.spec.") for line in lines)
    assert any("did you mean 'selector'?" in line for line in lines)
    assert any("did you mean ALLOW?" in line for line in lines)


@pytest.mark.parametrize("kind", sorted(LATER))
def test_a_kind_that_is_not_there_yet_is_a_problem_naming_it_and_the_version(kind: str) -> None:
    (line,) = _refused(_POLICY | {"kind": kind})
    assert kind in line
    assert "weft.dev/v1alpha1 does not have" in line


def test_an_unknown_kind_of_our_group_is_a_problem() -> None:
    (line,) = _refused(_POLICY | {"kind": "AuthorisationPolicy"})
    assert "did you mean AuthorizationPolicy?" in line
    (line,) = _refused(_POLICY | {"kind": "Zebra"})
    assert "kinds of weft.dev/v1alpha1: AuthorizationPolicy, Mesh" in line


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("weft.dev/v1", "AuthorizationPolicy"),
        ("v1beta1", "Pod"),
        ("apps/v1beta1", "Deployment"),
        ("gateway.networking.k8s.io/v2", "HTTPRoute"),
        ("discovery.k8s.io/v1beta1", "EndpointSlice"),
    ],
)
def test_an_unknown_version_of_a_known_kind_is_a_problem(version: str, kind: str) -> None:
    (line,) = _refused({"apiVersion": version, "kind": kind, "metadata": {"name": "a"}})
    assert version in line
    assert "write " in line


@pytest.mark.parametrize(
    ("version", "kind", "note"),
    [
        ("v1", "ConfigMap", "does not use"),
        ("rbac.authorization.k8s.io/v1", "Role", "does not use"),
        ("serving.knative.dev/v1", "Service", "does not use"),
        ("security.istio.io/v1", "AuthorizationPolicy", "another mesh's"),
        ("gateway.networking.k8s.io/v1alpha2", "UDPRoute", "does not carry UDP"),
        ("gateway.networking.k8s.io/v1", "Gateway", "no gateways yet"),
    ],
)
def test_other_kinds_are_skipped_with_a_note(version: str, kind: str, note: str) -> None:
    item = decode_object({"apiVersion": version, "kind": kind, "metadata": {"name": "a"}, "spec": {"x": 1}}, "y#1")
    assert isinstance(item, Skipped)
    assert (item.source, item.kind, item.name) == ("y#1", kind, "a")
    assert note in item.note


@pytest.mark.parametrize(
    ("doc", "expected"),
    [
        ({}, "$.kind: required field 'kind' is missing"),
        ({"kind": "Pod"}, "$.apiVersion: required field 'apiVersion' is missing"),
        ({"kind": 3, "apiVersion": "v1"}, "'kind' is missing"),
        ({"kind": "Pod", "apiVersion": "v1"}, "$.metadata.name"),
        ({"kind": "Pod", "apiVersion": "v1", "metadata": []}, "$.metadata"),
        ({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": ""}}, "no name"),
        ({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a/b"}}, "is not a name"),
        ({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "../a"}}, "is not a name"),
        ({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a\n"}}, "is not a name"),
        ({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "A"}}, "is not a name"),
        ({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a" * 254}}, "is not a name"),
        ({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a", "namespace": "b.c"}}, "is not a namespace"),
        ({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a", "namespace": "b/c"}}, "is not a namespace"),
    ],
)
def test_documents_without_proper_names_are_refused(doc: dict[str, Any], expected: str) -> None:
    assert any(expected in line for line in _refused(doc))


def test_foreign_objects_are_read_leniently() -> None:
    doc = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a", "creationTimestamp": None, "labels": None, "managedFields": [{"x": 1}]},
        "spec": {"containers": [{"name": "c", "image": "i", "ports": None}], "volumes": [{"name": "v"}]},
        "status": None,
    }
    item = decode_object(doc, "x")
    assert isinstance(item, objects.Pod)
    assert item.spec.containers[0].ports == ()


def test_wrong_types_of_what_we_read_are_found_in_foreign_objects() -> None:
    doc = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a", "labels": {"x": 1}},
        "spec": {"hostNetwork": "yes"},
    }
    lines = _refused(doc)
    assert any("$.metadata.labels.x" in line for line in lines)
    assert any("$.spec.hostNetwork" in line for line in lines)


@pytest.mark.parametrize(
    "spec",
    [
        {"rules": [{"from": None, "to": [{"operation": {"paths": ["/a"]}}]}]},
        {"rules": None},
        {"selector": None},
        {"rules": [None]},
        None,
    ],
)
def test_a_null_in_a_policy_is_never_read_as_absent(spec: object) -> None:
    lines = _refused(_POLICY | {"spec": spec})
    assert any("nothing is given here" in line for line in lines)


def test_nulls_of_metadata_and_status_are_absent_even_in_strict_kinds() -> None:
    doc = _POLICY | {"metadata": {"name": "web", "creationTimestamp": None}, "status": None}
    assert isinstance(decode_object(doc, "x"), objects.AuthorizationPolicy)


def test_unknown_fields_of_routes_are_seen_at_every_depth() -> None:
    doc = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "a"},
        "spec": {"rules": [{"backendRefs": [{"name": "b", "port": 80, "prot": 1}], "hedge": {}}]},
    }
    lines = _refused(doc)
    assert any("$.spec.rules[0].backendRefs[0].prot" in line and "'port'" in line for line in lines)
    assert any("$.spec.rules[0].hedge" in line for line in lines)


def test_what_routes_do_not_support_is_still_read() -> None:
    doc = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "a"},
        "spec": {"rules": [{"retry": {"attempts": 3}, "filters": [{"type": "CORS", "cors": {"maxAge": 5}}]}]},
    }
    item = decode_object(doc, "x")
    assert isinstance(item, objects.HTTPRoute)
    assert item.spec.rules[0].retry == {"attempts": 3}


def test_numbers_as_keys_are_texts() -> None:
    spec = {"selector": {"matchLabels": {"app": "a"}}, "portLevelMtls": {8080: {"mode": "DISABLE"}}}
    item = decode_object(_POLICY | {"kind": "PeerAuthentication", "spec": spec}, "x")
    assert isinstance(item, objects.PeerAuthentication)
    assert item.spec.port_level_mtls["8080"].mode == "DISABLE"


def test_a_document_nested_too_deeply_is_refused() -> None:
    deep: object = 1
    for _ in range(MAX_DEPTH + 1):
        deep = [deep]
    assert any("nested deeper" in line for line in _refused(_POLICY | {"spec": {"rules": deep}}))


def test_a_header_is_read_whatever_else_is_wrong() -> None:
    header = read_header(
        {"apiVersion": "weft.dev/v1alpha1", "kind": "Mesh", "metadata": {"name": "a", "namespace": "x"}}
    )
    assert (header.group, header.subject) == ("weft.dev", "Mesh a")
    header = read_header({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": 3})
    assert header.subject == "Pod default/a"
    assert read_header({"kind": ["x"], "metadata": "y"}).subject == ""


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=6), children, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(KINDS)), st.dictionaries(st.sampled_from(["spec", "metadata", "status", "x"]), _JSON))
def test_any_document_decodes_or_says_why_not(kind: tuple[str, str], doc: dict[str, Any]) -> None:
    info = KINDS[kind]
    item: object = None
    found: tuple[Problem, ...] = ()
    try:
        item = decode_object({"apiVersion": info.versions[0], "kind": kind[1], **doc}, "x")
    except ContractError as exc:
        found = exc.problems
    assert bool(found) != isinstance(item, info.python_type)
