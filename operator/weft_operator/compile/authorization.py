"""AuthorizationPolicy objects to resources: texts typed, nothing left to interpret; a broken one refuses."""

from collections.abc import Iterator
from math import ceil

from weft_contract import objects
from weft_contract.objects import authorization as spec
from weft_contract.objects.check.text import port_number
from weft_contract.problems import Problem
from weft_contract.resources import AuthorizationPolicy, Condition, Operation, RateLimit, Rule, Source, TextMatch
from weft_contract.resources.policy import Action
from weft_operator.compile import text

_NETWORK_KEYS = frozenset({"source.ip", "destination.ip"})


def compile_authorization(policy: objects.AuthorizationPolicy, broken: str | None) -> AuthorizationPolicy:
    """Turn a policy into its resource.

    Args:
        policy: the object; of a broken one only its metadata, action and mode are looked at.
        broken: why it cannot be carried out; None: it can.

    Returns:
        The resource. A broken policy denies what it applies to, unless its author asked for a dry run or an audit,
        which never deny.
    """
    namespace, name = policy.metadata.namespace, policy.metadata.name
    dry_run = policy.spec.mode == "DryRun"
    if broken is not None or policy.spec.action == "CUSTOM":
        reason = broken or "action CUSTOM is not supported"
        audit = policy.spec.action == "AUDIT"
        return AuthorizationPolicy(namespace=namespace, name=name, dry_run=dry_run or audit, invalid=reason)
    action: Action = policy.spec.action
    rules = tuple(_rule(rule, namespace) for rule in policy.spec.rules)
    return AuthorizationPolicy(namespace=namespace, name=name, action=action, dry_run=dry_run, rules=rules)


def _rule(rule: spec.Rule, namespace: str) -> Rule:
    return Rule(
        sources=tuple(_source(item.source, namespace) for item in rule.from_),
        operations=tuple(compile_operation(item.operation) for item in rule.to),
        conditions=tuple(_condition(item, namespace) for item in rule.when),
        rate_limit=_rate_limit(rule.rate_limit),
    )


def _source(source: spec.Source, namespace: str) -> Source:
    return Source(
        principals=text.principals(source.principals),
        not_principals=text.principals(source.not_principals),
        namespaces=text.star_forms(source.namespaces),
        not_namespaces=text.star_forms(source.not_namespaces),
        service_accounts=text.accounts(source.service_accounts, namespace),
        not_service_accounts=text.accounts(source.not_service_accounts, namespace),
        ip_blocks=text.networks(source.ip_blocks),
        not_ip_blocks=text.networks(source.not_ip_blocks),
    )


def compile_operation(operation: spec.Operation) -> Operation:
    """Turn one operation, of whatever policy kind, into its resource."""
    return Operation(
        hosts=text.hosts(operation.hosts),
        not_hosts=text.hosts(operation.not_hosts),
        ports=_ports(operation.ports),
        not_ports=_ports(operation.not_ports),
        methods=text.star_forms(operation.methods),
        not_methods=text.star_forms(operation.not_methods),
        paths=text.paths(operation.paths),
        not_paths=text.paths(operation.not_paths),
    )


def _ports(ports: tuple[int | str, ...]) -> tuple[int, ...]:
    return tuple(number for number in map(port_number, ports) if number is not None)


def _condition(condition: spec.Condition, namespace: str) -> Condition:
    def compare(values: tuple[str, ...]) -> tuple[TextMatch, ...]:
        if condition.key in _NETWORK_KEYS:
            return tuple(TextMatch(value=block) for block in text.networks(values))
        if condition.key == "source.principal":
            return text.principals(values)
        if condition.key == "source.serviceAccount":
            return tuple(TextMatch(value=value) for value in text.accounts(values, namespace))
        return text.hosts(values) if condition.key == "connection.sni" else text.star_forms(values)

    key = condition.key.lower() if condition.key.startswith("request.headers[") else condition.key
    return Condition(key=key, values=compare(condition.values), not_values=compare(condition.not_values))


def burst_of(requests_per_second: float, burst: int | None) -> int:
    """Return the burst of a limit; left out it is one second's worth, and at least one request."""
    return burst if burst is not None else max(1, ceil(requests_per_second))


def _rate_limit(limit: spec.RuleRateLimit | None) -> RateLimit | None:
    if limit is None:
        return None
    return RateLimit(
        requests_per_second=limit.requests_per_second,
        burst=burst_of(limit.requests_per_second, limit.burst),
        per="client" if limit.per == "Client" else "total",
    )


def asks_http(rule: Rule) -> bool:
    """Whether a rule looks at what only an HTTP request has."""
    operations = any(
        item.hosts + item.not_hosts + item.methods + item.not_methods + item.paths + item.not_paths
        for item in rule.operations
    )
    return operations or any(item.key.startswith("request.") for item in rule.conditions)


def http_problems(policy: AuthorizationPolicy, ports: list[str], source: str) -> Iterator[Problem]:
    """Warn of rules that look at HTTP and apply to ports that do not speak it.

    Args:
        policy: the resource.
        ports: where it meets a port declared as TCP or TLS, as `shop/web:5432`.
        source: of the object.
    """
    for index, rule in enumerate(policy.rules):
        if ports and asks_http(rule):
            where = ", ".join(ports[:3]) + (f" and {len(ports) - 3} more" if len(ports) > 3 else "")
            effect = "never matches there" if policy.action == "ALLOW" else "matches there whatever is asked"
            yield Problem(
                path=f"$.spec.rules[{index}]",
                message=f"it looks at HTTP and applies to {where}, declared as TCP or TLS: the rule {effect}",
                remedy="limit it by operation.ports, or declare the port as http",
                source=source,
                subject=f"AuthorizationPolicy {policy.namespace}/{policy.name}",
                warning=True,
            )


def domain_problems(policy: AuthorizationPolicy, domains: frozenset[str], source: str) -> Iterator[Problem]:
    """Warn of principals whose trust domain nobody here can have."""
    for index, rule in enumerate(policy.rules):
        for number, caller in enumerate(rule.sources):
            for match in caller.principals + caller.not_principals:
                domain, slash, _ = match.value.partition("/")
                if match.kind in ("exact", "prefix") and slash and domain not in domains:
                    yield Problem(
                        path=f"$.spec.rules[{index}].from[{number}].source",
                        message=f"trust domain {domain!r:.80} is neither this mesh's nor one it has roots of",
                        remedy=f"known: {', '.join(sorted(domains))}",
                        source=source,
                        subject=f"AuthorizationPolicy {policy.namespace}/{policy.name}",
                        warning=True,
                    )
