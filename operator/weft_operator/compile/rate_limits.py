"""RateLimitPolicy objects to resources; a broken one refuses."""

from weft_contract import objects
from weft_contract.objects.rate_limit import RateOverride, RateSpec
from weft_contract.resources import RateLimit, RateLimitPolicy
from weft_contract.resources.policy import ClientLimit
from weft_operator.compile.authorization import burst_of, compile_operation


def compile_rate_limit(policy: objects.RateLimitPolicy, broken: str | None) -> RateLimitPolicy:
    """Turn a policy into its resource.

    Args:
        policy: the object.
        broken: why it cannot be carried out; None: it can.
    """
    namespace, name = policy.metadata.namespace, policy.metadata.name
    if broken is not None:
        return RateLimitPolicy(namespace=namespace, name=name, invalid=broken)
    spec = policy.spec
    return RateLimitPolicy(
        namespace=namespace,
        name=name,
        operations=tuple(compile_operation(item) for item in spec.match),
        total=_limit(spec.total, per_client=False),
        client=_limit(spec.identity, per_client=True),
        overrides=tuple(_override(item, namespace) for item in spec.overrides),
    )


def _limit(rate: RateSpec | None, *, per_client: bool) -> RateLimit | None:
    if rate is None:
        return None
    return RateLimit(
        requests_per_second=rate.requests_per_second,
        burst=burst_of(rate.requests_per_second, rate.burst),
        per="client" if per_client else "total",
    )


def _override(override: RateOverride, namespace: str) -> ClientLimit:
    accounts = (f"{client.namespace or namespace}/{client.name}" for client in override.client_refs)
    return ClientLimit(
        service_accounts=tuple(accounts),
        requests_per_second=override.requests_per_second,
        burst=burst_of(override.requests_per_second, override.burst),
    )
