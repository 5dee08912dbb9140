"""Rules of XBackendTrafficPolicy: what it asks for and does not get is told, and changes nothing else."""

from collections.abc import Iterator

from weft_contract.objects.backend_traffic import XBackendTrafficPolicy
from weft_contract.problems import Problem


def backend_traffic_problems(policy: XBackendTrafficPolicy) -> Iterator[Problem]:
    """Yield a warning for each field that is not carried out; none where no Service is meant, because others may do it."""
    for name in policy.not_carried_out if policy.services else ():
        message = f"{name} is not supported yet in this release (UnsupportedValue): calls are as without it"
        yield Problem(path=f"$.spec.{name}", message=message, remedy="take it out", warning=True)
