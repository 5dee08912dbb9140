"""AuthorizationPolicy objects to resources."""

from typing import Any

import pytest

from weft_contract.objects import AuthorizationPolicy as PolicyObject
from weft_contract.objects import decode_object
from weft_contract.resources import AuthorizationPolicy, Condition, Operation, RateLimit, Rule, Source, TextMatch
from weft_operator.compile.authorization import asks_http, burst_of, compile_authorization
from weft_testing import objects as o


def _object(spec: dict[str, Any]) -> PolicyObject:
    item = decode_object(o.policy("AuthorizationPolicy", "p", spec), "x")
    assert isinstance(item, PolicyObject)
    return item


def _compiled(spec: dict[str, Any], broken: str | None = None) -> AuthorizationPolicy:
    return compile_authorization(_object(spec), broken)


def _rule(rule: dict[str, Any]) -> Rule:
    (found,) = _compiled({"rules": [rule]}).rules
    return found


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ("cluster.local/ns/a/sa/b", TextMatch(value="cluster.local/ns/a/sa/b")),
        ("spiffe://cluster.local/ns/a/sa/b", TextMatch(value="cluster.local/ns/a/sa/b")),
        ("cluster.local/ns/a/*", TextMatch(kind="prefix", value="cluster.local/ns/a/")),
        ("spiffe://cluster.local/*", TextMatch(kind="prefix", value="cluster.local/")),
        ("*/sa/b", TextMatch(kind="suffix", value="/sa/b")),
        ("*", TextMatch(kind="present")),
    ],
)
def test_principals(value: str, match: TextMatch) -> None:
    rule = _rule({"from": [{"source": {"principals": [value], "notPrincipals": [value]}}]})
    assert rule.sources == (Source(principals=(match,), not_principals=(match,)),)


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ("/foo", TextMatch(value="/foo")),
        ("/foo*", TextMatch(kind="prefix", value="/foo")),
        ("*.php", TextMatch(kind="suffix", value=".php")),
        ("*", TextMatch(kind="present")),
        ("/a/{*}/b", TextMatch(kind="template", value="/a/{*}/b")),
        ("/a/{**}", TextMatch(kind="template", value="/a/{**}")),
    ],
)
def test_paths(value: str, match: TextMatch) -> None:
    rule = _rule({"to": [{"operation": {"paths": [value], "notPaths": [value]}}]})
    assert rule.operations == (Operation(paths=(match,), not_paths=(match,)),)


def test_the_other_fields_of_source_and_operation() -> None:
    rule = _rule(
        {
            "from": [
                {
                    "source": {
                        "namespaces": ["a", "b-*"],
                        "notNamespaces": ["c"],
                        "ipBlocks": ["10.1.2.3", "10.0.0.7/8"],
                    }
                },
                {
                    "source": {
                        "serviceAccounts": ["web", "other/api"],
                        "notServiceAccounts": ["x"],
                        "notIpBlocks": ["FD00::1"],
                    }
                },
            ],
            "to": [
                {
                    "operation": {
                        "hosts": ["WEB.shop", "*.Example.com"],
                        "notHosts": ["x"],
                        "ports": ["8080", 81],
                        "notPorts": [1],
                    }
                },
                {"operation": {"methods": ["GET", "P*"], "notMethods": ["PUT"]}},
            ],
        }
    )
    assert rule.sources == (
        Source(
            namespaces=(TextMatch(value="a"), TextMatch(kind="prefix", value="b-")),
            not_namespaces=(TextMatch(value="c"),),
            ip_blocks=("10.1.2.3/32", "10.0.0.0/8"),
        ),
        Source(
            service_accounts=("shop/web", "other/api"), not_service_accounts=("shop/x",), not_ip_blocks=("fd00::1/128",)
        ),
    )
    assert rule.operations == (
        Operation(
            hosts=(TextMatch(value="web.shop"), TextMatch(kind="suffix", value=".example.com")),
            not_hosts=(TextMatch(value="x"),),
            ports=(8080, 81),
            not_ports=(1,),
        ),
        Operation(
            methods=(TextMatch(value="GET"), TextMatch(kind="prefix", value="P")), not_methods=(TextMatch(value="PUT"),)
        ),
    )


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        (
            "request.headers[X-Tenant]",
            "A*",
            Condition(key="request.headers[x-tenant]", values=(TextMatch(kind="prefix", value="A"),)),
        ),
        ("source.ip", "10.1.2.3/8", Condition(key="source.ip", values=(TextMatch(value="10.0.0.0/8"),))),
        ("destination.ip", "::1", Condition(key="destination.ip", values=(TextMatch(value="::1/128"),))),
        (
            "source.principal",
            "spiffe://a/*",
            Condition(key="source.principal", values=(TextMatch(kind="prefix", value="a/"),)),
        ),
        ("source.serviceAccount", "web", Condition(key="source.serviceAccount", values=(TextMatch(value="shop/web"),))),
        ("source.namespace", "*", Condition(key="source.namespace", values=(TextMatch(kind="present"),))),
        ("destination.port", "8080", Condition(key="destination.port", values=(TextMatch(value="8080"),))),
        (
            "connection.sni",
            "*.Example.com",
            Condition(key="connection.sni", values=(TextMatch(kind="suffix", value=".example.com"),)),
        ),
    ],
)
def test_conditions(key: str, value: str, expected: Condition) -> None:
    assert _rule({"when": [{"key": key, "values": [value]}]}).conditions == (expected,)
    flipped = _rule({"when": [{"key": key, "notValues": [value]}]}).conditions[0]
    assert (flipped.values, flipped.not_values) == ((), expected.values)


def test_rate_limits() -> None:
    assert _rule({"rateLimit": {"requestsPerSecond": 10}}).rate_limit == RateLimit(requests_per_second=10.0, burst=10)
    limit = {"requestsPerSecond": 0.5, "burst": 7, "per": "Total"}
    assert _rule({"rateLimit": limit}).rate_limit == RateLimit(requests_per_second=0.5, burst=7, per="total")
    assert [burst_of(rate, None) for rate in (0.1, 1, 1.2, 100)] == [1, 1, 2, 100]


def test_actions_and_modes() -> None:
    for action in ("ALLOW", "DENY", "AUDIT"):
        assert _compiled({"action": action, "rules": [{}]}).action == action
    assert _compiled({"mode": "DryRun", "rules": [{}]}).dry_run
    assert _compiled({}) == AuthorizationPolicy(namespace="shop", name="p")


@pytest.mark.parametrize(
    ("spec", "dry_run"),
    [
        ({}, False),
        ({"action": "DENY"}, False),
        ({"mode": "DryRun"}, True),
        ({"action": "AUDIT"}, True),
        ({"action": "CUSTOM"}, False),
    ],
)
def test_a_broken_policy_refuses_unless_it_never_would(spec: dict[str, Any], dry_run: bool) -> None:
    assert _compiled(spec, "why") == AuthorizationPolicy(namespace="shop", name="p", dry_run=dry_run, invalid="why")


def test_what_asks_about_http() -> None:
    http = [
        {"to": [{"operation": {field: ["x"]}}]}
        for field in ("hosts", "notHosts", "methods", "notMethods", "paths", "notPaths")
    ]
    assert all(asks_http(_rule(rule)) for rule in http)
    assert asks_http(_rule({"when": [{"key": "request.headers[a]", "values": ["b"]}]}))
    assert not asks_http(_rule({}))
    assert not asks_http(_rule({"from": [{"source": {"namespaces": ["a"]}}], "to": [{"operation": {"ports": [1]}}]}))
    assert not asks_http(_rule({"when": [{"key": "source.ip", "values": ["::1"]}]}))
