"""Laws of the decision: it equals the naive reference, and it is monotone, order-free and unmoved by dry runs."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from weft_contract.resources import AuthorizationPolicy, Operation, TextMatch
from weft_core.decision import Allowed, Decision, Denied
from weft_core.facts import ConnectionFacts, RequestFacts
from weft_core.policy import explain
from weft_testing import policy_strategies as some
from weft_testing.decisions import (
    DOMAIN,
    decide,
    facts,
    identity,
    inbound,
    policy,
    request,
    rule,
    source,
    text,
    to,
    when,
)
from weft_testing.naive_policy import naive_verdict

Policies = tuple[AuthorizationPolicy, ...]
asked = st.none() | some.requests


def same_verdict(one: Decision, other: Decision) -> bool:
    return isinstance(one, Allowed) == isinstance(other, Allowed)


@settings(max_examples=300, deadline=None)
@given(some.policy_lists, some.connections, asked)
def test_equals_the_naive_reference(applied: Policies, connection: ConnectionFacts, req: RequestFacts | None) -> None:
    decision = decide(inbound(*applied), connection, req)
    expected = naive_verdict(applied, connection, req, DOMAIN)
    match decision:
        case Denied():
            assert not expected.allowed
            if req is None and decision.reason == "l7_rule_on_opaque_connection":
                assert expected.reason in {"denied_by_rule", "no_allow_rule_matched"}
            else:
                assert decision.reason == expected.reason
        case Allowed():
            assert expected.allowed
            invalid_audits = {f"{p.namespace}/{p.name}" for p in applied if p.action == "AUDIT" and p.invalid}
            assert tuple(key for key in decision.audits if key not in invalid_audits) == expected.audits
            assert bool(decision.dry_run_denial) == expected.dry_run_denied
            assert len(decision.any_of) == expected.rated


@settings(max_examples=80, deadline=None)
@given(some.policy_lists, some.policies("extra"), some.connections, asked)
def test_adding_a_deny_never_allows(
    applied: Policies, extra: AuthorizationPolicy, connection: ConnectionFacts, req: RequestFacts | None
) -> None:
    denying = msgspec.structs.replace(extra, action="DENY", dry_run=False)
    before = decide(inbound(*applied), connection, req)
    after = decide(inbound(*applied, denying), connection, req)
    assert not (isinstance(before, Denied) and isinstance(after, Allowed))


@settings(max_examples=80, deadline=None)
@given(some.policy_lists, some.policies("extra"), some.connections, asked)
def test_adding_an_allow_beside_others_never_denies(
    applied: Policies, extra: AuthorizationPolicy, connection: ConnectionFacts, req: RequestFacts | None
) -> None:
    applied = (*applied, policy("ALLOW", rule(to("/only")), name="zz"))
    allowing = msgspec.structs.replace(extra, action="ALLOW", dry_run=False, invalid=None)
    before = decide(inbound(*applied), connection, req)
    after = decide(inbound(*applied, allowing), connection, req)
    assert not (isinstance(before, Allowed) and isinstance(after, Denied))


@settings(max_examples=80, deadline=None)
@given(some.policy_lists, some.connections, asked, st.randoms(use_true_random=False))
def test_the_order_of_policies_and_rules_does_not_matter(
    applied: Policies, connection: ConnectionFacts, req: RequestFacts | None, random: object
) -> None:
    names = [item.name for item in applied]
    random.shuffle(names)  # type: ignore[attr-defined] # hypothesis types its Random as object
    shuffled = tuple(
        msgspec.structs.replace(item, name=name, rules=item.rules[::-1])
        for item, name in zip(applied, names, strict=True)
    )
    assert same_verdict(decide(inbound(*applied), connection, req), decide(inbound(*shuffled), connection, req))


@settings(max_examples=80, deadline=None)
@given(some.policy_lists, some.policies("extra"), some.connections, asked)
def test_a_dry_run_never_changes_a_verdict(
    applied: Policies, extra: AuthorizationPolicy, connection: ConnectionFacts, req: RequestFacts | None
) -> None:
    dry = msgspec.structs.replace(extra, dry_run=True)
    before = decide(inbound(*applied), connection, req)
    after = decide(inbound(*applied, dry), connection, req)
    match before, after:
        case Allowed(), Allowed():
            assert (before.permit, before.limits, before.any_of) == (after.permit, after.limits, after.any_of)
        case _:
            assert before == after


@settings(max_examples=80, deadline=None)
@given(some.policy_lists, some.policies("extra"), some.connections, asked)
def test_a_dry_run_foretells_what_enforcing_would_do(
    applied: Policies, extra: AuthorizationPolicy, connection: ConnectionFacts, req: RequestFacts | None
) -> None:
    applied = tuple(msgspec.structs.replace(item, dry_run=False) for item in applied)
    extra = msgspec.structs.replace(extra, action="DENY" if extra.action == "AUDIT" else extra.action)
    dry = decide(inbound(*applied, msgspec.structs.replace(extra, dry_run=True)), connection, req)
    live = decide(inbound(*applied, msgspec.structs.replace(extra, dry_run=False)), connection, req)
    if isinstance(dry, Allowed):
        assert (dry.dry_run_denial == "shop/extra") == isinstance(live, Denied)


@settings(max_examples=80, deadline=None)
@given(some.policy_lists, st.lists(st.tuples(some.connections, asked), max_size=8))
def test_what_is_remembered_equals_what_is_decided_anew(
    applied: Policies, conversation: list[tuple[ConnectionFacts, RequestFacts | None]]
) -> None:
    remembering = inbound(*applied)
    for connection, req in conversation * 2:
        remembered = decide(remembering, connection, req)
        assert remembered == decide(inbound(*applied), connection, req)


@settings(max_examples=80, deadline=None)
@given(some.policy_lists, some.connections, asked)
def test_explain_gives_the_live_verdict(
    applied: Policies, connection: ConnectionFacts, req: RequestFacts | None
) -> None:
    told = explain(inbound(*applied), connection, req)
    assert told.verdict == decide(inbound(*applied), connection, req)
    assert [told.steps[0].kind, told.steps[-1].kind] == ["facts", "verdict"]


# -- sentences ----------------------------------------------------------------------------------------------------


def denied(decision: Decision) -> Denied:
    assert isinstance(decision, Denied)
    return decision


def test_no_policy_means_allowed_without_a_name() -> None:
    decision = decide(inbound(), facts(), request())
    assert isinstance(decision, Allowed)
    assert (decision.permit.policy, decision.permit.rule) == ("", "")


def test_an_allow_policy_names_itself_and_its_rule() -> None:
    applied = policy("ALLOW", rule(to("/a")), rule(to("/b")), name="web-allow")
    decision = decide(inbound(applied), facts(), request("GET /b"))
    assert isinstance(decision, Allowed)
    assert (decision.permit.policy, decision.permit.rule) == ("shop/web-allow", "rules[1]")


def test_the_nearest_rule_says_what_it_wants() -> None:
    applied = policy(
        "ALLOW", rule(source("cluster.local/ns/x/sa/y")), rule(to("/foo", methods=("GET",))), name="web-allow"
    )
    decision = denied(decide(inbound(applied), facts(identity()), request("GET /bar")))
    assert decision.reason == "no_allow_rule_matched"
    assert decision.message == "no ALLOW rule matched: shop/web-allow rules[1] wants path /foo, got /bar"
    assert decision.http_status == 403
    assert decision.grpc_status == 7


def test_a_wrong_caller_is_named() -> None:
    applied = policy("ALLOW", rule(source("cluster.local/ns/shop/sa/web"), to("/foo")), name="web-allow")
    decision = denied(decide(inbound(applied), facts(identity("dev", "evil")), request("GET /foo")))
    assert decision.message == (
        "no ALLOW rule matched: shop/web-allow rules[0] "
        "wants principal cluster.local/ns/shop/sa/web, got cluster.local/ns/dev/sa/evil"
    )
    plain = denied(decide(inbound(applied), facts(), request("GET /foo")))
    assert plain.message.endswith("got plaintext without identity")


def test_the_nearest_of_several_operations_speaks() -> None:
    applied = policy("ALLOW", rule(to("/foo", methods=("POST",)), to("/bar", methods=("GET",))), name="web-allow")
    decision = denied(decide(inbound(applied), facts(), request("GET /foo")))
    assert decision.message.endswith("rules[0] wants path /bar, got /foo")


def test_what_must_not_be_is_said_too() -> None:
    operation = Operation(not_paths=(text("/admin*"),))
    decision = denied(decide(inbound(policy("ALLOW", rule(operation))), facts(), request("GET /admin/x")))
    assert decision.message.endswith("wants path other than /admin*, got /admin/x")


def test_a_policy_without_rules_denies_and_says_so() -> None:
    decision = denied(decide(inbound(policy("ALLOW", name="nothing")), facts(), request()))
    assert decision.message == "no ALLOW rule matched: shop/nothing has no rules"
    assert isinstance(decide(inbound(policy("DENY", name="nothing")), facts(), request()), Allowed)


def test_an_empty_rule_matches_everything() -> None:
    assert isinstance(decide(inbound(policy("ALLOW", rule())), facts(), request()), Allowed)
    assert denied(decide(inbound(policy("DENY", rule())), facts(), request())).reason == "denied_by_rule"


def test_a_deny_names_policy_rule_and_what_it_denied() -> None:
    applied = policy("DENY", rule(to("/x")), rule(to(methods=("POST",))), name="no-post")
    decision = denied(decide(inbound(applied), facts(identity()), request("POST /y")))
    assert (decision.policy, decision.rule) == ("shop/no-post", "rules[1]")
    assert decision.message == "denied by shop/no-post rules[1]: POST /y from cluster.local/ns/shop/sa/client"


def test_deny_comes_before_allow() -> None:
    applied = (policy("ALLOW", rule(), name="a"), policy("DENY", rule(to("/x")), name="b"))
    assert denied(decide(inbound(*applied), facts(), request("GET /x"))).policy == "shop/b"
    assert isinstance(decide(inbound(*applied), facts(), request("GET /y")), Allowed)


def test_audits_are_reported_and_not_enforced() -> None:
    applied = (policy("AUDIT", rule(to("/x")), name="watch"), policy("AUDIT", rule(to("/y")), name="other"))
    decision = decide(inbound(*applied), facts(), request("GET /x"))
    assert isinstance(decision, Allowed)
    assert decision.audits == ("shop/watch",)


def test_a_dry_run_allow_denies_only_where_it_would_be_the_first() -> None:
    dry = policy("ALLOW", rule(to("/x")), name="dry", dry_run=True)
    decision = decide(inbound(dry), facts(), request("GET /y"))
    assert isinstance(decision, Allowed)
    assert decision.dry_run_denial == "shop/dry"
    beside = decide(inbound(dry, policy("ALLOW", rule(), name="live")), facts(), request("GET /y"))
    assert isinstance(beside, Allowed)
    assert beside.dry_run_denial == ""


# -- opaque connections -------------------------------------------------------------------------------------------


def test_an_allow_rule_about_http_does_not_match_an_opaque_connection() -> None:
    decision = denied(decide(inbound(policy("ALLOW", rule(to("/foo")), name="web-allow")), facts()))
    assert decision.reason == "l7_rule_on_opaque_connection"
    assert "l7_rule_on_opaque_connection" in decision.message
    assert decision.message.endswith("shop/web-allow rules[0] wants path /foo, got an opaque connection")


def test_a_deny_rule_about_http_matches_on_what_can_be_seen() -> None:
    applied = policy("DENY", rule(to(methods=("POST",), ports=(8080,))), name="no-post")
    decision = denied(decide(inbound(applied), facts(port=8080)))
    assert decision.reason == "l7_rule_on_opaque_connection"
    assert (decision.policy, decision.rule) == ("shop/no-post", "rules[0]")
    assert isinstance(decide(inbound(applied), facts(port=80)), Allowed)


def test_a_deny_rule_about_the_connection_alone_is_an_ordinary_denial() -> None:
    for req in (None, request("GET /x")):
        decision = denied(decide(inbound(policy("DENY", rule(to(ports=(8080,))))), facts(), req))
        assert decision.reason == "denied_by_rule"
        assert decision.message == "denied by shop/p rules[0]: any connection from plaintext without identity"


def test_an_operation_about_ports_alone_lets_an_opaque_connection_pass() -> None:
    applied = policy("ALLOW", rule(to("/foo"), to(ports=(8080,))))
    assert isinstance(decide(inbound(applied), facts(port=8080)), Allowed)
    assert isinstance(decide(inbound(applied), facts(port=80)), Denied)


def test_an_audit_about_http_reports_an_opaque_connection() -> None:
    decision = decide(inbound(policy("AUDIT", rule(to("/foo")), name="watch")), facts())
    assert isinstance(decision, Allowed)
    assert decision.audits == ("shop/watch",)


def test_a_wrong_caller_is_nearer_than_nothing_on_an_opaque_connection() -> None:
    applied = policy("ALLOW", rule(source("cluster.local/ns/x/sa/y"), to("/foo")))
    decision = denied(decide(inbound(applied), facts(identity())))
    assert decision.reason == "no_allow_rule_matched"


# -- whatever goes wrong ------------------------------------------------------------------------------------------


def test_facts_that_cannot_be_matched_are_refused() -> None:
    applied = policy("DENY", rule(source(blocks=("10.0.0.0/8",))))
    assert denied(decide(inbound(applied), facts(address="not an address"), request())).reason == "match_error"
    assert isinstance(decide(inbound(), facts(address="not an address"), request()), Allowed)


class Hostile(bytes):
    """A path whose comparison fails, as a matcher with a bug would."""

    __hash__ = bytes.__hash__

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("cannot compare")

    def startswith(self, *_: object) -> bool:
        raise RuntimeError("cannot compare")


def hostile_request() -> RequestFacts:
    return RequestFacts(method=b"GET", host=b"h", path=Hostile(b"/x"))


def test_a_match_error_denies_in_deny_and_allow_rules() -> None:
    for action in ("DENY", "ALLOW"):
        applied = policy(action, rule(to("/y*")), name="p")
        decision = denied(decide(inbound(applied), facts(), hostile_request()))
        assert decision.reason == "match_error"
        assert (decision.policy, decision.rule) == ("shop/p", "rules[0]")
        assert decision.message == "shop/p rules[0] could not be matched: cannot compare"


def test_a_match_error_in_an_unenforced_policy_is_reported_only() -> None:
    applied = (
        policy("AUDIT", rule(to("/y*")), name="watch"),
        policy("DENY", rule(to("/y*")), name="dry", dry_run=True),
    )
    decision = decide(inbound(*applied), facts(), hostile_request())
    assert isinstance(decision, Allowed)
    assert (decision.audits, decision.dry_run_denial) == (("shop/watch",), "shop/dry")


def test_messages_are_printable_and_bounded() -> None:
    req = RequestFacts(method=b"GET", host=b"", path=b"/" + b"\r\n\xff" * 500)
    decision = denied(decide(inbound(policy("ALLOW", rule(to("/foo")))), facts(), req))
    assert decision.message.isascii()
    assert decision.message.isprintable()
    assert len(decision.message) < 800


def test_a_header_condition_on_a_missing_field_says_none() -> None:
    applied = policy("ALLOW", rule(when("request.headers[X-Team]", "a")))
    decision = denied(decide(inbound(applied), facts(), request()))
    assert decision.message.endswith("wants header x-team a, got none")


def test_a_regex_is_anchored_on_both_ends() -> None:
    applied = inbound(policy("DENY", rule(Operation(paths=(TextMatch(kind="regex", value="/a.c"),)))))
    assert isinstance(decide(applied, facts(), request("GET /abc")), Denied)
    assert isinstance(decide(applied, facts(), request("GET /abcd")), Allowed)
    assert isinstance(decide(applied, facts(), request("GET /x/abc")), Allowed)
