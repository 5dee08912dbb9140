"""Rules of PeerAuthentication, RateLimitPolicy and Mesh that their shapes cannot say."""

from collections.abc import Iterator
from typing import Final

from weft_contract.identity import IdentityGrammarError, check_trust_domain, spiffe_id
from weft_contract.names import is_subdomain
from weft_contract.objects.check.authorization import operation_problems
from weft_contract.objects.check.scope import scope_problems
from weft_contract.objects.check.text import port_number
from weft_contract.objects.mesh import MESH_NAME, Mesh
from weft_contract.objects.peer_authentication import PeerAuthentication
from weft_contract.objects.rate_limit import RateLimitPolicy
from weft_contract.problems import Problem

_PLAINTEXT: Final = "DISABLE lets everybody in without authentication"


def peer_authentication_problems(policy: PeerAuthentication) -> Iterator[Problem]:
    """Yield everything wrong with a PeerAuthentication."""
    spec = policy.spec
    if spec.mtls is not None and spec.mtls.mode == "DISABLE":
        yield Problem(path="$.spec.mtls.mode", message=_PLAINTEXT, warning=True)
    if spec.port_level_mtls and (spec.selector is None or not spec.selector.match_labels):
        message = "portLevelMtls needs a selector, because ports belong to pods"
        yield Problem(path="$.spec.portLevelMtls", message=message, remedy="add selector.matchLabels")
    seen: dict[int, str] = {}
    for port, mtls in spec.port_level_mtls.items():
        path = f"$.spec.portLevelMtls[{port!r}]"
        number = port_number(port)
        if number is None:
            yield Problem(path=path, message=f"{port!r:.40} is not a port", remedy="1 to 65535")
        elif number in seen:
            yield Problem(path=path, message=f"port {number} is there twice, also as {seen[number]!r}")
        else:
            seen[number] = port
        if mtls.mode == "DISABLE":
            yield Problem(path=f"{path}.mode", message=_PLAINTEXT, warning=True)


def rate_limit_problems(policy: RateLimitPolicy) -> Iterator[Problem]:
    """Yield everything wrong with a RateLimitPolicy."""
    spec = policy.spec
    yield from scope_problems(spec.selector, spec.target_refs)
    if spec.total is None and spec.identity is None and not spec.overrides:
        yield Problem(path="$.spec", message="no rate is given", remedy="add total, identity or overrides")
    if spec.scope == "Cluster":
        message = "scope Cluster is not supported yet in this release"
        yield Problem(path="$.spec.scope", message=message, remedy="use Local: each node counts for itself")
    for index, operation in enumerate(spec.match):
        yield from operation_problems(operation, f"$.spec.match[{index}]")
    yield from _override_problems(policy)


def _override_problems(policy: RateLimitPolicy) -> Iterator[Problem]:
    seen: set[tuple[str, str]] = set()
    for index, override in enumerate(policy.spec.overrides):
        for number, client in enumerate(override.client_refs):
            path = f"$.spec.overrides[{index}].clientRefs[{number}]"
            namespace = client.namespace or policy.metadata.namespace
            if client.group:
                yield Problem(path=f"{path}.group", message="clients are ServiceAccounts", remedy="leave group out")
            try:
                spiffe_id("trust.domain", namespace, client.name)
            except IdentityGrammarError as exc:
                yield Problem(path=path, message=str(exc))
            if (namespace, client.name) in seen:
                message = f"client {namespace}/{client.name} has two rates"
                yield Problem(path=path, message=message, remedy="name each client once")
            seen.add((namespace, client.name))


def mesh_problems(mesh: Mesh) -> Iterator[Problem]:
    """Yield everything wrong with a Mesh."""
    if mesh.metadata.name != MESH_NAME:
        message = f"the mesh has one Mesh object, named {MESH_NAME!r}; this one is not read"
        yield Problem(path="$.metadata.name", message=message, remedy=f"name it {MESH_NAME}")
    try:
        check_trust_domain(mesh.spec.trust_domain)
    except IdentityGrammarError as exc:
        yield Problem(path="$.spec.trustDomain", message=str(exc))
    if not is_subdomain(mesh.spec.cluster_domain):
        message = f"{mesh.spec.cluster_domain!r:.80} is not a DNS name"
        yield Problem(path="$.spec.clusterDomain", message=message, remedy="write it as cluster.local")
    if mesh.spec.default_mode == "DISABLE":
        yield Problem(path="$.spec.defaultMode", message=_PLAINTEXT, warning=True)
