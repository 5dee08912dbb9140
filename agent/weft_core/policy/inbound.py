"""The inbound policy of one workload: mTLS mode by port, then the policies, narrowed for each caller and remembered.

Theory: a mode is asked before any rule. STRICT refuses what is not encrypted, unless it may be a probe (then only the
probe itself passes). PERMISSIVE takes both. DISABLE asks for no mTLS and does not refuse it either: whether a tunnel is
made is decided by the caller's agent, from the endpoint's identity, so a refusal here would cut every meshed caller off to
forbid what is stronger than was asked (Istio's ambient mode ignores DISABLE for the same reason).

A policy that was attached to a Service exists only on the ports that the Service leads to (`Workload.port_scopes`): on any
other port it neither denies nor makes an ALLOW rule necessary.

Admitted callers are remembered by what some rule may look at: always identity, port and probe; addresses and server name
only where a rule (or a limit per client without identity) asks for them.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from weft_contract.resources.node import Node
from weft_contract.resources.policy import AuthorizationPolicy, RateLimitPolicy
from weft_contract.resources.workload import MtlsMode, Workload
from weft_core.decision import Denied
from weft_core.facts import ConnectionFacts
from weft_core.memo import MemoBudget
from weft_core.policy.authorize import Table
from weft_core.policy.caller import Caller
from weft_core.policy.clauses import Attribute
from weft_core.policy.connection import ConnectionPolicy
from weft_core.policy.policies import (
    CompiledLimit,
    CompiledPolicy,
    broken_limit,
    broken_policy,
    limit_or_broken,
    policy_or_broken,
)
from weft_core.policy.steps import Step, Trace

CALLERS_MAX: Final = 1024
"""Remembered callers of one workload; strangers choose addresses, so there must be a bound."""

_Key = tuple[object, ...]


class InboundPolicy:
    """Everything that decides what may reach one workload. Immutable but for what it remembers.

    Args:
        workload: the pod.
        policies: what applies to it.
        limits: what limits it.
        trust_domain: the node's own.
        budget: bound of remembered decisions.
    """

    __slots__ = (
        "_budget",
        "_callers",
        "_counts_clients",
        "_limits",
        "_looks_at",
        "_modes",
        "_policies",
        "_scopes",
        "_trust_domain",
        "workload",
    )

    def __init__(
        self,
        workload: Workload,
        policies: Iterable[CompiledPolicy],
        limits: Iterable[CompiledLimit],
        trust_domain: str,
        budget: MemoBudget | None = None,
    ) -> None:
        self.workload = workload
        self._policies = tuple(sorted(policies, key=lambda policy: policy.key))
        self._limits = tuple(sorted(limits, key=lambda limit: limit.key))
        self._trust_domain = trust_domain
        self._budget = budget if budget is not None else MemoBudget()
        self._modes = dict(workload.mtls_ports)
        self._scopes: dict[tuple[str, str], frozenset[int]] = {}
        for scope in workload.port_scopes:
            named = (scope.kind, scope.policy)
            self._scopes[named] = self._scopes.get(named, frozenset()) | frozenset(scope.ports)
        self._looks_at = frozenset[Attribute]().union(*(policy.looks_at() for policy in self._policies))
        self._counts_clients = any(p.per_client for p in self._policies) or any(c.per_client for c in self._limits)
        self._callers: dict[_Key, ConnectionPolicy] = {}

    def mode(self, port: int) -> MtlsMode:
        """Return the mTLS mode of a pod port."""
        return self._modes.get(port, self.workload.mtls)

    def admit(self, facts: ConnectionFacts) -> ConnectionPolicy | Denied:
        """Decide whether a connection may go on to be authorised.

        Returns:
            The policy its requests (or the connection as a whole) are then put to, or the refusal.
        """
        refusal = self._mode_refusal(facts)
        if refusal is not None and not facts.is_probe:
            return refusal
        key = self._key(facts)
        found = self._callers.get(key)
        if found is None:
            narrowed = self.narrow(facts)
            if isinstance(narrowed, Denied):
                return narrowed
            if len(self._callers) >= CALLERS_MAX:
                self._callers.clear()
            found = self._callers[key] = narrowed
        return found

    def narrow(self, facts: ConnectionFacts, trace: Trace = None) -> ConnectionPolicy | Denied:
        """Do what `admit` does without remembering, noting the steps."""
        refusal = self._mode_refusal(facts)
        if trace is not None:
            subject = f"mode {self.mode(facts.destination_port)} on port {facts.destination_port}"
            trace.append(Step("mode", subject, "passed" if refusal is None else "refused", _transport(facts)))
        if refusal is not None and not facts.is_probe:
            return refusal
        try:
            table = self._table(facts)
        except Exception as exc:  # whatever a matcher does, the answer is a refusal and never a hole
            message = f"the connection to {self.workload.namespace}/{self.workload.name} cannot be matched: {exc}"
            return Denied(reason="match_error", message=message)
        return ConnectionPolicy(self.workload, facts, table, self._budget, refusal)

    def _mode_refusal(self, facts: ConnectionFacts) -> Denied | None:
        if facts.encrypted or self.mode(facts.destination_port) != "STRICT":
            return None
        name = f"{self.workload.namespace}/{self.workload.name}"
        message = (
            f"port {facts.destination_port} of {name} takes mutual TLS only (mode STRICT), "
            f"and the connection from {facts.source_address} is plaintext"
        )
        return Denied(reason="mtls_required", message=message)

    def _key(self, facts: ConnectionFacts) -> _Key:
        looks_at = self._looks_at
        by_client = facts.source is None and self._counts_clients
        return (
            facts.source,
            facts.destination_port,
            facts.is_probe,
            facts.encrypted,
            facts.source_address if by_client or facts.is_probe or "source_ip" in looks_at else "",
            facts.destination_address if "destination_ip" in looks_at else "",
            facts.sni if "sni" in looks_at else "",
        )

    def _holds_on(self, kind: str, policy: str, port: int) -> bool:
        scope = self._scopes.get((kind, policy))
        return scope is None or port in scope

    def _table(self, facts: ConnectionFacts) -> Table:
        caller = Caller(facts, self._trust_domain)
        port = facts.destination_port
        policies = [policy for policy in self._policies if self._holds_on("AuthorizationPolicy", policy.key, port)]
        counted = [limit for limit in self._limits if self._holds_on("RateLimitPolicy", limit.key, port)]
        broken = [policy for policy in policies if policy.invalid]
        narrowed = [(policy, policy.narrow(caller)) for policy in policies if not policy.invalid]
        limits = (limit.narrow(caller) for limit in counted if not limit.invalid)
        return Table(
            caller=facts.source.principal if facts.source is not None else "plaintext without identity",
            invalid=(
                *((policy.key, policy.invalid) for policy in broken if not policy.dry_run),
                *((limit.key, limit.invalid) for limit in counted if limit.invalid),
            ),
            deny=tuple(n for p, n in narrowed if p.action == "DENY" and not p.dry_run),
            allow=tuple(n for p, n in narrowed if p.action == "ALLOW" and not p.dry_run),
            audit=tuple(n for p, n in narrowed if p.action == "AUDIT"),
            dry_invalid=tuple(policy.key for policy in broken if policy.dry_run),
            dry_deny=tuple(n for p, n in narrowed if p.action == "DENY" and p.dry_run),
            dry_allow=tuple(n for p, n in narrowed if p.action == "ALLOW" and p.dry_run),
            limits=tuple(limit for limit in limits if limit is not None),
        )


def _transport(facts: ConnectionFacts) -> str:
    return "encrypted" if facts.encrypted else "plaintext"


def assemble_inbound(
    workload: Workload, policies: Mapping[str, CompiledPolicy], limits: Mapping[str, CompiledLimit], node: Node
) -> InboundPolicy:
    """Put the policy of a workload together from compiled parts.

    Args:
        workload: the pod; lists the keys of what applies to it.
        policies: compiled policies by key (`namespace/name`).
        limits: compiled limits by key.
        node: the node, for its trust domain.

    Returns:
        A policy that denies where a listed key is missing.
    """
    return InboundPolicy(
        workload,
        [policies.get(key) or broken_policy(key, "it applies here but is not known") for key in set(workload.policies)],
        [limits.get(key) or broken_limit(key, "it applies here but is not known") for key in set(workload.rate_limits)],
        node.trust_domain,
    )


def compile_inbound(
    workload: Workload,
    policies: Mapping[str, AuthorizationPolicy],
    limits: Mapping[str, RateLimitPolicy],
    node: Node,
) -> InboundPolicy:
    """Compile the policy of a workload from resources.

    Args:
        workload: the pod; lists the keys of what applies to it.
        policies: AuthorizationPolicies by key (`namespace/name`).
        limits: RateLimitPolicies by key.
        node: the node, for its trust domain.

    Returns:
        A policy that denies with the reason `policy_invalid` where a listed one is missing, marked invalid, or cannot
        be compiled.
    """
    return assemble_inbound(
        workload,
        {key: policy_or_broken(policies[key]) for key in workload.policies if key in policies},
        {key: limit_or_broken(limits[key]) for key in workload.rate_limits if key in limits},
        node,
    )
