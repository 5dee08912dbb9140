"""Rate limits for people without our kinds: annotations of a Service, read as the RateLimitPolicy that would say the same.

Theory: the view holds that policy beside those that were written, so that everything that knows policies knows this one. Its
name, `service:web`, is one that no object can have; refusals and `weft explain` show it. It has no status and no result: what
is wrong with the annotations is a problem of the Service.
"""

from typing import Final

from weft_contract import objects
from weft_contract.labels import RATE_BURST, RATE_LIMIT
from weft_contract.objects import TargetReference
from weft_contract.objects.annotations import AnnotationError, burst, rate
from weft_contract.objects.metadata import Metadata
from weft_contract.objects.rate_limit import RateLimitPolicySpec, RateSpec

_PREFIX: Final = "service:"


def annotated_limit(service: objects.Service) -> objects.RateLimitPolicy | None:
    """Return the policy that a Service's annotations stand for; None: there are none, or the rate cannot be read."""
    annotations, metadata = service.metadata.annotations, service.metadata
    try:
        requests_per_second = rate(annotations.get(RATE_LIMIT, ""))
    except AnnotationError:
        return None
    try:
        at_once = burst(annotations[RATE_BURST]) if RATE_BURST in annotations else None
    except AnnotationError:
        at_once = None
    return objects.RateLimitPolicy(
        metadata=Metadata(namespace=metadata.namespace, name=f"{_PREFIX}{metadata.name}"),
        spec=RateLimitPolicySpec(
            target_refs=(TargetReference(kind="Service", name=metadata.name),),
            total=RateSpec(requests_per_second=requests_per_second, burst=at_once),
        ),
    )


def annotated_limit_key(service_key: str) -> str:
    """Return the key of the policy that a Service's annotations stand for."""
    namespace, _, name = service_key.partition("/")
    return f"{namespace}/{_PREFIX}{name}"


def is_annotated(policy_key: str) -> bool:
    """Whether a policy stands for annotations."""
    return policy_key.partition("/")[2].startswith(_PREFIX)
