"""CRDs of our kinds: structural all the way down, bounded everywhere, explained everywhere, names that collide with nobody's."""

from collections.abc import Iterator
from typing import cast

import pytest

from weft_contract.labels import GROUP
from weft_contract.objects import KINDS, LATER
from weft_operator.crds import NAMES, KindNames, Schema, definition

TAKEN = {
    # Kubernetes
    "cm", "cs", "ds", "deploy", "ep", "ev", "hpa", "ing", "limits", "netpol", "no", "ns", "pc", "pdb", "po", "pv", "pvc",
    "quota", "rc", "rs", "sa", "sc", "sts", "svc", "cj", "crd", "crds", "csr", "va", "vwc", "mwc", "pcr",
    # Gateway API
    "gtw", "gc", "refgrant", "btlspolicy", "xbtrafficpolicy", "mesh", "lset",
    # Istio
    "ap", "pa", "ra", "dr", "gw", "vs", "se", "we", "wg", "telemetry",
    # Linkerd, Cilium, Consul, Kuma
    "sp", "srv", "authzpolicy", "meshtlsauthn", "netauthn", "cep", "ces", "cid", "cnp", "ccnp", "cn",
    # cert-manager, Flagger, Argo, Prometheus
    "cert", "certs", "cr", "crs", "issuer", "ro", "app", "apps", "wf", "smon", "pmon", "prom",
}  # fmt: skip


def schema(names: KindNames) -> Schema:
    spec = cast("dict[str, list[dict[str, dict[str, Schema]]]]", definition(names)["spec"])
    return spec["versions"][0]["schema"]["openAPIV3Schema"]


def places(node: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    yield path, node
    for name, field in cast("dict[str, Schema]", node.get("properties", {})).items():
        yield from places(field, f"{path}.{name}")
    for keyword, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if keyword in node:
            yield from places(cast("Schema", node[keyword]), path + mark)


every_place = [(names.kind, path, node) for names in NAMES for path, node in places(schema(names), names.kind)]


def test_the_kinds_that_are_carried_out_are_installed_and_no_others() -> None:
    assert {names.kind for names in NAMES} == {kind for group, kind in KINDS if group == GROUP}
    assert not {names.kind for names in NAMES} & LATER


def test_scopes_are_those_the_decoder_knows() -> None:
    assert {names.kind: names.namespaced for names in NAMES} == {
        kind: info.namespaced for (group, kind), info in KINDS.items() if group == GROUP
    }


@pytest.mark.parametrize("names", NAMES, ids=lambda names: names.kind)
def test_names_collide_with_nobody(names: KindNames) -> None:
    assert names.short not in TAKEN
    assert names.plural.startswith(names.singular.removesuffix("y"))
    assert len({item.short for item in NAMES}) == len(NAMES)


def test_schemas_are_structural() -> None:
    for _, path, node in every_place:
        assert not {"$ref", "anyOf", "oneOf", "allOf", "not", "nullable"} & node.keys(), path
        assert ("type" in node) != ("x-kubernetes-int-or-string" in node), path
        assert isinstance(node.get("type", ""), str), path


def test_everything_is_bounded() -> None:
    for _, path, node in every_place:
        match node.get("type"):
            case "string":
                assert {"maxLength", "enum"} & node.keys() or path.endswith((".apiVersion", ".kind")), path
            case "array":
                assert "maxItems" in node, path
            case "object" if "additionalProperties" in node:
                assert "maxProperties" in node, path


def test_every_field_is_explained() -> None:
    for _, path, node in every_place:
        if not path.endswith(("[]", "{}", ".metadata")):
            text = node.get("description")
            assert isinstance(text, str), path
            assert text.endswith("."), path


def test_a_default_is_one_that_the_decoder_would_take() -> None:
    for _, path, node in every_place:
        if "enum" in node and "default" in node:
            assert node["default"] in cast("list[str]", node["enum"]), path


def test_unknown_fields_are_kept_in_the_spec_and_nowhere_else() -> None:
    for kind, path, node in every_place:
        is_object = node.get("type") == "object" and "additionalProperties" not in node
        kept = node.get("x-kubernetes-preserve-unknown-fields", False)
        assert kept == (is_object and path.startswith(f"{kind}.spec")), path


def test_conditions_merge_by_type() -> None:
    for names in NAMES:
        status = cast("dict[str, dict[str, Schema]]", schema(names)["properties"])["status"]
        conditions = cast("dict[str, Schema]", status["properties"])["conditions"]
        assert conditions["x-kubernetes-list-type"] == "map"
        assert conditions["x-kubernetes-list-map-keys"] == ["type"]


def test_messages_of_rules_are_one_line_and_fit() -> None:
    for _, path, node in every_place:
        for rule in cast("list[dict[str, str]]", node.get("x-kubernetes-validations", [])):
            assert 0 < len(rule["message"]) <= 2048, path
            assert "\n" not in rule["message"] + rule["rule"] + rule.get("messageExpression", ""), path


@pytest.mark.parametrize("names", NAMES, ids=lambda names: names.kind)
def test_columns_are_those_people_expect(names: KindNames) -> None:
    spec = cast("dict[str, list[dict[str, list[dict[str, object]]]]]", definition(names)["spec"])
    columns = spec["versions"][0]["additionalPrinterColumns"]
    assert [item["name"] for item in columns] == ["Target", "Accepted", "Programmed", "Age", "Conflicts", "Reason"]
    assert [item["name"] for item in columns if item.get("priority")] == ["Conflicts", "Reason"]
