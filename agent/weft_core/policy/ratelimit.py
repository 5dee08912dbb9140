"""Rates: the token bucket as one pure step, the buckets a request needs, and what happens when one is empty.

Theory: GCRA (ITU-T I.371, generic cell rate algorithm) keeps one number per bucket, the theoretical arrival time (TAT) of
the next request if requests came exactly at the rate. A request may come early by the burst. One number makes the step a
compare-and-store over a table that all workers share, and a table of zeros is a table of full buckets.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from weft_contract.resources.policy import ClientLimit, RateLimit, RateLimitPolicy
from weft_core.decision import Allowed, Denied, LimitRef, Permit
from weft_core.text import UncompilableError

SLACK_TOKENS: Final = 1e-3
SLACK_TOKENS_MAX: Final = 0.25
"""How early (in parts of one token) still counts as in time: sums of 1/rate are off by up to an ulp of the clock for each
token of a burst, 1 ns each after half a year of uptime. It is given away once, not once per request."""


def gcra(tat: float, now: float, rate_per_s: float, burst: int) -> tuple[bool, float, float]:
    """Take one token from a bucket.

    Args:
        tat: the bucket's number, 0.0 for a bucket never used.
        now: monotonic seconds, the same clock for all who share the bucket; not negative.
        rate_per_s: tokens per second, above 0.
        burst: tokens of a full bucket, at least 1.

    Returns:
        Whether there was a token, the bucket's new number, and otherwise the seconds until there is one.

    Source: ITU-T I.371 annex A; the clamp is ours, see below.
    """
    interval_s = 1.0 / rate_per_s
    depth_s = burst * interval_s
    rounding_s = burst * math.ulp(now + depth_s)
    slack_s = min(interval_s * SLACK_TOKENS + rounding_s, interval_s * SLACK_TOKENS_MAX)
    # A bucket cannot be emptier than empty: without the clamp a limit raised from 1 per hour to 100 per second would
    # keep refusing for hours, because the old number lies far ahead.
    arrival = min(max(tat, now), now + depth_s + slack_s)
    early_s = arrival + interval_s - depth_s - now
    if early_s > slack_s:
        return False, arrival, early_s
    return True, arrival + interval_s, 0.0


def check_rate(rate_per_s: float, burst: int) -> None:
    """Refuse a rate that is no rate.

    Raises:
        UncompilableError: not a positive finite rate, or a burst below 1.
    """
    if not (math.isfinite(rate_per_s) and rate_per_s > 0):
        raise UncompilableError(f"a rate of {rate_per_s} requests per second is not above 0")
    if burst < 1:
        raise UncompilableError(f"a burst of {burst} lets nothing pass; it must be at least 1")


def bucket(kind: str, policy: str, part: str, limit: RateLimit, client: str, label: str) -> LimitRef:
    """Name the bucket of one limit for one client.

    Args:
        kind: which kind of policy, so that equal names of two kinds do not meet.
        policy: `namespace/name`.
        part: the rule by content or the part of the policy, so that the bucket survives changes beside it.
        limit: rate and burst.
        client: whose bucket, unless all share one.
        label: rule or part as users know it.
    """
    owner = client if limit.per == "client" else "*"
    return LimitRef(f"{kind}/{policy}#{part}@{owner}", limit, policy, label)


@dataclass(frozen=True, slots=True)
class CompiledOverride:
    """A rate of its own for some clients."""

    service_accounts: frozenset[str]
    limit: RateLimit
    label: str


@dataclass(frozen=True, slots=True)
class LimitParts:
    """The limits of one RateLimitPolicy."""

    total: RateLimit | None
    client: RateLimit | None
    overrides: tuple[CompiledOverride, ...]

    def buckets(self, policy: str, client: str, service_account: str) -> tuple[LimitRef, ...]:
        """Return the buckets that one client's requests need: the total, and its own or the override's."""
        refs = []
        if self.total is not None:
            refs.append(bucket("limit", policy, "total", self.total, client, "total"))
        for override in self.overrides:
            if service_account and service_account in override.service_accounts:
                refs.append(bucket("limit", policy, "override", override.limit, client, override.label))
                return tuple(refs)
        if self.client is not None:
            refs.append(bucket("limit", policy, "client", self.client, client, "client"))
        return tuple(refs)


def compile_parts(policy: RateLimitPolicy) -> LimitParts:
    """Compile the rates of a policy.

    Raises:
        UncompilableError: a rate that is no rate, or a policy without any.
    """
    if policy.total is None and policy.client is None and not policy.overrides:
        raise UncompilableError("no limit is given")
    return LimitParts(
        total=_rate(policy.total, "total"),
        client=_rate(policy.client, "client"),
        overrides=tuple(
            CompiledOverride(frozenset(override.service_accounts), limit, f"overrides[{index}]")
            for index, override in enumerate(policy.overrides)
            if (limit := _rate(override, "client")) is not None
        ),
    )


def _rate(rate: RateLimit | ClientLimit | None, per: Literal["client", "total"]) -> RateLimit | None:
    """Check a rate and give it the meaning of the field it stands in."""
    if rate is None:
        return None
    check_rate(rate.requests_per_second, rate.burst)
    return RateLimit(requests_per_second=rate.requests_per_second, burst=rate.burst, per=per)


def spend(allowed: Allowed, take: Callable[[LimitRef], float]) -> Permit | Denied:
    """Turn an allowed request into a permit by taking its tokens, or into a 429.

    Args:
        allowed: the decision.
        take: takes one token of a bucket; returns 0.0, or the seconds until there is one.

    Returns:
        The permit, naming the rated rule that had a token; or the refusal of the bucket that is free soonest (of the
        rated rules), or of the first empty one (of the limits). Tokens taken before an empty bucket was met are spent.
    """
    permit = allowed.permit
    if allowed.any_of:
        waits: list[tuple[float, LimitRef]] = []
        for ref in allowed.any_of:
            wait_s = take(ref)
            if wait_s <= 0:
                permit = Permit(ref.policy, ref.rule)
                break
            waits.append((wait_s, ref))
        else:
            wait_s, ref = min(waits, key=lambda item: item[0])
            return rate_limited(ref, wait_s)
    for ref in allowed.limits:
        wait_s = take(ref)
        if wait_s > 0:
            return rate_limited(ref, wait_s)
    return permit


def rate_limited(ref: LimitRef, retry_after_s: float) -> Denied:
    """Give the refusal of a request whose bucket is empty.

    Args:
        ref: the bucket.
        retry_after_s: seconds until it has a token; told in whole seconds, at least 1 (RFC 9110 §10.2.3).
    """
    limit = ref.limit
    whose = "per client" if limit.per == "client" else "in total"
    return Denied(
        reason="rate_limited",
        policy=ref.policy,
        rule=ref.rule,
        message=f"{ref.policy} {ref.rule} allows {limit.requests_per_second:g} requests per second {whose}, "
        f"burst {limit.burst}",
        http_status=429,
        retry_after_s=max(1, math.ceil(retry_after_s)),
    )
