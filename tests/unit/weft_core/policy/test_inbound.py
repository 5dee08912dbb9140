"""Modes, scopes, missing policies, and what is remembered for whom."""

import msgspec
import pytest

from weft_contract.resources import PortScope, RateLimitPolicy, Rule
from weft_contract.resources.workload import MtlsMode
from weft_core.decision import Allowed, Denied
from weft_core.facts import ConnectionFacts
from weft_core.policy import ConnectionPolicy, InboundPolicy, compile_inbound
from weft_core.policy.inbound import CALLERS_MAX
from weft_testing.decisions import (
    NODE,
    WEB,
    decide,
    facts,
    identity,
    inbound,
    policy,
    rate,
    request,
    rule,
    source,
    to,
    when,
)

replace = msgspec.structs.replace


@pytest.mark.parametrize(
    ("mode", "encrypted", "passes"),
    [
        ("STRICT", True, True),
        ("STRICT", False, False),
        ("PERMISSIVE", True, True),
        ("PERMISSIVE", False, True),
        ("DISABLE", True, True),
        ("DISABLE", False, True),
    ],
)
def test_modes(mode: MtlsMode, encrypted: bool, passes: bool) -> None:
    applied = inbound(workload=replace(WEB, mtls=mode))
    connection = facts(identity() if encrypted else None)
    assert isinstance(applied.admit(connection), ConnectionPolicy) is passes


def test_a_mode_of_a_port_is_an_exception_from_the_workloads() -> None:
    workload = replace(WEB, mtls="STRICT", mtls_ports=((9090, "PERMISSIVE"),))
    applied = inbound(workload=workload)
    assert (applied.mode(9090), applied.mode(80)) == ("PERMISSIVE", "STRICT")
    assert isinstance(applied.admit(facts(port=9090)), ConnectionPolicy)
    refused = applied.admit(facts(port=80))
    assert isinstance(refused, Denied)
    assert refused.reason == "mtls_required"
    assert refused.message == (
        "port 80 of shop/web-1 takes mutual TLS only (mode STRICT), and the connection from 10.1.0.9 is plaintext"
    )


def test_encryption_without_identity_is_no_plaintext() -> None:
    applied = inbound(policy("ALLOW", rule(source("*"))), workload=replace(WEB, mtls="STRICT"))
    decision = decide(applied, facts(None, encrypted=True), request())
    assert isinstance(decision, Denied)
    assert decision.reason == "no_allow_rule_matched"


# -- never a hole -------------------------------------------------------------------------------------------------


def test_a_listed_policy_that_is_missing_denies() -> None:
    applied = compile_inbound(replace(WEB, policies=("shop/gone",)), {}, {}, NODE)
    decision = decide(applied, facts(identity()), request())
    assert isinstance(decision, Denied)
    assert (decision.reason, decision.policy) == ("policy_invalid", "shop/gone")
    limited = compile_inbound(replace(WEB, rate_limits=("shop/gone",)), {}, {}, NODE)
    decision = decide(limited, facts(identity()), request())
    assert isinstance(decision, Denied)
    assert (decision.reason, decision.policy) == ("policy_invalid", "shop/gone")


@pytest.mark.parametrize("action", ["ALLOW", "DENY", "AUDIT"])
def test_an_invalid_policy_denies_with_its_reason(action: str) -> None:
    broken = replace(policy("ALLOW", rule(), invalid="no such field"), action=action)
    for req in (None, request()):
        decision = decide(inbound(broken), facts(identity()), req)
        assert isinstance(decision, Denied)
        assert decision.reason == "policy_invalid"
        assert decision.message == "shop/p cannot be enforced: no such field"


def test_an_invalid_dry_run_is_reported_only() -> None:
    decision = decide(inbound(policy("DENY", invalid="broken", dry_run=True)), facts(), request())
    assert isinstance(decision, Allowed)
    assert decision.dry_run_denial == "shop/p"


def test_an_invalid_limit_denies() -> None:
    broken = RateLimitPolicy(namespace="shop", name="l", invalid="no rate")
    decision = decide(inbound(broken), facts(), request())
    assert isinstance(decision, Denied)
    assert decision.reason == "policy_invalid"


# -- port scopes --------------------------------------------------------------------------------------------------


def scoped(*ports: int, kind: str = "AuthorizationPolicy") -> InboundPolicy:
    workload = replace(
        WEB,
        policies=("shop/p",),
        rate_limits=("shop/l",),
        port_scopes=(PortScope(kind=kind, policy="shop/p" if kind[0] == "A" else "shop/l", ports=ports),),  # type: ignore[arg-type] # one of two
    )
    limit = RateLimitPolicy(namespace="shop", name="l", total=rate(1, 1, "total"))
    return compile_inbound(workload, {"shop/p": policy("ALLOW", rule(to("/a")))}, {"shop/l": limit}, NODE)


def test_a_policy_of_a_service_exists_on_its_ports_only() -> None:
    applied = scoped(8080)
    assert isinstance(decide(applied, facts(port=8080), request("GET /b")), Denied)
    assert isinstance(decide(applied, facts(port=9090), request("GET /b")), Allowed)
    assert isinstance(decide(scoped(), facts(port=8080), request("GET /b")), Allowed)


def test_a_limit_of_a_service_exists_on_its_ports_only() -> None:
    applied = scoped(8080, kind="RateLimitPolicy")
    on = decide(applied, facts(port=8080), request("GET /a"))
    off = decide(applied, facts(port=9090), request("GET /a"))
    assert isinstance(on, Allowed)
    assert isinstance(off, Allowed)
    assert (len(on.limits), len(off.limits)) == (1, 0)


def test_a_missing_policy_denies_within_its_scope() -> None:
    scope = PortScope(kind="AuthorizationPolicy", policy="shop/gone", ports=(8080,))
    applied = compile_inbound(replace(WEB, policies=("shop/gone",), port_scopes=(scope,)), {}, {}, NODE)
    assert isinstance(decide(applied, facts(port=8080), request()), Denied)
    assert isinstance(decide(applied, facts(port=9090), request()), Allowed)


# -- remembering --------------------------------------------------------------------------------------------------


def admitted(applied: InboundPolicy, connection: ConnectionFacts) -> ConnectionPolicy:
    found = applied.admit(connection)
    assert isinstance(found, ConnectionPolicy)
    return found


def test_callers_that_policy_cannot_tell_apart_share() -> None:
    applied = inbound(policy("ALLOW", rule(to("/a"))))
    one = admitted(applied, facts(identity(), address="10.1.0.1", sni="a"))
    assert admitted(applied, facts(identity(), address="10.1.0.2", sni="b")) is one
    assert admitted(applied, facts(identity("dev"), address="10.1.0.1")) is not one
    assert admitted(applied, facts(identity(), port=9090)) is not one


@pytest.mark.parametrize(
    ("part", "one", "other"),
    [
        (rule(source(blocks=("10.0.0.0/8",))), facts(address="10.0.0.1"), facts(address="11.0.0.1")),
        (rule(when("destination.ip", "10.0.0.1")), facts(to="10.0.0.1"), facts(to="11.0.0.1")),
        (rule(when("connection.sni", "a")), facts(sni="a"), facts(sni="b")),
        (rule(rate=rate(1, 1)), facts(address="10.0.0.1"), facts(address="11.0.0.1")),
    ],
)
def test_callers_that_some_rule_tells_apart_do_not(part: Rule, one: ConnectionFacts, other: ConnectionFacts) -> None:
    applied = inbound(policy("ALLOW", part))
    assert admitted(applied, one) is not admitted(applied, other)


def test_a_limit_tells_clients_without_identity_apart() -> None:
    applied = inbound(RateLimitPolicy(namespace="shop", name="l", client=rate(1, 1)))
    assert admitted(applied, facts(address="10.0.0.1")) is not admitted(applied, facts(address="10.0.0.2"))


def test_strangers_cannot_grow_the_memory_of_callers() -> None:
    applied = inbound(policy("ALLOW", rule(source(blocks=("10.0.0.0/8",)), to("/a"))))
    for index in range(CALLERS_MAX + 100):
        applied.admit(facts(address=f"10.1.{index // 256}.{index % 256}"))
        assert len(applied._callers) <= CALLERS_MAX


def test_hostile_paths_cannot_grow_the_memory_of_decisions() -> None:
    applied = inbound(policy("ALLOW", rule(to("/a*"))))
    one, two = admitted(applied, facts(identity())), admitted(applied, facts(identity("dev")))
    bound = applied._budget.entries_max
    for index in range(2 * bound):
        assert isinstance(one.request(request(f"GET /a{index}")), Allowed)
        assert isinstance(two.request(request(f"GET /b{index}")), Denied)
        assert len(one._memo) + len(two._memo) <= bound
    assert isinstance(one.request(request("GET /a" + "x" * 5000)), Allowed)
    assert one.cached(b"GET", b"web.shop", b"/a" + b"x" * 5000) is None


def test_what_is_cached_can_be_had_without_facts() -> None:
    connection = admitted(inbound(policy("ALLOW", rule(to("/a")))), facts(identity()))
    assert connection.cached(b"GET", b"web.shop", b"/a") is None
    decision = connection.request(request("GET /a"))
    assert connection.cached(b"GET", b"web.shop", b"/a") is decision
    assert connection.request(request("GET /a")) is decision


def test_a_policy_about_callers_alone_is_one_constant() -> None:
    connection = admitted(inbound(policy("ALLOW", rule(source(namespaces=("shop",))))), facts(identity()))
    decision = connection.cached(b"GET", b"any", b"/thing")
    assert isinstance(decision, Allowed)
    assert connection.request(request("POST /x")) is decision
    assert connection.tcp() == decision


def test_headers_are_needed_only_where_a_rule_asks_this_caller() -> None:
    asks = policy("ALLOW", rule(source(namespaces=("dev",)), when("request.headers[x]", "1")), rule(to("/a")))
    applied = inbound(asks)
    assert not admitted(applied, facts(identity("shop"))).needs_headers
    dev = admitted(applied, facts(identity("dev")))
    assert dev.needs_headers
    assert isinstance(dev.request(request("GET /b")), Denied)
    assert isinstance(dev.request(request("GET /b", headers=((b"x", b"1"),))), Allowed)
    assert isinstance(dev.request(request("GET /b")), Denied), "header decisions are never remembered"
