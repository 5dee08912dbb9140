"""Policies: the rules of one AuthorizationPolicy or RateLimitPolicy, compiled, and what a connection leaves of them."""

from dataclasses import dataclass

from weft_contract.resources.policy import Action, AuthorizationPolicy, RateLimitPolicy
from weft_core.decision import LimitRef
from weft_core.facts import RequestFacts
from weft_core.policy.caller import Caller
from weft_core.policy.clauses import Attribute, Clause, Mismatch
from weft_core.policy.ratelimit import LimitParts, compile_parts
from weft_core.policy.rules import (
    CompiledOperation,
    CompiledRule,
    NarrowedRule,
    compile_operations,
    compile_rule,
    narrow_operations,
    nearest_operation,
)
from weft_core.text import UncompilableError


@dataclass(frozen=True, slots=True)
class NarrowedPolicy:
    """What is left of a policy for one connection."""

    key: str
    rules: tuple[NarrowedRule, ...]
    dropped: tuple[tuple[str, Mismatch], ...]
    """Rules that cannot match on this connection, by label, and why."""


@dataclass(frozen=True, slots=True)
class CompiledPolicy:
    """One AuthorizationPolicy. Independent of workload and node, so all workloads of a node share it."""

    key: str
    action: Action
    dry_run: bool
    rules: tuple[CompiledRule, ...]
    invalid: str = ""
    """Why everything it applies to is denied; empty: it is sound."""

    @property
    def per_client(self) -> bool:
        """Whether its buckets depend on who calls."""
        return any(rule.rate is not None and rule.rate.per == "client" for rule in self.rules)

    def looks_at(self) -> frozenset[Attribute]:
        """Return every attribute one of its rules may ask for."""
        return frozenset[Attribute]().union(*(rule.looks_at() for rule in self.rules))

    def narrow(self, caller: Caller) -> NarrowedPolicy:
        """Answer what the connection can answer."""
        rules: list[NarrowedRule] = []
        dropped: list[tuple[str, Mismatch]] = []
        for rule in self.rules:
            narrowed = rule.narrow(caller, self.key)
            if isinstance(narrowed, Mismatch):
                dropped.append((rule.label, narrowed))
            else:
                rules.append(narrowed)
        return NarrowedPolicy(self.key, tuple(rules), tuple(dropped))


@dataclass(frozen=True, slots=True)
class NarrowedLimit:
    """What is left of a RateLimitPolicy for one connection: which requests count, and the buckets they need."""

    key: str
    operations: tuple[tuple[Clause, ...], ...]
    buckets: tuple[LimitRef, ...]

    def counts(self, request: RequestFacts | None) -> bool:
        """Say whether the request (or the opaque connection, which counts as one) needs the tokens."""
        return nearest_operation(self.operations, request, permits=False) is None


@dataclass(frozen=True, slots=True)
class CompiledLimit:
    """One RateLimitPolicy."""

    key: str
    operations: tuple[CompiledOperation, ...]
    parts: LimitParts
    invalid: str = ""

    @property
    def per_client(self) -> bool:
        """Whether its buckets depend on who calls."""
        return self.parts.client is not None or bool(self.parts.overrides)

    def narrow(self, caller: Caller) -> NarrowedLimit | None:
        """Answer what the connection can answer; None: nothing on this connection counts."""
        operations = narrow_operations(self.operations, caller, permits=False)
        buckets = self.parts.buckets(self.key, caller.client, caller.service_account)
        if isinstance(operations, Mismatch) or not buckets:
            return None
        return NarrowedLimit(self.key, operations, buckets)


def compile_policy(policy: AuthorizationPolicy) -> CompiledPolicy:
    """Compile an AuthorizationPolicy.

    Args:
        policy: the resource; one with `invalid` becomes a policy that denies.

    Raises:
        UncompilableError: naming the rule that cannot be compiled.
    """
    key = f"{policy.namespace}/{policy.name}"
    if policy.invalid is not None:
        return CompiledPolicy(key, policy.action, policy.dry_run, (), policy.invalid or "invalid")
    permits = policy.action == "ALLOW"
    rules = tuple(compile_rule(rule, index, permits=permits) for index, rule in enumerate(policy.rules))
    return CompiledPolicy(key, policy.action, policy.dry_run, rules)


def compile_limit(policy: RateLimitPolicy) -> CompiledLimit:
    """Compile a RateLimitPolicy.

    Args:
        policy: the resource; one with `invalid` becomes a policy that denies.

    Raises:
        UncompilableError: a rate or operation that cannot be compiled.
    """
    key = f"{policy.namespace}/{policy.name}"
    if policy.invalid is not None:
        return broken_limit(key, policy.invalid or "invalid")
    return CompiledLimit(key, compile_operations(policy.operations), compile_parts(policy))


def broken_policy(key: str, reason: str, *, dry_run: bool = False) -> CompiledPolicy:
    """Give the policy that stands for one that is missing or cannot be compiled: it denies everything."""
    return CompiledPolicy(key, "DENY", dry_run, (), reason)


def broken_limit(key: str, reason: str) -> CompiledLimit:
    """Give the limit that stands for one that is missing or cannot be compiled: it denies everything."""
    return CompiledLimit(key, (), LimitParts(None, None, ()), reason)


def policy_or_broken(policy: AuthorizationPolicy) -> CompiledPolicy:
    """Compile a policy; what cannot be compiled denies with the reason."""
    try:
        return compile_policy(policy)
    except UncompilableError as exc:
        return broken_policy(f"{policy.namespace}/{policy.name}", str(exc), dry_run=policy.dry_run)


def limit_or_broken(policy: RateLimitPolicy) -> CompiledLimit:
    """Compile a limit; what cannot be compiled denies with the reason."""
    try:
        return compile_limit(policy)
    except UncompilableError as exc:
        return broken_limit(f"{policy.namespace}/{policy.name}", str(exc))
