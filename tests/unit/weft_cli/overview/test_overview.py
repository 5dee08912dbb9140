"""From facts to what a person is told: nodes, operators, objects, and the findings of a check."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest

from weft_cli.cluster.metrics import Sample, read_samples
from weft_cli.cluster.objects import Fetched, document
from weft_cli.cluster.session import Session
from weft_cli.overview.facts import Facts, gather
from weft_cli.overview.finding import Finding
from weft_cli.overview.findings import before_installation, of_installation
from weft_cli.overview.nodes import node_states, operator_states
from weft_cli.overview.objects import troubled
from weft_operator.access import ApiError, NotFoundError
from weft_testing import objects as o

METRICS = """
weft_build_info{version="0.1.0"} 1
weft_capture_state{pod="shop/a",state="captured"} 1
weft_capture_state{pod="shop/b",state="captured"} 0
weft_capture_state{pod="shop/b",state="pending"} 1
weft_config_generation 7
weft_config_applied_generation{worker="0"} 7
weft_config_applied_generation{worker="1"} 6
weft_config_stale 1
weft_operator_connected 0
weft_config_refused_resources{worker="0"} 0
weft_certificate_not_after_seconds{identity="a"} 100000
weft_certificate_not_after_seconds{identity="b"} 50000
"""
GOOD = "\n".join(METRICS.replace('worker="1"} 6', 'worker="1"} 7').splitlines()[:3] + METRICS.splitlines()[5:6])


def own_pod(name: str, part: str, node: str, *, ready: bool = True) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": "weft", "app.kubernetes.io/component": part}
    status = {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}
    return {"kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": {"nodeName": node}, "status": status}


def facts(*bodies: dict[str, Any], metrics: Mapping[str, str] | None = None, **changes: object) -> Facts:
    samples: dict[str, Sequence[Sample]] = {
        name: list(read_samples(text)) for name, text in (metrics or {"agent-1": GOOD}).items()
    }
    values: dict[str, Any] = {
        "server": "https://test",
        "server_version": "v1.35.4",
        "namespace": "weft-system",
        "fetched": Fetched(documents=tuple(document(body) for body in bodies), unreadable=()),
        "agents": [own_pod("agent-1", "agent", "n1")],
        "operators": [own_pod("operator-1", "operator", "n1")],
        "metrics": samples,
        "silent": {},
        "leaders": ["operator-1_abc"],
        "missing": (),
    }
    return Facts(**{**values, **changes})


MESHED = (o.namespace("shop"), o.node("n1", "172.20.0.1"), o.pod("a", "10.1.0.1"))


def test_a_node_in_order_has_nothing_to_say() -> None:
    (state,) = node_states(facts(*MESHED), 0.0)
    assert (state.node, state.agent, state.ready, state.captured, state.members) == ("n1", "agent-1", True, 1, 1)
    assert (state.generation, state.version, state.message) == (7, "0.1.0", "")


def test_what_is_not_in_order_is_named() -> None:
    second = o.pod("b", "10.1.0.2")
    (state,) = node_states(facts(*MESHED, second, metrics={"agent-1": METRICS}), 49_000.0)
    assert state.message == (
        "1 of 2 pods captured; no operator is connected; works with its last good configuration; "
        "1 workers have not applied the configuration; a certificate expires within the hour"
    )
    (state,) = node_states(facts(*MESHED, second, metrics={"agent-1": METRICS}), 60_000.0)
    assert "a certificate has expired" in state.message


def test_nodes_without_agent_and_agents_that_cannot_be_asked() -> None:
    (state,) = node_states(facts(*MESHED, agents=[]))
    assert state.message == "no agent runs here, so 1 pods of the mesh cannot start"
    found = facts(*MESHED, metrics={"x": ""}, silent={"agent-1": "this user may not use pods/proxy there"})
    (state,) = node_states(found)
    assert (state.captured, state.generation, state.certificates) == (None, None, None)
    assert state.message == "this user may not use pods/proxy there"


def test_operators_and_who_leads() -> None:
    two = [own_pod("operator-1", "operator", "n1"), own_pod("operator-2", "operator", "n2", ready=False)]
    states = operator_states(facts(operators=two, metrics={"operator-1": "weft_operator_streams 3"}))
    assert [(state.leading, state.streams, state.message) for state in states] == [
        (True, 3, ""),
        (False, None, "not ready"),
    ]
    assert operator_states(facts(leaders=None))[0].leading is None


def condition(kind: str, status: str, generation: int = 1, **more: str) -> dict[str, Any]:
    return {"type": kind, "status": status, "observedGeneration": generation, **more}


def policy(*conditions: dict[str, Any], generation: int = 1) -> dict[str, Any]:
    body = o.policy("AuthorizationPolicy", "p", {}, generation=generation)
    return {**body, "status": {"conditions": list(conditions)}}


def test_objects_that_do_not_hold_are_listed_with_the_controllers_words() -> None:
    assert troubled(facts(policy(condition("Accepted", "True")))) == []
    (state,) = troubled(facts(policy(condition("Programmed", "False", reason="Pending", message="2/3 nodes"))))
    assert (state.kind, state.name, state.condition, state.message) == (
        "AuthorizationPolicy", "p", "Programmed", "2/3 nodes",
    )  # fmt: skip
    young = policy()
    young["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    assert troubled(facts(young), 1767225605.0) == [], "a controller may take a moment"
    (state,) = troubled(facts(young), 1767225611.0)
    assert state.reason == "Pending"
    (state,) = troubled(facts(policy(condition("Accepted", "True"), generation=2)))
    assert state.reason == "Outdated"


def test_of_routes_only_what_our_controller_says_counts() -> None:
    parents = [
        {"controllerName": "other/one", "conditions": [condition("Accepted", "False")]},
        {
            "controllerName": "weft.dev/mesh",
            "conditions": [condition("ResolvedRefs", "False", reason="BackendNotFound")],
        },
    ]
    route = {**o.route("r", [o.parent("web")], []), "status": {"parents": parents}}
    (state,) = troubled(facts(route))
    assert (state.kind, state.reason) == ("HTTPRoute", "BackendNotFound")
    ingress = o.route("i", [{"name": "gateway"}], [])
    assert troubled(facts(ingress)) == []


def test_of_gateway_api_policies_only_what_our_controller_says_counts() -> None:
    not_accepted = [condition("Accepted", "False", reason="UnsupportedValue")]
    theirs: dict[str, Any] = {"controllerName": "other/one", "conditions": not_accepted}
    item = {**o.backend_traffic("t", "web"), "status": {"ancestors": [theirs]}}
    assert troubled(facts(item)) == [], "it may be meant for somebody else"
    ours = {"controllerName": "weft.dev/mesh", "conditions": not_accepted}
    (state,) = troubled(facts({**item, "status": {"ancestors": [theirs, ours]}}))
    assert (state.kind, state.reason) == ("XBackendTrafficPolicy", "UnsupportedValue")


class Server:
    """Answers from a table; what is not in it is not found."""

    server = "https://test"

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        answer = self.answers.get(path)
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            raise NotFoundError(f"GET {path}: 404", status=404)
        return answer

    def everything(self, path: str, query: Mapping[str, str] | None = None) -> list[Any]:
        return list(self.get(path).get("items", ()))

    def text(self, path: str, query: Mapping[str, str] | None = None) -> str:
        return str(self.get(path))

    def create(self, path: str, body: Any) -> Any:
        return {"status": {"allowed": self.answers["allowed"]}}


def session(**answers: Any) -> Session:
    table: dict[str, Any] = {"/version": {"gitVersion": "v1.35.4"}, "/apis": {"groups": []}, "allowed": True}
    table |= {path: {"items": []} for path in ("/api/v1/nodes", "/api/v1/namespaces")}
    return cast("Session", Server({**table, **answers}))


def results(findings: list[Finding]) -> dict[str, str]:
    return {finding.subject: finding.result for finding in findings}


def node(**about: str) -> dict[str, Any]:
    return {"items": [{"metadata": {"name": "n1"}, "status": {"nodeInfo": about}}]}


def test_a_cluster_before_installation() -> None:
    good = node(operatingSystem="linux", kernelVersion="6.1.0-13-amd64")
    findings = list(before_installation(session(**{"/api/v1/nodes": good})))
    assert results(findings) == {
        "Kubernetes": "ok", "nodes": "ok", "Gateway API": "warning", "capture gate": "ok", "rights": "ok",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("answers", "subject", "result"),
    [
        ({"/version": {"gitVersion": "v1.29.1"}}, "Kubernetes", "error"),
        ({"/version": {}}, "Kubernetes", "error"),
        ({"/api/v1/nodes": node(operatingSystem="windows")}, "node n1", "warning"),
        ({"/api/v1/nodes": node(operatingSystem="linux", kernelVersion="5.16.9")}, "node n1", "error"),
        ({"/api/v1/nodes": ApiError("403", status=403)}, "nodes", "warning"),
        ({"allowed": False}, "rights", "error"),
        ({"/apis": {"groups": [{"name": "security.istio.io"}]}}, "other meshes", "warning"),
    ],
)
def test_what_keeps_an_installation_from_working(answers: dict[str, Any], subject: str, result: str) -> None:
    assert results(list(before_installation(session(**answers))))[subject] == result


def test_an_installation_is_looked_at_part_by_part() -> None:
    found = results(list(of_installation(session(), facts(*MESHED))))
    assert found["CRDs"] == "error"
    assert found["operator operator-1"] == found["node n1"] == found["objects"] == "ok"
    found = results(list(of_installation(session(), facts(*MESHED, operators=[], missing=("GET /x: 403",)))))
    assert (found["operator"], found["rights"]) == ("error", "warning")


def test_problems_of_objects_come_in_the_compilers_words() -> None:
    broken = o.policy("AuthorizationPolicy", "p", {"acton": "DENY"})
    findings = list(of_installation(session(), facts(*MESHED, broken)))
    (finding,) = [item for item in findings if item.subject == "AuthorizationPolicy shop/p"]
    assert finding.result == "error"
    assert "acton" in finding.message


def test_gathering_names_what_may_not_be_read() -> None:
    refused = ApiError("GET pods: 403 Forbidden: no", status=403)
    answers = {"/api/v1/namespaces/weft-system/pods": refused, "/api/v1/nodes": refused}
    empty = (
        "/api/v1/pods",
        "/api/v1/services",
        "/apis/discovery.k8s.io/v1/endpointslices",
        "/apis/apps/v1/replicasets",
    )
    leases = "/apis/coordination.k8s.io/v1/namespaces/weft-system/leases"
    table: dict[str, Any] = {path: {"items": []} for path in (*empty, leases)}
    found = gather(session(**table, **answers), "weft-system")
    assert len(found.missing) == 2
    assert found.leaders == []
    assert list(found.agents) == []
