"""The column Target."""

from collections.abc import Mapping

import pytest

from weft_operator.conditions import target_text


@pytest.mark.parametrize(
    ("kind", "namespace", "spec", "text"),
    [
        ("AuthorizationPolicy", "shop", {}, "namespace"),
        ("AuthorizationPolicy", "shop", {"selector": {}}, "namespace"),
        ("AuthorizationPolicy", "shop", {"selector": {"matchLabels": {}}}, "namespace"),
        ("AuthorizationPolicy", "weft-system", {}, "mesh"),
        ("AuthorizationPolicy", "weft-system", {"selector": {"matchLabels": {"app": "a"}}}, "app=a"),
        ("Mesh", "", {}, "mesh"),
        ("PeerAuthentication", "shop", {"selector": {"matchLabels": {"b": "2", "a": "1"}}}, "a=1,b=2"),
        ("RateLimitPolicy", "shop", {"targetRefs": [{"kind": "Service", "name": "web"}]}, "Service/web"),
        (
            "RateLimitPolicy", "shop",
            {"targetRefs": [{"kind": "Service", "name": "web", "sectionName": "http"}, {"kind": "Service", "name": "b"}]},
            "Service/web:http,Service/b",
        ),
        ("AuthorizationPolicy", "shop", {"selector": "x", "targetRefs": {"kind": "Service"}}, "namespace"),
        ("AuthorizationPolicy", "shop", {"targetRefs": ["x", {}]}, "Service/"),
    ],
)  # fmt: skip
def test_it_is_short_and_true(kind: str, namespace: str, spec: Mapping[str, object], text: str) -> None:
    assert target_text(kind, namespace, spec) == text


def test_it_fits_its_field() -> None:
    labels = {f"label-{n}": "x" * 60 for n in range(64)}
    assert len(target_text("AuthorizationPolicy", "shop", {"selector": {"matchLabels": labels}})) == 1024
