"""What a policy is attached to: pods by their labels, or Services by name; neither means the whole namespace."""

from typing import Annotated, TypeAlias

from msgspec import Meta, field

from weft_contract.objects.shape import ObjectName, Own

ROOT_NAMESPACE = "weft-system"
"""Policies of this namespace without a target hold in the whole mesh, as those of Istio's root namespace do."""

LabelValue: TypeAlias = Annotated[str, Meta(max_length=63)]
"""As Kubernetes bounds the value of a label; a longer one would match no pod."""


class WorkloadSelector(Own, frozen=True, kw_only=True):
    """Pods by label."""

    match_labels: Annotated[
        dict[str, LabelValue],
        Meta(
            description="Labels that a pod must all have. Empty: every pod of the namespace.",
            max_length=64,
            examples=[{"app": "web"}],
        ),
    ] = field(default_factory=dict)


class TargetReference(Own, frozen=True, kw_only=True):
    """A Service of the policy's own namespace."""

    group: Annotated[str, Meta(description="API group of the target; empty for a Service.", max_length=253)] = ""
    kind: Annotated[str, Meta(description="Kind of the target: Service.", min_length=1, max_length=63)]
    name: Annotated[ObjectName, Meta(description="Name of the target in the policy's namespace.")]
    section_name: Annotated[
        Annotated[str, Meta(min_length=1, max_length=63)] | None,
        Meta(description="Name of one port of the Service; left out: all its ports."),
    ] = None


Selector = Annotated[
    WorkloadSelector | None,
    Meta(description="The pods this holds for. Without selector and targetRefs: every pod of the namespace."),
]
Targets = Annotated[
    tuple[TargetReference, ...],
    Meta(
        description="The Services this holds for: the pods behind them, on the ports they lead to.",
        max_length=16,
    ),
]
