"""The charts say what the code says: versions, ports, names, metrics; the schema knows every value and no other."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from weft_agent.control.check import CAPABILITIES
from weft_agent.telemetry.families import FAMILIES
from weft_contract import labels, ports, stream
from weft_operator.webhooks import MUTATE_PATH, VALIDATE_PATH, GateSettings, gate_container

ROOT = Path(__file__).resolve().parents[2]
CHARTS = ROOT / "manifests" / "charts"
WEFT = CHARTS / "weft"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
FOREIGN = ("kube_", "container_")
"""Metrics of kube-state-metrics and of the kubelet."""


def values(chart: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CHARTS / chart / "values.yaml").read_text())
    return found


def schema(chart: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CHARTS / chart / "values.schema.json").read_text())
    return found


def template(name: str) -> str:
    return (WEFT / "templates" / name).read_text()


@pytest.mark.parametrize("chart", ["weft", "weft-crds"])
def test_chart_and_images_have_the_distributions_version(chart: str) -> None:
    about = yaml.safe_load((CHARTS / chart / "Chart.yaml").read_text())
    assert (about["name"], about["version"], about["appVersion"]) == (chart, VERSION, VERSION)


def test_examples_name_the_image_of_this_version() -> None:
    for path in sorted((ROOT / "manifests" / "examples").rglob("*.yaml")):
        named = set(re.findall(r"image: (weft\.dev/\S+)", path.read_text()))
        assert named <= {f"weft.dev/demo:{VERSION}"}, path.name


def mismatches(value: Any, rules: Mapping[str, Any], place: str) -> Iterator[str]:
    if rules.get("type") == "object" and "properties" in rules:
        if rules.get("additionalProperties") is not False:
            yield f"{place}: takes properties that nobody reads"
        for name in sorted(
            (set(rules["properties"]) ^ set(value)) - {"global", "localhostProfile", "name", "valueFrom"}
        ):
            yield f"{place}.{name}: in one of values and schema only"
        for name in set(rules["properties"]) & set(value):
            yield from mismatches(value[name], rules["properties"][name], f"{place}.{name}")


@pytest.mark.parametrize("chart", ["weft", "weft-crds"])
def test_the_schema_has_every_value_and_refuses_others(chart: str) -> None:
    assert not list(mismatches(values(chart), schema(chart), chart))


@pytest.mark.parametrize("chart", ["weft", "weft-crds"])
def test_every_value_is_explained(chart: str) -> None:
    lines = (CHARTS / chart / "values.yaml").read_text().splitlines()
    top = [number for number, line in enumerate(lines) if re.match(r"\w+: \S", line)]
    assert not [lines[number] for number in top if not lines[number - 1].startswith("# -- ")]


def test_the_schema_is_checked_against_itself() -> None:
    """A value that the schema lacks is found, so that the comparison above means something."""
    wrong = values("weft") | {"unknown": 1}
    assert list(mismatches(wrong, schema("weft"), "weft")) == ["weft.unknown: in one of values and schema only"]


def test_nothing_in_the_templates_is_random_or_looks_at_the_cluster() -> None:
    for path in (CHARTS).rglob("templates/**/*"):
        if path.is_file() and path.name != "NOTES.txt":
            found = re.findall(
                r"\b(rand\w+|genCA|gen\w+Cert|genPrivateKey|uuidv4|now|lookup|htpasswd)\b", path.read_text()
            )
            assert not found, path


def test_ports_names_and_paths_are_the_contracts() -> None:
    agent, operator = template("agent/daemonset.yaml"), template("operator/deployment.yaml")
    assert f"svc.{{{{ .Values.clusterDomain }}}}:{ports.STREAM_PORT}" in agent
    assert f"audience: {stream.TOKEN_AUDIENCE}," in agent
    for text in (agent, operator):
        assert f"name: metrics, containerPort: {ports.METRICS_PORT}" in text
        assert f"name: health, containerPort: {ports.HEALTH_PORT}" in text
    assert f"name: stream, containerPort: {ports.STREAM_PORT}" in operator
    assert f"name: webhooks, containerPort: {ports.WEBHOOK_PORT}" in operator
    assert f"path: {MUTATE_PATH}," in template("webhooks/gate.yaml")
    assert f"path: {VALIDATE_PATH}," in template("webhooks/objects.yaml")
    assert f'server_hostname="{stream.SERVER_NAME}"' in template("tests/connection.yaml")
    assert f"key: {labels.MESH_LABEL}, operator: In, values: [{labels.MESH_ENABLED}]" in template("webhooks/_gate.tpl")


def test_the_gate_of_the_policy_is_that_of_the_webhook() -> None:
    written = yaml.safe_load((WEFT / "files" / "gate.yaml").read_text())
    made = gate_container(GateSettings(image="i"))
    assert {**written, "image": "i", "imagePullPolicy": "IfNotPresent"} == made
    policy, operator = template("webhooks/_gate.tpl"), template("operator/deployment.yaml")
    image = 'include "weft.image" (dict "root" . "image" .Values.agent.image)'
    for text in (policy, operator):
        assert image in text
        assert ".Values.agent.image.pullPolicy" in text


def test_the_agent_has_the_capabilities_that_it_checks_for() -> None:

    given = set(re.findall(r"^ +- ([A-Z_]+)\b", template("agent/daemonset.yaml"), re.MULTILINE))
    assert given >= {name.removeprefix("CAP_") for name in CAPABILITIES}
    assert "[ALL]" in template("agent/daemonset.yaml")


def expressions() -> Iterator[tuple[str, str]]:
    for path in sorted((WEFT / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            yield from ((path.name, target["expr"]) for target in panel["targets"])
    for line in template("monitoring/rules.yaml").splitlines():
        if "expr:" in line:
            yield "rules.yaml", line.partition("expr:")[2]


def test_dashboards_and_alerts_ask_for_metrics_that_exist() -> None:
    known = set(FAMILIES) | {
        f"{family.name}_{part}"
        for family in FAMILIES.values()
        if family.kind == "histogram"
        for part in ("bucket", "sum", "count")
    }
    asked = [(place, name) for place, text in expressions() for name in re.findall(r"\b((?:istio|weft)_\w+)\b", text)]
    assert len(asked) > 30
    assert not [item for item in asked if item[1] not in known and not item[1].startswith(("weft_operator_", *FOREIGN))]
