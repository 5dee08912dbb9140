"""XBackendTrafficPolicy of the Gateway API's experimental channel: retry budgets and session persistence of a Service.

Read so that its author is told: nothing of it is carried out yet.

Source: Gateway API v1.6, `apisx/v1alpha1/backendtrafficpolicy_types.go`.
"""

from typing import Annotated, Literal

from msgspec import Meta, field

from weft_contract.objects.metadata import Metadata
from weft_contract.objects.route import Unsupported
from weft_contract.objects.shape import Foreign, ObjectName, Own


class PolicyTarget(Foreign, frozen=True, kw_only=True):
    """What such a policy is attached to, in its own namespace; a Service is of the group `""`.

    Lenient: a target that later versions narrow down is still a target whose author has to be told.
    """

    group: str
    kind: str
    name: ObjectName

    @property
    def is_service(self) -> bool:
        """Whether it may be the mesh's business."""
        return (self.group, self.kind) == ("", "Service")


class BackendTrafficSpec(Own, frozen=True, kw_only=True):
    """What is to hold for calls to the targets."""

    target_refs: Annotated[tuple[PolicyTarget, ...], Meta(max_length=16)] = ()
    """Empty where they could not be read: the API asks for one at least."""
    retry_constraint: Unsupported | None = None
    session_persistence: Unsupported | None = None


class XBackendTrafficPolicy(Own, frozen=True, kw_only=True):
    """How traffic to backends is to be handled."""

    api_version: Literal["gateway.networking.x-k8s.io/v1alpha1"] = "gateway.networking.x-k8s.io/v1alpha1"
    kind: Literal["XBackendTrafficPolicy"] = "XBackendTrafficPolicy"
    metadata: Metadata
    spec: BackendTrafficSpec = BackendTrafficSpec()
    status: dict[str, object] = field(default_factory=dict)

    @property
    def services(self) -> tuple[str, ...]:
        """Keys of the Services that it is attached to, whether they are there or not; each once, as written."""
        names = dict.fromkeys(target.name for target in self.spec.target_refs if target.is_service)
        return tuple(f"{self.metadata.namespace}/{name}" for name in names)

    @property
    def not_carried_out(self) -> tuple[str, ...]:
        """Fields of the spec that are given and have no effect, as the API names them."""
        given = {
            "retryConstraint": self.spec.retry_constraint,
            "sessionPersistence": self.spec.session_persistence,
        }
        return tuple(name for name, value in given.items() if value is not None)
