"""All policy objects to resources, and which of them hold at which member."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from weft_contract import objects
from weft_contract.problems import Problem
from weft_contract.resources import AuthorizationPolicy, RateLimitPolicy, resource_key
from weft_core.policy import compile_limit, compile_policy
from weft_core.text import UncompilableError
from weft_operator.compile.authorization import compile_authorization, domain_problems, http_problems
from weft_operator.compile.rate_limits import compile_rate_limit
from weft_operator.compile.results import ACCEPTED, ObjectResult, Verdict
from weft_operator.compile.scopes import Scope, ScopeFinder, missing_problems
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
        resource = _checked(compile_authorization(policy, view.broken.get((policy.kind, key))))
        scope = finder.find(policy.metadata, policy.spec.selector, policy.spec.target_refs)
        problems = [
            *domain_problems(resource, domains, view.source(policy.kind, key)),
            *http_problems(resource, list(_opaque_places(finder, scope)), view.source(policy.kind, key)),
        ]
        found.authorization[key] = resource
        _note(found, view, policy, scope, found.authorization_at, resource, problems)
    for key, limit in view.rate_limits.items():
        rated = _checked_limit(compile_rate_limit(limit, view.broken.get((limit.kind, key))))
        scope = finder.find(limit.metadata, limit.spec.selector, limit.spec.target_refs)
        found.rate_limits[key] = rated
        _note(found, view, limit, scope, found.rate_limits_at, rated, [])
    return found


def _note(
    found: Policies,
    view: ClusterView,
    policy: objects.AuthorizationPolicy | objects.RateLimitPolicy,
    scope: Scope,
    at: dict[str, dict[str, frozenset[int] | None]],
    resource: AuthorizationPolicy | RateLimitPolicy,
    problems: list[Problem],
) -> None:
    key = policy.metadata.key
    source, subject = view.source(policy.kind, key), f"{policy.kind} {key}"
    problems += missing_problems(scope, source, subject)
    for member_key, ports in scope.ports.items():
        at.setdefault(member_key, {})[key] = ports
    found.problems += problems
    found.results.append(
        ObjectResult(
            kind=policy.kind,
            namespace=policy.metadata.namespace,
            name=policy.metadata.name,
            generation=policy.metadata.generation,
            source=source,
            accepted=_verdict(resource.invalid, scope),
            pods=len(scope.ports),
            resource=resource_key(resource),
            problems=tuple(problems),
        )
    )


def _verdict(invalid: str | None, scope: Scope) -> Verdict:
    """Return the verdict on a policy. Source: GEP-713, reasons `Invalid` and `TargetNotFound`."""
    if invalid is not None:
        return Verdict(holds=False, reason="Invalid", message=f"{invalid}; until it is corrected it refuses")
    if scope.missing:
        return Verdict(holds=False, reason="TargetNotFound", message=f"not there: {', '.join(scope.missing)}")
    return ACCEPTED


def _checked(resource: AuthorizationPolicy) -> AuthorizationPolicy:
    """Let the data plane's own compiler judge: what it cannot carry out refuses, and says so here first."""
    try:
        compile_policy(resource)
    except UncompilableError as exc:
        return msgspec.structs.replace(resource, rules=(), invalid=str(exc))
    return resource


def _checked_limit(resource: RateLimitPolicy) -> RateLimitPolicy:
    try:
        compile_limit(resource)
    except UncompilableError as exc:
        return RateLimitPolicy(namespace=resource.namespace, name=resource.name, invalid=str(exc))
    return resource


def _opaque_places(finder: ScopeFinder, scope: Scope) -> Iterator[str]:
    """Name the Service ports declared as TCP or TLS that a policy meets, each once."""
    seen: set[str] = set()
    for member_key, ports in scope.ports.items():
        for lead in finder.services.leads.get(member_key, ()):
            place = f"{lead.service}:{lead.service_port}"
            if place not in seen and (ports is None or lead.pod_port in ports) and lead.protocol in ("tcp", "tls"):
                seen.add(place)
                yield place
