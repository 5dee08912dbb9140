"""Rules of AuthorizationPolicy that its shape cannot say."""

from typing import Any

import pytest

from weft_contract.objects import AuthorizationPolicy, decode_object, problems
from weft_contract.problems import Problem


def _found(spec: dict[str, Any], **metadata: Any) -> list[Problem]:
    doc = {
        "apiVersion": "weft.dev/v1alpha1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "web", "namespace": "shop", **metadata},
        "spec": spec,
    }
    item = decode_object(doc, "web.yaml#1")
    assert isinstance(item, AuthorizationPolicy)
    return problems(item, lambda _: None, source="web.yaml#1")


def _rule(**rule: Any) -> dict[str, Any]:
    return {"rules": [rule]}


def _errors(spec: dict[str, Any]) -> list[str]:
    return [problem.path for problem in _found(spec) if not problem.warning]


_FULL = {
    "selector": {"matchLabels": {"app": "web"}},
    "action": "ALLOW",
    "mode": "DryRun",
    "rules": [
        {
            "from": [
                {"source": {"principals": ["cluster.local/ns/shop/sa/web"], "notNamespaces": ["test-*"]}},
                {
                    "source": {
                        "serviceAccounts": ["web", "shop/api"],
                        "ipBlocks": ["10.0.0.0/8"],
                        "notIpBlocks": ["10.0.0.7"],
                    }
                },
            ],
            "to": [
                {
                    "operation": {
                        "hosts": ["*.shop.svc.cluster.local"],
                        "ports": [8080, "8081"],
                        "methods": ["GET", "HEAD"],
                        "paths": ["/foo", "/shops/{*}/items"],
                        "notPaths": ["/foo/secret*"],
                    }
                }
            ],
            "when": [
                {"key": "request.headers[X-Tenant]", "values": ["a*"], "notValues": ["ab"]},
                {"key": "source.ip", "notValues": ["10.9.0.0/16"]},
                {"key": "source.namespace", "values": ["shop"]},
                {"key": "source.principal", "values": ["*"]},
                {"key": "source.serviceAccount", "values": ["shop/web"]},
                {"key": "destination.ip", "values": ["10.0.0.1"]},
                {"key": "destination.port", "values": ["8080"]},
                {"key": "connection.sni", "values": ["*.example.com"]},
            ],
            "rateLimit": {"requestsPerSecond": 10, "burst": 20, "per": "Total"},
        }
    ],
}


def test_a_policy_that_uses_everything_has_no_problems() -> None:
    assert _found(_FULL) == []


def test_problems_name_source_and_subject() -> None:
    (problem,) = _found({"action": "CUSTOM", "rules": [{}]})
    assert str(problem).startswith("web.yaml#1 AuthorizationPolicy shop/web: $.spec.action: ")


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"selector": {}, "targetRefs": [{"kind": "Service", "name": "a"}], "rules": [{}]}, "$.spec"),
        ({"targetRefs": [{"kind": "Namespace", "name": "a"}], "rules": [{}]}, "$.spec.targetRefs[0]"),
        ({"targetRefs": [{"group": "apps", "kind": "Deployment", "name": "a"}], "rules": [{}]}, "$.spec.targetRefs[0]"),
        ({"action": "CUSTOM", "provider": {"name": "x"}, "rules": [{}]}, "$.spec.action"),
        ({"action": "DENY", "provider": {"name": "x"}, "rules": [{}]}, "$.spec.provider"),
        ({"action": "DENY", **_rule(rateLimit={"requestsPerSecond": 1})}, "$.spec.rules[0].rateLimit"),
        ({"action": "AUDIT", **_rule(rateLimit={"requestsPerSecond": 1})}, "$.spec.rules[0].rateLimit"),
        (_rule(**{"from": [{"source": {}}]}), "$.spec.rules[0].from[0].source"),
        (_rule(**{"from": [{"source": {"principals": ["web"]}}]}), "$.spec.rules[0].from[0].source.principals[0]"),
        (
            _rule(**{"from": [{"source": {"notPrincipals": ["*", "a*b"]}}]}),
            "$.spec.rules[0].from[0].source.notPrincipals[1]",
        ),
        (_rule(**{"from": [{"source": {"namespaces": ["A"]}}]}), "$.spec.rules[0].from[0].source.namespaces[0]"),
        (_rule(**{"from": [{"source": {"notNamespaces": ["A"]}}]}), "$.spec.rules[0].from[0].source.notNamespaces[0]"),
        (
            _rule(**{"from": [{"source": {"serviceAccounts": ["*"]}}]}),
            "$.spec.rules[0].from[0].source.serviceAccounts[0]",
        ),
        (
            _rule(**{"from": [{"source": {"notServiceAccounts": ["a/b/c"]}}]}),
            "$.spec.rules[0].from[0].source.notServiceAccounts[0]",
        ),
        (_rule(**{"from": [{"source": {"ipBlocks": ["x"]}}]}), "$.spec.rules[0].from[0].source.ipBlocks[0]"),
        (
            _rule(**{"from": [{"source": {"notIpBlocks": ["10.0.0.0/99"]}}]}),
            "$.spec.rules[0].from[0].source.notIpBlocks[0]",
        ),
        (
            _rule(**{"from": [{"source": {"requestPrincipals": ["*"]}}]}),
            "$.spec.rules[0].from[0].source.requestPrincipals",
        ),
        (
            _rule(**{"from": [{"source": {"notRequestPrincipals": ["*"]}}]}),
            "$.spec.rules[0].from[0].source.notRequestPrincipals",
        ),
        (
            _rule(**{"from": [{"source": {"remoteIpBlocks": ["10.0.0.1"]}}]}),
            "$.spec.rules[0].from[0].source.remoteIpBlocks",
        ),
        (
            _rule(**{"from": [{"source": {"notRemoteIpBlocks": ["10.0.0.1"]}}]}),
            "$.spec.rules[0].from[0].source.notRemoteIpBlocks",
        ),
        (
            _rule(**{"from": [{"source": {"serviceAccounts": ["a"], "namespaces": ["b"]}}]}),
            "$.spec.rules[0].from[0].source",
        ),
        (_rule(to=[{"operation": {}}]), "$.spec.rules[0].to[0].operation"),
        (_rule(to=[{"operation": {"hosts": ["a b"]}}]), "$.spec.rules[0].to[0].operation.hosts[0]"),
        (_rule(to=[{"operation": {"notHosts": ["a/"]}}]), "$.spec.rules[0].to[0].operation.notHosts[0]"),
        (_rule(to=[{"operation": {"ports": [0]}}]), "$.spec.rules[0].to[0].operation.ports[0]"),
        (_rule(to=[{"operation": {"notPorts": ["http"]}}]), "$.spec.rules[0].to[0].operation.notPorts[0]"),
        (_rule(to=[{"operation": {"methods": ["G T"]}}]), "$.spec.rules[0].to[0].operation.methods[0]"),
        (_rule(to=[{"operation": {"notMethods": ["G*T"]}}]), "$.spec.rules[0].to[0].operation.notMethods[0]"),
        (_rule(to=[{"operation": {"paths": ["foo"]}}]), "$.spec.rules[0].to[0].operation.paths[0]"),
        (_rule(to=[{"operation": {"notPaths": ["/a/{**}/{*}"]}}]), "$.spec.rules[0].to[0].operation.notPaths[0]"),
        (_rule(when=[{"key": "source.ip"}]), "$.spec.rules[0].when[0]"),
        (_rule(when=[{"key": "source.ip", "values": ["x"]}]), "$.spec.rules[0].when[0].values[0]"),
        (_rule(when=[{"key": "destination.port", "notValues": ["http"]}]), "$.spec.rules[0].when[0].notValues[0]"),
        (_rule(when=[{"key": "request.headers[]", "values": ["x"]}]), "$.spec.rules[0].when[0].key"),
        (_rule(when=[{"key": "request.headers[a b]", "values": ["x"]}]), "$.spec.rules[0].when[0].key"),
        (_rule(when=[{"key": "request.headers", "values": ["x"]}]), "$.spec.rules[0].when[0].key"),
        (_rule(when=[{"key": "request.headers[a]", "values": ["x*y"]}]), "$.spec.rules[0].when[0].values[0]"),
        (_rule(when=[{"key": "request.auth.claims[iss]", "values": ["x"]}]), "$.spec.rules[0].when[0].key"),
        (_rule(when=[{"key": "remote.ip", "values": ["10.0.0.1"]}]), "$.spec.rules[0].when[0].key"),
        (_rule(when=[{"key": "Source.Ip", "values": ["10.0.0.1"]}]), "$.spec.rules[0].when[0].key"),
    ],
)
def test_each_rule_refuses(spec: dict[str, Any], path: str) -> None:
    assert path in _errors(spec)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, "denies every request"),
        ({"rules": []}, "denies every request"),
        ({"action": "DENY"}, "matches nothing"),
        ({"action": "AUDIT"}, "matches nothing"),
        ({"targetRefs": [{"kind": "Service", "name": "a"}] * 2, "rules": [{}]}, "is there twice"),
        (_rule(**{"from": [{"source": {"principals": ["*/ns/a/sa/b"]}}]}), "every trust domain"),
        (_rule(to=[{"operation": {"methods": ["get"]}}]), "with case"),
        (_rule(to=[{"operation": {"hosts": ["web:80"]}}]), "without their port"),
    ],
)
def test_what_is_legal_and_risky_is_warned_of(spec: dict[str, Any], words: str) -> None:
    found = _found(spec)
    assert [problem.warning for problem in found] == [True]
    assert words in found[0].message


def test_everything_wrong_is_found_at_once() -> None:
    assert (
        len(
            _errors(
                _rule(**{"from": [{"source": {"principals": ["a", "b"]}}], "to": [{"operation": {"paths": ["c"]}}]})
            )
        )
        == 3
    )


def test_allow_all_is_fine_and_istios_dry_run_annotation_is_noticed() -> None:
    assert _found({"rules": [{}]}) == []
    (problem,) = _found({"rules": [{}]}, annotations={"istio.io/dry-run": "true"})
    assert problem.warning
    assert problem.remedy == "set spec.mode to DryRun"
