"""The reference for policy decisions: the documented semantics, written as plainly as possible and nothing else.

It shares no code with `weft_core.policy`: it walks the resources each time, joins nothing, remembers nothing.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from weft_contract.resources import AuthorizationPolicy, Condition, Operation, Rule, Source, TextMatch
from weft_core.facts import ConnectionFacts, RequestFacts

Test = Callable[[bytes], bool]
UNKNOWN = object()
"""Stands for the HTTP attributes of an opaque connection."""


@dataclass(frozen=True, slots=True)
class NaiveVerdict:
    allowed: bool
    reason: str = ""
    audits: tuple[str, ...] = ()
    dry_run_denied: bool = False
    rated: int = 0
    """How many rated rules stand in for an unrated one."""


def one_text(match: TextMatch, *, lower: bool = False) -> Test:
    value = (match.value.lower() if lower else match.value).encode()
    match match.kind:
        case "exact":
            return lambda seen: seen == value
        case "prefix":
            return lambda seen: seen.startswith(value)
        case "suffix":
            return lambda seen: seen.endswith(value)
        case "present":
            return lambda seen: seen != b""
        case "template":
            pattern = b"/".join(
                {b"{*}": b"[^/]+", b"{**}": b".*"}.get(part, re.escape(part)) for part in value.split(b"/")
            )
            return lambda seen: re.fullmatch(pattern, seen, re.DOTALL) is not None
        case "regex":
            flags = re.DOTALL | (re.IGNORECASE if lower else 0)
            return lambda seen: re.fullmatch(value, seen, flags) is not None


def any_text(matches: Iterable[TextMatch], *, lower: bool = False) -> Test:
    tests = [one_text(match, lower=lower) for match in matches]
    return lambda seen: any(test(seen) for test in tests)


def any_block(blocks: Iterable[str]) -> Test:
    networks = [ipaddress.ip_network(block, strict=False) for block in blocks]
    return lambda seen: any(ipaddress.ip_address(seen.decode()) in network for network in networks)


def clause(permits: bool, wanted: Test | None, unwanted: Test | None, sure: Sequence[bytes], maybe: object) -> bool:
    """The rule of certain and possible values, for one attribute."""

    def surely(test: Test) -> bool:
        return len(sure) > 0 and all(test(value) for value in sure)

    def possibly(test: Test) -> bool:
        return maybe is UNKNOWN or any(test(value) for value in maybe)  # type: ignore[attr-defined] # a sequence

    if permits:
        return (wanted is None or surely(wanted)) and (unwanted is None or not possibly(unwanted))
    return (wanted is None or possibly(wanted)) and (unwanted is None or not surely(unwanted))


class Naive:
    """One connection and perhaps one request, to which policies are put."""

    def __init__(self, facts: ConnectionFacts, request: RequestFacts | None, domain: str) -> None:
        self.facts = facts
        self.request = request
        self.domain = domain

    def identity(self, part: str) -> tuple[list[bytes], list[bytes]]:
        source = self.facts.source
        if source is None:
            return [], []
        account = f"{source.namespace}/{source.service_account}"
        value = {"principal": source.principal, "namespace": source.namespace, "account": account}[part].encode()
        home = part == "principal" or source.trust_domain == self.domain
        return ([value] if home else []), [value]

    def http(self, part: str) -> tuple[list[bytes], object]:
        if self.request is None:
            return [], UNKNOWN
        if part.startswith("header "):
            values = [value for name, value in self.request.headers if name == part[7:].encode()]
            return values, values
        value: bytes = getattr(self.request, part)
        return [value], [value]

    def source(self, source: Source, permits: bool) -> bool:
        def part(name: str, yes: Sequence[TextMatch], no: Sequence[TextMatch]) -> bool:
            sure, maybe = self.identity(name)
            return clause(permits, any_text(yes) if yes else None, any_text(no) if no else None, sure, maybe)

        accounts = [TextMatch(value=value) for value in source.service_accounts]
        not_accounts = [TextMatch(value=value) for value in source.not_service_accounts]
        address = [self.facts.source_address.encode()]
        yes = any_block(source.ip_blocks) if source.ip_blocks else None
        no = any_block(source.not_ip_blocks) if source.not_ip_blocks else None
        return (
            part("principal", source.principals, source.not_principals)
            and part("namespace", source.namespaces, source.not_namespaces)
            and part("account", accounts, not_accounts)
            and clause(permits, yes, no, address, address)
        )

    def operation(self, operation: Operation, permits: bool) -> bool:
        port = self.facts.destination_port
        if operation.ports and port not in operation.ports:
            return False
        if port in operation.not_ports:
            return False

        def part(name: str, yes: Sequence[TextMatch], no: Sequence[TextMatch]) -> bool:
            if not yes and not no:
                return True
            sure, maybe = self.http(name)
            lower = name == "host"
            wanted = any_text(yes, lower=lower) if yes else None
            return clause(permits, wanted, any_text(no, lower=lower) if no else None, sure, maybe)

        return (
            part("host", operation.hosts, operation.not_hosts)
            and part("method", operation.methods, operation.not_methods)
            and part("path", operation.paths, operation.not_paths)
        )

    def condition(self, condition: Condition, permits: bool) -> bool:
        key = condition.key
        yes: Test | None = any_text(condition.values) if condition.values else None
        no: Test | None = any_text(condition.not_values) if condition.not_values else None
        sure: Sequence[bytes]
        maybe: object
        if key.startswith("request.headers["):
            sure, maybe = self.http(f"header {key[16:-1].lower()}")
        elif key in {"source.ip", "destination.ip"}:
            yes = any_block(match.value for match in condition.values) if condition.values else None
            no = any_block(match.value for match in condition.not_values) if condition.not_values else None
            address = self.facts.source_address if key == "source.ip" else self.facts.destination_address
            sure = maybe = [address.encode()]
        elif key == "destination.port":
            sure = maybe = [str(self.facts.destination_port).encode()]
        elif key == "connection.sni":
            sure = maybe = [self.facts.sni.encode()] if self.facts.sni else []
        else:
            part = {"source.namespace": "namespace", "source.principal": "principal"}.get(key, "account")
            sure, maybe = self.identity(part)
        return clause(permits, yes, no, sure, maybe)

    def rule(self, rule: Rule, permits: bool) -> bool:
        return (
            (not rule.sources or any(self.source(source, permits) for source in rule.sources))
            and (not rule.operations or any(self.operation(operation, permits) for operation in rule.operations))
            and all(self.condition(condition, permits) for condition in rule.conditions)
        )

    def matches(self, policy: AuthorizationPolicy) -> bool:
        return any(self.rule(rule, policy.action == "ALLOW") for rule in policy.rules)


def naive_verdict(
    policies: Sequence[AuthorizationPolicy], facts: ConnectionFacts, request: RequestFacts | None, domain: str
) -> NaiveVerdict:
    """Decide by the text of the documentation."""
    naive = Naive(facts, request, domain)
    enforced = [policy for policy in policies if not policy.dry_run]
    if any(policy.invalid is not None for policy in enforced):
        return NaiveVerdict(False, "policy_invalid")
    if any(policy.action == "DENY" and naive.matches(policy) for policy in enforced):
        return NaiveVerdict(False, "denied_by_rule")
    allows = [policy for policy in enforced if policy.action == "ALLOW"]
    matching = [rule for policy in allows for rule in policy.rules if naive.rule(rule, True)]
    if allows and not matching:
        return NaiveVerdict(False, "no_allow_rule_matched")
    rated = len(matching) if matching and all(rule.rate_limit is not None for rule in matching) else 0
    dry = [policy for policy in policies if policy.dry_run]
    dry_allows = [policy for policy in dry if policy.action == "ALLOW" and policy.invalid is None]
    would_deny = (
        any(policy.invalid is not None for policy in dry)
        or any(policy.action == "DENY" and naive.matches(policy) for policy in dry)
        or (not allows and bool(dry_allows) and not any(naive.matches(policy) for policy in dry_allows))
    )
    audits = tuple(
        sorted(
            f"{policy.namespace}/{policy.name}"
            for policy in policies
            if policy.action == "AUDIT" and policy.invalid is None and naive.matches(policy)
        )
    )
    return NaiveVerdict(True, "", audits, would_deny, rated)
