"""Rules of PeerAuthentication, RateLimitPolicy and Mesh."""

from typing import Any

import pytest

from weft_contract.objects import Skipped, decode_object, problems
from weft_contract.problems import Problem


def _found(kind: str, spec: dict[str, Any], name: str = "default") -> list[Problem]:
    doc = {
        "apiVersion": "weft.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "shop"},
        "spec": spec,
    }
    item = decode_object(doc, "x")
    assert not isinstance(item, Skipped)
    return problems(item, lambda _: None)


def _paths(kind: str, spec: dict[str, Any], *, warning: bool = False) -> list[str]:
    return [problem.path for problem in _found(kind, spec) if problem.warning == warning]


_PORTS = {"selector": {"matchLabels": {"a": "b"}}}


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("PeerAuthentication", {}),
        ("PeerAuthentication", {"mtls": {"mode": "STRICT"}}),
        ("PeerAuthentication", {"mtls": {}}),
        ("PeerAuthentication", {**_PORTS, "portLevelMtls": {"8080": {"mode": "PERMISSIVE"}, "8081": {}}}),
        ("RateLimitPolicy", {"total": {"requestsPerSecond": 0.5}}),
        ("RateLimitPolicy", {"identity": {"requestsPerSecond": 10, "burst": 1}, "scope": "Local"}),
        (
            "RateLimitPolicy",
            {
                "targetRefs": [{"kind": "Service", "name": "web", "sectionName": "http"}],
                "match": [{"paths": ["/a*"], "methods": ["POST"]}],
                "overrides": [
                    {"requestsPerSecond": 5, "clientRefs": [{"kind": "ServiceAccount", "name": "a"}]},
                    {"requestsPerSecond": 6, "clientRefs": [{"name": "a", "namespace": "other"}]},
                ],
            },
        ),
        ("Mesh", {}),
        ("Mesh", {"trustDomain": "corp.example", "defaultMode": "STRICT", "telemetry": {"accessLog": "All"}}),
    ],
)
def test_what_is_right_has_no_problems(kind: str, spec: dict[str, Any]) -> None:
    assert _found(kind, spec) == []


@pytest.mark.parametrize(
    ("kind", "spec", "path"),
    [
        ("PeerAuthentication", {"portLevelMtls": {"8080": {}}}, "$.spec.portLevelMtls"),
        ("PeerAuthentication", {"selector": {}, "portLevelMtls": {"8080": {}}}, "$.spec.portLevelMtls"),
        ("PeerAuthentication", {**_PORTS, "portLevelMtls": {"http": {}}}, "$.spec.portLevelMtls['http']"),
        ("PeerAuthentication", {**_PORTS, "portLevelMtls": {"0": {}}}, "$.spec.portLevelMtls['0']"),
        ("PeerAuthentication", {**_PORTS, "portLevelMtls": {"80": {}, "080": {}}}, "$.spec.portLevelMtls['080']"),
        ("RateLimitPolicy", {}, "$.spec"),
        ("RateLimitPolicy", {"total": {"requestsPerSecond": 1}, "scope": "Cluster"}, "$.spec.scope"),
        (
            "RateLimitPolicy",
            {"total": {"requestsPerSecond": 1}, "match": [{"paths": ["x"]}]},
            "$.spec.match[0].paths[0]",
        ),
        ("RateLimitPolicy", {"total": {"requestsPerSecond": 1}, "match": [{}]}, "$.spec.match[0]"),
        (
            "RateLimitPolicy",
            {"total": {"requestsPerSecond": 1}, "selector": {}, "targetRefs": [{"kind": "Service", "name": "a"}]},
            "$.spec",
        ),
        (
            "RateLimitPolicy",
            {
                "overrides": [
                    {"requestsPerSecond": 1, "clientRefs": [{"name": "a"}, {"name": "a", "namespace": "shop"}]}
                ]
            },
            "$.spec.overrides[0].clientRefs[1]",
        ),
        (
            "RateLimitPolicy",
            {"overrides": [{"requestsPerSecond": 1, "clientRefs": [{"name": "A_b"}]}]},
            "$.spec.overrides[0].clientRefs[0]",
        ),
        (
            "RateLimitPolicy",
            {"overrides": [{"requestsPerSecond": 1, "clientRefs": [{"name": "a", "group": "x"}]}]},
            "$.spec.overrides[0].clientRefs[0].group",
        ),
        ("Mesh", {"trustDomain": "Corp"}, "$.spec.trustDomain"),
        ("Mesh", {"trustDomain": "a/b"}, "$.spec.trustDomain"),
        ("Mesh", {"clusterDomain": "cluster..local"}, "$.spec.clusterDomain"),
        ("Mesh", {"clusterDomain": "cluster.local."}, "$.spec.clusterDomain"),
    ],
)
def test_each_rule_refuses(kind: str, spec: dict[str, Any], path: str) -> None:
    assert path in _paths(kind, spec)


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("PeerAuthentication", {"mtls": {"mode": "DISABLE"}}),
        ("PeerAuthentication", {**_PORTS, "portLevelMtls": {"80": {"mode": "DISABLE"}}}),
        ("Mesh", {"defaultMode": "DISABLE"}),
    ],
)
def test_letting_everybody_in_is_warned_of(kind: str, spec: dict[str, Any]) -> None:
    assert len(_paths(kind, spec, warning=True)) == 1
    assert _paths(kind, spec) == []


def test_a_mesh_of_another_name_is_a_problem() -> None:
    (problem,) = _found("Mesh", {}, name="second")
    assert problem.path == "$.metadata.name"
