"""The token bucket's laws, the buckets of policies, and how an allowed request becomes a permit or a 429."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_contract.resources import AuthorizationPolicy, RateLimitPolicy
from weft_contract.resources.policy import ClientLimit
from weft_core.decision import Allowed, Denied, LimitRef, Permit
from weft_core.facts import ConnectionFacts, RequestFacts
from weft_core.policy import compile_inbound, compile_limit, gcra, rate_limited, spend
from weft_core.text import UncompilableError
from weft_testing.decisions import NODE, WEB, decide, facts, identity, inbound, policy, rate, request, rule, source, to

rates = st.floats(0.01, 10_000)
bursts = st.integers(1, 1000)
clocks = st.floats(0, 1e8)
gaps = st.lists(st.floats(0, 2), max_size=60)

# -- the step -----------------------------------------------------------------------------------------------------


@given(clocks, rates, bursts)
def test_at_the_start_exactly_a_full_burst_is_there(now: float, per_s: float, burst: int) -> None:
    tat = 0.0
    for _ in range(burst):
        allowed, tat, wait_s = gcra(tat, now, per_s, burst)
        assert allowed
        assert wait_s == 0.0
    allowed, _, wait_s = gcra(tat, now, per_s, burst)
    assert not allowed
    assert 0 < wait_s <= 1.26 / per_s


@given(clocks, st.integers(1, 200), st.integers(1, 200))
def test_after_the_burst_each_second_lets_exactly_the_rate_pass(start: float, per_s: int, burst: int) -> None:
    tat, passed = 0.0, []
    for tick in range(3 * 4 * per_s + 1):
        now = start + tick / (4 * per_s)
        for _ in range(burst + 1 if tick == 0 else 2):
            allowed, tat, _ = gcra(tat, now, per_s, burst)
            if allowed:
                passed.append(tick)
    for second in range(3):
        assert sum(second * 4 * per_s < tick <= (second + 1) * 4 * per_s for tick in passed) == per_s
    assert sum(tick == 0 for tick in passed) == burst


@given(clocks, rates, bursts, gaps)
def test_no_window_lets_more_pass_than_rate_and_burst(
    start: float, per_s: float, burst: int, waits: list[float]
) -> None:
    tat, now, times = 0.0, start, []
    for wait in waits:
        now += wait
        for _ in range(3):
            allowed, tat, _ = gcra(tat, now, per_s, burst)
            if allowed:
                times.append(now)
    for first in range(len(times)):
        for last in range(first, len(times)):
            assert last - first + 1 <= burst + per_s * (times[last] - times[first]) * 1.0001 + 0.26


@given(clocks, rates, bursts, gaps)
def test_waiting_as_told_is_enough(start: float, per_s: float, burst: int, waits: list[float]) -> None:
    tat, now = 0.0, start
    for wait in waits:
        now += wait
        allowed, tat, wait_s = gcra(tat, now, per_s, burst)
        if not allowed:
            later = now + wait_s
            assert gcra(tat, max(later, math.nextafter(now, math.inf)), per_s, burst)[0]


@given(clocks, rates, bursts, st.floats(0, 1e12))
def test_a_bucket_is_never_emptier_than_empty(now: float, per_s: float, burst: int, tat: float) -> None:
    allowed, new, wait_s = gcra(tat, now, per_s, burst)
    assert wait_s <= 1.26 / per_s + 1e-6
    assert new <= now + (burst + 1.26) / per_s + 1e-6
    assert allowed is (wait_s == 0.0)


def test_a_raised_limit_takes_effect_at_once() -> None:
    tat = 0.0
    for _ in range(10):
        _, tat, _ = gcra(tat, 100.0, 1 / 3600, 10)
    allowed, _, wait_s = gcra(tat, 100.0, 100.0, 10)
    assert not allowed
    assert wait_s == pytest.approx(0.01, rel=0.01)


# -- rated rules --------------------------------------------------------------------------------------------------


def allowed(
    *applied: AuthorizationPolicy | RateLimitPolicy,
    connection: ConnectionFacts | None = None,
    req: RequestFacts | None = None,
) -> Allowed:
    decision = decide(inbound(*applied), connection or facts(identity()), req or request("GET /foo"))
    assert isinstance(decision, Allowed)
    return decision


FOO = rule(source("cluster.local/ns/shop/sa/client"), to("/foo"), rate=rate(10, 10))


def test_sec_05_a_may_call_b_only_on_foo_and_only_at_ten_per_second() -> None:
    only = policy("ALLOW", FOO, name="a-to-b")
    decision = allowed(only)
    assert [(ref.policy, ref.rule, ref.limit.burst) for ref in decision.any_of] == [("shop/a-to-b", "rules[0]", 10)]
    assert isinstance(decide(inbound(only), facts(identity()), request("GET /bar")), Denied)
    assert isinstance(decide(inbound(only), facts(identity("shop", "c")), request("GET /foo")), Denied)
    buckets = Buckets()
    outcomes = [spend(decision, buckets.take(0.0)) for _ in range(15)]
    assert [isinstance(outcome, Permit) for outcome in outcomes] == [True] * 10 + [False] * 5
    refused = outcomes[-1]
    assert isinstance(refused, Denied)
    assert (refused.reason, refused.http_status, refused.retry_after_s, refused.grpc_status) == (
        "rate_limited",
        429,
        1,
        8,
    )
    assert refused.message == "shop/a-to-b rules[0] allows 10 requests per second per client, burst 10"


def test_an_unrated_rule_makes_rated_ones_irrelevant() -> None:
    for rules in ((FOO, rule(to("/foo"))), (rule(to("/foo")), FOO)):
        assert allowed(policy("ALLOW", *rules)).any_of == ()


def test_all_matching_rated_rules_are_offered_in_order() -> None:
    decision = allowed(policy("ALLOW", FOO, name="a"), policy("ALLOW", rule(rate=rate(1, 1)), name="b"))
    assert [ref.policy for ref in decision.any_of] == ["shop/a", "shop/b"]
    assert decision.permit == Permit("shop/a", "rules[0]")


def test_buckets_of_clients_differ_and_of_totals_do_not() -> None:
    per_client = policy("ALLOW", rule(rate=rate(1, 1)))
    in_total = policy("ALLOW", rule(rate=rate(1, 1, "total")))
    one, two = facts(identity("shop", "a")), facts(identity("shop", "b"))
    assert allowed(per_client, connection=one).any_of[0].key != allowed(per_client, connection=two).any_of[0].key
    assert allowed(in_total, connection=one).any_of[0].key == allowed(in_total, connection=two).any_of[0].key
    plain = [
        allowed(per_client, connection=facts(address=address)).any_of[0].key for address in ("10.0.0.1", "10.0.0.2")
    ]
    assert plain[0] != plain[1]


def test_a_bucket_survives_changes_beside_it() -> None:
    before = allowed(policy("ALLOW", FOO)).any_of[0]
    after = allowed(policy("ALLOW", rule(to("/new")), FOO)).any_of[0]
    assert before.key == after.key
    assert (before.rule, after.rule) == ("rules[0]", "rules[1]")
    changed = rule(*FOO.sources, *FOO.operations, rate=rate(20, 10))
    assert allowed(policy("ALLOW", changed)).any_of[0].key != before.key
    assert allowed(policy("ALLOW", FOO, name="other")).any_of[0].key != before.key


def test_a_rate_on_a_deny_rule_denies() -> None:
    assert isinstance(decide(inbound(policy("DENY", FOO)), facts(identity()), request("GET /foo")), Denied)


def test_an_opaque_connection_counts_as_one() -> None:
    decision = decide(inbound(policy("ALLOW", rule(rate=rate(1, 1)))), facts(identity()))
    assert isinstance(decision, Allowed)
    assert len(decision.any_of) == 1


# -- RateLimitPolicy ----------------------------------------------------------------------------------------------

LIMIT = RateLimitPolicy(
    namespace="shop",
    name="l",
    total=rate(100, 100, "client"),
    client=rate(5, 5, "total"),
    overrides=(ClientLimit(service_accounts=("shop/vip", "shop/vip2"), requests_per_second=50, burst=50),),
)


def refs(*, connection: ConnectionFacts, limit: RateLimitPolicy = LIMIT) -> list[LimitRef]:
    return list(allowed(limit, connection=connection).limits)


def test_total_and_client_are_both_needed_and_mean_their_field() -> None:
    found = refs(connection=facts(identity()))
    assert [(ref.rule, ref.limit.per, ref.limit.requests_per_second) for ref in found] == [
        ("total", "total", 100),
        ("client", "client", 5),
    ]
    assert len({ref.key for ref in found}) == 2


def test_an_override_replaces_the_clients_rate_and_is_each_clients_own() -> None:
    one, two = refs(connection=facts(identity("shop", "vip"))), refs(connection=facts(identity("shop", "vip2")))
    assert [ref.rule for ref in one] == ["total", "overrides[0]"]
    assert one[1].limit.requests_per_second == 50
    assert one[0].key == two[0].key
    assert one[1].key != two[1].key


def test_an_override_is_not_for_a_foreign_trust_domain_or_plaintext() -> None:
    foreign = refs(connection=facts(identity("shop", "vip", domain="other.example")))
    assert [ref.rule for ref in foreign] == ["total", "client"]
    assert [ref.rule for ref in refs(connection=facts())] == ["total", "client"]


def test_only_the_named_operations_count() -> None:
    limit = RateLimitPolicy(namespace="shop", name="l", operations=(to("/api*"), to(ports=(9090,))), total=rate(1, 1))
    counted = [
        len(allowed(limit, connection=facts(port=port), req=request(line)).limits)
        for port, line in ((8080, "GET /api/x"), (8080, "GET /web"), (9090, "GET /web"))
    ]
    assert counted == [1, 0, 1]


def test_a_limit_about_http_counts_an_opaque_connection() -> None:
    limit = RateLimitPolicy(namespace="shop", name="l", operations=(to("/api*"),), total=rate(1, 1))
    decision = decide(inbound(limit), facts())
    assert isinstance(decision, Allowed)
    assert len(decision.limits) == 1


def test_two_policies_are_both_needed() -> None:
    second = RateLimitPolicy(namespace="shop", name="m", total=rate(1, 1))
    assert [ref.policy for ref in allowed(LIMIT, second).limits] == ["shop/l", "shop/l", "shop/m"]


@pytest.mark.parametrize(
    "limit",
    [
        RateLimitPolicy(namespace="shop", name="l"),
        RateLimitPolicy(namespace="shop", name="l", total=rate(0, 1)),
        RateLimitPolicy(namespace="shop", name="l", client=rate(1, 0)),
        RateLimitPolicy(
            namespace="shop",
            name="l",
            overrides=(ClientLimit(service_accounts=("a/b",), requests_per_second=-1, burst=1),),
        ),
    ],
)
def test_a_limit_that_limits_nothing_or_everything_is_refused(limit: RateLimitPolicy) -> None:
    with pytest.raises(UncompilableError):
        compile_limit(limit)
    decision = decide(inbound(limit), facts(), request())
    assert isinstance(decision, Denied)
    assert decision.reason == "policy_invalid"


def test_keys_do_not_depend_on_the_workload() -> None:
    applied = compile_inbound(WEB, {}, {}, NODE)
    assert applied.workload is WEB
    assert allowed(LIMIT).limits[0].key == "limit/shop/l#total@*"
    assert allowed(LIMIT).limits[1].key == "limit/shop/l#client@cluster.local/ns/shop/sa/client"


# -- spending -----------------------------------------------------------------------------------------------------


class Buckets:
    """Real buckets in a dictionary."""

    def __init__(self) -> None:
        self.tats: dict[str, float] = {}

    def take(self, now: float) -> Callable[[LimitRef], float]:
        def one(ref: LimitRef) -> float:
            before = self.tats.get(ref.key, 0.0)
            _, self.tats[ref.key], wait_s = gcra(before, now, ref.limit.requests_per_second, ref.limit.burst)
            return wait_s

        return one


def ref(name: str, per_s: float, burst: int) -> LimitRef:
    return LimitRef(name, rate(per_s, burst), f"shop/{name}", "rules[0]")


def test_without_limits_the_permit_is_free() -> None:
    def never(_: LimitRef) -> float:
        raise AssertionError("nothing to take")

    assert spend(Allowed(Permit("a", "b")), never) == Permit("a", "b")


def test_the_rated_rule_that_had_a_token_is_named() -> None:
    decision = Allowed(Permit("shop/a", "rules[0]"), any_of=(ref("a", 1, 1), ref("b", 2, 2)))
    buckets = Buckets()
    outcomes = [spend(decision, buckets.take(0.0)) for _ in range(4)]
    assert [outcome.policy for outcome in outcomes] == ["shop/a", "shop/b", "shop/b", "shop/b"]
    last = outcomes[-1]
    assert isinstance(last, Denied), "and the refusal is of the one that is free soonest"


def test_every_limit_must_have_a_token() -> None:
    decision = Allowed(Permit(), limits=(ref("a", 1, 5), ref("b", 1, 2)))
    buckets = Buckets()
    outcomes = [spend(decision, buckets.take(0.0)) for _ in range(3)]
    assert [isinstance(outcome, Permit) for outcome in outcomes] == [True, True, False]
    assert outcomes[2].policy == "shop/b"


@pytest.mark.parametrize(("wait_s", "told"), [(0.001, 1), (1.0, 1), (1.2, 2), (59.5, 60)])
def test_retry_after_is_whole_seconds(wait_s: float, told: int) -> None:
    assert rate_limited(ref("a", 1, 1), wait_s).retry_after_s == told
