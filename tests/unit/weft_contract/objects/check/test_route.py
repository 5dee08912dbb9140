"""Rules of routes that their shapes cannot say."""

from typing import Any

import pytest

from weft_contract.objects import Skipped, decode_object, problems
from weft_contract.problems import Problem
from weft_operator.compile import regex_error

_PARENT = {"group": "", "kind": "Service", "name": "web"}
_BACKEND = {"name": "web", "port": 80}


def _found(kind: str, spec: dict[str, Any]) -> list[Problem]:
    doc = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": kind, "metadata": {"name": "r", "namespace": "shop"}}
    item = decode_object({**doc, "spec": {"parentRefs": [_PARENT], **spec}}, "x")
    assert not isinstance(item, Skipped)
    return problems(item, regex_error)


def _errors(kind: str, spec: dict[str, Any]) -> list[str]:
    return [problem.path for problem in _found(kind, spec) if not problem.warning]


def _match(**match: Any) -> dict[str, Any]:
    return {"rules": [{"matches": [match], "backendRefs": [_BACKEND]}]}


def _rule(**rule: Any) -> dict[str, Any]:
    return {"rules": [rule]}


_REDIRECT = {"type": "RequestRedirect", "requestRedirect": {"hostname": "a.example"}}
_REWRITE = {"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/b"}}}
_SET = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "X-A", "value": "b"}]}}


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("HTTPRoute", {}),
        ("HTTPRoute", _rule(backendRefs=[_BACKEND])),
        ("HTTPRoute", _rule(filters=[_SET])),
        ("HTTPRoute", _rule(filters=[_REDIRECT])),
        ("HTTPRoute", _rule(matches=[{"path": {"value": "/a"}}], filters=[_REWRITE], backendRefs=[_BACKEND])),
        ("HTTPRoute", _rule(backendRefs=[{**_BACKEND, "filters": [_SET], "weight": 0}, _BACKEND])),
        ("HTTPRoute", _rule(timeouts={"request": "10s", "backendRequest": "2s"})),
        ("HTTPRoute", _rule(timeouts={"request": "0s", "backendRequest": "2s"})),
        ("HTTPRoute", _match(path={"type": "Exact", "value": "/a/b"}, method="GET")),
        ("HTTPRoute", _match(path={"type": "RegularExpression", "value": "/a[0-9]+"})),
        (
            "HTTPRoute",
            _match(headers=[{"name": "X-A", "value": "b"}, {"name": "b", "type": "RegularExpression", "value": "c.*"}]),
        ),
        ("HTTPRoute", _match(queryParams=[{"name": "a", "value": "b"}, {"name": "A", "value": "b"}])),
        ("HTTPRoute", {"rules": [{"name": "a"}, {"name": "b"}, {}, {}]}),
        ("HTTPRoute", _rule(backendRefs=[{"group": "x.io", "kind": "Import", "name": "a"}])),
        ("GRPCRoute", _match(method={"service": "foo.Bar", "method": "Get"})),
        ("GRPCRoute", _match(method={"service": "foo.Bar"})),
        (
            "GRPCRoute",
            _match(method={"type": "RegularExpression", "method": "Get.*"}, headers=[{"name": "a", "value": "b"}]),
        ),
        ("GRPCRoute", _rule(filters=[_SET], backendRefs=[_BACKEND])),
        ("TCPRoute", _rule(backendRefs=[_BACKEND])),
        (
            "TLSRoute",
            {"parentRefs": [{"name": "gateway"}], "hostnames": ["a.example"], "rules": [{"backendRefs": [_BACKEND]}]},
        ),
    ],
)
def test_what_is_right_has_no_problems(kind: str, spec: dict[str, Any]) -> None:
    assert _found(kind, spec) == []


@pytest.mark.parametrize(
    ("kind", "spec", "path"),
    [
        ("HTTPRoute", {"parentRefs": [_PARENT, _PARENT]}, "$.spec.parentRefs[1]"),
        ("HTTPRoute", {"rules": [{"name": "a"}, {"name": "a"}]}, "$.spec.rules[1].name"),
        ("HTTPRoute", _match(path={"value": "a"}), "$.spec.rules[0].matches[0].path.value"),
        ("HTTPRoute", _match(path={"type": "Exact", "value": "/a//b"}), "$.spec.rules[0].matches[0].path.value"),
        ("HTTPRoute", _match(path={"type": "Exact", "value": "/a?b"}), "$.spec.rules[0].matches[0].path.value"),
        (
            "HTTPRoute",
            _match(path={"type": "RegularExpression", "value": "("}),
            "$.spec.rules[0].matches[0].path.value",
        ),
        (
            "HTTPRoute",
            _match(path={"type": "RegularExpression", "value": "(?=a)"}),
            "$.spec.rules[0].matches[0].path.value",
        ),
        ("HTTPRoute", _match(headers=[{"name": "a b", "value": "c"}]), "$.spec.rules[0].matches[0].headers[0].name"),
        (
            "HTTPRoute",
            _match(headers=[{"type": "RegularExpression", "name": "a", "value": "["}]),
            "$.spec.rules[0].matches[0].headers[0].value",
        ),
        (
            "HTTPRoute",
            _match(queryParams=[{"type": "RegularExpression", "name": "a", "value": "\\1"}]),
            "$.spec.rules[0].matches[0].queryParams[0].value",
        ),
        ("HTTPRoute", _rule(retry={"attempts": 1}), "$.spec.rules[0].retry"),
        ("HTTPRoute", _rule(sessionPersistence={}), "$.spec.rules[0].sessionPersistence"),
        ("HTTPRoute", _rule(timeouts={"request": "10"}), "$.spec.rules[0].timeouts.request"),
        ("HTTPRoute", _rule(timeouts={"backendRequest": "1.5s"}), "$.spec.rules[0].timeouts.backendRequest"),
        (
            "HTTPRoute",
            _rule(timeouts={"request": "1s", "backendRequest": "2s"}),
            "$.spec.rules[0].timeouts.backendRequest",
        ),
        ("HTTPRoute", _rule(filters=[_REDIRECT], backendRefs=[_BACKEND]), "$.spec.rules[0].backendRefs"),
        (
            "HTTPRoute",
            _rule(matches=[{"path": {"type": "Exact", "value": "/a"}}], filters=[_REWRITE]),
            "$.spec.rules[0].filters[0]",
        ),
        ("HTTPRoute", _rule(filters=[_REDIRECT, _REWRITE]), "$.spec.rules[0].filters"),
        ("HTTPRoute", _rule(backendRefs=[{"name": "web"}]), "$.spec.rules[0].backendRefs[0]"),
        (
            "HTTPRoute",
            _rule(backendRefs=[{**_BACKEND, "filters": [_REDIRECT]}]),
            "$.spec.rules[0].backendRefs[0].filters[0].type",
        ),
        ("GRPCRoute", _match(method={}), "$.spec.rules[0].matches[0].method"),
        ("GRPCRoute", _match(method={"service": "a/b"}), "$.spec.rules[0].matches[0].method.service"),
        ("GRPCRoute", _match(method={"service": "a", "method": "b.c"}), "$.spec.rules[0].matches[0].method.method"),
        (
            "GRPCRoute",
            _match(method={"type": "RegularExpression", "service": "("}),
            "$.spec.rules[0].matches[0].method.service",
        ),
        ("GRPCRoute", _rule(sessionPersistence={}), "$.spec.rules[0].sessionPersistence"),
        ("GRPCRoute", _rule(filters=[_REWRITE]), "$.spec.rules[0].filters[0].type"),
        (
            "GRPCRoute",
            _rule(backendRefs=[{**_BACKEND, "filters": [_REWRITE]}]),
            "$.spec.rules[0].backendRefs[0].filters[0].type",
        ),
        ("TCPRoute", {}, "$.spec.rules"),
        ("TCPRoute", {"rules": [{"backendRefs": [_BACKEND]}] * 2}, "$.spec.rules"),
        ("TCPRoute", _rule(backendRefs=[{"name": "web"}]), "$.spec.rules[0].backendRefs[0]"),
        ("TLSRoute", _rule(backendRefs=[_BACKEND]), "$.kind"),
    ],
)
def test_each_rule_refuses(kind: str, spec: dict[str, Any], path: str) -> None:
    assert path in _errors(kind, spec)


@pytest.mark.parametrize("kind", ["RequestMirror", "CORS", "ExternalAuth", "ExtensionRef"])
def test_filters_not_supported_yet_are_named(kind: str) -> None:
    member = {
        "RequestMirror": "requestMirror",
        "CORS": "cors",
        "ExternalAuth": "externalAuth",
        "ExtensionRef": "extensionRef",
    }
    (problem,) = _found("HTTPRoute", _rule(filters=[{"type": kind, member[kind]: {}}]))
    assert problem.path == "$.spec.rules[0].filters[0].type"
    assert kind in problem.message
    assert "UnsupportedValue" in problem.message


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"hostnames": ["a.example"]}, "hostnames have no effect"),
        ({"parentRefs": [{"kind": "Service", "name": "web"}]}, "of the group ''"),
        (_match(headers=[{"name": "A", "value": "b"}, {"name": "a", "value": "c"}]), "only the first counts"),
        (_match(queryParams=[{"name": "a", "value": "b"}, {"name": "a", "value": "c"}]), "only the first counts"),
        (_rule(backendRefs=[{**_BACKEND, "weight": 0}]), "all weights are 0"),
    ],
)
def test_what_is_legal_and_risky_is_warned_of(spec: dict[str, Any], words: str) -> None:
    (problem,) = _found("HTTPRoute", spec)
    assert problem.warning
    assert words in problem.message
