"""XBackendTrafficPolicy: what its author is told at each Service of the mesh that it is attached to.

Theory: nothing of it is carried out yet, so it becomes no resource, and calls go on as without it; what it has is a verdict.
Of its targets only Services in the mesh are our business (in a namespace that opted in or has a member, as for what nodes
are told); the policy may be meant for a gateway elsewhere, and then nothing is said.

Source: Gateway API GEP-713 and `PolicyConditionReason`: `TargetNotFound`; `UnsupportedValue` as for routes.
"""

from collections.abc import Container, Iterator

from weft_contract.objects import XBackendTrafficPolicy
from weft_contract.problems import Problem
from weft_operator.compile.results import ACCEPTED, AncestorResult, ObjectResult, Verdict
from weft_operator.compile.view import ClusterView

_NOT_OURS = Verdict(holds=False, reason="TargetNotFound", message="none of its targets is a Service in the mesh")


def judge_backend_traffic(
    policy: XBackendTrafficPolicy, view: ClusterView, mesh_namespaces: Container[str]
) -> ObjectResult:
    """Say what became of one policy.

    Args:
        policy: it.
        view: the cluster; read for Services, and for what is broken.
        mesh_namespaces: namespaces that opted in or have a member.
    """
    ours = policy.services if policy.metadata.namespace in mesh_namespaces else ()
    ancestors = tuple(AncestorResult(service=key, accepted=_accepted(policy, key, view)) for key in ours)
    return ObjectResult(
        kind=policy.kind,
        namespace=policy.metadata.namespace,
        name=policy.metadata.name,
        generation=policy.metadata.generation,
        source=view.source(policy.kind, policy.metadata.key),
        accepted=_whole(ancestors),
        ancestors=ancestors,
        problems=tuple(_missing(policy, ancestors, view)),
    )


def _accepted(policy: XBackendTrafficPolicy, service: str, view: ClusterView) -> Verdict:
    """Return the verdict at one Service."""
    broken = view.broken.get((policy.kind, policy.metadata.key))
    if broken is not None:
        message = f"{broken}; calls to Service {service} are as without this policy"
        return Verdict(holds=False, reason="UnsupportedValue", message=message)
    if service not in view.services:
        return Verdict(holds=False, reason="TargetNotFound", message=f"Service {service} is not there")
    if not policy.not_carried_out:
        return ACCEPTED
    fields = " and ".join(f"spec.{name}" for name in policy.not_carried_out)
    verb, what = ("are", "them") if len(policy.not_carried_out) > 1 else ("is", "it")
    message = (
        f"{fields} {verb} not supported yet in this release: calls to Service {service} are as without this policy; "
    )
    return Verdict(holds=False, reason="UnsupportedValue", message=f"{message}take {what} out")


def _missing(
    policy: XBackendTrafficPolicy, ancestors: tuple[AncestorResult, ...], view: ClusterView
) -> Iterator[Problem]:
    """Yield a warning for each Service that is not there."""
    key = policy.metadata.key
    for ancestor in ancestors:
        if ancestor.accepted.reason == "TargetNotFound":
            yield Problem(
                path="$.spec.targetRefs",
                message=ancestor.accepted.message,
                source=view.source(policy.kind, key),
                subject=f"{policy.kind} {key}",
                warning=True,
            )


def _whole(ancestors: tuple[AncestorResult, ...]) -> Verdict:
    """Return the policy's own verdict: the first that does not hold."""
    verdicts = [item.accepted for item in ancestors]
    return next((verdict for verdict in verdicts if not verdict.holds), verdicts[0] if verdicts else _NOT_OURS)
