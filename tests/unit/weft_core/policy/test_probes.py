"""Kubelet probes pass under STRICT and default-deny; nothing else from the node does."""

import msgspec
import pytest

from weft_contract.resources import Probe
from weft_core.decision import Allowed, Denied
from weft_core.policy import (
    ConnectionPolicy,
    InboundPolicy,
    probe_bytes_expected,
    probe_connection,
    probe_request,
    probe_without_bytes,
)
from weft_core.policy.probes import GRPC_HEALTH_PATH
from weft_testing.decisions import NODE, WEB, decide, facts, inbound, policy, request

PROBED = msgspec.structs.replace(
    WEB,
    mtls="STRICT",
    probes=(
        Probe(kind="http", port=8080, path="/healthz?full=1"),
        Probe(kind="http", port=8080, path="ready"),
        Probe(kind="tcp", port=5432),
        Probe(kind="grpc", port=9090, path="svc"),
    ),
)


@pytest.mark.parametrize(
    ("address", "port", "expected"),
    [
        ("10.0.0.1", 8080, True),
        ("fd00::1", 8080, True),
        ("fd00:0::1", 8080, True),
        ("::ffff:10.0.0.1", 8080, True),
        ("10.0.0.1", 5432, True),
        ("10.0.0.1", 80, False),
        ("10.0.0.2", 8080, False),
        ("fd00::2", 8080, False),
        ("nonsense", 8080, False),
    ],
)
def test_only_the_node_itself_at_a_declared_port(address: str, port: int, expected: bool) -> None:
    assert probe_connection(PROBED, NODE, address, port) is expected


@pytest.mark.parametrize(
    ("port", "method", "target", "expected"),
    [
        (8080, b"GET", b"/healthz?full=1", True),
        (8080, b"HEAD", b"/healthz?full=1", True),
        (8080, b"GET", b"/ready", True),
        (8080, b"POST", b"/ready", False),
        (8080, b"get", b"/ready", False),
        (8080, b"GET", b"/healthz", False),
        (8080, b"GET", b"/healthz?full=1&x", False),
        (8080, b"GET", b"/ready/", False),
        (80, b"GET", b"/ready", False),
        (5432, b"GET", b"/", False),
        (9090, b"POST", b"/grpc.health.v1.Health/Check", True),
        (9090, b"GET", b"/grpc.health.v1.Health/Check", False),
        (9090, b"POST", b"/grpc.health.v1.Health/Watch", False),
        (8080, b"POST", b"/grpc.health.v1.Health/Check", False),
    ],
)
def test_a_request_must_equal_the_probe(port: int, method: bytes, target: bytes, expected: bool) -> None:
    assert probe_request(PROBED, port, method, target) is expected


def test_which_ports_expect_bytes() -> None:
    assert [probe_bytes_expected(PROBED, port) for port in (8080, 9090, 5432, 80)] == [True, True, False, False]
    assert [probe_without_bytes(PROBED, port) for port in (8080, 9090, 5432, 80)] == [False, False, True, False]


def admitted(applied: InboundPolicy, port: int) -> ConnectionPolicy:
    connection = applied.admit(facts(port=port, address="10.0.0.1", probe=True))
    assert isinstance(connection, ConnectionPolicy)
    return connection


def test_a_probe_passes_strict_and_default_deny() -> None:
    connection = admitted(inbound(policy("ALLOW"), workload=PROBED), 8080)
    for _ in range(2):
        decision = connection.request(request("GET /healthz", query="full=1"))
        assert isinstance(decision, Allowed)
        assert decision.permit.rule == "probe"


def test_anything_else_on_a_probe_connection_is_plaintext() -> None:
    connection = admitted(inbound(workload=PROBED), 8080)
    for req in (request("GET /healthz"), request("GET /secret"), request("DELETE /ready")):
        decision = connection.request(req)
        assert isinstance(decision, Denied)
        assert decision.reason == "mtls_required"
    assert isinstance(connection.tcp(), Denied)


def test_a_probe_is_judged_with_its_query_each_time() -> None:
    connection = admitted(inbound(workload=PROBED), 8080)
    assert isinstance(connection.request(request("GET /healthz", query="full=1")), Allowed)
    assert isinstance(connection.request(request("GET /healthz", query="full=2")), Denied)


def test_a_tcp_probe_is_a_connection_that_sends_nothing() -> None:
    connection = admitted(inbound(workload=PROBED), 5432)
    assert isinstance(connection.silent(), Allowed)
    assert isinstance(connection.tcp(), Denied)
    assert isinstance(admitted(inbound(workload=PROBED), 8080).silent(), Denied), "an HTTP probe sends bytes"


def test_under_permissive_other_requests_of_the_node_meet_the_rules() -> None:
    permissive = msgspec.structs.replace(PROBED, mtls="PERMISSIVE")
    connection = admitted(inbound(policy("ALLOW", name="none"), workload=permissive), 8080)
    assert isinstance(connection.request(request("GET /ready")), Allowed)
    decision = connection.request(request("GET /other"))
    assert isinstance(decision, Denied)
    assert decision.reason == "no_allow_rule_matched"
    assert isinstance(admitted(inbound(workload=permissive), 8080).request(request("GET /other")), Allowed)


def test_without_the_fact_a_probe_path_is_nothing_special() -> None:
    connection = facts(address="10.0.0.7")
    assert isinstance(decide(inbound(workload=PROBED), connection, request("GET /ready")), Denied)


def test_a_probe_opens_the_door_for_itself_alone() -> None:
    applied = inbound(policy("ALLOW", name="none"), workload=msgspec.structs.replace(PROBED, mtls="PERMISSIVE"))
    first, then = facts(address="10.0.0.1", probe=True), facts(address="10.0.0.1")
    assert isinstance(decide(applied, first, request("GET /ready")), Allowed)
    assert isinstance(decide(applied, then, request("GET /ready")), Denied)
    assert isinstance(decide(applied, first, request("GET /ready")), Allowed)


def test_a_grpc_probe_is_one_call_of_the_health_service() -> None:
    connection = admitted(inbound(policy("ALLOW"), workload=PROBED), 9090)
    assert isinstance(connection.single_call(None), Allowed), "the call has to be heard before it can be judged"
    assert isinstance(connection.single_call((b"POST", GRPC_HEALTH_PATH)), Allowed)
    for head in ((b"GET", GRPC_HEALTH_PATH), (b"POST", b"/shop.Admin/Drop"), (b"POST", GRPC_HEALTH_PATH + b"?x")):
        assert isinstance(connection.single_call(head), Denied)
    assert isinstance(connection.tcp(), Denied)


def test_where_no_grpc_probe_is_a_call_is_ordinary_plaintext() -> None:
    connection = admitted(inbound(workload=PROBED), 8080)
    assert isinstance(connection.single_call(None), Denied)
    assert isinstance(connection.single_call((b"POST", GRPC_HEALTH_PATH)), Denied)
