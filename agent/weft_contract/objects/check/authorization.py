"""Rules of AuthorizationPolicy that its shape cannot say."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeAlias

from weft_contract.objects.authorization import AuthorizationPolicy, Condition, Operation, Rule, Source
from weft_contract.objects.check.scope import scope_problems
from weft_contract.objects.check.text import (
    header_name_problems,
    host_problems,
    method_problems,
    namespace_problems,
    network_problems,
    path_problems,
    port_problems,
    principal_problems,
    service_account_problems,
    star_problems,
)
from weft_contract.problems import Problem

DRY_RUN_OF_ISTIO: Final = "istio.io/dry-run"
HEADER_KEY: Final = re.compile(r"request\.headers\[([^\[\]]+)\]")
_Check: TypeAlias = Callable[[str, str], Iterator[Problem]]
_NEEDS_TOKENS: Final = "needs RequestAuthentication, which this release does not have yet"
_NEEDS_PROXIES: Final = "needs trusted proxies, which this release does not have yet"


def authorization_problems(policy: AuthorizationPolicy) -> Iterator[Problem]:
    """Yield everything wrong with a policy."""
    spec = policy.spec
    yield from scope_problems(spec.selector, spec.target_refs)
    if spec.action == "CUSTOM":
        message = "action CUSTOM is not supported yet in this release"
        yield Problem(path="$.spec.action", message=message, remedy="use ALLOW, DENY or AUDIT")
    elif spec.provider is not None:
        yield Problem(path="$.spec.provider", message="provider is for action CUSTOM only", remedy="take it out")
    if DRY_RUN_OF_ISTIO in policy.metadata.annotations:
        message = f"annotation {DRY_RUN_OF_ISTIO} has no effect here"
        yield Problem(path="$.metadata.annotations", message=message, remedy="set spec.mode to DryRun", warning=True)
    if not spec.rules:
        yield from _no_rules(spec.action)
    for index, rule in enumerate(spec.rules):
        yield from _rule_problems(rule, f"$.spec.rules[{index}]", spec.action)


def _no_rules(action: str) -> Iterator[Problem]:
    if action == "ALLOW":
        message, remedy = "an ALLOW policy without rules denies every request", "use rules: [{}] to allow all"
    else:
        message, remedy = f"{action} without rules matches nothing", "use rules: [{}] to match all"
    yield Problem(path="$.spec.rules", message=message, remedy=remedy, warning=True)


def _rule_problems(rule: Rule, path: str, action: str) -> Iterator[Problem]:
    for index, caller in enumerate(rule.from_):
        yield from _source_problems(caller.source, f"{path}.from[{index}].source")
    for index, request in enumerate(rule.to):
        yield from operation_problems(request.operation, f"{path}.to[{index}].operation")
    for index, condition in enumerate(rule.when):
        yield from _condition_problems(condition, f"{path}.when[{index}]")
    if rule.rate_limit is not None and action != "ALLOW":
        message = f"a rate limit belongs to ALLOW rules, this policy says {action}"
        yield Problem(path=f"{path}.rateLimit", message=message, remedy="use action ALLOW, or a RateLimitPolicy")


def _each(values: Iterable[str], path: str, *checks: _Check) -> Iterator[Problem]:
    for index, value in enumerate(values):
        for check in checks:
            yield from check(value, f"{path}[{index}]")


def _source_problems(source: Source, path: str) -> Iterator[Problem]:
    if source == Source():
        yield Problem(path=path, message="an empty source matches every caller", remedy="leave from out to say so")
    yield from _each(source.principals, f"{path}.principals", principal_problems)
    yield from _each(source.not_principals, f"{path}.notPrincipals", principal_problems)
    yield from _each(source.namespaces, f"{path}.namespaces", namespace_problems)
    yield from _each(source.not_namespaces, f"{path}.notNamespaces", namespace_problems)
    yield from _each(source.service_accounts, f"{path}.serviceAccounts", service_account_problems)
    yield from _each(source.not_service_accounts, f"{path}.notServiceAccounts", service_account_problems)
    yield from _each(source.ip_blocks, f"{path}.ipBlocks", network_problems)
    yield from _each(source.not_ip_blocks, f"{path}.notIpBlocks", network_problems)
    yield from _source_not_yet(source, path)
    accounts = source.service_accounts + source.not_service_accounts
    if accounts and source.principals + source.not_principals + source.namespaces + source.not_namespaces:
        message = "serviceAccounts cannot stand beside principals or namespaces"
        yield Problem(path=path, message=message, remedy="give them a source of their own")


def _source_not_yet(source: Source, path: str) -> Iterator[Problem]:
    for name, values, why in (
        ("requestPrincipals", source.request_principals, _NEEDS_TOKENS),
        ("notRequestPrincipals", source.not_request_principals, _NEEDS_TOKENS),
        ("remoteIpBlocks", source.remote_ip_blocks, _NEEDS_PROXIES),
        ("notRemoteIpBlocks", source.not_remote_ip_blocks, _NEEDS_PROXIES),
    ):
        if values:
            yield Problem(path=f"{path}.{name}", message=f"{name} {why}", remedy="take it out")


def operation_problems(operation: Operation, path: str) -> Iterator[Problem]:
    """Yield everything wrong with an operation, of an AuthorizationPolicy or a RateLimitPolicy."""
    if operation == Operation():
        yield Problem(path=path, message="an empty operation matches every request", remedy="leave it out to say so")
    yield from _each(operation.hosts, f"{path}.hosts", host_problems)
    yield from _each(operation.not_hosts, f"{path}.notHosts", host_problems)
    yield from port_problems(operation.ports, f"{path}.ports")
    yield from port_problems(operation.not_ports, f"{path}.notPorts")
    yield from _each(operation.methods, f"{path}.methods", method_problems)
    yield from _each(operation.not_methods, f"{path}.notMethods", method_problems)
    yield from _each(operation.paths, f"{path}.paths", path_problems)
    yield from _each(operation.not_paths, f"{path}.notPaths", path_problems)


def _port_problems(value: str, path: str) -> Iterator[Problem]:
    for problem in port_problems((value,), ""):
        yield Problem(path=path, message=problem.message, remedy=problem.remedy)


_CONDITION_CHECKS: Final[dict[str, _Check]] = {
    "source.ip": network_problems,
    "source.namespace": namespace_problems,
    "source.principal": principal_problems,
    "source.serviceAccount": service_account_problems,
    "destination.ip": network_problems,
    "destination.port": _port_problems,
    "connection.sni": host_problems,
}


def _condition_problems(condition: Condition, path: str) -> Iterator[Problem]:
    if not condition.values and not condition.not_values:
        yield Problem(path=path, message="neither values nor notValues is given", remedy="add values")
    header = HEADER_KEY.fullmatch(condition.key)
    check = star_problems if header else _CONDITION_CHECKS.get(condition.key)
    if header:
        yield from header_name_problems(header[1], f"{path}.key")
    if check is None:
        yield from _unknown_key(condition.key, f"{path}.key")
        return
    yield from _each(condition.values, f"{path}.values", check)
    yield from _each(condition.not_values, f"{path}.notValues", check)


def _unknown_key(key: str, path: str) -> Iterator[Problem]:
    remedy = "keys: request.headers[name], " + ", ".join(sorted(_CONDITION_CHECKS))
    if key.startswith("request.auth."):
        message = f"{key!r:.80} {_NEEDS_TOKENS}"
    elif key == "remote.ip":
        message = f"{key!r:.80} {_NEEDS_PROXIES}"
    else:
        message = f"{key!r:.80} is not a condition"
    yield Problem(path=path, message=message, remedy=remedy)
