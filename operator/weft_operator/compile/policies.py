"""All policy objects to resources, and which of them hold at which member."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from weft_contract import objects
from weft_contract.problems import Problem
from weft_contract.resources import AuthorizationPolicy, RateLimitPolicy, resource_key
from weft_core.policy import compile_limit, compile_policy
from weft_core.text import UncompilableError
from weft_operator.compile.annotated_limits import is_annotated
from weft_operator.compile.authorization import asks_http, compile_authorization, domain_problems, http_problems
from weft_operator.compile.rate_limits import compile_rate_limit
from weft_operator.compile.results import ACCEPTED, ObjectResult, Verdict
from weft_operator.compile.scopes import Scope, ScopeFinder, missing_problems
from weft_operator.compile.services import OPAQUE_PROTOCOLS
from weft_operator.compile.view import ClusterView

PortsOfPolicy = Mapping[str, frozenset[int] | None]


@dataclass(slots=True)
class Policies:
    """Policies as resources, and the members they hold at."""

    authorization: dict[str, AuthorizationPolicy] = field(default_factory=dict)
    rate_limits: dict[str, RateLimitPolicy] = field(default_factory=dict)
    authorization_at: dict[str, dict[str, frozenset[int] | None]] = field(default_factory=dict)
    """Member key to policy key to ports."""
    rate_limits_at: dict[str, dict[str, frozenset[int] | None]] = field(default_factory=dict)
    results: list[ObjectResult] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def compile_policies(view: ClusterView, finder: ScopeFinder, domains: frozenset[str]) -> Policies:
    """Compile every AuthorizationPolicy and RateLimitPolicy.

    Args:
        view: the cluster.
        finder: resolves what a policy applies to.
        domains: trust domains that somebody can have: the mesh's own and those with roots.
    """
    found = Policies()
    for key, policy in view.authorization.items():
        resource = found.authorization[key] = authorization_resource(policy, view.broken.get((policy.kind, key)))
        scope = finder.find(policy.metadata, policy.spec.selector, policy.spec.target_refs)
        _note(found, authorization_result(view, policy, resource, finder, scope, domains))
        _hold(found.authorization_at, key, scope)
    for key, limit in view.rate_limits.items():
        rated = found.rate_limits[key] = rate_limit_resource(limit, view.broken.get((limit.kind, key)))
        scope = finder.find(limit.metadata, limit.spec.selector, limit.spec.target_refs)
        if not is_annotated(key):
            _note(found, policy_result(view, limit, rated, scope, []))
        _hold(found.rate_limits_at, key, scope)
    return found


def _hold(at: dict[str, dict[str, frozenset[int] | None]], key: str, scope: Scope) -> None:
    for member_key, ports in scope.ports.items():
        at.setdefault(member_key, {})[key] = ports


def _note(found: Policies, result: ObjectResult) -> None:
    found.problems += result.problems
    found.results.append(result)


def authorization_result(
    view: ClusterView,
    policy: objects.AuthorizationPolicy,
    resource: AuthorizationPolicy,
    finder: ScopeFinder,
    scope: Scope,
    domains: frozenset[str],
) -> ObjectResult:
    """Say what became of an AuthorizationPolicy; its nodes are filled in by whoever knows them."""
    source = view.source(policy.kind, policy.metadata.key)
    problems = [*domain_problems(resource, domains, source)]
    if any(asks_http(rule) for rule in resource.rules):
        problems += http_problems(resource, list(_opaque_places(finder, scope)), source)
    return policy_result(view, policy, resource, scope, problems)


def policy_result(
    view: ClusterView,
    policy: objects.AuthorizationPolicy | objects.RateLimitPolicy,
    resource: AuthorizationPolicy | RateLimitPolicy,
    scope: Scope,
    problems: list[Problem],
) -> ObjectResult:
    """Say what became of a policy, given what is known of it already."""
    key = policy.metadata.key
    source = view.source(policy.kind, key)
    return ObjectResult(
        kind=policy.kind,
        namespace=policy.metadata.namespace,
        name=policy.metadata.name,
        generation=policy.metadata.generation,
        source=source,
        accepted=_verdict(resource.invalid, scope),
        pods=len(scope.ports),
        resource=resource_key(resource),
        problems=(*problems, *missing_problems(scope, source, f"{policy.kind} {key}")),
    )


def _verdict(invalid: str | None, scope: Scope) -> Verdict:
    """Return the verdict on a policy. Source: GEP-713, reasons `Invalid` and `TargetNotFound`."""
    if invalid is not None:
        return Verdict(holds=False, reason="Invalid", message=f"{invalid}; until it is corrected it refuses")
    if scope.missing:
        return Verdict(holds=False, reason="TargetNotFound", message=f"not there: {', '.join(scope.missing)}")
    return ACCEPTED


def authorization_resource(policy: objects.AuthorizationPolicy, broken: str | None) -> AuthorizationPolicy:
    """Compile a policy; what the data plane's own compiler cannot carry out refuses, and says so here first.

    Args:
        policy: the object.
        broken: why it cannot be carried out; None: it can.
    """
    resource = compile_authorization(policy, broken)
    try:
        compile_policy(resource)
    except UncompilableError as exc:
        return msgspec.structs.replace(resource, rules=(), invalid=str(exc))
    return resource


def rate_limit_resource(policy: objects.RateLimitPolicy, broken: str | None) -> RateLimitPolicy:
    """Compile a rate limit, in the same way."""
    resource = compile_rate_limit(policy, broken)
    try:
        compile_limit(resource)
    except UncompilableError as exc:
        return RateLimitPolicy(namespace=resource.namespace, name=resource.name, invalid=str(exc))
    return resource


def _opaque_places(finder: ScopeFinder, scope: Scope) -> Iterator[str]:
    """Name the Service ports declared as TCP or TLS that a policy meets, each once, by member."""
    seen: set[str] = set()
    for member_key in sorted(scope.ports.keys() & finder.services.opaque):
        ports = scope.ports[member_key]
        for lead in finder.services.leads[member_key]:
            place = f"{lead.service}:{lead.service_port}"
            if place not in seen and (ports is None or lead.pod_port in ports) and lead.protocol in OPAQUE_PROTOCOLS:
                seen.add(place)
                yield place
