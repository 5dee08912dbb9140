"""RateLimitPolicy: request rates at the destination, in all, per client and for named clients.

Source: Linkerd HTTPLocalRateLimitPolicy (`total`, `identity`, `overrides`); `burst`, `match` and `scope` are ours.
"""

from typing import Annotated, Literal

from msgspec import Meta, field

from weft_contract.labels import API_VERSION
from weft_contract.objects.authorization import Burst, Operation, Rate
from weft_contract.objects.metadata import Metadata
from weft_contract.objects.shape import ObjectName, Own
from weft_contract.objects.target import Selector, Targets

_BURST = Meta(description="Requests that may come at once; left out: one second's worth, at least 1.")
_RATE = Meta(description="Requests per second, on average.")


class RateSpec(Own, frozen=True, kw_only=True):
    """One rate."""

    requests_per_second: Annotated[Rate, _RATE]
    burst: Annotated[Burst | None, _BURST] = None


class ClientReference(Own, frozen=True, kw_only=True):
    """A client by its service account."""

    group: Annotated[str, Meta(description="API group; empty for a ServiceAccount.", max_length=253)] = ""
    kind: Annotated[Literal["ServiceAccount"], Meta(description="Kind of the client.")] = "ServiceAccount"
    name: Annotated[ObjectName, Meta(description="Name of the service account.")]
    namespace: Annotated[str, Meta(description="Its namespace; left out: the policy's own.", max_length=63)] = ""


class RateOverride(Own, frozen=True, kw_only=True):
    """A rate of its own for some clients, instead of `identity`."""

    requests_per_second: Annotated[Rate, _RATE]
    burst: Annotated[Burst | None, _BURST] = None
    client_refs: Annotated[
        tuple[ClientReference, ...],
        Meta(description="The clients; each has this rate for itself.", min_length=1, max_length=64),
    ]


class RateLimitPolicySpec(Own, frozen=True, kw_only=True):
    """What a RateLimitPolicy says."""

    selector: Selector = None
    target_refs: Targets = ()
    scope: Annotated[
        Literal["Local", "Cluster"],
        Meta(description="`Local`: each node counts for itself; `Cluster`: one budget for all nodes."),
    ] = "Local"
    match: Annotated[
        tuple[Operation, ...],
        Meta(description="Which requests are counted; left out: all.", min_length=1, max_length=64),
    ] = ()
    total: Annotated[RateSpec | None, Meta(description="For all clients together.")] = None
    identity: Annotated[RateSpec | None, Meta(description="For each client identity.")] = None
    overrides: Annotated[
        tuple[RateOverride, ...], Meta(description="For named clients, instead of `identity`.", max_length=64)
    ] = ()


class RateLimitPolicy(Own, frozen=True, kw_only=True):
    """How often the pods it is attached to may be called."""

    api_version: Literal["weft.dev/v1alpha1"] = API_VERSION
    kind: Literal["RateLimitPolicy"] = "RateLimitPolicy"
    metadata: Metadata
    spec: RateLimitPolicySpec = RateLimitPolicySpec()
    status: dict[str, object] = field(default_factory=dict)
