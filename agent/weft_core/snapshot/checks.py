"""What a resource must be to be taken over, kind by kind; a resource that is not keeps its last good version."""

from typing import TypeAlias, assert_never

import msgspec

from weft_contract.identity import IdentityGrammarError, check_trust_domain, parse_spiffe_id
from weft_contract.resources.document import Resource
from weft_contract.resources.node import Node, Telemetry, TrustBundle
from weft_contract.resources.policy import AuthorizationPolicy, RateLimitPolicy
from weft_contract.resources.route import Route
from weft_contract.resources.service import Endpoints, Peers, Service
from weft_contract.resources.workload import Workload
from weft_core.policy import CompiledLimit, CompiledPolicy, compile_limit, compile_policy
from weft_core.routing import CompiledRoute, broken_route, canonical_address, check_network, compile_route
from weft_core.text import UncompilableError

Compiled: TypeAlias = CompiledPolicy | CompiledLimit | CompiledRoute
"""What a resource compiles to by itself."""


def compile_resource(resource: Resource) -> Compiled | None:
    """Check a resource and compile it as far as it can be by itself.

    Returns:
        What it compiles to; None: it is sound, and makes sense only together with others.

    Raises:
        UncompilableError: it cannot be taken over; the message says why.
    """
    try:
        return _compile(resource)
    except IdentityGrammarError as exc:
        raise UncompilableError(str(exc)) from exc


def _compile(resource: Resource) -> Compiled | None:
    match resource:
        case AuthorizationPolicy():
            return compile_policy(resource)
        case RateLimitPolicy():
            return compile_limit(resource)
        case Route():
            return compile_route(resource)
        case Service() | Endpoints() | Peers():
            check_network(resource)
        case Workload():
            parse_spiffe_id(resource.identity)
            for address in resource.addresses:
                canonical_address(address)
        case Node():
            check_trust_domain(resource.trust_domain)
        case TrustBundle():
            check_trust_domain(resource.trust_domain)
            if not resource.roots:
                raise UncompilableError("a trust bundle without roots trusts nobody")
        case Telemetry():
            if not 0 <= resource.access_log_sampling_percent <= 100:
                raise UncompilableError(f"{resource.access_log_sampling_percent} is not a percentage")
        case _:
            assert_never(resource)
    return None


def stand_in(resource: Resource, reason: str) -> Resource | None:
    """Give what takes the place of a resource that cannot be taken over and has no last good version.

    Returns:
        For policies, limits and routes one that refuses; None where its absence refuses already (a pod that is not known,
        a Service without address), or changes nothing but what is told (telemetry).
    """
    match resource:
        case AuthorizationPolicy() | RateLimitPolicy():
            return msgspec.structs.replace(resource, invalid=reason)
        case Route():
            return broken_route(resource, reason)
        case _:
            return None
