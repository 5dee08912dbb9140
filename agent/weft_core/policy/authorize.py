"""The decision itself: invalid, DENY, ALLOW, then limits, AUDIT and dry run, over what a connection left of the policies.

Theory: the order is Istio's (DENY before ALLOW; without an ALLOW policy everything else passes; with one, something must
match). Only the verdict of DENY and ALLOW is enforced, and it does not depend on the order of policies or rules: any
matching DENY denies, any matching ALLOW allows. A rated ALLOW rule counts only where no unrated one matches. Whatever
goes wrong while a rule is matched denies (`match_error`); in an AUDIT or dry-run policy it is reported instead, because
such a policy must not change what happens.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from weft_contract.resources.policy import Action
from weft_core.decision import Allowed, Decision, Denied, LimitRef, Permit
from weft_core.facts import RequestFacts
from weft_core.policy.clauses import Mismatch
from weft_core.policy.policies import NarrowedLimit, NarrowedPolicy
from weft_core.policy.rules import NarrowedRule
from weft_core.policy.steps import Step, Trace
from weft_core.text import show_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What one connection left of the policies of its workload, by what they do."""

    caller: str
    """For messages."""
    invalid: tuple[tuple[str, str], ...] = ()
    """Policies that deny everything, and why."""
    deny: tuple[NarrowedPolicy, ...] = ()
    allow: tuple[NarrowedPolicy, ...] = ()
    audit: tuple[NarrowedPolicy, ...] = ()
    dry_invalid: tuple[str, ...] = ()
    dry_deny: tuple[NarrowedPolicy, ...] = ()
    dry_allow: tuple[NarrowedPolicy, ...] = ()
    limits: tuple[NarrowedLimit, ...] = ()

    def rules(self) -> Iterator[NarrowedRule]:
        """Iterate over every rule that is left."""
        for policies in (self.deny, self.allow, self.audit, self.dry_deny, self.dry_allow):
            for policy in policies:
                yield from policy.rules

    @property
    def asks_http(self) -> bool:
        """Whether the decision depends on the request at all."""
        return any(rule.asks_http for rule in self.rules()) or any(limit.operations for limit in self.limits)

    @property
    def asks_headers(self) -> bool:
        """Whether the decision depends on header fields."""
        return any(rule.asks_headers for rule in self.rules())


def authorize(table: Table, request: RequestFacts | None, trace: Trace = None) -> Decision:
    """Decide about a request, or about an opaque connection.

    Args:
        table: what the connection left of the policies.
        request: None for an opaque connection.
        trace: where to note the steps.
    """
    refusal = _refused_as_invalid(table, trace) or _refused_by_rule(table, request, trace)
    if refusal is not None:
        return refusal
    allowed = _allowed(table, request, trace)
    if isinstance(allowed, Denied):
        return allowed
    limits = _limits(table, request, trace)
    if isinstance(limits, Denied):
        return limits
    permit, any_of = allowed
    return Allowed(
        permit=permit,
        limits=limits,
        any_of=any_of,
        audits=tuple(policy.key for policy in table.audit if _would_match(policy, "AUDIT", request, trace)),
        dry_run_denial=_dry_run_denial(table, request, trace),
    )


def _refused_as_invalid(table: Table, trace: Trace) -> Denied | None:
    for key, reason in table.invalid:
        if trace is not None:
            trace.append(Step("policy", key, "refused", reason))
        return Denied(reason="policy_invalid", policy=key, message=f"{key} cannot be enforced: {reason}")
    return None


def _refused_by_rule(table: Table, request: RequestFacts | None, trace: Trace) -> Denied | None:
    for policy in table.deny:
        _note_dropped(policy, "DENY", trace)
        for rule in policy.rules:
            found = _ask(policy, rule, "DENY", request, trace)
            if isinstance(found, Denied):
                return found
            if found is None:
                return _denied_by(policy, rule, table, request)
    return None


def _denied_by(policy: NarrowedPolicy, rule: NarrowedRule, table: Table, request: RequestFacts | None) -> Denied:
    message = f"denied by {policy.key} {rule.label}: {_subject(rule, request)} from {table.caller}"
    if request is None and rule.asks_http:
        message += "; its HTTP conditions cannot be evaluated on an opaque connection, so they count as matched"
        reason = f"l7_rule_on_opaque_connection: {message}"
        return Denied(reason="l7_rule_on_opaque_connection", policy=policy.key, rule=rule.label, message=reason)
    return Denied(reason="denied_by_rule", policy=policy.key, rule=rule.label, message=message)


def _allowed(table: Table, request: RequestFacts | None, trace: Trace) -> tuple[Permit, tuple[LimitRef, ...]] | Denied:
    if not table.allow:
        return Permit(), ()
    rated: list[LimitRef] = []
    nearest: tuple[Mismatch, str] | None = None
    for policy in table.allow:
        _note_dropped(policy, "ALLOW", trace)
        for rule in policy.rules:
            found = _ask(policy, rule, "ALLOW", request, trace)
            if isinstance(found, Denied):
                return found
            if found is None and rule.bucket is None:
                return Permit(policy.key, rule.label), ()
            if found is None and rule.bucket is not None:
                rated.append(rule.bucket)
            elif found is not None and (nearest is None or found.stage > nearest[0].stage):
                nearest = found, f"{policy.key} {rule.label}"
    if rated:
        return Permit(rated[0].policy, rated[0].rule), tuple(rated)
    return _no_allow(table, nearest)


def _no_allow(table: Table, nearest: tuple[Mismatch, str] | None) -> Denied:
    """Refuse for want of a rule, saying what the nearest one wants."""
    if nearest is None:
        for policy in table.allow:
            for label, mismatch in policy.dropped:
                if nearest is None or mismatch.stage > nearest[0].stage:
                    nearest = mismatch, f"{policy.key} {label}"
    if nearest is None:
        names = " and ".join(policy.key for policy in table.allow[:3])
        message = f"no ALLOW rule matched: {names} {'has' if len(table.allow) == 1 else 'have'} no rules"
        return Denied(reason="no_allow_rule_matched", policy=table.allow[0].key, message=message)
    mismatch, name = nearest
    key, _, rule = name.partition(" ")
    message = f"no ALLOW rule matched: {name} {mismatch}"
    if mismatch.opaque:
        message = f"l7_rule_on_opaque_connection: {message}"
        return Denied(reason="l7_rule_on_opaque_connection", policy=key, rule=rule, message=message)
    return Denied(reason="no_allow_rule_matched", policy=key, rule=rule, message=message)


def _limits(table: Table, request: RequestFacts | None, trace: Trace) -> tuple[LimitRef, ...] | Denied:
    needed: list[LimitRef] = []
    for limit in table.limits:
        try:
            counts = limit.counts(request)
        except Exception as exc:  # whatever a matcher does, the answer is a refusal and never a hole
            return _match_error(limit.key, "", exc)
        if counts:
            needed += limit.buckets
        if trace is not None:
            names = ", ".join(ref.rule for ref in limit.buckets)
            trace.append(Step("limit", limit.key, "needed" if counts else "not_matched", names))
    return tuple(needed)


def _dry_run_denial(table: Table, request: RequestFacts | None, trace: Trace) -> str:
    """Name the dry-run policy that would have denied what is allowed now."""
    if table.dry_invalid:
        return table.dry_invalid[0]
    for policy in table.dry_deny:
        if _would_match(policy, "DENY", request, trace):
            return policy.key
    if table.allow or not table.dry_allow:  # what is allowed already stays allowed by one ALLOW policy more
        return ""
    matched = [_would_match(policy, "ALLOW", request, trace) for policy in table.dry_allow]
    return "" if any(matched) else table.dry_allow[0].key


def _would_match(policy: NarrowedPolicy, action: Action, request: RequestFacts | None, trace: Trace) -> bool:
    """Match a policy that is not enforced; an error counts as the outcome that gets reported."""
    _note_dropped(policy, action, trace)
    for rule in policy.rules:
        found = _ask(policy, rule, action, request, trace)
        if found is None or (isinstance(found, Denied) and action != "ALLOW"):
            return True
    return False


def _ask(
    policy: NarrowedPolicy, rule: NarrowedRule, action: Action, request: RequestFacts | None, trace: Trace
) -> Mismatch | Denied | None:
    """Match one rule: None if it does, the mismatch if not, a refusal if matching failed."""
    found: Mismatch | Denied | None
    try:
        found = rule.mismatch(request)
    except Exception as exc:  # whatever a matcher does, the answer is a refusal and never a hole
        found = _match_error(policy.key, rule.label, exc)
    if trace is not None:
        subject = f"{action} {policy.key} {rule.label}"
        match found:
            case None:
                trace.append(Step("rule", subject, "matched"))
            case Denied():
                trace.append(Step("rule", subject, "refused", found.message))
            case Mismatch():
                trace.append(Step("rule", subject, "not_matched", str(found)))
    return found


def _match_error(policy: str, rule: str, exc: Exception) -> Denied:
    message = f"{policy} {rule}".strip() + f" could not be matched: {exc}"
    return Denied(reason="match_error", policy=policy, rule=rule, message=message)


def _note_dropped(policy: NarrowedPolicy, action: Action, trace: Trace) -> None:
    if trace is None:
        return
    if not policy.rules and not policy.dropped:
        trace.append(Step("policy", f"{action} {policy.key}", "not_matched", "has no rules"))
    for label, mismatch in policy.dropped:
        trace.append(Step("rule", f"{action} {policy.key} {label}", "not_matched", str(mismatch)))


def _subject(rule: NarrowedRule, request: RequestFacts | None) -> str:
    """Name what was denied; a rule that asks nothing about requests denies them all alike."""
    if request is None or not rule.asks_http:
        return "any connection"
    return f"{show_bytes(request.method)} {show_bytes(request.path)}"
