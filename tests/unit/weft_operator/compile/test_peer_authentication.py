"""Which mTLS mode holds where."""

from typing import Any

import pytest

from weft_contract.resources.workload import MtlsMode
from weft_operator.compile import Compiled, compile_cluster
from weft_operator.compile.members import find_members
from weft_operator.compile.peer_authentication import ModeTable
from weft_testing import objects as o

_WEB = {"matchLabels": {"app": "web"}}


def _peer(name: str, spec: Any, namespace: str = "shop", created: str = "") -> o.Doc:
    metadata = {"creationTimestamp": created} if created else {}
    return o.policy("PeerAuthentication", name, spec, namespace=namespace, **metadata)


def _mode(mode: str) -> dict[str, Any]:
    return {"mtls": {"mode": mode}}


def _modes(*bodies: o.Doc, default: MtlsMode = "PERMISSIVE") -> tuple[str, dict[int, str]]:
    view = o.view_of(o.namespace("shop"), o.pod("web", "10.0.0.1"), *bodies)
    member = find_members(view, "cluster.local").by_key["shop/web"]
    modes = ModeTable(view, default).look_up(member)
    return modes.mode, dict(modes.ports)


@pytest.mark.parametrize(
    ("bodies", "expected"),
    [
        ([], "PERMISSIVE"),
        ([_peer("m", _mode("STRICT"), "weft-system")], "STRICT"),
        ([_peer("m", _mode("STRICT"), "weft-system"), _peer("n", _mode("DISABLE"))], "DISABLE"),
        ([_peer("n", _mode("STRICT"), "other")], "PERMISSIVE"),
        ([_peer("n", _mode("DISABLE")), _peer("w", {"selector": _WEB, **_mode("STRICT")})], "STRICT"),
        ([_peer("w", {"selector": {"matchLabels": {"app": "db"}}, **_mode("STRICT")})], "PERMISSIVE"),
        ([_peer("m", {"selector": _WEB, **_mode("STRICT")}, "weft-system")], "PERMISSIVE"),
        ([_peer("m", _mode("STRICT"), "weft-system"), _peer("n", _mode("UNSET"))], "STRICT"),
        ([_peer("n", _mode("STRICT")), _peer("w", {"selector": _WEB, **_mode("UNSET")})], "STRICT"),
        ([_peer("n", _mode("STRICT")), _peer("w", {"selector": _WEB})], "STRICT"),
        ([_peer("n", {"selector": {}, **_mode("STRICT")})], "STRICT"),
    ],
)
def test_the_narrowest_wins_and_unset_inherits(bodies: list[o.Doc], expected: str) -> None:
    assert _modes(*bodies) == (expected, {})
    assert _modes(*reversed(bodies)) == (expected, {})


def test_the_mesh_default_is_the_widest() -> None:
    assert _modes(default="STRICT") == ("STRICT", {})
    assert _modes(_peer("n", _mode("PERMISSIVE")), default="STRICT") == ("PERMISSIVE", {})


def test_ports_are_exceptions() -> None:
    ports = {"8080": {"mode": "DISABLE"}, "8081": {"mode": "STRICT"}, "8082": {"mode": "UNSET"}, "8083": {}}
    spec = {"selector": _WEB, **_mode("STRICT"), "portLevelMtls": ports}
    assert _modes(_peer("w", spec)) == ("STRICT", {8080: "DISABLE"})
    spec = {"selector": _WEB, "portLevelMtls": ports}
    assert _modes(_peer("w", spec)) == ("PERMISSIVE", {8080: "DISABLE", 8081: "STRICT"})


def test_of_two_for_the_same_pods_the_older_wins_then_the_name() -> None:
    old = _peer("z", {"selector": _WEB, **_mode("STRICT")}, created="2025-01-01T00:00:00Z")
    new = _peer("a", {"selector": _WEB, **_mode("DISABLE")}, created="2026-01-01T00:00:00Z")
    assert _modes(old, new)[0] == _modes(new, old)[0] == "STRICT"
    first, second = _peer("a", _mode("STRICT")), _peer("b", _mode("DISABLE"))
    assert _modes(first, second)[0] == _modes(second, first)[0] == "STRICT"


def _verdicts(compiled: Compiled) -> dict[str, str]:
    return {item.key: item.accepted.reason for item in compiled.results if item.kind == "PeerAuthentication"}


def test_the_loser_is_told() -> None:
    compiled = o.compiled(o.namespace("shop"), _peer("a", _mode("STRICT")), _peer("b", _mode("DISABLE")))
    assert _verdicts(compiled) == {"shop/a": "Accepted", "shop/b": "Conflicted"}
    told = "shop/a holds for the same pods and is older, so this object has no effect"
    assert any(told in problem.message for problem in compiled.problems)
    (loser,) = (item for item in compiled.results if item.name == "b")
    assert (loser.accepted.message, loser.overridden_by) == (told, "shop/a")


@pytest.mark.parametrize(
    ("older", "newer", "overridden"),
    [
        ({"app": "web"}, {"app": "web"}, "shop/a"),
        ({"app": "web"}, {"app": "web", "version": "2"}, "shop/a"),
        ({"app": "web", "version": "2"}, {"app": "web"}, ""),
        ({"version": "2"}, {"app": "web"}, ""),
        ({"app": "web"}, {}, ""),
        ({}, {"app": "web"}, ""),
    ],
)
def test_who_has_no_effect_because_all_its_pods_are_anothers_is_told(
    older: dict[str, str], newer: dict[str, str], overridden: str
) -> None:
    first = _peer("a", {"selector": {"matchLabels": older}, **_mode("PERMISSIVE")}, created="2025-01-01T00:00:00Z")
    second = _peer("b", {"selector": {"matchLabels": newer}, **_mode("STRICT")}, created="2026-01-01T00:00:00Z")
    compiled = o.compiled(o.namespace("shop"), first, second)
    by_name = {item.name: item.overridden_by for item in compiled.results if item.kind == "PeerAuthentication"}
    assert by_name == {"a": "", "b": overridden}
    assert _verdicts(compiled)["shop/b"] == ("Conflicted" if overridden else "Accepted")


def test_the_first_of_a_chain_is_the_one_that_holds() -> None:
    labels = [{"app": "web"}, {"app": "web", "version": "2"}, {"app": "web", "version": "2", "zone": "a"}]
    chain = [
        _peer(f"p{n}", {"selector": {"matchLabels": each}, **_mode("STRICT")}, created=f"202{n}-01-01T00:00:00Z")
        for n, each in enumerate(labels, 1)
    ]
    compiled = o.compiled(o.namespace("shop"), *chain)
    assert [item.overridden_by for item in compiled.results if item.name in {"p2", "p3"}] == ["shop/p1", "shop/p1"]


def test_a_broken_one_that_holds_is_named_with_its_reason() -> None:
    older = _peer("a", {"selector": _WEB, **_mode("DISABLE")}, created="2020-01-01T00:00:00Z")
    broken = _peer("z", {"selector": _WEB, "mtls": {"mode": "PERMISIVE"}}, created="2025-01-01T00:00:00Z")
    (loser,) = (item for item in o.compiled(o.namespace("shop"), older, broken).results if item.name == "a")
    assert loser.overridden_by == "shop/z"
    assert "shop/z holds for the same pods and is broken, which means STRICT" in loser.accepted.message


@pytest.mark.parametrize(
    "spec",
    [
        {"selector": _WEB, "mtls": {"mode": "PERMISIVE"}},
        {"selector": _WEB, "mtls": {"mode": "DISABLE"}, "portLevelMtls": {"http": {"mode": "DISABLE"}}},
        {"mtls": "DISABLE"},
        {"selectr": _WEB, "mtls": {"mode": "DISABLE"}},
    ],
)
def test_a_broken_one_means_strict_and_wins(spec: dict[str, Any]) -> None:
    older = _peer(
        "a",
        {"selector": _WEB, **_mode("DISABLE")} if "selector" in spec else _mode("DISABLE"),
        created="2020-01-01T00:00:00Z",
    )
    assert _modes(older, _peer("z", spec)) == ("STRICT", {})
    compiled = o.compiled(o.namespace("shop"), _peer("z", spec))
    assert _verdicts(compiled) == {"shop/z": "Invalid"}
    assert any(not problem.warning for problem in compiled.problems)


def test_results_count_pods_and_nodes() -> None:
    view = o.view_of(
        o.namespace("shop"),
        o.node("n1", "172.16.0.1"),
        o.node("n2", "172.16.0.2"),
        o.pod("web", "10.0.0.1"),
        o.pod("db", "10.0.0.2", node="n2"),
        _peer("narrow", {"selector": _WEB, **_mode("STRICT")}),
        _peer("wide", _mode("STRICT")),
        _peer("mesh", _mode("STRICT"), "weft-system"),
    )
    found = {item.name: (item.pods, item.nodes) for item in compile_cluster(view).results}
    assert found == {"narrow": (1, ("n1",)), "wide": (2, ("n1", "n2")), "mesh": (2, ("n1", "n2"))}
