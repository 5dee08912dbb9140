"""Rules: compiled once per policy, narrowed once per connection, asked once per request.

Theory: narrowing answers every clause that the connection can answer (who, from where, to which port) and keeps only what
needs a request. A rule that already fails is dropped with its reason, a rule with nothing left to ask holds for every
request, and when no rule of any policy has something left to ask the decision of the whole connection is one constant.
"""

from dataclasses import dataclass
from typing import Final

from weft_contract.codec import digest, encode
from weft_contract.resources.policy import Operation, RateLimit, Rule, Source
from weft_core.decision import LimitRef
from weft_core.facts import RequestFacts
from weft_core.policy.caller import Caller
from weft_core.policy.clauses import Attribute, Clause, Mismatch, request_mismatch
from weft_core.policy.fields import condition_clause, http_clauses, port_clauses, source_clauses
from weft_core.policy.ratelimit import bucket, check_rate
from weft_core.text import UncompilableError

HTTP_ATTRIBUTES: Final[frozenset[Attribute]] = frozenset({"host", "method", "path", "header"})


@dataclass(frozen=True, slots=True)
class CompiledOperation:
    """One operation: what the connection answers, what the request answers."""

    ports: tuple[Clause, ...]
    http: tuple[Clause, ...]


@dataclass(frozen=True, slots=True)
class NarrowedRule:
    """What is left of a rule for one connection."""

    label: str
    permits: bool
    operations: tuple[tuple[Clause, ...], ...]
    """Any of them must hold; empty: nothing is asked."""
    conditions: tuple[Clause, ...]
    bucket: LimitRef | None
    """Where one token must be taken before the rule's permission counts."""

    @property
    def asks_http(self) -> bool:
        """Whether only a request can answer."""
        return bool(self.operations or self.conditions)

    @property
    def asks_headers(self) -> bool:
        """Whether header fields are needed."""
        return bool(self.conditions)

    def mismatch(self, request: RequestFacts | None) -> Mismatch | None:
        """Return why the rule does not match, or None if it does; no request: an opaque connection."""
        found = nearest_operation(self.operations, request, self.permits)
        if found is not None:
            return found
        for clause in self.conditions:
            found = request_mismatch(clause, request, self.permits)
            if found is not None:
                return found
        return None


def nearest_operation(
    operations: tuple[tuple[Clause, ...], ...], request: RequestFacts | None, permits: bool
) -> Mismatch | None:
    """Return None if one operation holds (or none is given), else the mismatch of the one that got furthest."""
    nearest: Mismatch | None = None
    for clauses in operations:
        found = next((miss for clause in clauses if (miss := request_mismatch(clause, request, permits))), None)
        if found is None:
            return None
        if nearest is None or found.stage > nearest.stage:
            nearest = found
    return nearest


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """One rule of a policy: any source, any operation, all conditions."""

    label: str
    permits: bool
    sources: tuple[tuple[Clause, ...], ...]
    operations: tuple[CompiledOperation, ...]
    connection_conditions: tuple[Clause, ...]
    request_conditions: tuple[Clause, ...]
    rate: RateLimit | None
    digest: str
    """Content hash of the rule: names its bucket, so that other rules may come and go beside it."""

    def looks_at(self) -> frozenset[Attribute]:
        """Return every attribute the rule may ask for."""
        groups = [*self.sources, self.connection_conditions, self.request_conditions]
        groups += [operation.ports + operation.http for operation in self.operations]
        return frozenset(clause.attribute for group in groups for clause in group)

    def narrow(self, caller: Caller, policy: str) -> NarrowedRule | Mismatch:
        """Answer what the connection can answer.

        Args:
            caller: the connection.
            policy: key of the rule's policy, for its bucket.

        Returns:
            What is left to ask of each request, or why the rule cannot match on this connection.
        """
        miss = _nearest_source(self.sources, caller, self.permits)
        if miss is not None:
            return miss
        asked = narrow_operations(self.operations, caller, self.permits)
        if isinstance(asked, Mismatch):
            return asked
        miss = _first(self.connection_conditions, caller, self.permits)
        if miss is not None:
            return miss
        ref = bucket("rule", policy, self.digest, self.rate, caller.client, self.label) if self.rate else None
        return NarrowedRule(self.label, self.permits, asked, self.request_conditions, ref)


def _first(clauses: tuple[Clause, ...], caller: Caller, permits: bool) -> Mismatch | None:
    return next((miss for clause in clauses if (miss := caller.mismatch(clause, permits))), None)


def _nearest_source(sources: tuple[tuple[Clause, ...], ...], caller: Caller, permits: bool) -> Mismatch | None:
    found: Mismatch | None = None
    for clauses in sources:
        miss = _first(clauses, caller, permits)
        if miss is None:
            return None
        found = found or miss
    return found


def narrow_operations(
    operations: tuple[CompiledOperation, ...], caller: Caller, permits: bool
) -> tuple[tuple[Clause, ...], ...] | Mismatch:
    """Answer the ports of operations.

    Returns:
        What is left to ask (any of it; empty: nothing), or why none of the operations is possible on this connection.
    """
    left: list[tuple[Clause, ...]] = []
    missed: Mismatch | None = None
    for operation in operations:
        miss = _first(operation.ports, caller, permits)
        if miss is not None:
            missed = missed or miss
        elif not operation.http:
            return ()
        else:
            left.append(operation.http)
    return missed if missed is not None and not left else tuple(left)


def compile_operations(operations: tuple[Operation, ...]) -> tuple[CompiledOperation, ...]:
    """Compile the operations of a rule or limit.

    Raises:
        UncompilableError: a value that cannot be compared.
    """
    compiled = tuple(CompiledOperation(port_clauses(o), http_clauses(o)) for o in operations)
    if any(not operation.ports and not operation.http for operation in compiled):
        raise UncompilableError("an operation without any field would match everything; leave it out to say that")
    return compiled


def compile_sources(sources: tuple[Source, ...]) -> tuple[tuple[Clause, ...], ...]:
    """Compile the sources of a rule.

    Raises:
        UncompilableError: a value that cannot be compared, or a source that names nobody in particular: an empty or
            failed selector must not become "everybody" (GO-2025-4167).
    """
    compiled = tuple(source_clauses(source) for source in sources)
    if any(not clauses for clauses in compiled):
        raise UncompilableError("a source without any field would match everybody; leave it out to say that")
    return compiled


def compile_rule(rule: Rule, index: int, *, permits: bool) -> CompiledRule:
    """Compile one rule.

    Args:
        rule: the resource.
        index: its place in the policy, as users count.
        permits: whether the policy allows.

    Raises:
        UncompilableError: naming the rule.
    """
    label = f"rules[{index}]"
    try:
        conditions = [condition_clause(condition) for condition in rule.conditions]
        if rule.rate_limit is not None:
            check_rate(rule.rate_limit.requests_per_second, rule.rate_limit.burst)
        return CompiledRule(
            label=label,
            permits=permits,
            sources=compile_sources(rule.sources),
            operations=compile_operations(rule.operations),
            connection_conditions=tuple(c for c in conditions if c.attribute not in HTTP_ATTRIBUTES),
            request_conditions=tuple(c for c in conditions if c.attribute in HTTP_ATTRIBUTES),
            rate=rule.rate_limit if permits else None,
            digest=digest(encode(rule)),
        )
    except UncompilableError as exc:
        raise UncompilableError(f"{label}: {exc}") from exc
