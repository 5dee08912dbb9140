"""What `explain` tells: every step in order, readable, and the verdict that live traffic gets."""

import msgspec

from weft_contract.resources import Probe, RateLimitPolicy
from weft_core.decision import Allowed, Denied
from weft_core.policy import Step, explain
from weft_testing.decisions import WEB, facts, identity, inbound, policy, rate, request, rule, source, to, when

APPLIED = (
    policy("DENY", rule(to("/admin*")), name="no-admin"),
    policy(
        "ALLOW", rule(source("cluster.local/ns/x/sa/y")), rule(to("/foo"), when("request.headers[x]", "1")), name="web"
    ),
    policy("AUDIT", rule(), name="watch"),
    RateLimitPolicy(namespace="shop", name="l", total=rate(10, 10)),
)


def test_a_refusal_step_by_step() -> None:
    told = explain(inbound(*APPLIED), facts(identity()), request("GET /foo"))
    assert told.steps == (
        Step("facts", "connection", "given", "from 10.1.0.9 (cluster.local/ns/shop/sa/client) to 10.1.0.5 port 8080, encrypted"),
        Step("facts", "request", "given", "GET /foo, host web.shop"),
        Step("mode", "mode PERMISSIVE on port 8080", "passed", "encrypted"),
        Step("rule", "DENY shop/no-admin rules[0]", "not_matched", "wants path /admin*, got /foo"),
        Step(
            "rule",
            "ALLOW shop/web rules[0]",
            "not_matched",
            "wants principal cluster.local/ns/x/sa/y, got cluster.local/ns/shop/sa/client",
        ),
        Step("rule", "ALLOW shop/web rules[1]", "not_matched", "wants header x 1, got none"),
        Step("verdict", "no_allow_rule_matched", "refused", told.verdict.message if isinstance(told.verdict, Denied) else ""),
    )  # fmt: skip


def test_a_permission_step_by_step() -> None:
    told = explain(inbound(*APPLIED), facts(identity()), request("GET /foo", headers=((b"x", b"1"),)))
    assert isinstance(told.verdict, Allowed)
    assert [(step.kind, step.outcome) for step in told.steps[2:]] == [
        ("mode", "passed"),
        ("rule", "not_matched"),
        ("rule", "not_matched"),
        ("rule", "matched"),
        ("limit", "needed"),
        ("rule", "matched"),
        ("verdict", "passed"),
    ]
    assert told.steps[-1] == Step("verdict", "allowed", "passed", "shop/web rules[1]")


def test_a_mode_that_refuses_ends_it() -> None:
    told = explain(inbound(*APPLIED, workload=msgspec.structs.replace(WEB, mtls="STRICT")), facts(), request())
    assert [step.kind for step in told.steps] == ["facts", "facts", "mode", "verdict"]
    assert told.steps[2].outcome == "refused"


def test_a_probe_says_that_it_is_one() -> None:
    workload = msgspec.structs.replace(WEB, mtls="STRICT", probes=(Probe(kind="http", port=8080, path="/ready"),))
    told = explain(inbound(workload=workload), facts(probe=True), request("GET /ready"))
    assert ("probe", "matched") in [(step.kind, step.outcome) for step in told.steps]
    assert told.steps[-1] == Step("verdict", "allowed", "passed", "probe")
    other = explain(inbound(workload=workload), facts(probe=True), request("GET /other"))
    assert isinstance(other.verdict, Denied)


def test_an_invalid_policy_says_why() -> None:
    told = explain(inbound(policy("ALLOW", invalid="no such field")), facts(), None)
    assert Step("policy", "shop/p", "refused", "no such field") in told.steps


def test_no_policy_at_all_is_said() -> None:
    told = explain(inbound(), facts(), None)
    assert told.steps[-1] == Step("verdict", "allowed", "passed", "no ALLOW policy applies")


def test_a_policy_without_rules_is_seen() -> None:
    told = explain(inbound(policy("ALLOW", name="nothing")), facts(), request())
    assert Step("policy", "ALLOW shop/nothing", "not_matched", "has no rules") in told.steps
