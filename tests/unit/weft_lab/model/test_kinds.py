"""Kinds: the words people type, and documents by version."""

import pytest

from weft_lab.model.kinds import KINDS, is_mesh_group, kind_for, kind_of_document


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("po", "Pod"), ("pods", "Pod"), ("Pod", "Pod"), ("svc", "Service"), ("endpoints", "EndpointSlice"),
        ("ep", "EndpointSlice"), ("deployments.apps", "Deployment"), ("deploy", "Deployment"), ("sts", "StatefulSet"),
        ("httproute", "HTTPRoute"), ("authorizationpolicies.weft.dev", "AuthorizationPolicy"), ("no", "Node"),
    ],
)  # fmt: skip
def test_words(word: str, name: str) -> None:
    found = kind_for(word)
    assert found is not None
    assert found.name == name


def test_unknown_words_are_none() -> None:
    assert kind_for("gizmo") is None


def test_every_kind_is_found_by_its_own_document() -> None:
    for kind in KINDS:
        assert kind_of_document(kind.api_version, kind.name) is kind


@pytest.mark.parametrize(
    ("version", "name"), [("apps/v1beta1", "Deployment"), ("extensions/v1", "Pod"), ("v1", "HTTPRoute")]
)
def test_other_versions_are_other_kinds(version: str, name: str) -> None:
    assert kind_of_document(version, name) is None


def test_all_versions_of_the_mesh_are_the_compilers_to_judge() -> None:
    assert kind_of_document("weft.dev/v9", "Mesh") is not None
    assert is_mesh_group("gateway.networking.k8s.io/v1beta1")
    assert not is_mesh_group("networking.k8s.io/v1")


def test_resources_are_printed_as_kubectl_does() -> None:
    found = kind_for("deploy")
    assert found is not None
    assert found.resource("web") == "deployment.apps/web"
