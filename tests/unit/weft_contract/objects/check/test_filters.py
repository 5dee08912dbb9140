"""Rules of route filters."""

from typing import Any

import pytest

from weft_contract.codec import convert
from weft_contract.objects.check.filters import HTTP_FILTERS, filter_problems
from weft_contract.objects.route import RouteFilter


def _found(*filters: dict[str, Any]) -> list[str]:
    items = convert(list(filters), tuple[RouteFilter, ...])
    return [problem.path for problem in filter_problems(items, "$", HTTP_FILTERS)]


def _headers(**changes: Any) -> dict[str, Any]:
    return {"type": "RequestHeaderModifier", "requestHeaderModifier": changes}


def _redirect(**target: Any) -> dict[str, Any]:
    return {"type": "RequestRedirect", "requestRedirect": target}


def _rewrite(**target: Any) -> dict[str, Any]:
    return {"type": "URLRewrite", "urlRewrite": target}


def _full(value: str) -> dict[str, Any]:
    return {"type": "ReplaceFullPath", "replaceFullPath": value}


@pytest.mark.parametrize(
    "item",
    [
        _headers(set=[{"name": "X-A", "value": "b"}], add=[{"name": "X-B", "value": ""}], remove=["X-C"]),
        _headers(set=[{"name": "x-a", "value": "tab\tand späce"}]),
        {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"remove": ["server"]}},
        _redirect(scheme="https", hostname="a.example", port=8443, statusCode=308, path=_full("/b")),
        _redirect(),
        _rewrite(hostname="a.example", path=_full("/b%20c")),
        _rewrite(path={"type": "ReplacePrefixMatch", "replacePrefixMatch": ""}),
    ],
)
def test_filters_that_are_right_have_no_problems(item: dict[str, Any]) -> None:
    assert _found(item) == []


@pytest.mark.parametrize(
    ("item", "path"),
    [
        ({"type": "RequestRedirect"}, "$[0]"),
        ({"type": "RequestRedirect", "urlRewrite": {}}, "$[0].urlRewrite"),
        ({**_redirect(), "requestHeaderModifier": {}}, "$[0].requestHeaderModifier"),
        ({"type": "CORS", "cors": {}}, "$[0].type"),
        (_headers(set=[{"name": "a b", "value": "c"}]), "$[0].requestHeaderModifier.set[0].name"),
        (_headers(set=[{"name": ":path", "value": "c"}]), "$[0].requestHeaderModifier.set[0].name"),
        (_headers(set=[{"name": "a", "value": "b\r\nc: d"}]), "$[0].requestHeaderModifier.set[0].value"),
        (_headers(add=[{"name": "a", "value": "b\x00"}]), "$[0].requestHeaderModifier.add[0].value"),
        (_headers(remove=["a\n"]), "$[0].requestHeaderModifier.remove[0]"),
        (_headers(set=[{"name": "A", "value": "b"}], remove=["a"]), "$[0].requestHeaderModifier.remove[0]"),
        (_headers(set=[{"name": "Host", "value": "b"}]), "$[0].requestHeaderModifier.set[0].name"),
        (_headers(set=[{"name": "Content-Length", "value": "1"}]), "$[0].requestHeaderModifier.set[0].name"),
        (_headers(remove=["Transfer-Encoding"]), "$[0].requestHeaderModifier.remove[0]"),
        (_headers(add=[{"name": "Weft-Source", "value": "b"}]), "$[0].requestHeaderModifier.add[0].name"),
        (_redirect(hostname="A.example"), "$[0].requestRedirect.hostname"),
        (_redirect(hostname="10.0.0.1"), "$[0].requestRedirect.hostname"),
        (_redirect(hostname="a.example:80"), "$[0].requestRedirect.hostname"),
        (_redirect(hostname="a\r\nb"), "$[0].requestRedirect.hostname"),
        (_rewrite(hostname=""), "$[0].urlRewrite.hostname"),
        (_rewrite(path=_full("b")), "$[0].urlRewrite.path.replaceFullPath"),
        (_rewrite(path=_full("/b?c")), "$[0].urlRewrite.path.replaceFullPath"),
        (_rewrite(path=_full("/b\r\nc")), "$[0].urlRewrite.path.replaceFullPath"),
        (_rewrite(path=_full("/../b")), "$[0].urlRewrite.path.replaceFullPath"),
        (_rewrite(path={"type": "ReplaceFullPath"}), "$[0].urlRewrite.path"),
        (_rewrite(path={"type": "ReplaceFullPath", "replacePrefixMatch": "/a"}), "$[0].urlRewrite.path"),
        (
            _rewrite(path={"type": "ReplacePrefixMatch", "replacePrefixMatch": "a"}),
            "$[0].urlRewrite.path.replacePrefixMatch",
        ),
        (_redirect(path=_full("//evil.example")), "$[0].requestRedirect.path.replaceFullPath"),
    ],
)
def test_each_rule_refuses(item: dict[str, Any], path: str) -> None:
    assert path in _found(item)


def test_a_filter_is_given_once() -> None:
    assert _found(_headers(remove=["a"]), _headers(remove=["b"])) == ["$[1]"]
    assert "$" in _found(_redirect(), _rewrite(hostname="a.example"))
